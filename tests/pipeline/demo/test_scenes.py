"""What is drawn: inside the picture, recognisable by its colour, moving as told."""

import numpy as np
import pytest

from pipeline.demo.grammar import ALL_THINGS, COLOURS, MOTIONS, Event, Thing
from pipeline.demo.scenes import Canvas, motion_path, still, video_frames

CANVAS = Canvas()
WHITE_CIRCLE = Thing("white", "circle")


def centre_of_white(frame):
    rows, columns = np.nonzero(frame.min(axis=2) > 200)
    return rows.mean(), columns.mean(), len(rows)


def first_and_last(motion):
    rng = np.random.default_rng(1)
    frames = list(video_frames([Event(WHITE_CIRCLE, motion)], CANVAS, rng))
    return centre_of_white(frames[0]), centre_of_white(frames[-1])


def test_four_events_of_two_and_a_half_seconds_at_eight_frames_a_second_are_80_frames():
    events = [Event(WHITE_CIRCLE, motion) for motion in MOTIONS[:4]]
    frames = list(video_frames(events, CANVAS, np.random.default_rng(0)))
    assert len(frames) == 80
    assert {frame.shape for frame in frames} == {(96, 96, 3)}


@pytest.mark.parametrize(
    ("motion", "axis", "sign"), [("up", 0, -1), ("down", 0, 1), ("left", 1, -1), ("right", 1, 1)]
)
def test_a_shape_travels_at_least_a_third_of_the_picture_its_way(motion, axis, sign):
    first, last = first_and_last(motion)
    assert sign * (last[axis] - first[axis]) > 96 / 3
    assert abs(last[1 - axis] - first[1 - axis]) < 2


def test_a_growing_shape_covers_four_times_the_area():
    first, last = first_and_last("grow")
    assert last[2] > 4 * first[2]


def test_a_spinning_circle_is_seen_to_turn():
    frames = list(video_frames([Event(WHITE_CIRCLE, "spin")], CANVAS, np.random.default_rng(0)))
    assert np.abs(frames[0].astype(int) - frames[5]).max() > 100


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_motion_stays_inside_the_picture(motion):
    for seed in range(50):
        for pose in motion_path(motion, np.random.default_rng(seed)):
            assert pose.radius <= min(pose.x, pose.y, 1 - pose.x, 1 - pose.y) + 0.02


def test_colours_in_stills_are_far_apart():
    def paint(colour):
        picture = still([Thing(colour, "square")], CANVAS, np.random.default_rng(3)).astype(int)
        return picture[np.abs(picture - picture[0, 0]).sum(2) > 150]

    medians = {colour: np.median(paint(colour), axis=0) for colour in COLOURS}
    pairs = [(a, b) for a in COLOURS for b in COLOURS if a < b]
    assert min(np.abs(medians[a] - medians[b]).max() for a, b in pairs) > 60


def test_three_things_lie_side_by_side_without_touching():
    things = [Thing("white", "circle"), Thing("white", "square"), ALL_THINGS[-1]]
    picture = still(things, CANVAS, np.random.default_rng(5))
    filled = (picture.min(axis=2) > 200).any(axis=0).astype(int)
    assert np.count_nonzero(np.diff(filled) == 1) == 3
