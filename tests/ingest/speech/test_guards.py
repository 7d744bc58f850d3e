"""When a window is decoded again, is silent, or stutters."""

import pytest

from ingest.settings import Speech
from ingest.speech.engine import Decoded
from ingest.speech.guards import fails, is_silent, most_repeats

WELL = "Cut the onions as thin as you can, and keep the skins."
LOOP = "Thank you. " * 30


@pytest.mark.parametrize(
    ("text", "avg_logprob", "no_speech_prob", "again", "silent"),
    [
        (WELL, -0.5, 0.1, False, False),
        (WELL, -1.1, 0.1, True, False),
        (LOOP, -0.5, 0.1, True, False),
        (WELL, -1.1, 0.7, False, True),  # silence, and no belief in the text
        (LOOP, -1.1, 0.7, False, True),
        (LOOP, -0.5, 0.7, True, False),  # a believed loop is decoded again, silence or not
        (WELL, -0.5, 0.7, False, False),  # belief outweighs silence
        (WELL, -1.0, 0.7, False, True),  # at the limit itself
    ],
)
def test_windows_are_judged_as_whisper_transcribe_judges_them(
    text: str, avg_logprob: float, no_speech_prob: float, again: bool, silent: bool
) -> None:
    decoded = Decoded((), text, avg_logprob, no_speech_prob, cut_off=False)
    assert (fails(decoded, Speech()), is_silent(decoded, Speech())) == (again, silent)


def test_a_guard_set_to_none_does_not_judge() -> None:
    bad = Decoded((), LOOP, -9.0, 1.0, cut_off=False)
    off = Speech(compression_ratio=None, logprob=None, no_speech=None)
    assert not fails(bad, off)
    assert not is_silent(bad, off)
    assert is_silent(bad, Speech(logprob=None))  # nothing is believed where belief is not asked


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("", 0),
        ("No.", 1),
        ("no no yes no", 2),
        ("Thank you. Thank you, thank you!", 3),
        ("a b c a b c a b x", 2),
        ("one two three four five six seven eight " * 2, 2),
        ("one two three four five six seven eight nine " * 2, 1),
    ],
)
def test_a_phrase_of_up_to_eight_words_repeats_itself(text: str, repeats: int) -> None:
    assert most_repeats(text) == repeats


def test_a_stutter_too_short_to_pack_well_is_found_where_asked_for() -> None:
    stutter = Decoded((), "Thank you. " * 4, -0.5, 0.1, cut_off=False)
    assert not fails(stutter, Speech())
    assert fails(stutter, Speech(repeats=3))
    assert not fails(stutter, Speech(repeats=4))
