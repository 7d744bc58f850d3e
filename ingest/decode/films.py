"""Frames of one video file, for whoever embeds it."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infra.errors import UserError
from infra.objects import local_path, read_bytes
from ingest.decode.isolation import Limits, decoder
from ingest.decode.request import MediaError

_LIMITS = Limits(deadline_s=120.0, memory_mb=4096)


def read_frames(uri: str, num_frames: int) -> NDArray[np.uint8]:
    """The middle frames of `num_frames` even slices of a file or URI (TVTSv2, 10.1, 13), as RGB [t, h, w, 3].

    At their own size; a file with fewer frames gives all it has. It is decoded in a process of its own, which a
    damaged or hostile file cannot leave. UserError for a file that cannot be used.
    """
    path = local_path(uri)
    if path is not None and not path.is_file():
        raise UserError(f"{uri}: there is no such file")
    with tempfile.NamedTemporaryFile() as copy:
        if path is None:
            copy.write(read_bytes(uri))
            copy.flush()
        try:
            return decoder(_LIMITS).film(path or Path(copy.name), num_frames)
        except MediaError as error:
            raise UserError(f"{uri}: cannot be read as a video, {error.reason} ({error.detail})") from error
