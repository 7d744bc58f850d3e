"""Subtitles to sentences with times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.formats.subtitles import SubtitlesError, read_cues, utterances_of

SRT = (
    "\ufeff1\r\n00:00:01,000 --> 00:00:02,500\r\n<i>One &amp; only.</i>\r\n\r\n"
    "2\r\n00:00:03,000 --> 00:00:05,000\r\nTwo\r\nlines.\r\n"
)


def told(text: str) -> list[tuple[str, float, float]]:
    return [(said.text, said.start_s, said.end_s) for said in utterances_of(text.encode())]


def test_subrip_cues_become_sentences_without_their_tags() -> None:
    assert told(SRT) == [("One & only.", 1.0, 2.5), ("Two lines.", 3.0, 5.0)]


def test_webvtt_notes_styles_names_and_settings_are_not_said() -> None:
    vtt = (
        "WEBVTT - a title\n\nSTYLE\n::cue { color: red }\n\nNOTE not said\n\nfirst\n"
        "00:01.000 --> 00:02.500 align:start line:0\n<v Roger>One is here.\n\n"
        "01:00:03.000 --> 01:00:05.000\nTwo <b>comes</b>.\n"
    )
    assert told(vtt) == [("One is here.", 1.0, 2.5), ("Two comes.", 3603.0, 3605.0)]


def test_a_sentence_over_two_cues_is_one() -> None:
    cues = "1\n00:00:01,000 --> 00:00:02,000\nThe red\n\n2\n00:00:02,000 --> 00:00:03,000\ncircle floats.\n"
    assert told(cues) == [("The red circle floats.", 1.0, 3.0)]


def test_numbers_without_blank_lines_between_cues_are_not_said() -> None:
    cues = "1\n00:00:01,000 --> 00:00:02,000\nOne.\n2\n00:00:02,500 --> 00:00:03,000\nTwo.\n"
    assert told(cues) == [("One.", 1.0, 2.0), ("Two.", 2.5, 3.0)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"just a text", "no line says from when to when"),
        (b"1\n00:00:02,000 --> 00:00:01,000\nback\n", "line 2: the cue ends before it begins"),
        (b"1\n00:00:01,000 --> 00:00:02,000\ncaf\xe9\n", "the text is not utf-8"),
        (b"1\n00:00:01,000 --> 00:00:02,000\na\0b\n", "a NUL character"),
    ],
)
def test_what_is_no_subtitle_file_says_why(data: bytes, message: str) -> None:
    with pytest.raises(SubtitlesError, match=message):
        utterances_of(data)


def test_an_empty_file_says_nothing() -> None:
    assert utterances_of(b"WEBVTT\n") == utterances_of(b"") == ()


@given(st.text(alphabet="0123:,.-> \n<c>/W", max_size=200))
def test_any_text_gives_cues_in_order_or_one_error(text: str) -> None:
    try:
        cues = read_cues(text)
    except SubtitlesError:
        return
    assert [cue.start_s for cue in cues] == sorted(cue.start_s for cue in cues)
    utterances_of(text.encode())
