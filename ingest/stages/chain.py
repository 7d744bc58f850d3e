"""The chain of ingest, read aloud: what a medium goes through to become clips.

Whatever a stage does not want, or cannot do, becomes a Reject in its place, and the others go on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from infra.errors import UserError
from ingest.decode.request import MediaError
from ingest.records import Clip, Media, Reject, stable_uid
from ingest.settings import Ingest
from ingest.stages.cut import Cut
from ingest.stages.fetch import content_hash, local_file
from ingest.stages.filters import EnoughMotion, EnoughSpeech, LargeStill, Once, Probe, fitting
from ingest.stages.frames import StillFrame, VideoFrames, limits

Result = TypeVar("Result")
Stage = tuple[str, Callable[[Any], Any]]
"""The stage that a failure is named by, and what is called: a record -> a record, several, or a Reject."""


@dataclass(frozen=True)
class ClipMaker:
    """From the media of one input shard to their clips."""

    settings: Ingest
    narrated: bool
    once: Once = field(default_factory=Once)

    def __call__(self, media: Media) -> list[Clip | Reject]:
        """The clips of a medium, each with its frames, or the Rejects in their place."""
        make = self._still if media.kind == "image" else self._video
        # A video's file is at hand over all its stages, so a failure to fetch it surfaces around them.
        made = caught(media, "fetch", lambda: make(media))
        return _with_hashes([made], media) if isinstance(made, Reject) else made

    def _still(self, media: Media) -> list[Clip | Reject]:
        return _with_hashes(_through(self.still_stages(media), media), media)

    def _video(self, media: Media) -> list[Clip | Reject]:
        with local_file(media) as path:
            return _with_hashes(_through(self.video_stages(media, path), media), media, path)

    def still_stages(self, media: Media) -> Sequence[Stage]:
        """What a still image goes through."""
        chosen, sign = self.settings, self._sign(media)
        frame = StillFrame(chosen.frames)
        return (
            ("fetch", lambda still: self.once(still, sign)),
            ("fetch", LargeStill(chosen.filters.min_short_side)),
            ("cut", self._cut),
            ("cut", lambda clip: _with_id(clip, sign)),
            ("frames", lambda clip: frame(clip, media)),
        )

    def video_stages(self, media: Media, path: Path) -> Sequence[Stage]:
        """What a video goes through, whose file is at `path`."""
        chosen, sign = self.settings, self._sign(media, path)
        probe = Probe(limits(chosen.frames), fitting(chosen.filters))
        frames = VideoFrames(chosen.frames)
        return (
            ("fetch", lambda video: self.once(video, sign)),
            ("probe", lambda video: probe(video, path)),
            ("cut", self._cut),
            ("cut", lambda clip: _with_id(clip, sign)),
            ("cut", EnoughSpeech(chosen.filters.min_words_per_s)),
            ("frames", lambda clip: frames(clip, path)),
            ("frames", EnoughMotion(chosen.filters.min_motion)),
        )

    @property
    def _cut(self) -> Cut:
        return Cut(self.settings.narrated if self.narrated else self.settings.captioned, self.narrated)

    def _sign(self, media: Media, path: Path | None = None) -> str:
        """What is equal for media that are the same."""
        by_content = self.settings.filters.duplicates == "content"
        return (by_content and content_hash(media, path)) or media.uid


def _through(stages: Sequence[Stage], media: Media) -> list[Any]:
    """One stage after the other; a Reject takes no further part."""
    items: list[Any] = [media]
    for name, call in stages:
        items = [made for item in items for made in _made(media, name, call, item)]
    return items


def _made(media: Media, name: str, call: Callable[[Any], Any], item: Any) -> Sequence[Any]:
    if isinstance(item, Reject):
        return [item]
    made = caught(media, name, lambda: call(item))
    return made if isinstance(made, list) else [made]


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


def _with_hashes(made: list[Clip | Reject], media: Media, path: Path | None = None) -> list[Clip | Reject]:
    """The same; Rejects with the hash of the medium's bytes, taken once."""
    if not any(isinstance(item, Reject) for item in made):
        return made
    content = content_hash(media, path)
    return [replace(item, content=content) if isinstance(item, Reject) else item for item in made]


def _with_id(clip: Clip, sign: str) -> Clip:
    """The clip of a medium known by its content has an id by content too: the same one in every input shard."""
    if sign == clip.media_uid:
        return clip
    return replace(clip, uid=stable_uid(sign, round(clip.start_s * 1000), round(clip.end_s * 1000)))
