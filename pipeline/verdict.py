"""Is it better than guessing? One sentence per measure, judged by an exact binomial test."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report_data import Weights
from pipeline.scores import Scores, chance, luck

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
    trained = by_kind["trained"]
    names = list(trained.runs[0].metrics)
    findings = [_retrieval(trained, by_kind.get("start"), name) for name in names if name.endswith("/t2v_R1")]
    findings += [_sorting(trained)] if "sorting/position" in names else []
    findings += [_control(trained)] if "sorting/control" in names else []
    return findings + [_twins(trained, name) for name in names if _is_twins_t2v(name)]


def above_chance(weights: Weights, name: str, trials: int) -> bool:
    """Whether guessing would reach the mean of the runs in fewer than one of a thousand cases."""
    return luck(round(weights.mean(name) / 100 * trials), trials, _chance(weights.runs[0], name) / 100) < SURE


def _retrieval(trained: Weights, start: Weights | None, name: str) -> Finding:
    clips = trained.runs[0].num_clips
    good = above_chance(trained, name, clips)
    level = f"{'above' if good else 'not surely above'} chance ({_of(_chance(trained.runs[0], name), clips)})"
    than = f"; the start weights manage {_of(start.mean(name), clips)}" if start else ""
    found = f"{_of(trained.mean(name), clips)} of {clips} texts find their own video first"
    return Finding(good, f"Register {name.split('/')[0]}: {found}, {level}{than}.")


def _sorting(trained: Weights) -> Finding:
    run = trained.runs[0]
    # Places within one clip depend on one another, so a clip counts as one trial and not as K.
    good = above_chance(trained, "sorting/position", run.num_clips)
    return Finding(
        good,
        f"Sorting: {trained.mean('sorting/position'):.0f} % of the transcripts are placed right "
        f"(chance {100 / run.num_transcripts:.0f} %), all {run.num_transcripts} of a clip in "
        f"{trained.mean('sorting/all_right'):.0f} % of the clips (chance {chance_all_right(run):.1f} %).",
    )


def _control(trained: Weights) -> Finding:
    run = trained.runs[0]
    value, level = trained.mean("sorting/control"), 100 / run.num_transcripts
    fell = luck(round(value / 100 * run.num_clips), run.num_clips, level / 100) > ODD
    if not fell:
        end = "so something else than the video gives the order away"
    elif above_chance(trained, "sorting/position", run.num_clips):
        end = "so what it gets right it gets from the video"
    else:
        end = "as it must be"
    found = f"with another clip's video {value:.0f} % are placed right (chance {level:.0f} %)"
    return Finding(fell, f"Control: {found}, {end}.")


def _twins(trained: Weights, name: str) -> Finding:
    # The two answers of a pair depend on one another, so a pair counts as one trial.
    good = above_chance(trained, name, trained.runs[0].num_twins // 2)
    level = f"{'above' if good else 'not surely above'} chance (50 %)"
    told = "prefer their own video to the same events in another order"
    register = name.split("/")[1]
    return Finding(
        good, f"Twins, register {register}: {trained.mean(name):.0f} % of the captions {told}, {level}."
    )


def _is_twins_t2v(name: str) -> bool:
    return name.startswith("twins/") and name.endswith("/t2v")


def chance_all_right(run: Scores) -> float:
    """All K places right when each is drawn independently, in percent."""
    return _chance(run, "sorting/all_right")


def _chance(run: Scores, name: str) -> float:
    return chance([name], run.num_clips, run.num_transcripts)[name]


def _of(percent: float, total: int) -> str:
    return f"{percent / 100 * total:.3g}"
