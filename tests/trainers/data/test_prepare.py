from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from ingest.order.choice import chosen_frames
from ingest.records import Clip, Utterance, stable_uid, to_table
from ingest.stores.pictures import decoded
from tests.ingest.clips import synthetic_clip
from tests.trainers.tiny import CAPTIONED, NARRATED, SYSTEM
from trainers.data.feed import preparing_tasks, rows_per_block
from trainers.data.frame_choice import FrameChoice, slice_bounds
from trainers.data.prepare import Prepare
from trainers.recipe import Pixels

PIXELS = Pixels(short_side=16, crop=16)


def prepared(prepare: Prepare, table: pa.Table) -> dict[str, Any]:
    """What it makes of rows of which it is given the frames that it asks for."""
    return prepare(chosen_frames(table, table["epoch"][0].as_py(), prepare.choice))


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
    frames = prepared(prepare, rows([clip], epoch))["frames"][0]
    return [round(float(frame.mean()) / 10) for frame in frames]


def test_columns_have_the_shapes_of_a_batch() -> None:
    columns = prepared(
        Prepare(NARRATED, SYSTEM, PIXELS, seed=0), rows([synthetic_clip(0), synthetic_clip(1)])
    )
    shapes = {name: values.shape for name, values in columns.items()}
    assert shapes == {
        "frames": (2, 4, 16, 16, 3),
        "tokens": (2, 4, 24),
        "keep": (2, 2),  # half of 2 x 2 patches
        "valid": (2,),
        "position": (2,),
        "uids": (2, 2, 10),
    }
    assert columns["frames"].dtype == np.uint8


def test_one_frame_is_drawn_from_each_slice_and_all_of_them_in_time() -> None:
    prepare = Prepare(NARRATED, SYSTEM, PIXELS, seed=0)  # 4 frames
    seen = [drawn_frames(prepare, numbered_clip(24), epoch) for epoch in range(60)]
    assert all(frame // 6 == number for frames in seen for number, frame in enumerate(frames))
    assert {frame for frames in seen for frame in frames} == set(range(24))


def test_evaluation_takes_the_middle_frame_of_each_slice() -> None:
    prepare = Prepare(NARRATED, SYSTEM, PIXELS, seed=0, training=False)
    assert drawn_frames(prepare, numbered_clip(24)) == [2, 8, 14, 20]  # floor((0 + 5) / 2) and so on


@given(st.integers(1, 60), st.integers(1, 20))
def test_slices_cover_all_candidates_once_or_repeat_the_few(num_stored: int, num_frames: int) -> None:
    bounds = slice_bounds(num_stored, num_frames)
    taken = [index for first, last in bounds for index in range(first, last + 1)]
    assert len(bounds) == num_frames
    assert sorted(set(taken)) == list(range(num_stored))
    assert len(taken) == max(num_stored, num_frames)


def test_draws_depend_on_seed_clip_and_epoch_and_not_on_the_block() -> None:
    clips = [synthetic_clip(number) for number in range(8)]
    prepare = Prepare(NARRATED, SYSTEM, PIXELS, seed=0)
    together, alone = prepared(prepare, rows(clips)), prepared(prepare, rows(clips[5:6]))
    assert np.array_equal(together["keep"][5], alone["keep"][0])
    others = (prepared(prepare, rows(clips, epoch=1)), prepared(replace(prepare, seed=1), rows(clips)))
    assert not any(np.array_equal(together["keep"], other["keep"]) for other in others)


def test_a_caption_is_drawn_anew_in_each_epoch_and_evaluation_takes_the_first() -> None:
    clip = replace(synthetic_clip(0), captions=("red", "green"))
    prepare = Prepare(CAPTIONED, SYSTEM, PIXELS, seed=0)
    seen = {prepared(prepare, rows([clip], epoch))["tokens"].tobytes() for epoch in range(20)}
    first = prepared(replace(prepare, training=False), rows([clip]))["tokens"]
    only = prepared(replace(prepare, training=False), rows([replace(clip, captions=("red",))]))["tokens"]
    assert len(seen) == 2
    assert np.array_equal(first, only)


def test_a_crop_keeps_its_place_in_all_frames_and_differs_between_clips() -> None:
    ramp = np.tile(
        np.arange(24, dtype=np.uint8)[None, :, None] * 10, (16, 1, 3)
    )  # column i has brightness 10 i
    frame = simplejpeg.encode_jpeg(ramp, quality=100, colorsubsampling="444")
    clips = [replace(synthetic_clip(number), frames=(frame,) * 24) for number in range(40)]
    frames = prepared(Prepare(NARRATED, SYSTEM, PIXELS, seed=0), rows(clips))["frames"]
    lefts = np.rint(frames[:, :, 0, 0, 0] / 10).astype(int)
    assert frames.shape[2:4] == (16, 16)
    assert (lefts == lefts[:, :1]).all()
    assert set(lefts[:, 0]) == set(range(9))  # 24 - 16 is the last offset


@pytest.mark.parametrize(
    "hostile", [b"", b"\xff\xd8\xff", b"not a picture" * 9, synthetic_clip(0).frames[0][:-40]]
)
def test_a_row_that_cannot_be_read_stays_in_its_place_and_is_marked(hostile: bytes) -> None:
    bad = replace(synthetic_clip(1), frames=(hostile,) * 24)
    columns = prepared(
        Prepare(NARRATED, SYSTEM, PIXELS, seed=0), rows([synthetic_clip(0), bad, synthetic_clip(2)])
    )
    assert columns["valid"].tolist() == [True, False, True]
    assert columns["position"].tolist() == [0, 1, 2]
    assert not columns["frames"][1].any()


def test_a_row_that_the_store_could_not_read_is_marked() -> None:
    lost = Clip("", "", "", "video", "", 0.0, 0.0)
    columns = prepared(
        Prepare(NARRATED, SYSTEM, PIXELS, seed=0), rows([lost, synthetic_clip(0)], valid=[False, True])
    )
    assert columns["valid"].tolist() == [False, True]


def test_a_frame_that_claims_an_absurd_size_is_not_decoded() -> None:
    header = bytearray(synthetic_clip(0).frames[0])
    place = header.index(b"\xff\xc0") + 5  # height and width of the frame header
    header[place : place + 4] = b"\xff\xff\xff\xff"
    assert decoded(bytes(header)) is None


def test_a_still_image_among_videos_stops_the_run_by_name() -> None:
    still = replace(synthetic_clip(0, num_frames=1), kind="image")
    one = replace(CAPTIONED, frames=1)
    assert prepared(Prepare(one, SYSTEM, PIXELS, seed=0), rows([still]))["valid"].all()
    with pytest.raises(ValueError, match=r"is a still image, but the stream takes 4 frames"):
        prepared(Prepare(CAPTIONED, SYSTEM, PIXELS, seed=0), rows([still]))


def test_the_uids_of_a_batch_are_those_of_its_clips_and_nothing_where_a_row_could_not_be_read() -> None:
    cut, bad = (
        replace(synthetic_clip(0), media_uid=stable_uid("film")),
        replace(synthetic_clip(1), frames=(b"",) * 24),
    )
    uids = prepared(Prepare(NARRATED, SYSTEM, PIXELS, seed=0), rows([cut, bad]))["uids"]
    assert [bytes(row).hex() for row in uids] == [cut.uid + stable_uid("film"), "00" * 20]


def test_a_clip_with_another_number_of_transcripts_stops_the_run_by_name() -> None:
    said = (Utterance("only one", 0.0, 1.0),)
    clip = replace(synthetic_clip(0), uid=stable_uid("short"), transcripts=said)
    with pytest.raises(
        ValueError, match=r"has 1 transcripts, but the recipe's system\.sorting\.transcripts is 4"
    ):
        prepared(Prepare(NARRATED, SYSTEM, PIXELS, seed=0), rows([clip]))


def test_the_draw_of_a_seed_stays_what_it_was() -> None:
    """Recorded: another draw would change every batch of every run."""
    uid = synthetic_clip(0).uid
    choice = FrameChoice(4, seed=0)
    assert [choice(uid, epoch, 24) for epoch in (0, 1)] == [[5, 10, 12, 21], [3, 11, 17, 21]]
    assert choice(uid, 0, 3) == [0, 0, 1, 2]
    assert replace(choice, training=False)(uid, 0, 24) == [2, 8, 14, 20]


def test_a_block_is_what_each_number_of_workers_deals_out_evenly_and_no_larger_than_ray_leaves_whole() -> (
    None
):
    stream = replace(NARRATED, batch_size=48, rows_per_unit=4, frames=12)  # 12 units
    assert rows_per_block(stream, 16, [1]) == 48
    assert rows_per_block(stream, 16, [4]) == 12
    assert rows_per_block(stream, 16, [4, 6]) == 4  # shares of 3 and of 2 units
    assert rows_per_block(stream, 224, [1]) == 24  # 1.8 MB a clip
    assert rows_per_block(stream, 2000, [1]) == 4


def test_half_as_many_tasks_again_prepare_rows_on_the_same_cpus() -> None:
    assert preparing_tasks(1, 0.25) == (1, 0.25)
    assert preparing_tasks(2, 1.0) == (3, pytest.approx(2 / 3))
    assert preparing_tasks(14, 1.0) == (21, pytest.approx(2 / 3))
