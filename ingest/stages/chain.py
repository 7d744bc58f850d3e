"""The one runner: stages in order over one medium; whatever goes wrong with it becomes a Reject."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from infra.errors import UserError
from ingest.decode.failure import MediaError
from ingest.records import Clip, Media, Reject, stable_uid
from ingest.settings import Ingest
from ingest.stages.cut import Cut
from ingest.stages.fetch import content_hash, local_file
from ingest.stages.filters import EnoughMotion, EnoughSpeech, LargeStill, Once, fitting
from ingest.stages.frames import StillFrame, VideoFrames, limits
from ingest.stages.probe import Probe

Result = TypeVar("Result")


def guarded(media: Media, stage: str, call: Callable[[], Result | Reject]) -> Result | Reject:
    """The result of a stage, or a Reject that says why this medium has none, with the hash of its bytes.

    A store that fails is nobody's bad file: StorageError and other UserErrors end the run.
    """
    result = caught(media, stage, call)
    if isinstance(result, Reject) and not result.content:
        return replace(result, content=content_hash(media))
    return result


def caught(media: Media, stage: str, call: Callable[[], Result | Reject]) -> Result | Reject:
    """The same without the hash, for stages whose caller takes it once for all."""
    try:
        return call()
    except UserError:
        raise
    except MediaError as error:
        return Reject(media.uid, stage, error.reason, error.detail[:1000], media.source, media.uri)
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"[:1000]
        return Reject(media.uid, stage, "unexpected", detail, media.source, media.uri)


@dataclass(frozen=True)
class ClipMaker:
    """Fetch, probe, cut, frames and the filters between: from the media of one input shard to their clips."""

    settings: Ingest
    narrated: bool
    once: Once = field(default_factory=Once)

    def __call__(self, media: Media) -> list[Clip | Reject]:
        """The clips of a medium, each with its frames, or the Rejects in their place."""
        make = self._still if media.kind == "image" else self._video
        # A video's file is at hand over all its stages, so a failure to fetch it surfaces around them.
        made = caught(media, "fetch", lambda: make(media))
        return _hashed([made], media) if isinstance(made, Reject) else made

    def _still(self, media: Media) -> list[Clip | Reject]:
        frame, large = StillFrame(self.settings.frames), LargeStill(self.settings.filters.min_short_side)
        sign = self._sign(media)
        kept = self.once(media, sign)
        fits = kept if isinstance(kept, Reject) else large(kept)
        if isinstance(fits, Reject):
            return _hashed([fits], media)
        return _hashed(self._each_clip(fits, sign, lambda clip: frame(clip, fits)), media)

    def _video(self, media: Media) -> list[Clip | Reject]:
        with local_file(media) as path:
            sign = self._sign(media, path)
            kept = self.once(media, sign)
            probe = Probe(limits(self.settings.frames), fitting(self.settings.filters))
            probed = kept if isinstance(kept, Reject) else caught(media, "probe", lambda: probe(media, path))
            if isinstance(probed, Reject):
                return _hashed([probed], media, path)
            frames = VideoFrames(self.settings.frames)
            moving = EnoughMotion(self.settings.filters.min_motion)
            return _hashed(
                self._each_clip(probed, sign, lambda clip: moving(frames(clip, path))), media, path
            )

    def _sign(self, media: Media, path: Path | None = None) -> str:
        """What is equal for media that are the same."""
        by_content = self.settings.filters.duplicates == "content"
        return (by_content and content_hash(media, path)) or media.uid

    def _each_clip(
        self, media: Media, sign: str, frames: Callable[[Clip], Clip | Reject]
    ) -> list[Clip | Reject]:
        cut = Cut(self.settings.narrated if self.narrated else self.settings.captioned, self.narrated)
        clips = caught(media, "cut", lambda: cut(media))
        if isinstance(clips, Reject):
            return [clips]
        spoken = EnoughSpeech(self.settings.filters.min_words_per_s)
        said = [spoken(_signed(clip, sign)) for clip in clips]
        return [
            clip if isinstance(clip, Reject) else caught(media, "frames", partial(frames, clip))
            for clip in said
        ]


def _hashed(made: list[Clip | Reject], media: Media, path: Path | None = None) -> list[Clip | Reject]:
    """The same; Rejects with the hash of the medium's bytes, taken once."""
    if not any(isinstance(item, Reject) for item in made):
        return made
    content = content_hash(media, path)
    return [replace(item, content=content) if isinstance(item, Reject) else item for item in made]


def _signed(clip: Clip, sign: str) -> Clip:
    """The clip of a medium known by its content has an id by content too: the same one in every input shard."""
    if sign == clip.media_uid:
        return clip
    return replace(clip, uid=stable_uid(sign, round(clip.start_s * 1000), round(clip.end_s * 1000)))
