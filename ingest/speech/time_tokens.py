"""Time tokens in what Whisper says: which text lies between them."""

from collections.abc import Sequence
from dataclasses import dataclass

from whisper.tokenizer import Tokenizer

_TIME_TOKEN_S = 0.02


@dataclass(frozen=True)
class TimedTokens:
    """Text, its tokens, and when it is said, in seconds of the window. `closed`: a time token ends it."""

    text: str
    tokens: tuple[int, ...]
    start_s: float
    end_s: float
    closed: bool


def timed_tokens(tokens: Sequence[int], tokenizer: Tokenizer, length_s: float) -> list[TimedTokens]:
    """Text between time tokens; what no time closes ends with the window, and none reaches beyond it."""
    found: list[TimedTokens] = []
    start, spoken = 0.0, list[int]()

    def close(end: float, closed: bool) -> None:
        if text := tokenizer.decode(spoken).strip():
            found.append(TimedTokens(text, tuple(spoken), start, min(max(end, start), length_s), closed))
        spoken.clear()

    for token in tokens:
        if token >= tokenizer.timestamp_begin:
            time = min((token - tokenizer.timestamp_begin) * _TIME_TOKEN_S, length_s)
            close(time, closed=True)
            start = time
        elif token < tokenizer.eot:
            spoken.append(token)
    close(length_s, closed=False)
    return found
