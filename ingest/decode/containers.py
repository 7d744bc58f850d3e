"""What a container holds, found by reading every packet and decoding none (PyAV)."""

import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ingest.decode.failure import MediaError
from ingest.decode.request import MAX_PIXELS

# Playlists and concatenations may name any other file or address, so only real containers are opened.
FORMATS = "mov,mp4,m4a,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,3gp,h264,hevc,ivf,mp3,wav,aac,flac"
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
LENGTH_TOLERANCE = 0.1
"""Share by which a header may differ from the packets, beyond a second."""
_MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"moof", b"sidx"})


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a video track in the order they are shown.

    `pts`: in units of the track's time base; `times_s`: seconds from the start of the medium; `keys`: which can be
    sought to.
    """

    codec: str
    width: int
    height: int
    pts: NDArray[np.int64]
    times_s: NDArray[np.float64]
    keys: NDArray[np.bool_]
    duration_s: float
    has_sound: bool
    stream: int

    def between(self, start_s: float, end_s: float) -> tuple[int, int]:
        """Numbers of the frame on screen at `start_s` and of the first at or after `end_s`; one frame at least."""
        first = max(int(np.searchsorted(self.times_s, start_s + 1e-6)) - 1, 0)
        return first, max(int(np.searchsorted(self.times_s, end_s - 1e-6)), first + 1)


def index_frames(path: Path) -> FrameIndex:
    """Read all packets. Raises MediaError: empty, not_media, truncated, no_video, too_large, wrong_length."""
    if path.stat().st_size == 0:
        raise MediaError("empty", "zero bytes")
    cut = mp4_cut_off(path)
    try:
        with av.open(str(path), options=OPTIONS) as container:
            return _index(container, cut)
    except av.FFmpegError as error:
        detail = cut or f"{type(error).__name__}: {error.strerror}"
        raise MediaError("truncated" if cut else "not_media", detail) from error


def _index(container: InputContainer, cut: str | None) -> FrameIndex:
    stream = video_stream(container)
    if stream.width * stream.height > MAX_PIXELS:
        raise MediaError("too_large", f"{stream.width}x{stream.height}")
    packets, end_s = _packets(container, stream)
    _check_length(container, stream, len(packets), end_s)
    if cut is not None or not packets:
        raise MediaError("truncated", cut or "the video track holds no packets")
    packets.sort()
    pts = np.array([shown for shown, _ in packets], np.int64)
    base = stream.time_base or Fraction(1, 1)
    offset = (container.start_time or 0) / av.time_base
    times = np.asarray(pts * float(base) - offset, np.float64)
    return FrameIndex(
        codec=stream.codec_context.name,
        width=stream.width,
        height=stream.height,
        pts=pts,
        times_s=times,
        keys=np.array([key for _, key in packets]),
        duration_s=float(times[-1]) + _frame_s(times, stream),
        has_sound=bool(container.streams.audio),
        stream=stream.index,
    )


def video_stream(container: InputContainer) -> VideoStream:
    """The video track FFmpeg ranks best and that is no cover picture: the one rule for every decoder."""
    best = container.streams.best("video")
    if not isinstance(best, VideoStream) or best.disposition & Disposition.attached_pic:
        raise MediaError("no_video", f"tracks: {', '.join(s.type for s in container.streams) or 'none'}")
    return best


def _packets(container: InputContainer, video: VideoStream) -> tuple[list[tuple[int, bool]], float]:
    """(shown at, key) of each video packet that is shown, and the end in seconds of the last packet of any track."""
    shown: list[tuple[int, bool]] = []
    end_s = 0.0
    for packet in container.demux([video, *container.streams.audio]):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or packet.is_discard:
            continue
        if packet.stream_index == video.index:
            shown.append((time, packet.is_keyframe))
        end_s = max(end_s, float((time + (packet.duration or 0)) * packet.time_base))
    return shown, end_s


def _check_length(container: InputContainer, stream: VideoStream, count: int, end_s: float) -> None:
    if stream.frames and abs(stream.frames - count) > 1 + LENGTH_TOLERANCE * count:
        raise MediaError("wrong_length", f"the header claims {stream.frames} frames, the packets are {count}")
    claimed_s = (container.duration or 0) / av.time_base
    end_s -= (container.start_time or 0) / av.time_base
    if claimed_s and abs(claimed_s - end_s) > 1 + LENGTH_TOLERANCE * end_s:
        raise MediaError(
            "wrong_length", f"the header claims {claimed_s:.1f} s, the packets end at {end_s:.1f} s"
        )


def _frame_s(times: NDArray[np.float64], stream: VideoStream) -> float:
    """How long the last frame is shown."""
    if len(times) > 1:
        return float(times[-1] - times[0]) / (len(times) - 1)
    return float(1 / stream.average_rate) if stream.average_rate else 0.04


def mp4_cut_off(path: Path) -> str | None:
    """What is missing where an mp4's boxes go beyond the end of the file or its index is absent; else None."""
    size = path.stat().st_size
    seen: set[bytes] = set()
    with path.open("rb") as file:
        position = 0
        while position + 8 <= size:
            file.seek(position)
            header = file.read(16)
            length, name = struct.unpack(">I4s", header[:8])
            if not seen and name not in _MP4_BOXES:
                return None  # another container
            seen.add(name)
            if length == 1 and len(header) == 16:
                length = struct.unpack(">Q", header[8:])[0]
            if length == 0:  # this box goes to the end
                position = size
            elif length < 8:
                return None
            else:
                position += length
            if position > size:
                return f"box {name.decode('latin-1')!r} ends {position - size} bytes beyond the file"
    if seen and not seen & {b"moov", b"moof"}:
        return "no index (moov)"
    return None
