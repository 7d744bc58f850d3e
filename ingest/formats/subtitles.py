"""SubRip and WebVTT files as speech with times.

Read here and not with a library: those at hand drop the times inside a cue, which are the only word times there are
(YouTube's captions have them, and repeat every line in the next cue), and they pass over what they cannot read.
"""

import html
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ftfy

from ingest.records import Utterance, Word
from ingest.speech.sentences import Segment, sentences_of_segments, sentences_of_words

_TIME = r"(?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{1,3}"
_TIMES = re.compile(rf"^\s*({_TIME})\s*-->\s*({_TIME})(?:\s.*)?$")
_INSIDE = re.compile(rf"<({_TIME})>")
_LINE = re.compile(r"\r\n|\r|\n")
_TAGS = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")


class SubtitlesError(ValueError):
    """No subtitles: what is wrong and in which line."""


@dataclass(frozen=True)
class Cue:
    """What is shown from `start_s` to `end_s`: its lines as they stand in the file."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]


def utterances_of(data: bytes) -> tuple[Utterance, ...]:
    """The sentences of a .srt or .vtt file; where words have times inside the cues, these are kept.

    Raises SubtitlesError.
    """
    cues = read_cues(_decoded(data))
    if any(_INSIDE.search(line) for cue in cues for line in cue.lines):
        return sentences_of_words(timed_words(cues), origin="provider")
    segments = [
        Segment(text, cue.start_s, cue.end_s) for cue in cues if (text := _spoken_words(" ".join(cue.lines)))
    ]
    return sentences_of_segments(segments, origin="provider")


def read_cues(text: str) -> list[Cue]:
    """The cues in the order of their times. Raises SubtitlesError: times that run backwards, or no cue at all."""
    cues: list[Cue] = []
    lines: list[str] = []
    begun: tuple[float, float] | None = None
    for number, line in enumerate([*_LINE.split(text), ""], 1):
        found = _TIMES.match(line)
        if begun is not None and (found or not line):
            # In SubRip the number of the next cue stands above its times, sometimes without a blank line.
            kept = lines[:-1] if found and lines and lines[-1].strip().isdigit() else lines
            cues.append(Cue(*begun, tuple(kept)))
            begun, lines = None, []
        if found:
            begun = _seconds(found[1]), _seconds(found[2])
            if begun[1] < begun[0]:
                raise SubtitlesError(f"line {number}: the cue ends before it begins")
        elif begun is not None:
            lines.append(line)
    if not cues and text.strip() and text.strip() != "WEBVTT":
        raise SubtitlesError("no line says from when to when")
    return sorted(cues, key=lambda cue: cue.start_s)


def timed_words(cues: Sequence[Cue]) -> list[Word]:
    """Words in time order; a line that only repeats the last one of the cue before (as on YouTube) counts once."""
    words: list[Word] = []
    before = ""
    for cue in cues:
        for line in cue.lines:
            said = _spoken_words(line)
            if said and (said != before or _INSIDE.search(line)):
                words += _words_of(line, cue)
        before = next((said for line in reversed(cue.lines) if (said := _spoken_words(line))), before)
    return sorted(words, key=lambda word: word.start_s)


def _words_of(line: str, cue: Cue) -> Iterator[Word]:
    """The words of a line: those between two times share the time between them."""
    pieces = _INSIDE.split(line)
    starts = [cue.start_s, *(_seconds(time) for time in pieces[1::2])]
    ends = [*starts[1:], cue.end_s]
    for text, start, end in zip(pieces[::2], starts, ends, strict=True):
        found = _spoken_words(text).split()
        step = max(end - start, 0.0) / max(len(found), 1)
        for number, word in enumerate(found):
            yield Word(word, start + number * step, start + (number + 1) * step)


def _spoken_words(line: str) -> str:
    """Without tags and entities, mojibake repaired, blanks single."""
    return " ".join(ftfy.fix_text(html.unescape(_TAGS.sub("", line))).split())


def _seconds(time: str) -> float:
    *hours, minutes, seconds = time.replace(",", ".").split(":")
    return math.fsum([3600 * float(hours[0] if hours else 0), 60 * float(minutes), float(seconds)])


def _decoded(data: bytes) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise SubtitlesError(f"the text is not {encoding} ({error.reason} at byte {error.start})") from error
    if "\0" in text:
        raise SubtitlesError("a NUL character")
    return text
