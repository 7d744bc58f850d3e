"""What can be read and is still set aside; each filter is one stage."""

import io
import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from ingest import settings
from ingest.decode.images import is_jpeg
from ingest.decode.isolation import Facts, Limits, decoder
from ingest.records import Clip, Media, Reject
from ingest.stores.pictures import is_ppm

_CHANGED = 16  # grey levels of 255; noise and the codec's flicker stay below
_SMALL_SIDE = 64


@dataclass(frozen=True)
class Fitting:
    """Keeps videos of a length and a size."""

    min_duration_s: float = 0.0
    max_duration_s: float = 0.0
    min_short_side: int = 0

    def __call__(self, media: Media, facts: Facts) -> Media | Reject:
        """The medium, or a Reject: too_short, too_long, too_small."""
        if facts.duration_s < self.min_duration_s:
            return _reject(media, "too_short", f"{facts.duration_s:.2f} s, {self.min_duration_s:g} are asked")
        if self.max_duration_s and facts.duration_s > self.max_duration_s:
            return _reject(
                media, "too_long", f"{facts.duration_s:.2f} s, {self.max_duration_s:g} are allowed"
            )
        return _large_enough(media, facts.width, facts.height, self.min_short_side)


def fitting(chosen: settings.Filters) -> Fitting:
    """The lengths and sizes that a recipe keeps."""
    return Fitting(chosen.min_duration_s, chosen.max_duration_s, chosen.min_short_side)


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


@dataclass(frozen=True)
class LargeStill:
    """Keeps images of a size, told from their headers."""

    min_short_side: int = 0

    def __call__(self, media: Media) -> Media | Reject:
        """The medium, or a Reject: too_small. What is no image is found when it is decoded."""
        if not self.min_short_side or media.payload is None:
            return media
        try:
            width, height = _size(media.payload)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return media
        return _large_enough(media, width, height, self.min_short_side)


@dataclass(frozen=True)
class EnoughSpeech:
    """Keeps narrated clips that say enough to supervise their frames."""

    min_words_per_s: float = 0.0

    def __call__(self, clip: Clip) -> Clip | Reject:
        """The clip, or a Reject: little_speech."""
        words = sum(len(said.text.split()) for said in clip.transcripts)
        if not clip.transcripts or words >= self.min_words_per_s * clip.duration_s:
            return clip
        detail = f"{words} words in {clip.duration_s:.1f} s, {self.min_words_per_s:g} per second are asked"
        return _clip_reject(clip, "little_speech", detail)


@dataclass(frozen=True)
class EnoughMotion:
    """Keeps video clips in which something moves."""

    min_motion: float = 0.0

    def __call__(self, clip: Clip) -> Clip | Reject:
        """The clip, or a Reject: static."""
        if not self.min_motion or len(clip.frames) < 2:
            return clip
        share = motion([_small(frame) for frame in clip.frames])
        if share >= self.min_motion:
            return clip
        return _clip_reject(
            clip, "static", f"{share:.2%} of the pixels change, {self.min_motion:.2%} are asked"
        )


@dataclass(frozen=True)
class Once:
    """Keeps what comes first of media that are the same; one per input shard, since shards know nothing of others."""

    seen: set[str] = field(default_factory=set)

    def __call__(self, media: Media, sign: str) -> Media | Reject:
        """The medium, or a Reject: repeated. `sign` is equal where two media are the same."""
        if sign in self.seen:
            return _reject(media, "repeated", f"{media.key}: the same came before in this input shard")
        self.seen.add(sign)
        return media


def motion(frames: list[NDArray[np.uint8]]) -> float:
    """Share of the pixels that change from one grey frame to the next, averaged."""
    moved = [
        np.mean(np.abs(after.astype(np.int16) - before) > _CHANGED)
        for before, after in itertools.pairwise(frames)
    ]
    return float(np.mean(moved))


def _small(stored: bytes) -> NDArray[np.uint8]:
    """A stored frame in grey, scaled down while it is decoded."""
    if is_ppm(stored):
        with Image.open(io.BytesIO(stored), formats=("PPM",)) as whole:
            return np.asarray(whole.convert("L").reduce(max(1, min(whole.size) // _SMALL_SIDE)))
    frame: NDArray[np.uint8] = simplejpeg.decode_jpeg(
        stored, colorspace="GRAY", min_height=_SMALL_SIDE, min_width=_SMALL_SIDE
    )
    return frame[..., 0]


def _size(data: bytes) -> tuple[int, int]:
    if is_jpeg(data):
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        return width, height
    with Image.open(io.BytesIO(data), formats=("PNG", "WEBP", "GIF", "BMP", "TIFF")) as image:
        return image.size


def _large_enough(media: Media, width: int, height: int, short_side: int) -> Media | Reject:
    if min(width, height) >= short_side:
        return media
    return _reject(media, "too_small", f"{width}x{height}, a short side of {short_side} is asked")


def _reject(media: Media, reason: str, detail: str) -> Reject:
    return Reject(media.uid, "filter", reason, detail, media.source, media.uri)


def _clip_reject(clip: Clip, reason: str, detail: str) -> Reject:
    window = f"{clip.start_s:.1f} to {clip.end_s:.1f} s"
    return Reject(clip.media_uid, "filter", reason, f"{window}: {detail}", clip.source, clip.uri)
