"""Messages between a worker and its decoding process: a JSON head and some byte strings, nothing executable."""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
