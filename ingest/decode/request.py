"""What a worker asks of the decoding process, why that can fail, and how both travel; apart from the decoders, so that
asking loads none of them.

A message is a JSON head and some byte strings, nothing executable.
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

MAX_PIXELS = 64 << 20
"""Pictures with more pixels are set aside before they are decoded."""

DecoderName = Literal["auto", "decord", "pyav", "torchcodec"]
Resize = Literal["nearest", "bicubic"]
Encoding = Literal["jpeg", "ppm"]
"""How a frame leaves the decoding process: packed with losses, or as it is."""


@dataclass(frozen=True)
class FrameRequest:
    """Candidate frames of one window: how many, how large, how well kept, by which decoder."""

    start_s: float
    end_s: float
    count: int
    short_side: int
    quality: int
    decoder: DecoderName
    resize: Resize = "nearest"
    encoding: Encoding = "jpeg"
    times_s: tuple[float, ...] = ()
    """The frames shown at these times (rising), instead of the candidates of the window."""


Reason = Literal[
    "missing",  # nothing at its address
    "empty",  # zero bytes
    "not_media",  # no container or image format we know
    "truncated",  # the file ends before its content does
    "no_video",  # a container without a video track
    "wrong_length",  # the header claims another length than the packets have
    "too_large",  # pictures beyond the limit
    "undecodable",  # the decoder gives up
    "unsupported",  # this decoder cannot read this file
    "timeout",  # the deadline passed
    "memory",  # the memory limit was reached
    "crashed",  # the decoding process died, twice
]
REASONS: frozenset[str] = frozenset(get_args(Reason))


class MediaError(Exception):
    """A file that cannot be used: a fixed reason and the detail for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: Reason = reason
        self.detail = detail


_HEAD = struct.Struct("<II")
Read = Callable[[int], bytes | bytearray]


def pack(head: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> list[bytes]:
    """One message, in pieces to be written in order."""
    sizes = [len(blob) for blob in blobs]
    text = json.dumps({"head": head, "sizes": sizes}).encode()
    return [_HEAD.pack(len(text), sum(sizes)), text, *blobs]


def unpack(read: Read) -> tuple[dict[str, Any], list[bytes]]:
    """Read one message with `read(n)`, which gives exactly n bytes or raises EOFError."""
    text_size, total = _HEAD.unpack(read(_HEAD.size))
    described = json.loads(read(text_size))
    body = memoryview(read(total))
    blobs, start = [], 0
    for size in described["sizes"]:
        blobs.append(bytes(body[start : start + size]))
        start += size
    return described["head"], blobs
