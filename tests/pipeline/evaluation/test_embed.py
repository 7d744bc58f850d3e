"""Rounds on real Ray: what is collected is what the model gives, clip by clip."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from infra.errors import UserError
from ingest.order.choice import chosen_frames
from ingest.records import Clip, to_table
from pipeline.evaluation.cluster.embed import (
    Collector,
    Fresh,
    Models,
    Part,
    collect,
    collect_here,
    even_slices,
    gathered,
)
from tests.ingest.clips import synthetic_clip, write_stream
from tests.pipeline.gallery import tiny_gallery
from tests.trainers.tiny import SYSTEM
from trainers.data.tokenizers import ClipTokenizer
from trainers.evaluation.dual_encoder import Features, Sorted
from trainers.evaluation.protocol import Columns, Round
from trainers.evaluation.rounds import Collected, RoundsByModel
from trainers.evaluation.shown import Loaded, Shown
from trainers.systems.tvtsv2.rows import TVTSv2Reads

WEIGHTS = Fresh(SYSTEM)
NUM_CLIPS = 7
TEXTS = {
    synthetic_clip(number).media_uid: {"A": [f"one {number}", f"two {number}"], "B": [f"whole {number}"]}
    for number in range(NUM_CLIPS)
}
ROUNDS = (Round(("test", "other"), Features()), Round(("test",), Sorted(4)))
ONE: RoundsByModel = {"one": ROUNDS}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = str(tmp_path_factory.mktemp("store"))
    for stream, count in (("test", 9), ("other", 2)):
        write_stream(store, stream, count, per_shard=4)
    return store


@pytest.fixture(scope="module")
def collected(ray_local: None, store: str) -> Collected:
    """Two rounds of one model and one of another, in one job."""
    models = {"one": WEIGHTS, "two": Fresh(SYSTEM, seed=1)}
    return collect(tiny_gallery(store, TEXTS, batch_size=3), models, {"one": ROUNDS, "two": ROUNDS[:1]})


def _collector(job: RoundsByModel = ONE) -> Collector:
    gallery = tiny_gallery("", TEXTS)
    return Collector(gallery, Models.load({"one": WEIGHTS}, gallery.held_out), job)


def _delivered(clips: pa.Table) -> pa.Table:
    """Stored clips with the frames that the gallery asks for."""
    return chosen_frames(clips, 0, tiny_gallery("", TEXTS).choice)


def _part(*numbers: int) -> Part:
    """Clips shown together, in this process."""
    clips = to_table(Clip, [synthetic_clip(number) for number in numbers])
    rows = _delivered(clips)
    return next(_collector()(rows.append_column("stream", pa.array(["test"] * rows.num_rows))))


def _alone(number: int) -> Columns:
    """The columns of both rounds."""
    part = _part(number)
    return {**part.columns["one", 0], **part.columns["one", 1]}


def test_every_clip_with_texts_is_shown_once_and_those_without_are_left_out(collected: Collected) -> None:
    features = collected["one"][0]
    assert sorted(features["test"]["media_uid"]) == sorted(TEXTS)
    assert features["test"].keys() == {"uid", "media_uid", "video", "texts/A", "texts/B"}
    assert features["test"]["video"].shape == (NUM_CLIPS, SYSTEM.embedding)
    assert len(features["other"]["uid"]) == 2
    assert not np.allclose(features["test"]["video"], collected["two"][0]["test"]["video"])


def test_a_clip_gets_the_same_features_alone_as_in_the_job(collected: Collected) -> None:
    features, logits = collected["one"][0]["test"], collected["one"][1]["test"]
    place, alone = features["uid"].tolist().index(synthetic_clip(2).uid), _alone(2)
    np.testing.assert_allclose(features["video"][place], alone["video"][0], atol=1e-5)
    np.testing.assert_allclose(logits["logits"][place], alone["logits"][0], atol=1e-5)


def test_clips_shown_in_one_process_have_the_features_of_the_job(collected: Collected, store: str) -> None:
    gallery = tiny_gallery(store, TEXTS, batch_size=3)
    here = collect_here(gallery, Models.load({"one": WEIGHTS}, gallery.held_out, threads=1), ONE)["one"]
    for mine, theirs in zip(here, collected["one"], strict=True):
        assert mine["test"]["uid"].tolist() == theirs["test"]["uid"].tolist()
        for name in theirs["test"].keys() - {"uid", "media_uid"}:
            np.testing.assert_allclose(mine["test"][name], theirs["test"][name], atol=1e-5)


def test_a_register_of_sentences_is_the_mean_of_their_unnormalised_features(collected: Collected) -> None:
    features = collected["one"][0]["test"]
    place = features["uid"].tolist().index(synthetic_clip(5).uid)
    model = WEIGHTS()[0].eval()
    tokens = torch.from_numpy(ClipTokenizer(SYSTEM.text.context)(["one 5", "two 5"]))
    with torch.inference_mode():
        mean = model.encode_text(tokens).mean(dim=0)
    np.testing.assert_allclose(features["texts/A"][place], mean, atol=1e-5)


def test_the_control_shows_another_clips_video_and_a_lone_clip_has_none() -> None:
    pair = _part(0, 1).columns["one", 1]
    assert pair["controlled"].all()
    assert not np.allclose(pair["control"], pair["logits"])
    assert not _alone(0)["controlled"].any()


def test_clips_of_two_streams_in_one_block_keep_to_their_own() -> None:
    rows = to_table(Clip, [synthetic_clip(number) for number in range(4)])
    mixed = _delivered(rows).append_column("stream", pa.array(["test", "other", "test", "other"]))
    parts = list(_collector()(mixed))
    assert [part.stream for part in parts] == ["test", "other"]
    np.testing.assert_array_equal(parts[0].columns["one", 0]["video"], _part(0, 2).columns["one", 0]["video"])
    assert parts[1].columns.keys() == {("one", 0)}  # nobody asked for the transcripts of the other stream


def test_a_round_takes_the_media_that_it_names_and_every_clip_where_it_wants_them() -> None:
    first, second, other = (synthetic_clip(number) for number in (0, 1, 2))
    rows = to_table(Clip, [first, replace(second, media_uid=first.media_uid), other])
    rows = _delivered(rows).append_column("stream", pa.array(["test"] * 3))
    every = Round(("test",), Features(), frozenset([first.media_uid]), every_clip=True)
    job = {"one": [replace(every, every_clip=False), every]}
    of_first, all_of_it = gathered(list(_collector(job)(rows)), job)["one"]
    assert of_first["test"]["uid"].tolist() == [first.uid]
    assert all_of_it["test"]["uid"].tolist() == [first.uid, second.uid]


@dataclass(frozen=True)
class Read:
    """What the system read of the rows."""

    def __call__(self, loaded: Loaded) -> Callable[[Shown], dict[str, Any]]:
        return lambda shown: {"tokens": shown.batch.inputs.tokens[:, 0].numpy()}


def test_a_protocol_gets_the_systems_own_inputs_where_the_evaluation_says_what_is_read(store: str) -> None:
    gallery = replace(tiny_gallery(store, TEXTS), reads=TVTSv2Reads(text="captions"))
    models = Models.load({"one": WEIGHTS}, gallery.held_out, threads=1)
    found = collect_here(gallery, models, {"one": [Round(("other",), Read())]})["one"][0]["other"]
    caption = ClipTokenizer(SYSTEM.text.context)(["caption 0"])[0]
    own = found["tokens"][found["uid"].tolist().index(synthetic_clip(0).uid)]
    np.testing.assert_array_equal(own, caption[: len(own)])


def test_no_slice_is_a_single_row_where_rows_can_be_shared_out() -> None:
    rows = pa.table({"x": list(range(26))})
    assert [part.num_rows for part in even_slices(rows, 25)] == [13, 13]
    assert even_slices(rows.slice(0, 0), 25) == []


def test_a_diverged_model_is_refused_and_not_scored() -> None:
    columns = {**_alone(0), "video": np.full((1, SYSTEM.embedding), np.nan, np.float32)}
    part = Part("test", ["clip"], ["medium"], {("one", 0): columns})
    with pytest.raises(UserError, match="the one weights give video features that are not finite"):
        gathered([part], {"one": [Round(("test",), Features())]})


def test_a_stream_without_texts_is_said() -> None:
    with pytest.raises(UserError, match="no clip of the stream 'val'"):
        gathered([_part(0)], {"one": [Round(("val",), Features())]})
