"""The trials of a search, and what they found together."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from trainers.evaluation.protocol import Declared
from tune.settings import Setting
from tune.space import Search


@dataclass(frozen=True)
class Trial:
    """One trained setting and seed, and its scores."""

    setting: Setting
    seed: int
    metrics: Mapping[str, float]
    """Those of all protocols, after the last step or where it was stopped."""
    checkpoint: str
    run_id: str
    """Its tracked run, nested under the search's."""
    step: int = 0
    """Steps trained, of all its stages."""
    stopped: bool = False
    """Stopped early, as too weak."""
    wall_s: float = 0.0
    """From its start to its scores, in the call that ended it."""
    device_s: float = 0.0
    """Of training, times the workers."""

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Trial":
        """What `dataclasses.asdict` gave, also after a round trip through a file."""
        return Trial(**{**value, "setting": Setting(**value["setting"])})


@dataclass(frozen=True)
class Failed:
    """A trial that came to no end, and why."""

    setting: Setting
    seed: int
    reason: str


@dataclass(frozen=True)
class SearchResult:
    """All trials, the best setting, and the scores of the weights that all of them started from."""

    trials: tuple[Trial, ...]
    """In the order of the plan."""
    winner: Setting
    start: Mapping[str, float] = field(default_factory=dict)
    failed: tuple[Failed, ...] = ()
    shown: tuple[Declared, ...] = ()
    """The numbers that are looked at together, the deciding one first."""

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "SearchResult":
        """What `dataclasses.asdict` gave, also after a round trip through a file."""
        return SearchResult(
            tuple(map(Trial.from_json, value["trials"])),
            Setting(**value["winner"]),
            value["start"],
            tuple(Failed(**{**one, "setting": Setting(**one["setting"])}) for one in value["failed"]),
            tuple(Declared(**each) for each in value["shown"]),
        )


def shown_numbers(
    trials: Iterable[Trial], search: Search, declared: Mapping[str, Declared]
) -> tuple[Declared, ...]:
    """What is looked at together, of what all trials have: the deciding number, what it is held against, the leading
    ones."""
    there = set.intersection(*(set(trial.metrics) for trial in trials))
    leading = (name for name, number in declared.items() if number.leading)
    names = dict.fromkeys((search.metric, search.against, *leading))
    return tuple(declared[name] for name in names if name in there)


def by_setting(trials: Iterable[Trial]) -> dict[tuple[object, ...], list[Trial]]:
    """The trials that differ in their seed only, together."""
    found: dict[tuple[object, ...], list[Trial]] = defaultdict(list)
    for trial in trials:
        found[trial.setting.key].append(trial)
    return found


def mean(trials: Sequence[Trial], metric: str) -> float:
    """The mean of a metric over trials, to nine places: equal counts of clips are equal whatever the rounding."""
    return round(fmean(trial.metrics[metric] for trial in trials), 9)


def merit(trials: Sequence[Trial], number: Declared) -> float:
    """The mean of a number, negated where less of it is better."""
    return mean(trials, number.name) * (1 if number.more_is_better else -1)


def best(groups: Iterable[list[Trial]], number: Declared) -> list[Trial]:
    """The trials with the best mean; of equals the last."""
    return max(enumerate(groups), key=lambda each: (merit(each[1], number), each[0]))[1]


def winner(trials: Iterable[Trial], number: Declared) -> Setting:
    """The setting with the best mean over its seeds; of equals the later one.

    Trials that were stopped do not count, and a setting with fewer finished seeds than another does not compete: its
    mean rests on less.
    """
    return best(fullest(trial for trial in trials if not trial.stopped), number)[0].setting


def fullest(trials: Iterable[Trial]) -> list[list[Trial]]:
    """The settings with the most trials."""
    groups = list(by_setting(trials).values())
    most = max(map(len, groups))
    return [group for group in groups if len(group) == most]
