"""Line charts as inline SVG: geometry is worked out here, `templates/chart.svg.j2` draws it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]

WIDTH, HEIGHT = 520, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 92, 16, 42
LABEL_GAP = 15


@dataclass(frozen=True)
class Series:
    """One line. `faint` points are drawn thin behind it, `dots` on it; `band` holds (x, low, high)."""

    label: str
    points: tuple[Point, ...]
    faint: tuple[Point, ...] = ()
    dots: tuple[Point, ...] = ()
    band: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Chart:
    """What a chart shows, in its own units. `levels`: labelled horizontal lines; `winner`: a ringed point."""

    title: str
    note: str
    x_label: str
    series: tuple[Series, ...]
    levels: tuple[tuple[float, str], ...] = ()
    winner: Point | None = None
    percent: bool = False
    x_ticks: tuple[float, ...] = ()

    @property
    def x_axis(self) -> "Axis":
        """From the first x to the last, a little wider where the ticks are given."""
        values = [x for line in self.series for x, _ in (*line.points, *line.dots)]
        low, high = min(values), max(values)
        room = (high - low) * 0.06 if self.x_ticks else 0.0
        ticks = self.x_ticks or tuple(tick for tick in nice_ticks(low, high, 6) if low <= tick <= high)
        return Axis(low - room, high + room if high > low else high + 1, LEFT, WIDTH - RIGHT, ticks)

    @property
    def y_axis(self) -> "Axis":
        """Round numbers around everything drawn; 0 is on it, since losses and shares are read against it."""
        values = [y for line in self.series for _, y in (*line.points, *line.faint, *line.dots)]
        ticks = nice_ticks(min(0.0, *values), max(*values, *(y for y, _ in self.levels), 1e-9), 5)
        return Axis(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP, ticks)

    def tick_text(self, value: float) -> str:
        """A tick of the y axis as a person writes it."""
        return f"{value:g} %" if self.percent else f"{value:g}"

    def show(self, value: float) -> str:
        """A value of the chart as a person writes it."""
        return f"{value:.1f} %" if self.percent else f"{value:.3g}"


@dataclass(frozen=True)
class Axis:
    """A linear scale from values `low`..`high` to pixels `start`..`end`, with its ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def nice_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    """Multiples of 1, 2 or 5 times a power of ten that enclose low..high, about `count` of them."""
    raw = max(high - low, 1e-9) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(index * step, 10) for index in range(first, max(last, first + 1) + 1))


def path(chart: Chart, points: Sequence[Point]) -> str:
    """The points as the `d` of an SVG path."""
    x, y = chart.x_axis, chart.y_axis
    return " ".join(f"{'L' if i else 'M'}{x(px)},{y(py)}" for i, (px, py) in enumerate(points))


def band_path(chart: Chart, band: Sequence[tuple[float, float, float]]) -> str:
    """The area between the lows and the highs as the `d` of an SVG path."""
    there = [(px, high) for px, _, high in band]
    back = [(px, low) for px, low, _ in reversed(band)]
    return f"{path(chart, (*there, *back))} Z"


def label_heights(chart: Chart) -> list[float]:
    """Where the labels beside the line ends go, in pixels: near the ends, without touching one another."""
    wanted = sorted((chart.y_axis(line.points[-1][1]), index) for index, line in enumerate(chart.series))
    placed = [wanted[0][0]]
    for _, (height, _) in pairwise(wanted):
        placed.append(max(height, placed[-1] + LABEL_GAP))
    over = max(0.0, placed[-1] - (HEIGHT - BOTTOM))
    heights = {index: height - over for (_, index), height in zip(wanted, placed, strict=True)}
    return [round(heights[index], 1) for index in range(len(chart.series))]


def running_mean(points: Sequence[Point], window: int) -> tuple[Point, ...]:
    """Each value as the mean of itself and up to `window - 1` before it."""
    values = [y for _, y in points]
    parts = [values[max(0, i + 1 - window) : i + 1] for i in range(len(values))]
    return tuple((x, math.fsum(part) / len(part)) for (x, _), part in zip(points, parts, strict=True))
