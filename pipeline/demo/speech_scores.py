"""How well speech was recognised: word error rate, and how far segments begin from where they should."""

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rapidfuzz.distance import Levenshtein
from whisper.decoding import DecodingResult
from whisper.tokenizer import Tokenizer

from pipeline.demo.speech_windows import Sentence

_TIME_PRECISION_S = 0.02  # between two of Whisper's timestamp tokens


@dataclass(frozen=True)
class SpeechScore:
    """Word error rate over all windows (0 is perfect), median distance of segment starts in seconds."""

    word_error_rate: float
    start_error_s: float
    lowest_logprob: float
    """Of all windows the lowest mean log probability: Whisper decodes again below -1."""


def words_of(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return re.findall(r"[a-z]+", text.lower())


def word_errors(spoken: str, recognised: str) -> tuple[int, int]:
    """Words inserted, left out or replaced; and the number of words spoken."""
    reference = words_of(spoken)
    return Levenshtein.distance(reference, words_of(recognised)), len(reference)


def start_errors_s(spoken: Iterable[float], recognised: Sequence[float]) -> list[float]:
    """For each spoken start, how far the nearest recognised start is; infinite where there is none."""
    return [min((abs(start - other) for other in recognised), default=float("inf")) for start in spoken]


def score(
    spoken: Sequence[Sequence[Sentence]], results: Sequence[DecodingResult], tokenizer: Tokenizer
) -> SpeechScore:
    """Compare decoded windows with the sentences spoken in them."""
    errors = words = 0
    starts: list[float] = []
    for sentences, result in zip(spoken, results, strict=True):
        wrong, total = word_errors(" ".join(s.text for s in sentences), result.text)
        errors, words = errors + wrong, words + total
        starts += start_errors_s((s.start_s for s in sentences), _segment_starts_s(result.tokens, tokenizer))
    return SpeechScore(errors / words, statistics.median(starts), min(r.avg_logprob for r in results))


def _segment_starts_s(tokens: Sequence[int], tokenizer: Tokenizer) -> list[float]:
    """Times of the timestamp tokens that open a segment: each one that text follows."""
    opening = (a for a, b in pairwise(tokens) if a >= tokenizer.timestamp_begin > b)
    return [(token - tokenizer.timestamp_begin) * _TIME_PRECISION_S for token in opening]
