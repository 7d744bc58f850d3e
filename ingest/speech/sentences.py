"""What was said, as sentences with times."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.records import Utterance, Word

PAUSE_S = 2.0
"""A silence this long ends a sentence, punctuation or not."""
MAX_WORDS = 40
"""Words after which a text without punctuation is ended."""
LAST_WORD_S = 1.0
"""Longest time given to a word whose end is not known."""
_ENDS = re.compile(r"(?:[.!?][\"')\]]*|[。！？][」』”’]*)$")
# An end mark inside a number or a name ("3.5", "U.S.") ends nothing; those of Chinese and Japanese need no blank.
_PIECES = re.compile(r".+?(?:[.!?]+[\"')\]]*(?=\s|$)|[。！？]+[」』”’]*|$)", re.DOTALL)


@dataclass(frozen=True)
class Segment:
    """A stretch of text as a speech model gives it, words where their times are known; seconds of the medium."""

    text: str
    start_s: float
    end_s: float
    words: tuple[Word, ...] = ()


def sentences_of_words(words: Sequence[Word], origin: str) -> tuple[Utterance, ...]:
    """Words in time order, cut after sentence ends and at long pauses; words without text belong to none."""
    spoken = [word for word in words if word.text]
    utterances: list[Utterance] = []
    begin = 0
    for index, word in enumerate(spoken):
        following = spoken[index + 1].start_s if index + 1 < len(spoken) else None
        if following is None or _ends(word, following) or index + 1 - begin >= MAX_WORDS:
            utterances.append(_sentence(spoken[begin : index + 1], following, origin))
            begin = index + 1
    return tuple(utterances)


def _ends(word: Word, following_s: float) -> bool:
    return bool(_ENDS.search(word.text)) or following_s - word.start_s > PAUSE_S


def _sentence(words: Sequence[Word], following_s: float | None, origin: str) -> Utterance:
    last = words[-1]
    end = last.end_s if last.end_s is not None else last.start_s + LAST_WORD_S
    if following_s is not None:
        end = min(end, max(following_s, last.start_s))
    return Utterance(" ".join(word.text for word in words), words[0].start_s, end, tuple(words), origin)


def sentences_of_segments(segments: Sequence[Segment], origin: str) -> tuple[Utterance, ...]:
    """Segments in time order, cut inside where sentences end and joined where one runs on."""
    utterances: list[Utterance] = []
    for piece in (piece for segment in segments for piece in _pieces(segment)):
        if utterances and _runs_on(utterances[-1], piece):
            before = utterances[-1]
            text, words = f"{before.text} {piece.text}", before.words + piece.words
            utterances[-1] = Utterance(text, before.start_s, piece.end_s, words, origin)
        else:
            utterances.append(Utterance(piece.text, piece.start_s, piece.end_s, piece.words, origin))
    return tuple(utterances)


def _pieces(segment: Segment) -> Iterator[Segment]:
    """The sentences of a segment; they last as long as their words or, where unknown, share its time by letters."""
    seconds = (segment.end_s - segment.start_s) / max(len(segment.text), 1)
    waiting = list(segment.words)
    for found in _PIECES.finditer(segment.text):
        if text := found.group().strip():
            start, end = found.span()
            words = _first_words(waiting, text)
            times = (segment.start_s + start * seconds, segment.start_s + end * seconds)
            if words:
                times = (words[0].start_s, words[-1].end_s or times[1])
            yield Segment(text, *times, tuple(words))


def _first_words(waiting: list[Word], text: str) -> list[Word]:
    """Take from the front those words whose letters make up the text."""
    missing = len("".join(text.split()))
    words: list[Word] = []
    while waiting and missing > 0:
        words.append(waiting.pop(0))
        missing -= len("".join(words[-1].text.split()))
    return words


def _runs_on(before: Utterance, piece: Segment) -> bool:
    """A sentence runs on when it has no end mark, the next piece begins small and hardly a breath lies between."""
    unfinished = not _ENDS.search(before.text) and piece.text[:1].islower()
    return unfinished and piece.start_s - before.end_s < 0.3 and len(before.text.split()) < MAX_WORDS
