"""From the facts of a run to what the page shows: pictures, charts, the table with its best values."""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import simplejpeg

from ingest.records import Clip, Utterance
from ingest.stores.pictures import decoded, is_ppm
from pipeline.charts import Chart, Series, running_mean
from pipeline.report_data import Curve, Freezing, Line, ReportData, Weights
from pipeline.scores import Example, Group, Metric, chance, groups, show

THUMBNAIL = 112  # short side in pixels; frames stored smaller go in as they are
STRIP_FRAMES = 12
MAX_REJECTS = 60  # rows of the page; a large archive sets aside more than a page can hold
HIT_FRAMES = 4


@dataclass(frozen=True)
class Said:
    """An utterance, its place under the frame strip and the room until the next, in percent of the clip."""

    utterance: Utterance
    left: float
    room: float


@dataclass(frozen=True)
class Sample:
    """A clip as a strip of frames with its texts."""

    clip: Clip
    frames: list[str]
    said: list[Said]

    @property
    def origins(self) -> list[str]:
        """Where the words come from, each once."""
        return sorted({said.utterance.origin for said in self.said})


@dataclass(frozen=True)
class HitView:
    """A found clip: its pictures, whether it is the right one, the score."""

    frames: list[str]
    right: bool
    score: float


@dataclass(frozen=True)
class ExampleView:
    """A query with what it found; `own`: pictures of its own clip where that is not among the hits."""

    example: Example
    hits: list[HitView]
    own: list[str]


@dataclass(frozen=True)
class Cell:
    """A value of the table as text, the range over seeds, whether it is the best of its row."""

    text: str
    spread: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A metric over all columns, chance first."""

    metric: Metric
    cells: list[Cell]


@dataclass(frozen=True)
class Table:
    """The metrics: column titles, then groups of rows."""

    columns: list[tuple[str, str]]
    groups: list[tuple[Group, list[Row]]]


@dataclass(frozen=True)
class KeyFigure:
    """One large number with what it is measured against; all in percent."""

    label: str
    value: float
    chance: float
    start: float | None


def key_figures(weights: Sequence[Weights]) -> list[KeyFigure]:
    """Text-to-video R@1 of every register, then sorting with its control, of the trained weights."""
    by_kind = {item.kind: item for item in weights}
    if "trained" not in by_kind:
        return []
    trained, start = by_kind["trained"], by_kind.get("start")
    run = trained.runs[0]
    levels = chance(list(run.metrics), run.num_clips, run.num_transcripts)
    shown = [name for name in run.metrics if name.endswith("/t2v_R1") or name.startswith("sorting/")]
    labels = {
        metric.name: metric.label for group in groups(list(run.metrics), {}) for metric in group.metrics
    }
    return [
        KeyFigure(
            _figure_label(name, labels), trained.mean(name), levels[name], start.mean(name) if start else None
        )
        for name in shown
    ]


def _figure_label(name: str, labels: Mapping[str, str]) -> str:
    return f"register {name.split('/')[0]}, {labels[name]}" if "t2v_R1" in name else labels[name]


def metrics_table(data: ReportData) -> Table:
    """Rows by group; columns chance, random, start, trained. Columns that were not evaluated are left out."""
    if not data.weights:
        return Table([], [])
    first = data.weights[0].runs[0]
    names = list(first.metrics)
    levels = chance(names, first.num_clips, first.num_transcripts)
    found = groups(names, data.registers)
    columns = [("chance", "worked out")] + [(item.title, _runs(item)) for item in data.weights]
    return Table(
        columns, [(g, [_row(m, data.weights, levels) for m in g.metrics if m.name in names]) for g in found]
    )


def _runs(weights: Weights) -> str:
    return "1 seed" if len(weights.runs) == 1 else f"mean and range of {len(weights.runs)} seeds"


def _row(metric: Metric, weights: Sequence[Weights], levels: Mapping[str, float]) -> Row:
    values = [item.mean(metric.name) for item in weights]
    best = None
    if metric.higher_is_better is not None and len(set(values)) > 1:
        best = max(values) if metric.higher_is_better else min(values)
    cells = [Cell(show(levels[metric.name], metric))]
    for item, value in zip(weights, values, strict=True):
        spread = item.spread(metric.name)
        text = f"{show(spread[0], metric)} to {show(spread[1], metric)}" if spread else ""
        cells.append(Cell(show(value, metric), text, value == best))
    return Row(metric, cells)


def grouped(curves: Iterable[Curve]) -> list[list[Curve]]:
    """Curves of one stage and one loss together, in the order in which they first come."""
    curves = list(curves)
    order = {key: index for index, key in enumerate(dict.fromkeys((c.stage, c.loss) for c in curves))}
    curves.sort(key=lambda curve: order[curve.stage, curve.loss])
    return [list(group) for _, group in groupby(curves, key=lambda curve: (curve.stage, curve.loss))]


def loss_chart(curves: Sequence[Curve]) -> Chart:
    """One loss of one stage, a line per stream."""
    levels = sorted({round(curve.chance, 6) for curve in curves if curve.chance is not None})
    series = tuple(
        Series(curve.stream, running_mean(curve.points, max(1, len(curve.points) // 12)), faint=curve.points)
        for curve in curves
    )
    first = curves[0]
    return Chart(
        f"{first.loss} loss",
        f"stage {first.stage}",
        "optimiser step",
        series,
        tuple((level, f"chance {level:.3g}") for level in levels),
    )


def line_charts(lines: Iterable[Line]) -> list[Chart]:
    """A picture per stage and kind of line, with a dot per value."""
    pictures: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        pictures.setdefault((line.stage, line.picture), []).append(line)
    return [
        Chart(
            picture,
            f"stage {stage}",
            "optimiser step",
            tuple(Series(line.label, line.points, dots=line.points) for line in own),
            tuple({(line.chance, f"chance {line.chance:.3g} %") for line in own if line.chance}),
            percent=True,
        )
        for (stage, picture), own in pictures.items()
    ]


def freezing_charts(freezing: Freezing) -> list[Chart]:
    """Every metric against the depth, the deciding one first."""
    return [freezing_chart(freezing, name) for name in freezing.shown]


def freezing_chart(freezing: Freezing, name: str) -> Chart:
    """A metric against the depth: mean line, seeds as dots and band, the start weights' level, the chosen depth."""
    seeds, depths = freezing.seeds, freezing.depths
    line = Series(
        "mean" if len(seeds) > 1 else f"seed {seeds[0]}",
        tuple((float(depth), freezing.mean(name, depth)) for depth in depths),
        dots=tuple((float(trial.depth), trial.metrics[name]) for trial in freezing.trials),
        band=tuple(_range(freezing, name, depth) for depth in depths) if len(seeds) > 1 else (),
    )
    stopped = sum(trial.stopped for trial in freezing.trials)
    notes = [
        f"{len(freezing.trials)} trials, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}",
        "decides" if name == freezing.metric else f"best with {freezing.best(name)} frozen",
        f"{stopped} stopped early, at their last score" if stopped else "",
    ]
    return Chart(
        f"{name} on the stream {freezing.stream}",
        ", ".join(filter(None, notes)),
        f"lower text blocks frozen (of {freezing.num_blocks})",
        (line,),
        ((freezing.start[name], "start weights"),) if name in freezing.start else (),
        winner=(freezing.winner, freezing.mean(name, freezing.winner)),
        percent=not name.startswith("drift/"),
        x_ticks=tuple(map(float, depths)),
    )


def _range(freezing: Freezing, name: str, depth: int) -> tuple[float, float, float]:
    values = freezing.values(name, depth)
    return depth, min(values), max(values)


def freezing_cell(freezing: Freezing, name: str, depth: int) -> Cell:
    """A metric at a depth: mean, range over the seeds, whether it is the best depth for it."""
    values = freezing.values(name, depth)
    digits = 3 if name.startswith("drift/") else 1
    around = f"{min(values):.{digits}f} to {max(values):.{digits}f}" if len(values) > 1 else ""
    return Cell(f"{freezing.mean(name, depth):.{digits}f}", around, depth == freezing.best(name))


def sample_view(clip: Clip) -> Sample:
    """A clip with frames spread over its length and every utterance at its place."""
    length = max(clip.duration_s, 1e-6)
    starts = [100 * max(0.0, u.start_s - clip.start_s) / length for u in clip.transcripts]
    said = [
        Said(utterance, left, end - left)
        for utterance, left, end in zip(clip.transcripts, starts, [*starts[1:], 100.0], strict=False)
    ]
    return Sample(clip, pictures(clip, STRIP_FRAMES), said)


def example_views(data: ReportData) -> list[ExampleView]:
    """The examples of the trained weights' first run, with the pictures of what they found."""
    trained = data.of("trained")
    if trained is None:
        return []
    return [example_view(example, data.gallery) for example in trained.runs[0].examples]


def example_view(example: Example, gallery: Mapping[str, Clip]) -> ExampleView:
    """One query with the pictures of its hits."""
    hits = [
        HitView(pictures(gallery[hit.uid], HIT_FRAMES), hit.uid == example.own, hit.score)
        for hit in example.hits
    ]
    missed = not any(hit.right for hit in hits)
    return ExampleView(example, hits, pictures(gallery[example.own], HIT_FRAMES) if missed else [])


def pick_samples(clips: Iterable[Clip], count: int) -> list[Clip]:
    """Up to `count` clips, taking turns between the origins of their words (provider, speech model, none)."""
    by_origin: dict[tuple[str, ...], list[Clip]] = {}
    for clip in clips:
        by_origin.setdefault(tuple(sorted({u.origin for u in clip.transcripts})), []).append(clip)
    turns = [clip for turn in _turns(list(by_origin.values())) for clip in turn]
    return turns[:count]


def _turns(lists: list[list[Clip]]) -> list[list[Clip]]:
    longest = max(map(len, lists), default=0)
    return [[items[turn] for items in lists if turn < len(items)] for turn in range(longest)]


def pictures(clip: Clip, count: int) -> list[str]:
    """Up to `count` stored frames, the middles of as many slices, as data URIs (none for references)."""
    total = len(clip.frames)
    taken = min(count, total)
    return [_data_uri(_thumbnail(clip.frames[(2 * i + 1) * total // (2 * taken)])) for i in range(taken)]


def _thumbnail(stored: bytes) -> bytes:
    if is_ppm(stored):
        picture = decoded(stored)
        assert picture is not None
        return _thumbnail(bytes(simplejpeg.encode_jpeg(picture, quality=95)))
    return _small(stored)


def _small(jpeg: bytes) -> bytes:
    height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    if min(height, width) < 2 * THUMBNAIL:
        return jpeg
    small = simplejpeg.decode_jpeg(jpeg, min_height=THUMBNAIL, min_width=THUMBNAIL, min_factor=2)
    return bytes(simplejpeg.encode_jpeg(small, quality=80))


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def margin(num_queries: int) -> int:
    """Half the 95 % interval of a share of a half, in percent points: the most that sampling moves it."""
    return round(98 / math.sqrt(num_queries))


def show_size(size_bytes: float) -> str:
    """Bytes in the unit that gives one to three digits before the point."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} TB"
