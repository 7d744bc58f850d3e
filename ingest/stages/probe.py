"""What a medium is, found before anything else is done with it."""

from dataclasses import dataclass, replace
from pathlib import Path

from ingest.decode.isolation import Limits, decoder
from ingest.records import Media, Reject
from ingest.stages.filters import Fitting


@dataclass(frozen=True)
class Probe:
    """Set aside what is no sound video: empty, cut off, no video track, no container, a header that lies; and what
    does not fit."""

    limits: Limits
    fitting: Fitting = Fitting()

    def __call__(self, media: Media, path: Path) -> Media | Reject:
        """The medium with its true duration and whether it has sound. Raises MediaError."""
        facts = decoder(self.limits).index(path)
        return self.fitting(replace(media, duration_s=facts.duration_s, has_sound=facts.has_sound), facts)
