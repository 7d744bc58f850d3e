"""Sentences from words and from a speech model's segments."""

import pytest

from ingest.records import Word
from ingest.speech.sentences import Segment, sentences_of_segments, sentences_of_words


def test_words_become_sentences_at_end_marks_and_long_pauses() -> None:
    told = [Word("One", 0.0), Word("two.", 0.4), Word("", 0.6), Word("Three", 1.0), Word("four", 9.0)]
    found = sentences_of_words(told, "provider")
    times = [(u.text, u.start_s, u.end_s) for u in found]
    assert times == [("One two.", 0.0, 1.0), ("Three", 1.0, 2.0), ("four", 9.0, 10.0)]


def test_a_segment_of_two_sentences_shares_its_time_by_letters() -> None:
    first, second = sentences_of_segments([Segment("Aaaa. Bbbb.", 10.0, 21.0)], "whisper")
    assert (first.text, second.text) == ("Aaaa.", "Bbbb.")
    assert (first.start_s, first.end_s, second.end_s) == pytest.approx((10.0, 15.0, 21.0))


def test_a_sentence_runs_on_over_a_segment_border() -> None:
    segments = [
        Segment("The red", 0.0, 1.0),
        Segment("circle floats.", 1.1, 2.0),
        Segment("It ends.", 2.0, 3.0),
    ]
    assert [u.text for u in sentences_of_segments(segments, "w")] == ["The red circle floats.", "It ends."]


def test_a_sentence_lasts_as_long_as_its_words_and_keeps_them() -> None:
    words = (Word("Two", 1.0, 1.2), Word("go.", 1.2, 1.5), Word("One", 3.0, 3.4), Word("stays", 3.4, 4.0))
    segments = [
        Segment("Two go. One stays", 0.9, 4.1, words),
        Segment("here.", 4.1, 5.0, (Word("here.", 4.1, 4.8),)),
    ]
    first, second = sentences_of_segments(segments, "whisper")
    assert (first.text, first.start_s, first.end_s, first.words) == ("Two go.", 1.0, 1.5, words[:2])
    assert (second.text, second.start_s, second.end_s) == ("One stays here.", 3.0, 4.8)
    assert [word.text for word in second.words] == ["One", "stays", "here."]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It holds 3.5 litres. Good!", ["It holds 3.5 litres.", "Good!"]),
        ('He said "no." She left...', ['He said "no."', "She left..."]),
        ("你好。再见！", ["你好。", "再见！"]),
    ],
)
def test_sentences_end_where_readers_see_an_end(text: str, sentences: list[str]) -> None:
    assert [u.text for u in sentences_of_segments([Segment(text, 0.0, 1.0)], "whisper")] == sentences
