"""What the terminal shows of finished and running steps: lines and tables that line up."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.fields import short_names
from infra.journal import Done
from ingest.plan import StreamSummary, Summary
from ingest.tally import StageStands
from pipeline.evaluation.scores import groups, show
from pipeline.recipe import Validating
from pipeline.report.facts import Weights, chance_in, declared_in
from pipeline.terminal.progress import show_rate
from pipeline.timecode import show_duration
from trainers.evaluation.protocol import Declared
from trainers.evaluation.validation import FAILED, PREFIX, asked
from trainers.recipe import Stage
from tune.curve import disagreement
from tune.results import SearchResult, by_setting
from tune.settings import Setting
from tune.space import Search

NOTHING_TO_INGEST = "Nothing to do: every input shard was committed before."
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


def stage_lines(stages: Iterable[StageStands]) -> list[tuple[str, ...]]:
    """A row per stage of a running ingest: its rate, its queue, what it set aside."""
    return [(stage.stage, *_rates(stage), *_queue(stage)) for stage in stages]


def _rates(stage: StageStands) -> tuple[str, str]:
    if not stage.num_media:
        return "", ""
    media = show_rate(stage.media_per_s, "media")
    if stage.stage == "decode":
        return media, show_rate(stage.clips_per_s, "clips")
    return media, f"{stage.sound_per_s:.1f} x real time" if stage.sound_per_s else ""


def _queue(stage: StageStands) -> tuple[str, str, str]:
    aside = f"{stage.num_rejects:,} set aside"
    shards = "shard" if stage.waiting == 1 else "shards"
    return f"{stage.at_work:,} at work", f"{stage.waiting:,} {shards} waiting", aside


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


def losses(values: Mapping[str, float], stage: Stage) -> str:
    """The stage's losses, speed and waiting of the last logged steps in a few words; skipped steps where there are
    some."""
    named = {f"{stream.name}/{objective}" for stream in stage.streams for objective in stream.objectives}
    shown = [item for item in values.items() if item[0] in named]
    words = [f"{name} {value:.3f}" for name, value in sorted(shown)]
    if "clips_per_s" in values:
        words += [show_rate(values["clips_per_s"], "clips"), f"{values['wait_share']:.0%} waiting"]
    if "mfu" in values:
        words.append(f"{values['mfu']:.0%} MFU")
    if skipped := values.get("skipped_steps"):
        words.append(f"{skipped:.0f} skipped")
    if values.get(FAILED):
        words.append("scoring of a checkpoint failed")
    return "  ".join(words)


def best_line(stage: Mapping[str, Any], validation: Validating) -> str:
    """Which checkpoint a stage hands on, and by which score."""
    _, score = asked(validation.best)
    value = stage["metrics"][PREFIX + score]
    return (
        f"  best checkpoint of those kept: step {stage['step']}, {score} {value:.4g} on {validation.stream}"
    )


def search_table(found: Mapping[str, Any], search: Search) -> Table:
    """A row per setting, its scores as means over the seeds with their range, the winner marked; then the start weights
    and the trials that failed."""
    result = SearchResult.from_json(found)
    names = [number.name for number in result.shown]
    table = Table(
        title=f"Search, on {search.stream}",
        title_justify="left",
        box=None,
        collapse_padding=True,
        pad_edge=False,
    )
    short = short_names(search.space)
    fields = [search.words.get(name, short[name]) for name in search.space]
    variant = ["variant"] if search.variants else []
    table.add_column("", no_wrap=True)
    for title in (*variant, *fields):
        table.add_column(title, justify="right", min_width=max(map(len, title.split())), max_width=20)
    for title in ("seeds", *(name.replace("/", "\n", 1) for name in names)):
        table.add_column(title, justify="right", no_wrap=True)

    def place(setting: Setting) -> list[str]:
        values = [setting.values[name] for name in search.space]
        return [
            *(setting.variant for _ in variant),
            *(f"{v:.3g}" if isinstance(v, float) else str(v) for v in values),
        ]

    for trials in by_setting(result.trials).values():
        setting, stopped = trials[0].setting, sum(trial.stopped for trial in trials)
        words = ["[green]winner[/]"] if setting == result.winner else []
        words += [f"{stopped} stopped"] if stopped else []
        scores = [spread([trial.metrics[name] for trial in trials]) for name in names]
        table.add_row("\n".join(words), *place(setting), str(len(trials)), *scores)
    blank = ["" for _ in (*variant, *fields)]
    starts = [spread([result.start[name]]) if name in result.start else "–" for name in names]
    table.add_row("start", *blank, "", *starts)
    for failed in result.failed:
        table.add_row("[red]failed[/]", *place(failed.setting), f"seed {failed.seed}", *("–" for _ in names))
    table.caption = " ".join(filter(None, (disagreement(result, search), *_reasons(result))))
    table.caption_justify = "left"
    return table


def _reasons(result: SearchResult) -> list[str]:
    """What the failed trials said, each reason once."""
    reasons = dict.fromkeys(failed.reason for failed in result.failed)
    return [f"Failed: {reason}; the same command tries again." for reason in reasons]


def spread(values: Sequence[float]) -> str:
    """ "52.0" or, of several, their mean and below it their range."""
    digits = 2 if max(map(abs, values)) <= 1 else 1
    shown = [f"{value:.{digits}f}" for value in (fmean(values), min(values), max(values))]
    return shown[0] if len(values) == 1 else f"{shown[0]}\n[dim]{shown[1]}–{shown[2]}[/]"


def metrics_table(weights: Sequence[Weights]) -> Table:
    """Numbers down, kinds of weights across, beside chance; in brackets the range of several runs, or the 95 % interval
    of one."""
    table = Table(box=None, padding=(0, 2))
    table.add_column("")
    for title in ("chance", *(item.title for item in weights)):
        table.add_column(title, justify="right")
    for group in groups(declared_in(weights)):
        table.add_row(f"[bold]{group.title}[/]")
        for number in group.rows:
            level = chance_in(weights, number.name)
            cells = [
                "–" if level is None else show(level, number),
                *(_cell(item, number) for item in weights),
            ]
            table.add_row(f"  {number.label}", *cells)
    several = any(len(item.runs) > 1 for item in weights)
    table.caption = (
        f"in brackets: the {'range over seeds' if several else '95 % interval'}" if weights else None
    )
    table.caption_justify = "left"
    return table


def _cell(weights: Weights, number: Declared) -> str:
    if number.name not in weights.means:
        return "–"
    found = weights.means[number.name]
    around = weights.around(number.name)
    if around is None:
        return show(found.value, number)
    low, high = (f"{end:.0f}" if number.unit == "%" else f"{end:.3g}" for end in around)
    return f"{show(found.value, number)} [dim]({low}–{high})[/]"
