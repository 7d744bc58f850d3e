import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ingest.records import Reject
from ingest.stages.filters import EnoughMotion
from ingest.stores.pictures import decoded, to_ppm
from ingest.stores.webdataset import tar_of
from tests.ingest.clips import synthetic_clip
from tests.ingest.stores.test_webdataset import members

PICTURE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def test_a_raw_frame_is_an_image_file_that_others_read_and_comes_back_bit_for_bit() -> None:
    data = to_ppm(PICTURE)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), PICTURE)
    back = decoded(data)
    assert back is not None
    assert np.array_equal(back, PICTURE)


@pytest.mark.parametrize(
    "hostile",
    [to_ppm(PICTURE)[:-1], to_ppm(PICTURE) + b"0", b"P6\n", b"P6\n99999 99999\n255\n", b"P6\n0 0\n255\n"],
)
def test_a_raw_frame_that_does_not_hold_what_its_header_says_is_none(hostile: bytes) -> None:
    assert decoded(hostile) is None


def test_raw_frames_are_named_for_what_they_are_in_a_tar() -> None:
    clip = replace(synthetic_clip(0), frames=(to_ppm(PICTURE),))
    assert next(iter(members(tar_of([clip])))) == f"{clip.uid}.000.ppm"


def test_raw_frames_in_which_nothing_moves_are_static() -> None:
    still = np.full((160, 160, 3), 90, np.uint8)
    moved = still.copy()
    moved[:80] = 200
    clip = replace(synthetic_clip(0), frames=(to_ppm(still), to_ppm(still)))
    assert isinstance(EnoughMotion(0.005)(clip), Reject)
    assert EnoughMotion(0.4)(moving := replace(clip, frames=(to_ppm(still), to_ppm(moved)))) == moving
