from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from ingest.records import Clip, Utterance, stable_uid, to_table
from tests.ingest.clips import synthetic_clip
from tests.trainers.tiny import CAPTIONED, MODEL, NARRATED
from trainers.data import Prepare
from trainers.recipe import Pixels
from trainers.rows import decode, slice_bounds

PIXELS = Pixels(short_side=16, crop=16)


def rows(clips: list[Clip], epoch: int = 0, valid: list[bool] | None = None) -> pa.Table:
    count = len(clips)
    return (
        to_table(Clip, clips)
        .append_column("position", pa.array(range(count), pa.int64()))
        .append_column("epoch", pa.array([epoch] * count, pa.int64()))
        .append_column("valid", pa.array(valid or [True] * count))
    )


def numbered_clip(num_frames: int) -> Clip:
    """Frame i is a grey of brightness 10 i."""
    pictures = [np.full((16, 16, 3), 10 * number, np.uint8) for number in range(num_frames)]
    return replace(synthetic_clip(0), frames=tuple(simplejpeg.encode_jpeg(p, quality=100) for p in pictures))


def drawn_frames(prepare: Prepare, clip: Clip, epoch: int = 0) -> list[int]:
    frames = prepare(rows([clip], epoch))["frames"][0]
    return [round(float(frame.mean()) / 10) for frame in frames]


def test_columns_have_the_shapes_of_a_batch() -> None:
    columns = Prepare(NARRATED, MODEL, PIXELS, seed=0)(rows([synthetic_clip(0), synthetic_clip(1)]))
    shapes = {name: values.shape for name, values in columns.items()}
    assert shapes == {
        "frames": (2, 4, 16, 16, 3),
        "tokens": (2, 4, 24),
        "keep": (2, 2),  # half of 2 x 2 patches
        "valid": (2,),
        "position": (2,),
    }
    assert columns["frames"].dtype == np.uint8


def test_one_frame_is_drawn_from_each_slice_and_all_of_them_in_time() -> None:
    prepare = Prepare(NARRATED, MODEL, PIXELS, seed=0)  # 4 frames
    seen = [drawn_frames(prepare, numbered_clip(24), epoch) for epoch in range(60)]
    assert all(frame // 6 == number for frames in seen for number, frame in enumerate(frames))
    assert {frame for frames in seen for frame in frames} == set(range(24))


def test_evaluation_takes_the_middle_frame_of_each_slice() -> None:
    prepare = Prepare(NARRATED, MODEL, PIXELS, seed=0, training=False)
    assert drawn_frames(prepare, numbered_clip(24)) == [2, 8, 14, 20]  # floor((0 + 5) / 2) and so on


@given(st.integers(1, 60), st.integers(1, 20))
def test_slices_cover_all_candidates_once_or_repeat_the_few(num_stored: int, num_frames: int) -> None:
    bounds = slice_bounds(num_stored, num_frames)
    taken = [index for first, last in bounds for index in range(first, last + 1)]
    assert len(bounds) == num_frames
    assert sorted(set(taken)) == list(range(num_stored))
    assert num_stored < num_frames or len(taken) == num_stored


def test_draws_depend_on_seed_clip_and_epoch_and_not_on_the_block() -> None:
    clips = [synthetic_clip(number) for number in range(8)]
    prepare = Prepare(NARRATED, MODEL, PIXELS, seed=0)
    together, alone = prepare(rows(clips)), prepare(rows(clips[5:6]))
    assert np.array_equal(together["keep"][5], alone["keep"][0])
    others = (prepare(rows(clips, epoch=1)), replace(prepare, seed=1)(rows(clips)))
    assert not any(np.array_equal(together["keep"], other["keep"]) for other in others)


def test_a_caption_is_drawn_anew_in_each_epoch_and_evaluation_takes_the_first() -> None:
    clip = replace(synthetic_clip(0), captions=("red", "green"))
    prepare = Prepare(CAPTIONED, MODEL, PIXELS, seed=0)
    seen = {prepare(rows([clip], epoch))["tokens"].tobytes() for epoch in range(20)}
    first = replace(prepare, training=False)(rows([clip]))["tokens"]
    only = replace(prepare, training=False)(rows([replace(clip, captions=("red",))]))["tokens"]
    assert len(seen) == 2
    assert np.array_equal(first, only)


def test_a_crop_keeps_its_place_in_all_frames_and_differs_between_clips() -> None:
    ramp = np.tile(
        np.arange(24, dtype=np.uint8)[None, :, None] * 10, (16, 1, 3)
    )  # column i has brightness 10 i
    frame = simplejpeg.encode_jpeg(ramp, quality=100, colorsubsampling="444")
    clips = [replace(synthetic_clip(number), frames=(frame,) * 24) for number in range(40)]
    frames = Prepare(NARRATED, MODEL, PIXELS, seed=0)(rows(clips))["frames"]
    lefts = np.rint(frames[:, :, 0, 0, 0] / 10).astype(int)
    assert frames.shape[2:4] == (16, 16)
    assert (lefts == lefts[:, :1]).all()
    assert set(lefts[:, 0]) == set(range(9))  # 24 - 16 is the last offset


@pytest.mark.parametrize(
    "hostile", [b"", b"\xff\xd8\xff", b"not a picture" * 9, synthetic_clip(0).frames[0][:-40]]
)
def test_a_row_that_cannot_be_read_stays_in_its_place_and_is_marked(hostile: bytes) -> None:
    bad = replace(synthetic_clip(1), frames=(hostile,) * 24)
    columns = Prepare(NARRATED, MODEL, PIXELS, seed=0)(rows([synthetic_clip(0), bad, synthetic_clip(2)]))
    assert columns["valid"].tolist() == [True, False, True]
    assert columns["position"].tolist() == [0, 1, 2]
    assert not columns["frames"][1].any()


def test_a_row_that_the_store_could_not_read_is_marked() -> None:
    lost = Clip("", "", "", "video", "", 0.0, 0.0)
    columns = Prepare(NARRATED, MODEL, PIXELS, seed=0)(rows([lost, synthetic_clip(0)], valid=[False, True]))
    assert columns["valid"].tolist() == [False, True]


def test_a_frame_that_claims_an_absurd_size_is_not_decoded() -> None:
    header = bytearray(synthetic_clip(0).frames[0])
    place = header.index(b"\xff\xc0") + 5  # height and width of the frame header
    header[place : place + 4] = b"\xff\xff\xff\xff"
    assert decode(bytes(header)) is None


def test_a_clip_with_another_number_of_transcripts_stops_the_run_by_name() -> None:
    said = (Utterance("only one", 0.0, 1.0),)
    clip = replace(synthetic_clip(0), uid=stable_uid("short"), transcripts=said)
    with pytest.raises(
        ValueError, match=r"has 1 transcripts, but the recipe's model\.sorting\.transcripts is 4"
    ):
        Prepare(NARRATED, MODEL, PIXELS, seed=0)(rows([clip]))
