"""What a score of one's own promises: names before training, rounds of collecting, numbers at the end. No torch."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from trainers.evaluation.significance import luck, wilson
from trainers.kinds import Tagged
from trainers.system_settings import SystemSettings

Columns = Mapping[str, NDArray[Any]]
"""What was collected of a stream's clips, in stored order: arrays whose first axis counts the clips. "uid" and
"media_uid" are always among them."""
Captions = Mapping[str, Mapping[str, Sequence[str]]]
"""Media uid -> register -> the texts; a register of sentences has several."""


@dataclass(frozen=True)
class Declared:
    """One number that a protocol gives, as it is known before anything is trained."""

    name: str
    """E.g. "B/t2v_R1": what recipes, trackers and tables call it; what stands before the last slash labels its line in
    a picture."""
    label: str
    """For people: "text to video, R@1"."""
    title: str
    """Of the rows of a table that it belongs to: "Retrieval, register B"."""
    more_is_better: bool | None = True
    """None: neither is, as of a control."""
    unit: str = "%"
    """"%": a share; "": a number of its own."""
    leading: bool = False
    """One of the few that are shown large, and drawn while a training goes on."""
    chance: float | None = None
    """What guessing gives, where that is known before any clip is scored."""
    note: str = ""
    """One sentence on what the rows below `title` measure."""
    sentence: str = ""
    """How a report says it; empty: it does not. A format with value, chance, trials, hits, chance_hits, level (the
    fitting one of `good`, `bad` and `moot`), start (`beside_start`, or nothing) and the other numbers of the same
    weights by their names, as in {sorting/all_right.value:.0f}. All are numbers but level and start."""
    beside_start: str = ""
    """Where start weights were scored, a format with their start and start_hits."""
    good: str = "above chance"
    bad: str = "not surely above chance"
    control_of: str = ""
    """Name of the number that this one is the control of: it is good where it fell to chance."""
    moot: str = ""
    """Instead of `good`, of a control that fell to chance together with what it controls."""


@dataclass(frozen=True)
class Measured:
    """A declared number as it was found."""

    declared: Declared
    value: float
    chance: float | None = None
    """What guessing gives on these clips; None: not known."""
    trials: int = 0
    """Independent trials that it is a share of; 0: it is no share of trials. Interval and luck follow from them."""

    @property
    def name(self) -> str:
        """The declared one."""
        return self.declared.name

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of a share of trials, in percent (Wilson's); None for other numbers."""
        if not self.trials:
            return None
        low, high = wilson(self.value / 100, self.trials)
        return 100 * low, 100 * high

    @property
    def luck(self) -> float | None:
        """Probability that guessing gets at least as many of the trials; None where chance or trials are not known."""
        if not self.trials or self.chance is None:
            return None
        return luck(round(self.value / 100 * self.trials), self.trials, self.chance / 100)


@dataclass(frozen=True)
class Hit:
    """A clip that a query found: its uid and its score, e.g. the cosine of its features with the query's."""

    uid: str
    score: float


@dataclass(frozen=True)
class Example:
    """One query: the kind of query in a word or two, its text, the clip it belongs to, that clip's rank (1 is best),
    the best hits."""

    title: str
    text: str
    own: str
    rank: int
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class HeldOut:
    """What is scored on: a stream of clips with the texts of its media, and the sizes of the models that are shown
    it."""

    stream: str
    system: SystemSettings
    captions: Captions
    notes: Mapping[str, str]
    """One sentence per register on what its wording is."""

    @property
    def registers(self) -> tuple[str, ...]:
        """Those of the caption file, by name."""
        return tuple(sorted(next(iter(self.captions.values()), {})))


Collect = Callable[[Any], Callable[[Any], Mapping[str, NDArray[Any]]]]
"""Made on the worker, from a `trainers.evaluation.shown.Loaded` model: what gives, of a batch `Shown` to that model,
the arrays that are collected. A frozen dataclass of plain values that can be pickled; equal ones are computed once."""


@dataclass(frozen=True)
class Round:
    """One pass over stored clips through a model, under Ray Data or in one process."""

    streams: tuple[str, ...]
    collect: Collect
    media: frozenset[str] | None = None
    """Media whose clips are taken; None: those that the caption file has texts of, or all where there is no such
    file. Batches are made of the clips that are taken, and shared by all rounds that take the same."""
    every_clip: bool = False
    """False: of each medium the first clip alone is kept, as published for evaluation (TVTSv2, section 13)."""

    def alike(self, other: "Round") -> bool:
        """Whether both collect the same of a clip."""
        mine, theirs = ((each.media, each.every_clip, each.collect) for each in (self, other))
        return mine == theirs


Rounds = Generator[Round, Mapping[str, Columns], Any]
"""Yields a round and gets what was collected, by stream; returns what is to be scored."""


@dataclass(frozen=True)
class Protocol(Tagged):
    """A benchmark, or a score of one's own, as data of a recipe.

    A subclass gives `kind` a Literal type and a default, and says in its docstring what a model must offer. Its module
    is read with the recipe, so torch is imported in functions alone.
    """

    family: ClassVar[str] = "protocol"
    reads_captions: ClassVar[bool] = True
    """Whether it needs the recipe's caption file."""
    needs_start: ClassVar[bool] = False
    """Whether it compares with start weights; where there are none, as in validation, it is left out."""

    def streams(self, held_out: HeldOut) -> tuple[str, ...]:
        """Streams of the store that it reads beside the held-out one."""
        return ()

    def declares(self, held_out: HeldOut) -> tuple[Declared, ...]:
        """Every number that `score` can give. ValueError for settings that do not fit."""
        raise NotImplementedError

    def rounds(self, held_out: HeldOut) -> Rounds:
        """Yield a round, get what it collected by stream, perhaps yield more that are planned from it; return what is
        to be scored. Run on the driver, once for each model."""
        raise NotImplementedError

    def score(self, held_out: HeldOut, found: Any, before: Any) -> tuple[Measured, ...]:
        """The numbers; `before`: what the same rounds found with the start weights, None where there are none."""
        raise NotImplementedError

    def examples(self, held_out: HeldOut, found: Any) -> tuple[Example, ...]:
        """Queries with the clips that they found, for people to look at."""
        return ()


def declared_by(
    protocols: Sequence[Protocol], held_out: HeldOut, *, with_start: bool = True
) -> dict[str, Declared]:
    """Every number that the protocols can give, by name. ValueError for a name that two of them give, settings that do
    not fit, and sentences that could not be said."""
    found: dict[str, Declared] = {}
    for protocol in protocols:
        if protocol.needs_start and not with_start:
            continue
        for declared in protocol.declares(held_out):
            if declared.name in found:
                raise ValueError(f"evaluation.protocols: two protocols give a number {declared.name!r}")
            found[declared.name] = declared
    _check(found)
    return found


def _check(declared: Mapping[str, Declared]) -> None:
    """Before anything is trained, not in the report."""
    others = {name: Measured(each, 50.0, 50.0, 2) for name, each in declared.items()}
    for name, each in declared.items():
        if each.control_of and each.control_of not in declared:
            raise ValueError(f"{name} is the control of {each.control_of}, which nothing declares")
        said(others[name], others, each.good, others[name])


def said(measured: Measured, others: Mapping[str, Measured], level: str, start: Measured | None) -> str:
    """The declared sentence of a number, among all of the same weights, beside that of the start weights.

    ValueError for a sentence that names what there is not.
    """
    declared, trials = measured.declared, measured.trials
    chance = math.nan if measured.chance is None else measured.chance
    words = {
        **others,
        "value": measured.value,
        "chance": chance,
        "trials": trials,
        "hits": measured.value / 100 * trials,
        "chance_hits": chance / 100 * trials,
        "level": level,
        "start": "",
    }
    try:
        if start:
            past = {"start": start.value, "start_hits": start.value / 100 * trials}
            words["start"] = declared.beside_start.format_map(past)
        return declared.sentence.format_map(words)
    except (KeyError, ValueError, AttributeError, IndexError, TypeError) as error:
        raise ValueError(f"the sentence of {declared.name} cannot be said ({error!r})") from error
