"""Clips drawn in the demo's hand: one thing through the whole clip, four motions. Only time tells them apart."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple

import numpy as np
import pyarrow as pa
import simplejpeg

from ingest.records import Clip, Utterance, stable_uid, to_table
from pipeline.demo.grammar import ALL_THINGS, MOTIONS, Event, Thing, narration, ordered_caption
from pipeline.demo.plans import EVENTS_PER_CLIP, Story
from pipeline.demo.scenes import Canvas, Picture, Pose, draw, motion_path, plain_background, video_frames

Draw = Callable[[np.random.Generator], Story]
Film = Callable[[Sequence[Event], Canvas, np.random.Generator], Iterator[Picture]]

STORED = 24  # candidate frames of a clip, as the demo's ingest keeps them
MIRRORED = {"up": "down", "down": "up", "left": "right", "right": "left"}


def motions_alone(rng: np.random.Generator) -> Story:
    """One coloured shape, four of the six motions."""
    thing = ALL_THINGS[rng.integers(len(ALL_THINGS))]
    return tuple(Event(thing, MOTIONS[i]) for i in rng.choice(len(MOTIONS), EVENTS_PER_CLIP, replace=False))


def with_thing(story: Story, thing: Thing) -> Story:
    """The same motions by another thing."""
    return tuple(Event(thing, event.motion) for event in story)


def four_things(rng: np.random.Generator) -> Story:
    """Four different coloured shapes, any motions: what most of the demo's clips show."""
    things = [ALL_THINGS[i] for i in rng.choice(len(ALL_THINGS), EVENTS_PER_CLIP, replace=False)]
    return tuple(Event(thing, MOTIONS[rng.integers(len(MOTIONS))]) for thing in things)


def backwards(story: Story) -> Story | None:
    """What the clip would show played backwards, event by event; None where that is the same motions again.

    Both have the same frames, so only their order tells which set of sentences belongs to the clip.
    """
    mirrored = tuple(Event(event.thing, MIRRORED.get(event.motion, event.motion)) for event in story)
    return None if set(mirrored) == set(story) else mirrored


def out_of_step(events: Sequence[Event], canvas: Canvas, rng: np.random.Generator) -> Iterator[Picture]:
    """As the demo's `video_frames`, but each motion begins somewhere on its path and wraps round at the end.

    There the first frame of an event tells its motion: what rises is low, what grows is small. Here no single frame
    does, wherever it stands in the clip; two neighbouring ones do.
    """
    background = plain_background(canvas.size, rng)
    for event in events:
        start, end = (astuple(pose) for pose in motion_path(event.motion, rng))
        phase = rng.uniform()
        for index in range(canvas.frames_per_event):
            share = (phase + index / canvas.frames_per_event) % 1
            frame = background.copy()
            draw(frame, event.thing, Pose(*(a + (b - a) * share for a, b in zip(start, end, strict=True))))
            yield frame


def drawn_clip(story: Story, canvas: Canvas, seed: Sequence[int], film: Film = video_frames) -> Clip:
    """A narrated clip of the story, its frames as JPEG (quality 95, as the demo stores them)."""
    pictures = list(film(story, canvas, np.random.default_rng([*seed, 1])))
    stored = np.linspace(0, len(pictures), min(STORED, len(pictures)), endpoint=False)
    middle = (stored + len(pictures) / len(stored) / 2).astype(int)
    frames = tuple(simplejpeg.encode_jpeg(pictures[i], quality=95, colorsubsampling="444") for i in middle)
    said = tuple(
        Utterance(narration(event), i * canvas.event_s, (i + 1) * canvas.event_s)
        for i, event in enumerate(story)
    )
    uid = stable_uid("drawn", *seed)
    return Clip(
        uid,
        uid,
        "drawn",
        "video",
        "",
        0.0,
        len(story) * canvas.event_s,
        captions=(ordered_caption(story),),
        transcripts=said,
        frames=frames,
    )


def drawn_stories(draw: Draw, count: int, seed: int) -> list[Story]:
    """As many stories, decided by the seed."""
    return [draw(np.random.default_rng([seed, number, 0])) for number in range(count)]


def drawn_rows(
    stories: Sequence[Story], canvas: Canvas, seed: int, first: int = 0, film: Film = video_frames
) -> pa.Table:
    """The stories as stored clips; `first` numbers the first of them, and with the seed decides its drawing."""
    return to_table(Clip, [drawn_clip(s, canvas, (seed, first + i), film) for i, s in enumerate(stories)])


def planned(rows: pa.Table, first: int) -> pa.Table:
    """Stored clips as rows of a stream, numbered from `first`, each met once."""
    rows = rows.append_column("position", pa.array(range(first, first + rows.num_rows), pa.int64()))
    rows = rows.append_column("epoch", pa.array([0] * rows.num_rows, pa.int64()))
    return rows.append_column("valid", pa.array([True] * rows.num_rows))
