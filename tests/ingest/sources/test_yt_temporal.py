"""YT-Temporal's lists and annotations."""

import gzip
import json
from pathlib import Path

import pytest

from ingest.formats.annotations import AnnotationError, provided_utterances
from ingest.records import Reject
from ingest.sources.yt_temporal import YTTemporal, YTTemporal1B
from tests.conftest import S3Server
from tests.ingest.archives import SENTENCES, annotation
from tests.ingest.sources.reading import media_of, read_all, reasons_of, write_list

VTT = """WEBVTT
Kind: captions
Language: en

00:00:00.500 --> 00:00:02.000 align:start position:0%
 
one<00:00:00.900><c> is</c><00:00:01.100><c> here</c>

00:00:02.000 --> 00:00:02.010 align:start position:0%
one is here
 

00:00:02.010 --> 00:00:04.000 align:start position:0%
one is here
two<00:00:02.500><c> comes</c>
"""


def write_annotations(root: Path) -> None:
    names = ["told", "packed", "silent", "empty", "broken", "cut_off", "no_time", "deep", "zero"]
    write_list(root, "yttemporal_train.csv", "Name", *(f"s/data/{name}.mp4" for name in names), "../x.mp4")
    folder = root / "videos/s/annotations"
    folder.mkdir(parents=True)
    told = json.dumps(annotation()).encode()
    (folder / "told.json").write_bytes(told)
    (folder / "packed.json.gz").write_bytes(gzip.compress(told))
    (folder / "empty.json").write_text('{"subtitles": [], "denoised": []}')
    (folder / "broken.json").write_text("{")
    (folder / "cut_off.json.gz").write_bytes(gzip.compress(told)[:-20])
    (folder / "no_time.json").write_text('{"subtitles": [{"word": "a", "time": NaN}]}')
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "zero.json").write_bytes(b"")


def test_sentences_come_from_the_denoised_text_with_the_raw_words_times(tmp_path: Path) -> None:
    write_annotations(tmp_path)
    found = read_all(YTTemporal(str(tmp_path)))
    told, packed, silent, empty = media_of(found)
    assert told.utterances is not None
    assert [utterance.text for utterance in told.utterances] == list(SENTENCES)
    # words stand at 0.5 + n/3 s: "One is here" begins with word 0, "Two" with word 3, and ends what came before
    assert [u.start_s for u in told.utterances] == pytest.approx([0.5, 1.5, 0.5 + 5 / 3, 0.5 + 7 / 3])
    assert told.utterances[0].end_s == pytest.approx(1.5)
    assert packed.utterances == told.utterances
    assert silent.utterances is empty.utterances is None


def test_an_annotation_that_is_none_costs_its_video(tmp_path: Path) -> None:
    write_annotations(tmp_path)
    found = read_all(YTTemporal(str(tmp_path)))
    assert reasons_of(found) == ["bad_annotation"] * 5 + ["bad_row"]
    cut_off = next(item for item in found if isinstance(item, Reject) and "cut_off" in item.detail)
    assert "gzip: the file is cut off" in cut_off.detail


def test_annotations_in_a_bucket_read_as_on_disk(tmp_path: Path, s3_server: S3Server) -> None:
    write_annotations(tmp_path)
    root = s3_server.upload(tmp_path, "yt_forms")
    here, there = (read_all(YTTemporal(str(where))) for where in (tmp_path, root))
    assert [(m.uid, m.utterances) for m in media_of(here)] == [(m.uid, m.utterances) for m in media_of(there)]
    assert reasons_of(here) == reasons_of(there)


def test_the_1b_release_lists_ids_and_holds_captions_with_word_times(tmp_path: Path) -> None:
    write_list(tmp_path, "yttemporal1b_ids_train.csv", "video_id,split", "abc,train", ",train")
    folder = tmp_path / "abc"
    folder.mkdir()
    info = {"id": "abc", "duration": 5, "transcripts": {"en": VTT}}
    (folder / "abc.v2.info.json.gz").write_bytes(gzip.compress(json.dumps(info).encode()))
    found = read_all(YTTemporal1B(str(tmp_path)))
    (media,) = media_of(found)
    assert (media.key, media.uri) == ("abc/abc.mp4", f"{tmp_path}/abc/abc.mp4")
    assert media.utterances is not None
    words = [(word.text, word.start_s) for utterance in media.utterances for word in utterance.words]
    assert words == [("one", 0.5), ("is", 0.9), ("here", 1.1), ("two", 2.01), ("comes", 2.5)]
    assert reasons_of(found) == ["bad_row"]


def test_the_1b_release_may_hold_denoised_text_too() -> None:
    data = json.dumps({"transcripts": {"en": VTT}, "denoised": [{"cleanasr": "One is here. Two comes."}]})
    assert [u.text for u in provided_utterances(data.encode())] == ["One is here.", "Two comes."]
    with pytest.raises(AnnotationError, match="en"):
        provided_utterances(b'{"transcripts": {"de": "WEBVTT"}}')


def test_words_out_of_order_are_put_in_order() -> None:
    subtitles = [{"word": word, "time": time} for word, time in (("b", 2), ("a", 1), ("c", 3))]
    (said,) = provided_utterances(json.dumps({"subtitles": subtitles}).encode())
    assert (said.text, said.start_s) == ("a b c", 1.0)
