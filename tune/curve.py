"""What a search found, as a table for programs and as a picture: every score against the depth, with its spread."""

import csv
import io
from collections.abc import Mapping, Sequence

from tune.space import Search
from tune.trials import SearchResult, Trial, best_by_depth, mean


def shown_metrics(result: SearchResult, search: Search) -> list[str]:
    """The scores that are looked at together: the deciding one, what it is held against, then text to video R@1 of
    all registers, classes and the drift of the text space."""
    names = sorted(set.intersection(*(set(trial.metrics) for trial in result.trials)))
    first = [name for name in (search.metric, search.against) if name]
    others = [name for name in names if name.endswith("/t2v_R1")]
    others += [name for name in names if name.startswith("drift/") or name.endswith("/found")]
    return list(dict.fromkeys([*first, *others]))


def disagreement(result: SearchResult, search: Search) -> str:
    """One sentence where the words trained on prefer another depth than the deciding metric; "" where not."""
    if not search.against:
        return ""
    groups = best_by_depth(result.trials, search.metric)
    chosen = result.winner.depth
    other = max(groups, key=lambda depth: (mean(groups[depth], search.against), depth))
    if other == chosen:
        return ""
    told = {
        name: [f"{mean(groups[depth], name):.1f}" for depth in (other, chosen)]
        for name in (search.metric, search.against)
    }
    return (
        f"{search.against} is best with {other} blocks frozen ({told[search.against][0]}, with {chosen}: "
        f"{told[search.against][1]}), but {search.metric} is {told[search.metric][0]} there and "
        f"{told[search.metric][1]} with {chosen}."
    )


def as_csv(result: SearchResult) -> bytes:
    """A row per trial, the failed ones and the start weights included; metrics in columns."""
    settings = [trial.values for trial in result.trials] + [failed.values for failed in result.failed]
    fields = sorted({name for values in settings for name in values})
    metrics = sorted({name for trial in result.trials for name in trial.metrics})
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["depth", "seed", "state", "step", *fields, *metrics, "wall_s", "device_s"])
    table.writerow(["", "", "start", 0, *("" for _ in fields), *(_plain(result.start, m) for m in metrics)])
    for trial in result.trials:
        state = "stopped" if trial.stopped else "finished"
        own = [trial.values.get(name, "") for name in fields]
        scores = [_plain(trial.metrics, name) for name in metrics]
        times = [round(trial.wall_s, 1), round(trial.device_s, 1)]
        table.writerow([trial.depth, trial.seed, state, trial.step, *own, *scores, *times])
    for failed in result.failed:
        own = [failed.values.get(name, "") for name in fields]
        table.writerow([failed.depth, failed.seed, f"failed: {failed.reason}", "", *own])
    return text.getvalue().encode()


def _plain(metrics: Mapping[str, float], name: str) -> float | str:
    """57.0, and not 56.99999999999999 as the share was computed."""
    return round(metrics[name], 6) if name in metrics else ""


def as_png(result: SearchResult, search: Search) -> bytes:
    """A panel per score: seeds as dots, their mean as a line, the start weights dashed, the chosen depth marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = shown_metrics(result, search)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.0 * columns, 2.9 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    groups = best_by_depth(result.trials, search.metric)
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, place + 1)
        depths = list(groups)
        axes.plot(depths, [mean(groups[depth], name) for depth in depths], color="#2456a6")
        _dots(axes, [trial for group in groups.values() for trial in group], name)
        if name in result.start:
            axes.axhline(result.start[name], color="#888888", linestyle="--", linewidth=1)
        axes.axvline(result.winner.depth, color="#d08a1d", linewidth=1, alpha=0.6)
        axes.set_title(name + (" (decides)" if name == search.metric else ""), fontsize=10)
        axes.set_xticks(depths)
    figure.supxlabel("lower text blocks frozen   (dashed: start weights, orange: chosen)", fontsize=9)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()


def _dots(axes: "object", trials: Sequence[Trial], name: str) -> None:
    """Filled where the trial finished, hollow where it was stopped early."""
    for stopped, face in ((False, "#2456a6"), (True, "white")):
        own = [trial for trial in trials if trial.stopped is stopped]
        points = [trial.depth for trial in own], [trial.metrics[name] for trial in own]
        axes.scatter(*points, s=22, facecolors=face, edgecolors="#2456a6", zorder=3)  # type: ignore[attr-defined]
