"""What the demo's videos say: coloured shapes that move, in three wordings that share only what they must.

An `Event` is one shape doing one thing. Register A is spoken, one sentence an event, without a word of order.
Register B is the trained caption: it states the order. Register D is for evaluation only: other words for the
same colours and shapes, naming what a still shows; a model meets them in stills of the first stage alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
SHAPES = ("circle", "square", "triangle", "cross")
MOTIONS = ("up", "down", "left", "right", "spin", "grow")
REGISTERS = ("A", "B", "D")
ORDER_WORDS = ("first", "then", "afterwards", "finally")
FUNCTION_WORDS = frozenset({"a", "an", "and", "of"})

# Verbs that sound unlike: a trial's speech model confused little else. Short phrases keep the transcript of a
# 30-second window below the compression ratio of 2.4 at which Whisper takes it for a loop and decodes again.
_SPOKEN_MOTION = {
    "up": "floats upward",
    "down": "tumbles down",
    "left": "marches left",
    "right": "hurries right",
    "spin": "keeps spinning",
    "grow": "becomes huge",
}
_WRITTEN_MOTION = {
    "up": "rises",
    "down": "sinks",
    "left": "glides leftwards",
    "right": "slides rightwards",
    "spin": "rotates",
    "grow": "swells",
}
_COLOUR_SYNONYM = {
    "red": "crimson",
    "green": "emerald",
    "blue": "azure",
    "yellow": "golden",
    "purple": "violet",
    "white": "ivory",
}
_SHAPE_SYNONYM = {"circle": "disc", "square": "box", "triangle": "wedge", "cross": "plus"}


@dataclass(frozen=True, order=True)
class Thing:
    """A coloured shape, as a still shows it."""

    colour: str
    shape: str


@dataclass(frozen=True, order=True)
class Event:
    """A coloured shape and what it does."""

    thing: Thing
    motion: str


ALL_THINGS = tuple(Thing(colour, shape) for colour, shape in product(COLOURS, SHAPES))
ALL_EVENTS = tuple(Event(thing, motion) for thing, motion in product(ALL_THINGS, MOTIONS))


def narration(event: Event) -> str:
    """Register A: the sentence spoken while the event is on screen."""
    return f"{_in_plain_words(event.thing).capitalize()} {_SPOKEN_MOTION[event.motion]}."


def ordered_caption(events: Sequence[Event]) -> str:
    """Register B: up to four events, each after its word of order."""
    assert len(events) <= len(ORDER_WORDS), f"register B orders at most four events, not {len(events)}"
    phrases = (
        f"{word} {_in_plain_words(e.thing)} {_WRITTEN_MOTION[e.motion]}"
        for word, e in zip(ORDER_WORDS, events, strict=False)
    )
    return ", ".join(phrases)


def evaluation_caption(things: Sequence[Thing]) -> str:
    """Register D: the things that appear, in order, in words kept from every video text."""
    return _listed([_renamed(thing) for thing in things])


def still_caption(things: Sequence[Thing], register: str) -> str:
    """The caption of a still in the wording of register A, B or D, naming the things in the order given."""
    match register:
        case "A":
            return _listed([_in_plain_words(thing) for thing in things]).capitalize() + "."
        case "B":
            return "a picture of " + _listed([_in_plain_words(thing) for thing in things])
        case "D":
            return evaluation_caption(things)
    raise ValueError(f"register: one of {', '.join(REGISTERS)}, not {register!r}")


def content_words(text: str) -> frozenset[str]:
    """Lower-case words of a text that carry meaning: no articles, no "and"."""
    return frozenset(re.findall(r"[a-z]+", text.lower())) - FUNCTION_WORDS


def _in_plain_words(thing: Thing) -> str:
    return f"a {thing.colour} {thing.shape}"


def _renamed(thing: Thing) -> str:
    colour = _COLOUR_SYNONYM[thing.colour]
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {_SHAPE_SYNONYM[thing.shape]}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
