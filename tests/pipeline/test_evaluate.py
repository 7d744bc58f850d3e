"""Scores of embeddings made by hand, and the whole evaluation of fresh weights on real Ray."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infra.errors import UserError
from ingest.records import stable_uid
from pipeline.embed import Embeddings, Fresh
from pipeline.evaluate import (
    HeldOut,
    classification,
    drift,
    evaluate,
    pair_twins,
    read_captions,
    score,
    search_metrics,
)
from pipeline.scores import chance
from tests.ingest.clips import synthetic_clip, write_stream
from tests.pipeline.models import TINY, TINY_PIXELS


def _embeddings(video: np.ndarray, whole: np.ndarray, sorting: np.ndarray, prefix: str = "m") -> Embeddings:
    names = [f"{prefix}{index}" for index in range(len(video))]
    return Embeddings(
        [f"clip {name}" for name in names],
        names,
        video,
        {"A": whole, "B": whole},
        sorting,
        sorting[:, ::-1].copy(),
    )


def _captions(prefix: str, order: list[str], count: int) -> dict[str, dict[str, list[str]]]:
    return {
        f"{prefix}{index}": {"A": [f"{word} {index}" for word in order], "B": [f"{order} {index}"]}
        for index in range(count)
    }


AXES = np.eye(4, dtype=np.float32)
CAPTIONS = _captions("m", ["up", "down"], 4)


def test_features_on_four_axes_find_their_own_and_the_control_reads_another_order() -> None:
    scores = score(_embeddings(AXES, AXES, np.stack([AXES] * 4)), CAPTIONS)
    assert scores.metrics["B/t2v_R1"] == scores.metrics["B/v2t_R1"] == 100
    assert scores.metrics["A/t2v_MedR"] == 1
    assert scores.metrics["sorting/position"] == scores.metrics["sorting/all_right"] == 100
    assert scores.metrics["sorting/control"] == 0
    assert chance(list(scores.metrics), 4, 4).keys() == scores.metrics.keys()


def test_examples_are_the_first_queries_with_the_rank_of_their_own_clip() -> None:
    video = np.roll(AXES, 1, axis=0)  # text 0 looks like video 1
    first = score(_embeddings(video, AXES, np.stack([AXES] * 4)), CAPTIONS).examples[0]
    assert (first.register, first.text, first.own) == ("A", "up 0 down 0", "clip m0")
    assert first.hits[0].uid == "clip m1"
    assert first.rank == 2


def test_twins_are_the_same_sentences_in_another_order() -> None:
    captions = CAPTIONS | _captions("t", ["down", "up"], 3)
    gallery = _embeddings(AXES, AXES, np.stack([AXES] * 4))
    twins = _embeddings(AXES[:3], AXES[:3], np.stack([AXES] * 3), "t")
    assert pair_twins(gallery, twins, captions) == [(0, 0), (1, 1), (2, 2)]


def test_twins_are_judged_in_registers_of_single_texts_and_in_both_directions() -> None:
    captions = CAPTIONS | _captions("t", ["down", "up"], 4)
    gallery = _embeddings(AXES, AXES, np.stack([AXES] * 4))
    apart = _embeddings(AXES[::-1].copy(), AXES[::-1].copy(), np.stack([AXES] * 4), "t")
    alike = _embeddings(AXES, AXES[::-1].copy(), np.stack([AXES] * 4), "t")  # the videos do not tell
    told, not_told = score(gallery, captions, apart).metrics, score(gallery, captions, alike).metrics
    assert "twins/A/t2v" not in told
    assert told["twins/B/t2v"] == told["twins/B/v2t"] == 100
    assert not_told["twins/B/t2v"] == not_told["twins/B/v2t"] == 50


def test_a_caption_file_names_its_media_by_key_and_a_wrong_one_is_said_in_a_sentence(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps({"a.mp4": {"A": ["x", "y"], "B": "z"}}))
    bad.write_text(json.dumps({"a.mp4": {"A": 3}}))
    uid = stable_uid("yt_temporal", "a.mp4")
    assert read_captions(str(good), "yt_temporal") == {uid: {"A": ["x", "y"], "B": ["z"]}}
    with pytest.raises(UserError, match="not a caption file"):
        read_captions(str(bad), "yt_temporal")


def test_texts_that_did_not_move_have_a_drift_of_one_and_turned_ones_less() -> None:
    before = _embeddings(AXES, AXES, np.stack([AXES] * 4))
    turned = np.roll(AXES, 1, axis=1)
    half = np.concatenate([AXES[:2], turned[2:]])
    assert drift(before, _embeddings(AXES, 3 * AXES, np.stack([AXES] * 4))) == {
        "drift/A": 1.0,
        "drift/B": 1.0,
    }
    assert drift(before, _embeddings(AXES, half, np.stack([AXES] * 4))) == {"drift/A": 0.5, "drift/B": 0.5}


def test_a_clip_belongs_to_every_class_that_its_text_names() -> None:
    captions = {
        f"m{i}": {"B": [f"a red circle, then {thing}"]} for i, thing in enumerate(["a cross", "a box"])
    }
    cosines = np.array([[0.9, 0.8, 0.1], [0.9, 0.8, 0.1]], np.float32)
    gallery = replace(_embeddings(AXES[:2], AXES[:2], np.stack([AXES] * 2)), classes={"B": cosines})
    held_out = HeldOut("", "", captions, classes={"B": ["a red circle", "a cross", "a box"]})
    assert classification(gallery, held_out) == {"classes/B/top1": 100.0, "classes/B/found": 75.0}


def test_fresh_weights_are_evaluated_from_the_store_to_the_scores(ray_local: None, tmp_path: Path) -> None:
    write_stream(str(tmp_path), "test", 8, per_shard=4)
    write_stream(str(tmp_path), "twins", 3)
    captions = {
        synthetic_clip(number).media_uid: {"A": ["it goes", f"number {number}"], "B": [f"clip {number}"]}
        for number in range(8)
    }
    held_out = HeldOut(str(tmp_path), "test", captions, "twins")
    scores = evaluate(held_out, Fresh(TINY), TINY_PIXELS, num_frames=4, batch_size=4)
    assert (scores.num_clips, scores.num_transcripts, scores.num_twins) == (8, 4, 6)
    assert scores.metrics["A/t2v_R10"] == scores.metrics["B/v2t_R10"] == 100
    assert 0 <= scores.metrics["sorting/control"] <= 100
    assert len(scores.examples) == 4

    shown = replace(held_out, twins=None, classes={"B": [f"clip {number}" for number in range(8)]})
    metrics, start = search_metrics(shown, Fresh(TINY), Fresh(TINY), TINY_PIXELS, num_frames=4, batch_size=4)
    assert metrics == start
    assert [metrics["drift/A"], metrics["drift/B"]] == pytest.approx([1, 1])
    assert metrics["B/t2v_R1"] == scores.metrics["B/t2v_R1"]
    # The classes are the texts: a clip's own prompt is its best one as often as the video finds its text.
    assert metrics["classes/B/top1"] == metrics["classes/B/found"] == scores.metrics["B/v2t_R1"]
