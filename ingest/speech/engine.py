"""What a speech engine is: windows of sound in, segments of text out, one list per window in the order given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ingest.speech.sentences import Segment


@dataclass(frozen=True, eq=False)
class SpeechWindow:
    """At most 30 s of sound (float32, 16 kHz) of one medium; `key` names the window and seeds its fallback."""

    key: str
    start_s: float
    samples: NDArray[np.float32]


class SpeechEngine(Protocol):
    """Recognises speech. The result of a window does not depend on the windows beside it."""

    @property
    def origin(self) -> str:
        """Name of the model, as utterances state it."""
        ...

    def recognise(self, windows: Sequence[SpeechWindow]) -> list[list[Segment]]:
        """Segments of each window; their times are those of the medium."""
        ...
