"""The runs of a results file as markdown tables: mean over seeds, and the range."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Run = Mapping[str, Any]
Columns = Mapping[str, str]
"""Heading -> name of the metric."""

MOVED = {
    "q moved": "moved/q",
    "k": "moved/k",
    "v": "moved/v",
    "proj": "moved/proj",
    "ln_3": "moved/ln_3",
    "table": "moved/table",
    "share": "share",
    "of it by frame": "share_moment",
}
SORTED = {
    "plateau left at step": "left_at",
    "placed right": "sorting/position",
    "all four": "sorting/all_right",
    "control": "sorting/control",
}
DEMO = {
    **SORTED,
    "motions alone": "motions/position",
    "text: motion by thing": "text_motion",
    "A R@1": "A/t2v_R1",
    "B R@1": "B/t2v_R1",
    "D R@1": "D/t2v_R1",
    "twins B": "twins/B/t2v",
    "twins D": "twins/D/t2v",
}
MOTIONS = {**SORTED, "direction": "direction", "text: motion by thing": "text_motion"}


def read_runs(results: Path) -> list[Run]:
    """The runs of a file, in their order; none if there is no file."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def tables(runs: Sequence[Run]) -> str:
    """One table of scores and one of movements for every study in the runs."""
    parts = []
    for study in dict.fromkeys(run["study"] for run in runs):
        own = [run for run in runs if run["study"] == study]
        seeds = sorted({run["seed"] for run in own})
        parts.append(f"{study}, seeds {' '.join(map(str, seeds))}\n")
        parts += [table(own, DEMO if study == "demo" else MOTIONS), table(own, MOVED)]
    return "\n".join(parts)


def table(runs: Sequence[Run], columns: Columns) -> str:
    """Rows are variants, in the order in which they were first run."""
    head = f"| | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}\n"
    rows = []
    for variant in dict.fromkeys(run["variant"] for run in runs):
        own = [run for run in runs if run["variant"] == variant]
        cells = [cell([run[name] for run in own if name in run]) for name in columns.values()]
        rows.append(f"| {variant} | {' | '.join(cells)} |\n")
    return head + "".join(rows)


def cell(values: Sequence[float | None]) -> str:
    """Mean and range; a plateau that was not left is told as "never", with how often."""
    known = [value for value in values if value is not None]
    never = f"never ({len(values) - len(known)})" if len(known) < len(values) else ""
    if not known:
        return "never" if values else "–"
    mean = _number(sum(known) / len(known))
    low, high = _number(min(known)), _number(max(known))
    told = mean if low == high else f"{mean} ({low}–{high})"
    return f"{told}, {never}" if never else told


def _number(value: float) -> str:
    if abs(value) < 1e-6:  # rounding
        return "0"
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.1f}" if abs(value) >= 0.1 else "<0.1"
