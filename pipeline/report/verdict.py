"""Is it better than guessing? One sentence per measure that has one, judged by an exact binomial test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.report.facts import Weights
from trainers.evaluation.protocol import Measured, said

SURE = 0.001  # guessing must be rarer than this for "above chance"
ODD = 0.01  # a control that guessing would exceed more rarely than this has not fallen to chance


@dataclass(frozen=True)
class Finding:
    """One judgement in one sentence."""

    good: bool
    sentence: str


def judge(weights: Sequence[Weights]) -> list[Finding]:
    """What the trained weights show, measure by measure; nothing where they were not evaluated."""
    by_kind = {item.kind: item for item in weights}
    if "trained" not in by_kind:
        return []
    trained = by_kind["trained"].means
    start = by_kind["start"].means if "start" in by_kind else {}
    return [
        finding(each, trained, start.get(name)) for name, each in trained.items() if each.declared.sentence
    ]


def finding(measured: Measured, others: Mapping[str, Measured], start: Measured | None) -> Finding:
    """One number of the trained weights, among all of theirs, beside that of the start weights."""
    declared = measured.declared
    if declared.control_of:
        good = (measured.luck or 0.0) > ODD
        real = declared.control_of in others and above_chance(others[declared.control_of])
        level = (declared.good if real else declared.moot) if good else declared.bad
    else:
        good = above_chance(measured)
        level = declared.good if good else declared.bad
    return Finding(good, said(measured, others, level, start))


def above_chance(measured: Measured) -> bool:
    """Whether guessing would reach it in fewer than one of a thousand cases."""
    return measured.luck is not None and measured.luck < SURE
