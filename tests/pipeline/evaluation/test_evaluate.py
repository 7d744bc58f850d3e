"""The whole evaluation of fresh weights on real Ray, in one pass and in two, and the caption file."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from infra.errors import UserError
from ingest.records import stable_uid
from pipeline.evaluation.cluster.embed import Fresh
from pipeline.evaluation.evaluate import evaluate, evaluate_here, read_captions
from tests.ingest.clips import synthetic_clip, write_stream
from tests.pipeline.gallery import tiny_gallery
from tests.trainers.tiny import SYSTEM
from trainers.evaluation.dual_encoder import Features, encoded_video
from trainers.evaluation.protocol import Columns, Declared, HeldOut, Measured, Protocol, Round, Rounds
from trainers.evaluation.protocols.drift import Drift
from trainers.evaluation.protocols.recognition import Recognition
from trainers.evaluation.protocols.retrieval import Retrieval
from trainers.evaluation.protocols.sorting import Sorting
from trainers.evaluation.protocols.twins import Twins
from trainers.evaluation.shown import Loaded, Shown

CAPTIONS = {
    synthetic_clip(number).media_uid: {"A": ["it goes", f"number {number}"], "B": [f"clip {number}"]}
    for number in range(8)
}
ASKED_AGAIN = Declared("again/length", "length of the longest feature, asked again", "Asked again", unit="")


@dataclass(frozen=True)
class Lengths:
    """How long the features of the clips are."""

    def __call__(self, loaded: Loaded) -> Callable[[Shown], dict[str, Any]]:
        return lambda shown: {"length": encoded_video(shown).pooled.norm(dim=-1).numpy()}


@dataclass(frozen=True)
class AskedAgain(Protocol):
    """Looks for the clip with the longest feature, and then at that clip alone."""

    kind: Literal["asked_again"] = "asked_again"

    def declares(self, held_out: HeldOut) -> tuple[Declared, ...]:
        return (ASKED_AGAIN,)

    def rounds(self, held_out: HeldOut) -> Rounds:
        first = (yield Round((held_out.stream,), Features()))[held_out.stream]
        lengths = (first["video"] ** 2).sum(axis=1) ** 0.5
        longest = str(first["media_uid"][lengths.argmax()])
        second = yield Round((held_out.stream,), Lengths(), media=frozenset([longest]))
        return second[held_out.stream], float(lengths.max())

    def score(self, held_out: HeldOut, found: tuple[Columns, float], before: object) -> tuple[Measured, ...]:
        again, length = found
        assert again["length"].tolist() == [pytest.approx(length, rel=1e-5)]
        return (Measured(ASKED_AGAIN, length),)


def test_fresh_weights_are_evaluated_from_the_store_to_the_scores(ray_local: None, tmp_path: Path) -> None:
    write_stream(str(tmp_path), "test", 8, per_shard=4)
    write_stream(str(tmp_path), "twins", 3)
    gallery = tiny_gallery(str(tmp_path), CAPTIONS, batch_size=4)
    # The classes are the texts: a clip's own prompt is its best one as often as the video finds its text.
    recognition = Recognition(classes={"B": tuple(f"clip {number}" for number in range(8))})
    protocols = (Retrieval(), Sorting(), Twins(), recognition, Drift(), AskedAgain())
    models = {"start": Fresh(SYSTEM), "same": Fresh(SYSTEM), "other": Fresh(SYSTEM, seed=1)}
    found = evaluate(gallery, models, protocols)
    start, same, other = (found[name].values for name in models)
    assert same == start
    assert found["same"].num_clips == 8
    assert same["A/t2v_R10"] == same["B/v2t_R10"] == 100
    assert 0 <= same["sorting/control"] <= 100
    assert {each.trials for each in found["same"].measured if each.name.startswith("twins/")} == {3}
    assert [example.title for example in found["same"].examples] == ["register A"] * 2 + ["register B"] * 2
    assert same["classes/B/top1"] == same["classes/B/found"] == same["B/v2t_R1"]
    assert [same["drift/A"], same["drift/B"]] == pytest.approx([1, 1])
    assert other["drift/A"] < 0.99
    # Each model planned its second pass from its own first one.
    assert other["again/length"] != same["again/length"]

    here = evaluate_here(gallery, Fresh(SYSTEM), protocols, threads=1, on_gpu=False).values
    assert "drift/A" not in here  # there are no start weights here
    assert here == pytest.approx({name: same[name] for name in here}, rel=1e-5)


def test_a_caption_file_names_its_media_by_key_and_a_wrong_one_is_said_in_a_sentence(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps({"a.mp4": {"A": ["x", "y"], "B": "z"}}))
    bad.write_text(json.dumps({"a.mp4": {"A": 3}}))
    uid = stable_uid("yt_temporal", "a.mp4")
    assert read_captions(str(good), "yt_temporal") == {uid: {"A": ["x", "y"], "B": ["z"]}}
    with pytest.raises(UserError, match="not a caption file"):
        read_captions(str(bad), "yt_temporal")
