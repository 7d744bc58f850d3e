"""Signs that a speech model made its text up. The first three are those of `whisper.transcribe`."""

import re
from itertools import groupby

from whisper.utils import compression_ratio

from ingest.settings import Speech
from ingest.speech.engine import Decoded

_LONGEST_PHRASE = 8  # words


def fails(decoded: Decoded, settings: Speech) -> bool:
    """Whether to decode again at the next temperature; silence is not improved by sampling."""
    if silence_is_likelier(decoded, settings) and _improbable(decoded, settings):
        return False
    repeated = settings.compression_ratio is not None
    if repeated and compression_ratio(decoded.text) > settings.compression_ratio:
        return True
    return _improbable(decoded, settings) or stutters(decoded, settings)


def is_silent(decoded: Decoded, settings: Speech) -> bool:
    """Whether nobody speaks here: so says the model, and it does not believe in its own text."""
    believed = settings.logprob is not None and decoded.avg_logprob > settings.logprob
    return silence_is_likelier(decoded, settings) and not believed


def silence_is_likelier(decoded: Decoded, settings: Speech) -> bool:
    """The first half of the rule of silence."""
    return settings.no_speech is not None and decoded.no_speech_prob > settings.no_speech


def stutters(decoded: Decoded, settings: Speech) -> bool:
    """Whether a phrase follows itself more often than allowed."""
    return settings.repeats is not None and most_repeats(decoded.text) > settings.repeats


def most_repeats(text: str) -> int:
    """How often in a row one phrase of one to eight words is said: "no", 1; "no no", 2. Case and marks do not count."""
    words = re.findall(r"\w+", text.lower())
    runs = [1 if words else 0]
    for length in range(1, min(_LONGEST_PHRASE, len(words) // 2) + 1):
        same = [a == b for a, b in zip(words, words[length:], strict=False)]
        runs += [1 + sum(group) // length for equal, group in groupby(same) if equal]
    return max(runs)


def _improbable(decoded: Decoded, settings: Speech) -> bool:
    return settings.logprob is not None and decoded.avg_logprob < settings.logprob
