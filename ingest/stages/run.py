"""The one runner: stages in order over one medium; whatever goes wrong with it becomes a Reject."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from infra.errors import UserError
from ingest.decode.failure import MediaError
from ingest.records import Clip, Media, Reject
from ingest.settings import Ingest
from ingest.stages.cut import Cut
from ingest.stages.fetch import local_file
from ingest.stages.frames import StillFrame, VideoFrames, limits
from ingest.stages.probe import Probe

Result = TypeVar("Result")


def guarded(media: Media, stage: str, call: Callable[[], Result | Reject]) -> Result | Reject:
    """The result of a stage, or a Reject that says why this medium has none.

    A store that fails is nobody's bad file: StorageError and other UserErrors end the run.
    """
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
    """Fetch, probe, cut, frames: from a medium to its clips."""

    settings: Ingest
    narrated: bool

    def __call__(self, media: Media) -> list[Clip | Reject]:
        """The clips of a medium, each with its frames, or the Rejects in their place."""
        make = self._still if media.kind == "image" else self._video
        # A video's file is at hand over all its stages, so a failure to fetch it surfaces around them.
        made = guarded(media, "fetch", lambda: make(media))
        return [made] if isinstance(made, Reject) else made

    def _still(self, media: Media) -> list[Clip | Reject]:
        still = StillFrame(self.settings.frames)
        return self._each_clip(media, lambda clip: still(clip, media))

    def _video(self, media: Media) -> list[Clip | Reject]:
        with local_file(media) as path:
            probe = Probe(limits(self.settings.frames))
            probed = guarded(media, "probe", lambda: probe(media, path))
            if isinstance(probed, Reject):
                return [probed]
            frames = VideoFrames(self.settings.frames)
            return self._each_clip(probed, lambda clip: frames(clip, path))

    def _each_clip(self, media: Media, frames: Callable[[Clip], Clip]) -> list[Clip | Reject]:
        cut = Cut(self.settings.transcripts, self.settings.max_gap_s, self.narrated)
        clips = guarded(media, "cut", lambda: cut(media))
        if isinstance(clips, Reject):
            return [clips]
        return [guarded(media, "frames", partial(frames, clip)) for clip in clips]
