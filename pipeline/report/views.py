"""From the facts of a run to what the page shows: pictures, charts, the table with its best values."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import simplejpeg

from ingest.records import Clip, Utterance
from ingest.stores.pictures import decoded, is_ppm
from pipeline.evaluation.scores import Group, groups, show
from pipeline.report.charts import Chart, Series, running_mean
from pipeline.report.facts import Curve, Line, ReportData, SearchCurve, Weights, chance_in, declared_in
from trainers.evaluation.protocol import Declared, Example, Measured
from tune.curve import Point, best_point
from tune.results import mean

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
    """A value of the table as text, the range over seeds or the interval, whether it is the best of its row."""

    text: str
    spread: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A number over all columns, chance first."""

    declared: Declared
    cells: list[Cell]


@dataclass(frozen=True)
class Table:
    """The metrics: column titles, then groups of rows."""

    columns: list[tuple[str, str]]
    groups: list[tuple[Group, list[Row]]]


@dataclass(frozen=True)
class Mark:
    """A mark on the meter of a large number: "chance" or "start", its words, its value."""

    kind: str
    text: str
    value: float


@dataclass(frozen=True)
class KeyFigure:
    """One large number with what it is measured against."""

    measured: Measured
    start: Measured | None

    @property
    def marks(self) -> list[Mark]:
        """What it is measured against, as far as that is known."""
        levels = {"chance": self.measured.chance, "start": self.start.value if self.start else None}
        words = {"chance": "chance", "start": "start weights"}
        return [
            Mark(kind, f"{words[kind]} {show(level, self.measured.declared)}", level)
            for kind, level in levels.items()
            if level is not None
        ]


def key_figures(weights: Sequence[Weights]) -> list[KeyFigure]:
    """The leading numbers of the trained weights."""
    by_kind = {item.kind: item for item in weights}
    if "trained" not in by_kind:
        return []
    start = by_kind["start"].means if "start" in by_kind else {}
    return [
        KeyFigure(each, start.get(name))
        for name, each in by_kind["trained"].means.items()
        if each.declared.leading
    ]


def metrics_table(data: ReportData) -> Table:
    """Rows by group; columns chance, random, start, trained. Columns that were not evaluated are left out."""
    if not data.weights:
        return Table([], [])
    columns = [("chance", "worked out")] + [(item.title, _runs(item)) for item in data.weights]
    return Table(
        columns,
        [
            (group, [_row(each, data.weights) for each in group.rows])
            for group in groups(declared_in(data.weights))
        ],
    )


def _runs(weights: Weights) -> str:
    return (
        "1 seed, 95 % interval" if len(weights.runs) == 1 else f"mean and range of {len(weights.runs)} seeds"
    )


def _row(number: Declared, weights: Sequence[Weights]) -> Row:
    values = [item.means[number.name].value for item in weights if number.name in item.means]
    best = None
    if number.more_is_better is not None and len(set(values)) > 1:
        best = max(values) if number.more_is_better else min(values)
    level = chance_in(weights, number.name)
    chance = Cell("–" if level is None else show(level, number))
    return Row(number, [chance, *(_cell(number, item, best) for item in weights)])


def _cell(number: Declared, weights: Weights, best: float | None) -> Cell:
    if number.name not in weights.means:
        return Cell("–")
    found = weights.means[number.name]
    around = weights.around(number.name)
    text = f"{show(around[0], number)} to {show(around[1], number)}" if around else ""
    return Cell(show(found.value, number), text, found.value == best)


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
            ": ".join(filter(None, [f"stage {stage}", own[0].note])),
            "optimiser step",
            tuple(Series(line.label, line.points, dots=line.points) for line in own),
            tuple({(line.chance, f"chance {_level(line)}") for line in own if line.chance is not None}),
            percent=own[0].unit == "%",
        )
        for (stage, picture), own in pictures.items()
    ]


def _level(line: Line) -> str:
    return f"{line.chance:.3g} %" if line.unit == "%" else f"{line.chance:.3g}"


def search_charts(search: SearchCurve) -> list[Chart]:
    """Every number along the axis, the deciding one first; none where there is no axis."""
    return [search_chart(search, number) for number in search.shown] if search.has_axis else []


def search_chart(search: SearchCurve, number: Declared) -> Chart:
    """A number along the axis: mean line, seeds as dots and band, the start weights' level, the chosen place."""
    name, seeds = number.name, search.seeds
    line = Series(
        "mean" if len(seeds) > 1 else f"seed {seeds[0]}",
        tuple((point.x, mean(point.trials, name)) for point in search.points),
        dots=tuple((point.x, trial.metrics[name]) for point in search.points for trial in point.trials),
        band=tuple((point.x, *_ends(point, name)) for point in search.points) if len(seeds) > 1 else (),
    )
    stopped = sum(trial.stopped for trial in search.trials)
    best = best_point(search.points, number)
    elsewhere = f"best at {best.label}" if best else ""
    notes = [
        f"{len(search.trials)} trials, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}",
        "decides" if number == search.shown[0] else elsewhere,
        f"{stopped} stopped early, at their last score" if stopped else "",
    ]
    return Chart(
        f"{name} on the stream {search.stream}",
        ", ".join(filter(None, notes)),
        search.title,
        (line,),
        ((search.start[name], "start weights"),) if name in search.start else (),
        winner=(search.winner.x, mean(search.winner.trials, name)),
        percent=number.unit == "%",
        x_ticks=tuple(point.x for point in search.points),
    )


def _ends(point: Point, name: str) -> tuple[float, float]:
    values = [trial.metrics[name] for trial in point.trials]
    return min(values), max(values)


def search_cell(search: SearchCurve, number: Declared, point: Point) -> Cell:
    """A number at a place: mean, range over the seeds, whether it is the best place for it."""
    digits = 1 if number.unit == "%" else 3
    low, high = _ends(point, number.name)
    around = f"{low:.{digits}f} to {high:.{digits}f}" if len(point.trials) > 1 else ""
    is_best = point == best_point(search.points, number)
    return Cell(f"{mean(point.trials, number.name):.{digits}f}", around, is_best)


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


def show_size(size_bytes: float) -> str:
    """Bytes in the unit that gives one to three digits before the point."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} TB"
