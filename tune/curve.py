"""What a search found, as a table for programs and as a picture: every score along the axis, with its spread."""

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.fields import is_number
from trainers.evaluation.protocol import Declared
from tune.results import SearchResult, Trial, best, by_setting, fullest, mean, merit
from tune.settings import Setting
from tune.space import Search

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Point:
    """The trials that are seen at one place of the curve."""

    x: float
    label: str
    trials: tuple[Trial, ...]


def points(search: Search, results: Sequence[SearchResult]) -> tuple[Point, ...]:
    """Along the axis, for each of its values the trials of the best setting there; without an axis, every setting.

    Of several searches together, each with its own best. Where no trial of a value finished, those that were stopped.
    """
    axis = search.axis
    if axis is None:
        groups = by_setting(trial for result in results for trial in result.trials)
        labels = [", ".join(group[0].setting.words) for group in groups.values()]
        return tuple(
            Point(float(place), label, tuple(group))
            for place, (label, group) in enumerate(zip(labels, groups.values(), strict=True))
        )
    found: dict[float, list[Trial]] = defaultdict(list)
    for result in results:
        for x, trials in _along(axis, result).items():
            found[x] += trials
    return tuple(Point(x, f"{x:g}", tuple(trials)) for x, trials in sorted(found.items()))


def place_of(setting: Setting, search: Search, curve: Sequence[Point]) -> Point:
    """The point of a setting."""
    if search.axis is not None:
        return next(point for point in curve if point.x == setting.values[search.axis])
    return next(point for point in curve if point.trials[0].setting == setting)


def _along(axis: str, result: SearchResult) -> dict[float, list[Trial]]:
    """The trials of the best setting of each value of the axis."""
    values: dict[float, list[Trial]] = defaultdict(list)
    for trial in result.trials:
        x = trial.setting.values[axis]
        assert is_number(x)
        values[float(x)].append(trial)
    return {
        x: best(fullest([trial for trial in own if not trial.stopped] or own), result.shown[0])
        for x, own in values.items()
    }


def title(search: Search) -> str:
    """What the axis is; "setting" without one."""
    return search.called(search.axis) if search.axis else "setting"


def best_point(curve: Sequence[Point], number: Declared) -> Point | None:
    """Where a number is best; of equals the last. None for a number of which neither more nor less is better."""
    if number.more_is_better is None:
        return None
    return max(curve, key=lambda point: (merit(point.trials, number), point.x))


def disagreement(result: SearchResult, search: Search) -> str:
    """One sentence where `search.against` prefers another place than the deciding metric; "" where not."""
    against = next((number for number in result.shown if number.name == search.against), None)
    if against is None:
        return ""
    curve = points(search, [result])
    other, chosen = best_point(curve, against), place_of(result.winner, search, curve)
    assert other is not None  # such a number is refused before a search begins
    if other == chosen:
        return ""
    there, here = (
        {name: f"{mean(point.trials, name):.4g}" for name in (search.metric, search.against)}
        for point in (other, chosen)
    )
    return (
        f"{title(search)}: {search.against} is best at {other.label} ({there[search.against]}, at {chosen.label}: "
        f"{here[search.against]}), but {search.metric} is {there[search.metric]} there and {here[search.metric]} "
        f"at {chosen.label}."
    )


def as_csv(result: SearchResult) -> bytes:
    """A row per trial, the failed ones and the start weights included; fields and metrics in columns."""
    settings = [trial.setting for trial in result.trials] + [failed.setting for failed in result.failed]
    fields = list(dict.fromkeys(name for setting in settings for name in setting.values))
    variant = ["variant"] if any(setting.variant for setting in settings) else []
    metrics = sorted({name for trial in result.trials for name in trial.metrics})

    def place(setting: Setting) -> list[object]:
        return [*(setting.values.get(name, "") for name in fields), *(setting.variant for _ in variant)]

    text = io.StringIO()
    table = csv.writer(text)
    table.writerow([*fields, *variant, "seed", "state", "step", *metrics, "wall_s", "device_s"])
    blank = ["" for _ in (*fields, *variant)]
    table.writerow([*blank, "", "start", 0, *(_cell(result.start, name) for name in metrics)])
    for trial in result.trials:
        state = "stopped" if trial.stopped else "finished"
        scores = [_cell(trial.metrics, name) for name in metrics]
        times = [round(trial.wall_s, 1), round(trial.device_s, 1)]
        table.writerow([*place(trial.setting), trial.seed, state, trial.step, *scores, *times])
    for failed in result.failed:
        table.writerow([*place(failed.setting), failed.seed, f"failed: {failed.reason}"])
    return text.getvalue().encode()


def _cell(metrics: Mapping[str, float], name: str) -> float | str:
    """57.0, and not 56.99999999999999 as the share was computed."""
    return round(metrics[name], 6) if name in metrics else ""


def as_png(result: SearchResult, search: Search) -> bytes:
    """A panel per score: seeds as dots, their mean as a line along the axis, the start weights dashed, the chosen place
    marked. Without an axis every setting has its place, and there is no line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(result.shown))
    rows = -(-len(result.shown) // columns)
    figure = Figure(figsize=(4.0 * columns, 2.9 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    curve = points(search, [result])
    chosen = place_of(result.winner, search, curve).x
    for place, name in enumerate(number.name for number in result.shown):
        axes = figure.add_subplot(rows, columns, place + 1)
        if search.axis:
            axes.plot([point.x for point in curve], [mean(p.trials, name) for p in curve], color="#2456a6")
        _dots(axes, curve, name)
        if name in result.start:
            axes.axhline(result.start[name], color="#888888", linestyle="--", linewidth=1)
        axes.axvline(chosen, color="#d08a1d", linewidth=1, alpha=0.6)
        axes.set_title(name + (" (decides)" if name == search.metric else ""), fontsize=10)
        slant = 0 if search.axis else 90
        axes.set_xticks([p.x for p in curve], [p.label for p in curve], rotation=slant)
    figure.supxlabel(f"{title(search)}   (dashed: start weights, orange: chosen)", fontsize=9)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()


def _dots(axes: "Axes", curve: Sequence[Point], name: str) -> None:
    """Filled where the trial finished, hollow where it was stopped early."""
    for stopped, face in ((False, "#2456a6"), (True, "white")):
        own = [(point.x, trial) for point in curve for trial in point.trials if trial.stopped is stopped]
        xs, ys = [x for x, _ in own], [trial.metrics[name] for _, trial in own]
        axes.scatter(xs, ys, s=22, facecolors=face, edgecolors="#2456a6", zorder=3)
