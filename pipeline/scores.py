"""What an evaluation measures: names and words, their order in tables, and what chance would give."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CUTS = (1, 5, 10)
DIRECTIONS = {"t2v": "text to video", "v2t": "video to text"}


@dataclass(frozen=True)
class Hit:
    """A clip that a query found: its uid and the cosine of its features with the query's."""

    uid: str
    score: float


@dataclass(frozen=True)
class Example:
    """One query: its text, the clip it belongs to, that clip's rank (1 is best), the best hits."""

    register: str
    text: str
    own: str
    rank: int
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class Scores:
    """The result of one evaluation. Shares are in percent, ranks count from 1."""

    metrics: Mapping[str, float]
    num_clips: int
    num_transcripts: int
    num_twins: int = 0
    examples: tuple[Example, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a step's record or an artifact."""
        return {**dataclasses.asdict(self), "metrics": dict(self.metrics)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Scores":
        """What `to_json` gave, also after a round trip through a file."""
        examples = tuple(
            Example(**{**row, "hits": tuple(Hit(**hit) for hit in row["hits"])}) for row in value["examples"]
        )
        return Scores(**{**value, "examples": examples})


@dataclass(frozen=True)
class Metric:
    """A row of the table: its name in `Scores.metrics`, what it is called, which way is better."""

    name: str
    label: str
    group: str
    higher_is_better: bool | None = True
    is_share: bool = True


@dataclass(frozen=True)
class Group:
    """Rows that belong together, with one sentence that says what they measure."""

    name: str
    title: str
    note: str
    metrics: tuple[Metric, ...] = field(default=())


def groups(names: Sequence[str], notes: Mapping[str, str]) -> list[Group]:
    """The rows for the metrics of these names, registers first, by name; `notes` explain the registers."""
    registers = sorted({name.split("/")[0] for name in names if "/t2v_" in name})
    rows = [_retrieval(register, notes.get(register, "")) for register in registers]
    twins = _twins(sorted({name.split("/")[1] for name in names if name.startswith("twins/")}))
    return [group for group in (*rows, _SORTING, twins) if any(m.name in names for m in group.metrics)]


def _retrieval(register: str, note: str) -> Group:
    rows = []
    for direction, title in DIRECTIONS.items():
        rows += [Metric(f"{register}/{direction}_R{cut}", f"{title}, R@{cut}", register) for cut in CUTS]
        median = f"{title}, median rank"
        rows.append(
            Metric(f"{register}/{direction}_MedR", median, register, higher_is_better=False, is_share=False)
        )
    return Group(register, f"Retrieval, register {register}", note, tuple(rows))


_SORTING = Group(
    "sorting",
    "Sorting transcripts into the order of the video",
    "Each transcript is placed by looking at the frames. The control shows another clip's frames: it must "
    "fall to chance.",
    (
        Metric("sorting/position", "transcripts placed right", "sorting"),
        Metric("sorting/all_right", "clips with every transcript right", "sorting"),
        Metric("sorting/control", "control: another clip's video", "sorting", higher_is_better=None),
    ),
)


def _twins(registers: Sequence[str]) -> Group:
    rows = []
    for register in registers:
        for direction, words in (
            ("t2v", "caption prefers its own video"),
            ("v2t", "video prefers its own caption"),
        ):
            rows.append(Metric(f"twins/{register}/{direction}", f"register {register}: {words}", "twins"))
    note = (
        "Two videos differ only in order, so neither a bag of words nor a bag of frames can tell them apart."
    )
    return Group("twins", "Twins: the same events in another order", note, tuple(rows))


def chance(names: Sequence[str], num_clips: int, num_transcripts: int) -> dict[str, float]:
    """What guessing gives: one right of `num_clips`, places drawn independently, a coin between twins."""
    levels = {name: 50.0 for name in names if name.startswith("twins/")}
    levels |= {"sorting/position": 100 / num_transcripts, "sorting/control": 100 / num_transcripts}
    levels["sorting/all_right"] = 100 * num_transcripts**-num_transcripts
    for register in {name.split("/")[0] for name in names if "/t2v_" in name}:
        for direction in DIRECTIONS:
            levels |= {f"{register}/{direction}_R{cut}": min(100.0, 100 * cut / num_clips) for cut in CUTS}
            levels[f"{register}/{direction}_MedR"] = (num_clips + 1) / 2
    return {name: levels[name] for name in names if name in levels}


def luck(hits: int, trials: int, probability: float) -> float:
    """Probability that guessing gets at least `hits` of `trials` right (upper tail of the binomial)."""
    terms = (
        math.comb(trials, k) * probability**k * (1 - probability) ** (trials - k)
        for k in range(hits, trials + 1)
    )
    return min(1.0, math.fsum(terms))


def show(value: float, metric: Metric) -> str:
    """A share in percent with one decimal, a rank as it is."""
    return f"{value:.1f} %" if metric.is_share else f"{value:.3g}"
