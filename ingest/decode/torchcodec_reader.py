"""Frames with torchcodec (extra): FFmpeg through torch, and the GPU's own decoder where this process sees a GPU."""

import resource
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torchcodec.decoders import VideoDecoder

from ingest.decode.containers import Film
from ingest.decode.request import MediaError

_CHUNK = 24  # frames held uncompressed at a time
_TIME_TOLERANCE_S = 2e-3


def read_frames(film: Film, wanted: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    """The frames of these numbers (rising) as RGB [h, w, 3].

    Raises MediaError: undecodable, or "unsupported" where torchcodec counts or times the frames otherwise than
    their packets (transport streams).
    """
    try:
        device = _device()
        decoder = VideoDecoder(
            film.path,
            stream_index=film.index.stream,
            dimension_order="NHWC",
            num_ffmpeg_threads=1,  # files are decoded side by side
            device=device,
        )
        if len(decoder) != len(film.index.pts):
            detail = f"torchcodec counts {len(decoder)} frames of {len(film.index.pts)}"
            raise MediaError("unsupported", detail)
        for start in range(0, len(wanted), _CHUNK):
            yield from _chunk(film, decoder, list(wanted[start : start + _CHUNK]))
    except (RuntimeError, ValueError, IndexError) as error:
        detail = f"torchcodec: {type(error).__name__}: {str(error).splitlines()[0][:300]}"
        raise MediaError("undecodable", detail) from error


def _device() -> str:
    """The GPU where there is one; CUDA reserves far more addresses than it uses, so there the process's memory limit
    counts what is written to instead."""
    if not torch.cuda.is_available():
        return "cpu"
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    return "cuda"


def _chunk(film: Film, decoder: VideoDecoder, wanted: list[int]) -> NDArray[np.uint8]:
    found = decoder.get_frames_at(indices=wanted)
    if np.abs(found.pts_seconds.numpy() - film.index.times_s[wanted]).max() > _TIME_TOLERANCE_S:
        raise MediaError("unsupported", "torchcodec times the frames otherwise than their packets")
    frames: NDArray[np.uint8] = found.data.cpu().numpy()
    return frames
