"""The numbers of the protocols, of columns made by hand."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from tests.trainers.tiny import SYSTEM
from trainers.evaluation.protocol import Captions, Columns, HeldOut, Measured
from trainers.evaluation.protocols.drift import Drift
from trainers.evaluation.protocols.recognition import Recognition
from trainers.evaluation.protocols.retrieval import Retrieval
from trainers.evaluation.protocols.sorting import Sorting
from trainers.evaluation.protocols.twins import Twins, paired

THREE = replace(SYSTEM, sorting=replace(SYSTEM.sorting, transcripts=3))
AXES = np.eye(4, dtype=np.float32)


def captions_of(prefix: str, words: list[str], count: int) -> dict[str, dict[str, list[str]]]:
    return {
        f"{prefix}{index}": {"A": [f"{word} {index}" for word in words], "B": [f"{words} {index}"]}
        for index in range(count)
    }


CAPTIONS = captions_of("m", ["up", "down"], 4)


def held_out(captions: Captions = CAPTIONS) -> HeldOut:
    return HeldOut("test", THREE, captions, {"B": "Captions."})


def features(video: np.ndarray, texts: np.ndarray, prefix: str = "m") -> Columns:
    media = [f"{prefix}{index}" for index in range(len(video))]
    named = {"uid": np.array([f"clip {name}" for name in media]), "media_uid": np.array(media)}
    return {**named, "video": video, "texts/A": texts, "texts/B": texts}


def values(measured: tuple[Measured, ...]) -> Mapping[str, float]:
    return {each.name: each.value for each in measured}


def test_features_on_four_axes_find_their_own_and_chance_is_one_of_the_clips() -> None:
    protocol, found = Retrieval(), features(AXES, AXES)
    measured = {each.name: each for each in protocol.score(held_out(), found, None)}
    assert list(measured) == [each.name for each in protocol.declares(held_out())]
    assert measured["B/t2v_R1"].value == measured["B/v2t_R1"].value == 100
    assert (measured["A/t2v_MedR"].value, measured["A/t2v_MedR"].chance) == (1, 2.5)
    assert (measured["B/t2v_R1"].chance, measured["B/t2v_R5"].chance) == (25, 100)
    assert measured["B/t2v_R1"].trials == 4


def test_examples_are_the_first_queries_with_the_rank_of_their_own_clip() -> None:
    turned = np.roll(AXES, 1, axis=0)  # text 0 looks like video 1
    first = Retrieval().examples(held_out(), features(turned, AXES))[0]
    assert (first.title, first.text, first.own) == ("register A", "up 0 down 0", "clip m0")
    assert first.hits[0].uid == "clip m1"
    assert first.rank == 2


def sorted_columns(logits: np.ndarray, kept: list[bool]) -> Columns:
    return {
        "logits": logits,
        "sorted": np.array(kept),
        "control": logits[:, ::-1],
        "controlled": np.array(kept),
    }


def test_places_read_off_the_video_are_right_and_the_control_reads_another_order() -> None:
    three = np.stack([np.eye(3, dtype=np.float32)] * 4)[:, [0, 2, 1]]  # the last two swapped
    measured = Sorting().score(held_out(), sorted_columns(three, [True, True, True, False]), None)
    assert values(measured) == pytest.approx(
        {"sorting/position": 100 / 3, "sorting/all_right": 0, "sorting/control": 0}
    )
    assert [each.chance for each in measured] == pytest.approx([100 / 3, 100 / 27, 100 / 3])
    assert {each.trials for each in measured} == {3}  # the fourth clip has another number of transcripts
    assert Sorting().score(held_out(), sorted_columns(three, [False] * 4), None) == ()


def test_a_system_without_the_head_declares_nothing_of_it_and_nothing_is_collected() -> None:
    headless = replace(held_out(), system=replace(THREE, sorting=None))
    assert Sorting().declares(headless) == ()
    assert list(Sorting().rounds(headless)) == []
    assert Sorting().score(headless, None, None) == ()


def test_twins_are_the_same_sentences_in_another_order() -> None:
    captions = CAPTIONS | captions_of("t", ["down", "up"], 3)
    assert paired(list(CAPTIONS), ["t0", "t1", "t2"], captions) == [(0, 0), (1, 1), (2, 2)]


def test_twins_are_judged_in_registers_of_single_texts_and_in_both_directions() -> None:
    given = held_out(CAPTIONS | captions_of("t", ["down", "up"], 4))
    gallery, other = features(AXES, AXES), AXES[::-1].copy()
    apart, alike = (
        features(other, other, "t"),
        features(AXES, other, "t"),
    )  # the videos of the latter do not tell
    told, not_told = (
        values(Twins().score(given, {"test": gallery, "twins": twins}, None)) for twins in (apart, alike)
    )
    assert told == {"twins/B/t2v": 100, "twins/B/v2t": 100}
    assert not_told == {"twins/B/t2v": 50, "twins/B/v2t": 50}
    assert [each.name for each in Twins().declares(given)] == list(told)
    on_others = replace(given, stream="val")
    assert (Twins().declares(on_others), list(Twins().rounds(on_others))) == ((), [])


def test_texts_that_did_not_move_have_a_drift_of_one_and_turned_ones_less() -> None:
    before, turned = features(AXES, AXES), np.roll(AXES, 1, axis=1)
    half = features(AXES, np.concatenate([AXES[:2], turned[2:]]))
    longer = features(AXES, 3 * AXES)
    assert values(Drift().score(held_out(), longer, before)) == {"drift/A": 1.0, "drift/B": 1.0}
    assert values(Drift().score(held_out(), half, before)) == {"drift/A": 0.5, "drift/B": 0.5}


def test_a_clip_belongs_to_every_class_that_its_text_names() -> None:
    captions = {
        f"m{i}": {"B": [f"a red circle, then {thing}"]} for i, thing in enumerate(["a cross", "a box"])
    }
    protocol = Recognition(classes={"B": ("a red circle", "a cross", "a box", "a ring")})
    cosines = np.array([[0.9, 0.8, 0.1, 0.0]] * 2, np.float32)
    found = {"media_uid": np.array(["m0", "m1"]), "classes/B": cosines}
    measured = protocol.score(held_out(captions), found, None)
    assert values(measured) == {"classes/B/top1": 100.0, "classes/B/found": 75.0}
    assert {each.chance for each in measured} == {50}  # two of the four classes are a clip's own
    with pytest.raises(ValueError, match=r"recognition\.classes: no held-out text has a register 'C'"):
        Recognition(classes={"C": ("a box",)}).declares(held_out())
