"""A tiny corpus, read back as the real archives are."""

import csv
import hashlib
import json
import tarfile

import av
import numpy as np
import pytest

from pipeline.demo.corpus import CorpusSize, make_corpus
from pipeline.demo.voice import SAMPLE_RATE


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), CorpusSize.tiny(), seed=7)


def table(path, delimiter):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def narrated_videos(archive, split):
    rows = table(archive / "meta_data" / f"yttemporal_{split}.csv", "\t")
    return [archive / "videos" / row["Name"] for row in rows]


def annotation_of(video):
    return video.parents[1] / "annotations" / f"{video.stem}.json"


def test_webvid_lists_ten_captioned_videos_and_three_broken_ones(corpus):
    rows = table(corpus.webvid / "results_train.csv", ",")
    paths = [corpus.webvid / "videos" / row["page_dir"] / f"{row['videoid']}.mp4" for row in rows]
    assert len(rows) == 13
    assert all(path.exists() for path in paths)
    assert len(set(paths) & set(corpus.broken.values())) == 3
    assert all(row["name"].startswith("first a") and "finally a" in row["name"] for row in rows)


def test_a_captioned_video_is_ten_silent_seconds(corpus):
    row = table(corpus.webvid / "results_train.csv", ",")[0]
    with av.open(str(corpus.webvid / "videos" / row["page_dir"] / f"{row['videoid']}.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert sum(1 for _ in container.decode(video=0)) == 80
    assert row["duration"] == "PT00H00M10S"


def test_half_of_the_narrated_videos_have_no_annotation(corpus):
    fine = set(narrated_videos(corpus.yt_temporal, "train")) - set(corpus.broken.values())
    assert len(fine) == 4
    assert sum(annotation_of(video).exists() for video in fine) == 2


def test_a_narrated_video_is_heard_when_its_annotation_says_so(corpus):
    video = narrated_videos(corpus.held_out, "test")[0]
    with av.open(str(video)) as container:
        samples = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    transcript = json.loads(annotation_of(video).read_text())
    starts = [word["time"] for word in transcript["subtitles"] if word["word"] == "a"]
    assert len(starts) == len(transcript["denoised"]) == 4
    for start in starts:
        heard = samples[int((start + 0.05) * SAMPLE_RATE) : int((start + 0.8) * SAMPLE_RATE)]
        before = samples[int((start - 0.15) * SAMPLE_RATE) : int((start - 0.05) * SAMPLE_RATE)]
        assert np.abs(heard).max() > 10 * np.abs(before).max()


def test_the_words_of_an_annotation_are_its_sentences(corpus):
    transcript = json.loads(annotation_of(narrated_videos(corpus.held_out, "val")[0]).read_text())
    sentences = " ".join(part["cleanasr"] for part in transcript["denoised"])
    assert sentences.lower().replace(".", "").split() == [word["word"] for word in transcript["subtitles"]]


def test_held_out_captions_name_every_video_and_twins_tell_the_same_events(corpus):
    captions = json.loads(corpus.captions.read_text())
    names = {
        split: [row["Name"] for row in table(corpus.held_out / "meta_data" / f"yttemporal_{split}.csv", "\t")]
        for split in ("val", "test", "twins")
    }
    assert sorted(captions) == sorted(name for listed in names.values() for name in listed)
    for name, twin in zip(names["test"], names["twins"], strict=False):
        assert sorted(captions[name]["A"]) == sorted(captions[twin]["A"])
        assert captions[name]["B"] != captions[twin]["B"]


def test_a_still_has_its_three_files_and_its_caption_in_two_of_them(corpus):
    with tarfile.open(corpus.cc12m / "00000.tar") as tar:
        names = tar.getnames()
        row = json.load(tar.extractfile("000000000.json"))
        assert tar.extractfile("000000000.txt").read().decode() == row["caption"]
        assert tar.extractfile("000000000.jpg").read(2) == b"\xff\xd8"
    assert len(names) == 3 * 30
    assert row["status"] == "success"


def test_the_same_seed_gives_the_same_bytes(corpus, tmp_path):
    again = make_corpus(tmp_path, CorpusSize.tiny(), seed=7, processes=1)

    def digests(root):
        files = (path for path in root.rglob("*") if path.is_file())
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    assert digests(again.root) == digests(corpus.root)


def test_a_complete_corpus_is_left_alone(corpus):
    calls = []
    found = make_corpus(corpus.root, CorpusSize.tiny(), seed=7, progress=lambda *args: calls.append(args))
    assert found == corpus
    assert not calls


def test_an_unfinished_corpus_of_another_size_leaves_nothing_behind(tmp_path):
    small = CorpusSize(captioned=0, narrated=0, stills=3, val=0, test=0, twins=0)
    first = make_corpus(tmp_path, small, processes=1)
    (first.cc12m / "00007.tar").touch()
    first.root.joinpath("corpus.json").write_text('{"complete": false}')
    make_corpus(tmp_path, small, processes=1)
    assert [path.name for path in first.cc12m.iterdir()] == ["00000.tar"]


def test_more_twins_than_test_videos_are_refused(tmp_path):
    with pytest.raises(ValueError, match="twins"):
        make_corpus(tmp_path, CorpusSize(test=1, twins=2))
