"""When each word of a window is said, from Whisper's cross attention, corrected as `whisper.transcribe` corrects it.

Attention gives each moment to some token, so that the words beside a pause come out too long; the corrections of
`whisper.timing.add_word_timestamps` (which would also decode) shorten them.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from whisper.timing import WordTiming, merge_punctuations

from ingest.records import Word
from ingest.speech.engine import SpeechWindow
from ingest.speech.sentences import Segment
from ingest.speech.time_tokens import TimedTokens

_OPENING = "\"'“¿([{-"
_CLOSING = "\"'.。,，!！?？:：”)]}、"
_SENTENCE_ENDS = ".。!！?？"
_LONGEST_USUAL_S = 0.7


def worded_segments(
    timed: Sequence[TimedTokens], alignment: Sequence[WordTiming], window: SpeechWindow
) -> list[Segment]:
    """Segments with their words, in seconds of the medium; `alignment` is of all their tokens in a row."""
    usual_s = _usual_s(alignment)
    _shorten_at_sentence_ends(alignment, 2 * usual_s)
    words = list(alignment)
    merge_punctuations(words, _OPENING, _CLOSING)
    found: list[Segment] = []
    spoken_until = 0.0
    for item, own in zip(timed, _shares(timed, words), strict=True):
        start, end = item.start_s, item.end_s
        if own:
            _shorten_after_pause(own, spoken_until, usual_s)
            start, end = _agreed(own, item, usual_s)
            spoken_until = end
        found.append(_segment(own, start, end, item.text, window))
    return found


def _usual_s(alignment: Sequence[WordTiming]) -> float:
    lengths = [word.end - word.start for word in alignment if word.end != word.start]
    return min(_LONGEST_USUAL_S, float(median(lengths))) if lengths else 0.0


def _shorten_at_sentence_ends(alignment: Sequence[WordTiming], longest_s: float) -> None:
    for before, word in pairwise(alignment):
        if word.end - word.start > longest_s:
            if word.word in _SENTENCE_ENDS:
                word.end = word.start + longest_s
            elif before.word in _SENTENCE_ENDS:
                word.start = word.end - longest_s


def _shares(timed: Sequence[TimedTokens], words: Sequence[WordTiming]) -> Iterator[list[WordTiming]]:
    """The words of each segment, by the number of their tokens; those merged into a neighbour have none."""
    waiting = iter(words)
    for item in timed:
        own: list[WordTiming] = []
        missing = len(item.tokens)
        while missing > 0 and (word := next(waiting, None)) is not None:
            own += [word] if word.word else []
            missing -= len(word.tokens)
        yield own


def _shorten_after_pause(words: Sequence[WordTiming], spoken_until: float, usual_s: float) -> None:
    """The first two words after a pause last at most twice as long as usual."""
    first, second = words[0], words[1] if len(words) > 1 else None
    too_long = first.end - first.start > 2 * usual_s
    both_too_long = second is not None and second.end - first.start > 4 * usual_s
    if first.end - spoken_until > 4 * usual_s and (too_long or both_too_long):
        if second is not None and second.end - second.start > 2 * usual_s:
            first.end = second.start = max(second.end / 2, second.end - 2 * usual_s)
        first.start = max(0, first.end - 2 * usual_s)


def _agreed(words: Sequence[WordTiming], item: TimedTokens, usual_s: float) -> tuple[float, float]:
    """Start and end of a segment: its words', unless the first or last is half a second beyond its time tokens."""
    first, last = words[0], words[-1]
    start, end = first.start, last.end
    if item.start_s < first.end and item.start_s - 0.5 > first.start:
        first.start = max(0, min(first.end - usual_s, item.start_s))
        start = item.start_s
    if item.end_s > last.start and item.end_s + 0.5 < last.end:
        last.end = max(last.start + usual_s, item.end_s)
        end = item.end_s
    return start, end


def _segment(
    words: Sequence[WordTiming], start_s: float, end_s: float, text: str, window: SpeechWindow
) -> Segment:
    def of_medium(seconds: float) -> float:
        return window.start_s + round(min(max(float(seconds), 0.0), window.duration_s), 2)

    timed = tuple(Word(word.word.strip(), of_medium(word.start), of_medium(word.end)) for word in words)
    return Segment(text, of_medium(start_s), of_medium(max(start_s, end_s)), timed)
