"""Stills: kept as they are where they fit, bounded before they are decoded."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from ingest.decode.images import converted, stored
from ingest.decode.request import MediaError
from tests.ingest.media_files import jpeg


def test_a_jpeg_of_the_stored_size_is_kept_byte_for_byte() -> None:
    data = jpeg(side=64)
    assert stored(data, short_side=64, quality=95) is data


def test_another_size_is_resized_to_the_short_side() -> None:
    kept = stored(jpeg(side=64), short_side=32, quality=95)
    assert kept is not None
    assert simplejpeg.decode_jpeg(kept).shape == (32, 32, 3)


def test_a_cut_off_jpeg_is_truncated() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = simplejpeg.encode_jpeg(noise)
    with pytest.raises(MediaError, match="truncated"):
        stored(data[: len(data) // 2], 64, 95)


def test_a_jpeg_that_claims_four_gigapixels_is_not_decoded() -> None:
    data = bytearray(jpeg(side=16))
    start_of_frame = data.index(b"\xff\xc0")
    data[start_of_frame + 5 : start_of_frame + 9] = struct.pack(">HH", 65000, 65000)
    with pytest.raises(MediaError, match="too_large"):
        stored(bytes(data), 64, 95)


def test_png_becomes_jpeg_and_a_text_file_does_not(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (40, 20), (255, 0, 0, 255)).save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    assert simplejpeg.decode_jpeg(converted(tmp_path / "a.png", 10, 95)).shape == (10, 20, 3)
    (tmp_path / "b.png").write_text("<html>")
    with pytest.raises(MediaError, match="not_media"):
        converted(tmp_path / "b.png", 10, 95)
