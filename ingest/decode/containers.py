"""An open container and what its video track holds, found by reading every packet and decoding none (PyAV)."""

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

from ingest.decode.request import MAX_PIXELS, MediaError

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
    sought to, each by its time in `seek`.
    """

    codec: str
    width: int
    height: int
    pts: NDArray[np.int64]
    times_s: NDArray[np.float64]
    keys: NDArray[np.bool_]
    seek: NDArray[np.int64]
    duration_s: float
    has_sound: bool
    stream: int
    progressive: bool
    """Every packet is known to be one whole frame."""
    closed: bool
    """No frame is shown before a key frame and stored after it."""

    def between(self, start_s: float, end_s: float) -> tuple[int, int]:
        """Numbers of the frame on screen at `start_s` and of the first at or after `end_s`; one frame at least."""
        first = max(int(np.searchsorted(self.times_s, start_s + 1e-6)) - 1, 0)
        return first, max(int(np.searchsorted(self.times_s, end_s - 1e-6)), first + 1)


@dataclass(frozen=True)
class Film:
    """An open file with the index of its video track; PyAV reads frames from the container that is open already."""

    path: Path
    container: InputContainer
    index: FrameIndex

    def close(self) -> None:
        """Let the file go."""
        self.container.close()


def open_film(path: Path) -> Film:
    """Read all packets. Raises MediaError: empty, not_media, truncated, no_video, too_large, wrong_length."""
    if path.stat().st_size == 0:
        raise MediaError("empty", "zero bytes")
    cut = mp4_cut_off(path)
    container = None
    try:
        container = av.open(str(path), options=OPTIONS)
        return Film(path, container, _index(container, cut))
    except BaseException as error:
        if container is not None:
            container.close()
        if not isinstance(error, av.FFmpegError):
            raise
        detail = cut or f"{type(error).__name__}: {error.strerror}"
        raise MediaError("truncated" if cut else "not_media", detail) from error


def index_frames(path: Path) -> FrameIndex:
    """The index alone; raises as `open_film`."""
    film = open_film(path)
    film.close()
    return film.index


def _index(container: InputContainer, cut: str | None) -> FrameIndex:
    stream = video_stream(container)
    if stream.width * stream.height > MAX_PIXELS:
        raise MediaError("too_large", f"{stream.width}x{stream.height}")
    stream.codec_context.thread_count = 1  # files are decoded side by side, not one on many cores
    packets, end_s, timed = _packets(container, stream)
    _check_length(container, stream, len(packets), end_s)
    if cut is not None or not packets:
        raise MediaError("truncated", cut or "the video track holds no packets")
    stored = np.array(packets, np.int64)  # (frames, 3): shown at, decoded at, key
    shown = stored[np.argsort(stored[:, 0], kind="stable")]
    formats = set(container.format.name.split(","))
    pts = shown[:, 0]
    base = stream.time_base or Fraction(1, 1)
    offset = (container.start_time or 0) / av.time_base
    times = np.asarray(pts * float(base) - offset, np.float64)
    return FrameIndex(
        codec=stream.codec_context.name,
        width=stream.width,
        height=stream.height,
        pts=pts,
        times_s=times,
        keys=shown[:, 2] > 0,
        # These two seek by the time at which a key frame is shown, all others by that at which it is decoded.
        seek=shown[:, 0 if {"mp4", "matroska"} & formats else 1],
        duration_s=float(times[-1]) + _frame_s(times, stream),
        has_sound=bool(container.streams.audio),
        stream=stream.index,
        # These two hold whole frames; a transport stream may hold the two fields of one apart.
        progressive=timed and bool({"mp4", "matroska"} & formats),
        closed=_is_closed(stored[:, 0], stored[:, 2] > 0),
    )


def video_stream(container: InputContainer) -> VideoStream:
    """The video track FFmpeg ranks best and that is no cover picture: the one rule for every decoder."""
    best = container.streams.best("video")
    if not isinstance(best, VideoStream) or best.disposition & Disposition.attached_pic:
        raise MediaError("no_video", f"tracks: {', '.join(s.type for s in container.streams) or 'none'}")
    return best


def _is_closed(shown_at: NDArray[np.int64], keys: NDArray[np.bool_]) -> bool:
    """Of packets as stored: whether all after a key frame are shown after it."""
    last_key = np.maximum.accumulate(np.where(keys, shown_at, np.iinfo(np.int64).min))
    return bool((last_key <= shown_at).all())


def _packets(
    container: InputContainer, video: VideoStream
) -> tuple[list[tuple[int, int, bool]], float, bool]:
    """(shown at, decoded at, key) of each video packet that is shown, the end in seconds of the last packet of any
    track, and whether every video packet says when it is shown."""
    shown: list[tuple[int, int, bool]] = []
    end_s, timed = 0.0, True
    for packet in container.demux([video, *container.streams.audio]):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or packet.is_discard:
            continue
        if packet.stream_index == video.index:
            shown.append((time, time if packet.dts is None else packet.dts, packet.is_keyframe))
            timed = timed and packet.pts is not None
        end_s = max(end_s, float((time + (packet.duration or 0)) * packet.time_base))
    return shown, end_s, timed


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
