"""What the terminal shows of finished and running steps: lines and tables that line up."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ingest.graph import StreamSummary, Summary
from pipeline.report_data import Weights
from pipeline.scores import Metric, chance, groups, show
from pipeline.steps import Done
from pipeline.timecode import show_duration
from tune.space import Search

LOG_WIDTH = 120  # columns where there is no terminal that says its own


def terminal() -> Console:
    """Standard output, wide enough for the tables also in a log."""
    return Console() if Console().is_terminal else Console(width=LOG_WIDTH)


def step_line(title: str, done: Done) -> str:
    """ "stage tvtsv2: 1 min 45 s" or, for a step of an earlier call, "… finished earlier"."""
    when = "finished earlier, skipped" if done.earlier else show_duration(done.seconds)
    return f"[green]✓[/] [bold]{title}[/]  {when}"


def ingest_progress(stands: Iterable[StreamSummary]) -> tuple[int, int, str]:
    """Shards done, shards in all, and a note, over all streams."""
    streams = list(stands)
    done = sum(stream.shards_skipped + stream.shards_written for stream in streams)
    clips = sum(stream.num_clips for stream in streams)
    aside = sum(sum(stream.rejects.values()) for stream in streams)
    return done, sum(stream.shards_total for stream in streams), f"{clips:,} clips, {aside} set aside"


def ingest_table(summary: Summary) -> Table:
    """A row per stream: what came in, what was set aside and why."""
    table = Table(title="Ingest", title_justify="left", box=None, padding=(0, 2))
    table.add_column("stream", style="bold")
    for name in ("new shards", "skipped", "media", "clips"):
        table.add_column(name, justify="right")
    table.add_column("set aside")
    for stream in summary.streams:
        aside = ", ".join(f"{count} {reason}" for reason, count in stream.rejects.items())
        counts = (stream.shards_written, stream.shards_skipped, stream.num_media, stream.num_clips)
        table.add_row(stream.stream, *(f"{count:,}" for count in counts), aside or "–")
    return table


def losses(values: Mapping[str, float]) -> str:
    """The losses of the last logged step in a few words."""
    shown = [(name, value) for name, value in values.items() if name.endswith(("/contrastive", "/sorting"))]
    return "  ".join(f"{name} {value:.3f}" for name, value in sorted(shown))


def search_table(result: Mapping[str, Any], search: Search) -> Table:
    """Metric by depth, the winner marked."""
    table = Table(title="Freezing depth", title_justify="left", box=None, padding=(0, 2))
    table.add_column("frozen blocks", justify="right")
    table.add_column("seed", justify="right")
    table.add_column(f"{search.metric} on {search.stream}", justify="right")
    table.add_column("")
    for trial in result["trials"]:
        winner = "← winner" if trial["depth"] == result["winner"] else ""
        value = f"{trial['metrics'][search.metric]:.1f} %"
        table.add_row(str(trial["depth"]), str(trial["seed"]), value, winner)
    return table


def metrics_table(weights: Sequence[Weights], notes: Mapping[str, str]) -> Table:
    """Metrics down, kinds of weights across, beside chance; several runs show mean and range."""
    first = weights[0].runs[0]
    names = list(first.metrics)
    levels = chance(names, first.num_clips, first.num_transcripts)
    table = Table(box=None, padding=(0, 2))
    table.add_column("")
    for title in ("chance", *(item.title for item in weights)):
        table.add_column(title, justify="right")
    for group in groups(names, notes):
        table.add_row(f"[bold]{group.title}[/]")
        for metric in group.metrics:
            if metric.name in names:
                cells = [show(levels[metric.name], metric) if metric.name in levels else "–"]
                table.add_row(f"  {metric.label}", *cells, *(_cell(item, metric) for item in weights))
    return table


def _cell(weights: Weights, metric: Metric) -> str:
    spread = weights.spread(metric.name)
    around = f" [dim]({spread[0]:.3g}–{spread[1]:.3g})[/]" if spread else ""
    return show(weights.mean(metric.name), metric) + around
