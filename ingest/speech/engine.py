"""What an engine of speech recognition computes. What follows from it is decided by `recogniser.py`, for all alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # seconds to import, and decoding actors need none of it
    from whisper.timing import WordTiming
    from whisper.tokenizer import Tokenizer

SAMPLE_RATE = 16_000
Encoded = Any
"""What an engine's encoder makes of one window; only that engine looks inside."""


@dataclass(frozen=True, eq=False)
class SpeechWindow:
    """At most 30 s of sound (float32, 16 kHz) of one medium; `key` names the window and seeds its fallback."""

    key: str
    start_s: float
    samples: NDArray[np.float32]

    @property
    def duration_s(self) -> float:
        """Length of the window."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True)
class Decoded:
    """What one window says. `tokens`: text and time tokens; `cut_off`: there was no room for more of them."""

    tokens: tuple[int, ...]
    text: str
    avg_logprob: float
    no_speech_prob: float
    cut_off: bool


class SpeechModel(Protocol):
    """A loaded model of Whisper's kind. The result of a window does not depend on the windows beside it."""

    @property
    def origin(self) -> str:
        """Engine and model, as utterances name it."""
        ...

    @property
    def multilingual(self) -> bool:
        """Whether it knows more than English."""
        ...

    def tokenizer(self, language: str) -> "Tokenizer":
        """Text to tokens and back."""
        ...

    def encode(self, sounds: Sequence[NDArray[np.float32]]) -> list[Encoded]:
        """Each window's sound, encoded."""
        ...

    def languages(self, encoded: Sequence[Encoded]) -> list[dict[str, float]]:
        """Of each window, how probable each language is; multilingual models only."""
        ...

    def decode(
        self, encoded: Sequence[Encoded], languages: Sequence[str], temperature: float, seeds: Sequence[int]
    ) -> list[Decoded]:
        """The likeliest text of each window, or one drawn at a temperature; a window's seed alone decides its draw."""
        ...

    def align(
        self, encoded: Encoded, language: str, tokens: Sequence[int], num_frames: int
    ) -> "list[WordTiming]":
        """When the words of these text tokens are said, in seconds of the window of `num_frames` (10 ms each)."""
        ...
