"""Clips get their candidate frames, or the times at which these will be decoded."""

from dataclasses import dataclass, replace
from pathlib import Path

from ingest import settings
from ingest.decode.images import is_jpeg, stored
from ingest.decode.isolation import Limits, decoder
from ingest.decode.request import Encoding, FrameRequest
from ingest.records import Clip, Media
from ingest.stages.fetch import SIGN_BYTES, check_reference, local_file, payload


@dataclass(frozen=True)
class VideoFrames:
    """Candidate frames of a window, decoded in a process of their own."""

    frames: settings.Frames

    def __call__(self, clip: Clip, path: Path) -> Clip:
        """The clip with its frames and their times; a reference with the times alone. Raises MediaError."""
        child = decoder(limits(self.frames))
        if self.frames.store == "reference":
            with path.open("rb") as file:
                check_reference(clip.uri, file.read(SIGN_BYTES))
            return replace(clip, frame_times_s=child.times(path, request(self.frames, clip)))
        times, images = child.frames(path, request(self.frames, clip))
        return replace(clip, frame_times_s=times, frames=images)


@dataclass(frozen=True)
class StillFrame:
    """A still image is a clip of one frame. JPEG is read here, after its header; other kinds in the child."""

    frames: settings.Frames

    def __call__(self, clip: Clip, media: Media) -> Clip:
        """The clip with its one frame; a reference with none, when it has been read once. Raises MediaError."""
        image = self.read(media)
        if self.frames.store == "reference":
            check_reference(clip.uri, payload(media))
            return replace(clip, frame_times_s=(0.0,))
        return replace(clip, frame_times_s=(0.0,), frames=(image,))

    def read(self, media: Media) -> bytes:
        """The image at the stored size. Raises MediaError."""
        chosen = self.frames
        how = (chosen.short_side, chosen.jpeg_quality, chosen.resize, encoding(chosen))
        image = None
        if media.payload is not None and is_jpeg(media.payload):
            image = stored(media.payload, *how)
        if image is None:
            with local_file(media) as path:
                image = decoder(limits(chosen)).image(path, *how)
        return image


def request(frames: settings.Frames, clip: Clip) -> FrameRequest:
    """What is asked of the decoding process for the candidates of a clip."""
    return FrameRequest(
        start_s=clip.start_s,
        end_s=clip.end_s,
        count=frames.candidates,
        short_side=frames.short_side,
        quality=frames.jpeg_quality,
        decoder=frames.decoder,
        resize=frames.resize,
        encoding=encoding(frames),
    )


def encoding(frames: settings.Frames) -> Encoding:
    """How frames leave the decoding process: those decoded from references are those that "raw" stores."""
    return "jpeg" if frames.store == "jpeg" else "ppm"


def limits(frames: settings.Frames) -> Limits:
    """What decoding one file may cost."""
    return Limits(frames.deadline_s, frames.memory_mb)
