"""Clips get their candidate frames."""

from dataclasses import dataclass, replace
from pathlib import Path

from ingest import settings
from ingest.decode.images import is_jpeg, stored_jpeg
from ingest.decode.isolation import Limits, decoder
from ingest.decode.request import FrameRequest
from ingest.records import Clip, Media
from ingest.stages.fetch import local_file


@dataclass(frozen=True)
class VideoFrames:
    """Candidate frames of a window, decoded in a process of their own."""

    frames: settings.Frames

    def __call__(self, clip: Clip, path: Path) -> Clip:
        """The clip with its frames and their times. Raises MediaError."""
        chosen = self.frames
        request = FrameRequest(
            start_s=clip.start_s,
            end_s=clip.end_s,
            count=chosen.candidates,
            short_side=chosen.short_side,
            quality=chosen.jpeg_quality,
            decoder=chosen.decoder,
            resize=chosen.resize,
        )
        times, jpegs = decoder(limits(chosen)).frames(path, request)
        return replace(clip, frame_times_s=times, frames=jpegs)


@dataclass(frozen=True)
class StillFrame:
    """A still image is a clip of one frame. JPEG is read here, after its header; other kinds in the child."""

    frames: settings.Frames

    def __call__(self, clip: Clip, media: Media) -> Clip:
        """The clip with its one frame. Raises MediaError."""
        jpeg, chosen = None, self.frames
        if media.payload is not None and is_jpeg(media.payload):
            jpeg = stored_jpeg(media.payload, chosen.short_side, chosen.jpeg_quality, chosen.resize)
        if jpeg is None:
            with local_file(media) as path:
                jpeg = decoder(limits(chosen)).image(
                    path, chosen.short_side, chosen.jpeg_quality, chosen.resize
                )
        return replace(clip, frame_times_s=(0.0,), frames=(jpeg,))


def limits(frames: settings.Frames) -> Limits:
    """What decoding one file may cost."""
    return Limits(frames.deadline_s, frames.memory_mb)
