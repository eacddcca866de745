"""Charts as inline SVG: bars and dumbbells for table cells, histograms and lines as figures.

Pure functions from numbers to markup. Colours are CSS classes of report.html.j2, so light, dark and
print share one drawing; the two styles that meet in a chart always differ in form too (filled and
hollow, solid and dashed), so nothing is said by colour alone. Values that are not finite are left
out before anything is drawn. Not covered: the choice of what to draw (stage.py), interaction
beyond the browser's own tooltips.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 480, 230
NARROW = 320
"""Width of a chart that stands three in a row."""
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 20, 40
MAX_POINTS = 400
"""Points of a line that are drawn; more are averaged in groups."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """A named line; `style` is "accent" (solid) or "ink" (dashed, with a dot at every point)."""

    name: str
    points: Sequence[Point]
    style: str = "accent"


@dataclass(frozen=True, slots=True)
class Bars:
    """Named counts, one per bin; `style` is "accent" (filled) or "hollow"."""

    name: str
    counts: Sequence[int]
    style: str = "accent"


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line at `x` with a word beside it: a threshold, a pause."""

    x: float
    text: str


def ticks(low: float, high: float, most: int = 5, whole: bool = False) -> list[float]:
    """At most `most` + 2 round values, evenly spaced, that enclose low..high.

    With `whole` the steps are 1 or more.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        low, high = 0.0, 1.0
    if low == high:
        low, high = min(low, 0.0), max(high, 0.0) or (1.0 if low == 0 else 0.0)
    step = _round_step((high - low) / most)
    step = max(1.0, step) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{k * step:.10g}") for k in range(first, max(last, first + 1) + 1)]


def short(value: float) -> str:
    """A number as an axis shows it: 12k, 1.5M, 0.25, 2e-4."""
    size = abs(value)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.3g}{unit}"
    if 0 < size < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def bar(share: float, style: str = "accent") -> Markup:
    """A horizontal bar for a table cell, `share` (0 to 1) of its width.

    Hidden from screen readers, as the number stands in the table beside it.
    """
    width = _percent(share)
    return Markup(
        f'<svg class="bar" aria-hidden="true" width="100%" height="12">'
        f'<rect class="track" width="100%" height="12" rx="2"/>'
        f'<rect class="{style}" width="{width}" height="12" rx="2"/></svg>'
    )


def spark(points: Sequence[Point]) -> Markup:
    """A small line without axes for a table cell, from 0 to its largest value."""
    shown = thin(finite(points), 60)
    if len(shown) < 2:
        return Markup("")
    end, top = shown[-1][0] or 1.0, max(y for _, y in shown) or 1.0
    places = (f"{100 * x / end:.1f} {17 - 15 * y / top:.1f}" for x, y in shown)
    return Markup(
        '<svg class="spark" aria-hidden="true" viewBox="0 0 100 18" preserveAspectRatio="none">'
        f'<path class="accent stroke" vector-effect="non-scaling-stroke" d="M{" L".join(places)}"/>'
        "</svg>"
    )


def time_unit(seconds: float) -> tuple[str, int]:
    """('s', 1), ('min', 60) or ('h', 3600) for an axis that ends there."""
    return ("s", 1) if seconds < 180 else ("min", 60) if seconds < 10_800 else ("h", 3600)


def dumbbell(before: float, after: float) -> Markup:
    """Two shares (0 to 1) on a line for a table cell: a ring for `before`, a disc for `after`."""
    start, end = _percent(before), _percent(after)
    return Markup(
        '<svg class="bar" aria-hidden="true" width="100%" height="14">'
        '<line class="rule" x2="100%" y1="7" y2="7"/>'
        f'<line class="span" x1="{start}" x2="{end}" y1="7" y2="7"/>'
        f'<circle class="accent" cx="{end}" cy="7" r="5.5"/>'
        f'<circle class="ring" cx="{start}" cy="7" r="4.5"/></svg>'
    )


def histogram(
    title: str,
    edges: Sequence[float],
    groups: Sequence[Bars],
    x_label: str,
    marks: Sequence[Mark] = (),
    width: int = WIDTH,
) -> Markup:
    """Stacked bars over bins; bin i of every group lies between edges[i] and edges[i + 1]."""
    totals = [sum(group.counts[i] for group in groups) for i in range(len(edges) - 1)]
    top = max(totals, default=0)
    frame = _Frame.around((edges[0], edges[-1]), (0, top), whole_y=True, width=width)
    base = [0] * len(totals)
    shapes = []
    for group in groups:
        for i, count in enumerate(group.counts):
            if count:
                shapes.append(_column(frame, edges[i], edges[i + 1], base[i], count, group))
        base = [below + count for below, count in zip(base, group.counts, strict=True)]
    shapes += [frame.mark(mark) for mark in marks]
    summary = "; ".join(f"{sum(group.counts):,} {group.name}" for group in groups)
    keys = [(group.name, group.style) for group in groups] if len(groups) > 1 else []
    return _figure(title, summary, keys, frame, shapes, x_label)


def line_chart(
    title: str,
    series: Sequence[Series],
    x_label: str,
    marks: Sequence[Mark] = (),
    whole: bool = False,
    whole_x: bool = False,
) -> Markup:
    """One or more lines over common axes; both start at 0, or below it where values do.

    With `whole_x` places are counted, from 1.
    """
    every = [Series(line.name, thin(finite(line.points)), line.style) for line in series]
    lines = [line for line in every if line.points]
    points = [point for line in lines for point in line.points]
    xs, ys = [x for x, _ in points] or [1.0], [y for _, y in points] or [0.0]
    across = (1.0, max(xs)) if whole_x else (min(0.0, *xs), max(xs))
    frame = _Frame.around(across, (min(0.0, *ys), max(0.0, *ys)), whole_y=whole, whole_x=whole_x)
    shapes = [*(frame.mark(mark) for mark in marks), *(_line(frame, line) for line in lines)]
    summary = "; ".join(
        f"{line.name} from {short(line.points[0][1])} to {short(line.points[-1][1])}"
        for line in lines
    )
    keys = [(line.name, f"{line.style} stroke") for line in lines] if len(every) > 1 else []
    return _figure(title, summary or "no values", keys, frame, shapes, x_label)


def finite(points: Sequence[Point]) -> list[Point]:
    """The points whose two values are numbers one can draw."""
    return [(float(x), float(y)) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def thin(points: Sequence[Point], most: int = MAX_POINTS) -> list[Point]:
    """At most `most` points: neighbours averaged in equal groups, the first and the last kept."""
    if len(points) <= most:
        return list(points)
    size = math.ceil((len(points) - 2) / (most - 2))
    inner = points[1:-1]
    groups = [inner[i : i + size] for i in range(0, len(inner), size)]
    means = [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]
    return [points[0], *means, points[-1]]


@dataclass(frozen=True, slots=True)
class _Frame:
    """The plotting area: its ranges, its ticks, and the way from values to pixels."""

    x_low: float
    x_high: float
    x_ticks: list[float]
    y_ticks: list[float]
    width: int = WIDTH

    @staticmethod
    def around(
        xs: Point, ys: Point, *, whole_y: bool = False, whole_x: bool = False, width: int = WIDTH
    ) -> "_Frame":
        x_ticks = ticks(*xs, most=width // 80, whole=whole_x)
        low, high = xs if xs[0] < xs[1] else (x_ticks[0], x_ticks[-1])
        slack = (high - low) * 1e-9
        inside = [x for x in x_ticks if low - slack <= x <= high + slack]
        return _Frame(low, high, inside, ticks(*ys, most=4, whole=whole_y), width)

    def x(self, value: float) -> float:
        share = (value - self.x_low) / (self.x_high - self.x_low)
        return LEFT + share * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def axes(self, x_label: str) -> str:
        floor = HEIGHT - BOTTOM
        end = self.width - RIGHT
        rows = "".join(
            f'<line class="rule" x1="{LEFT}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick end" x="{LEFT - 7}" y="{y + 4:.1f}">{short(value)}</text>'
            for value, y in ((tick, self.y(tick)) for tick in self.y_ticks)
        )
        columns = "".join(
            f'<text class="tick centre" x="{self.x(v):.1f}" y="{floor + 17}">{short(v)}</text>'
            for v in self.x_ticks
        )
        label = f'<text class="tick end" x="{end}" y="{HEIGHT - 4}">{escape(x_label)}</text>'
        axis = f'<line class="axis" x1="{LEFT}" x2="{end}" y1="{floor}" y2="{floor}"/>'
        return rows + axis + columns + label

    def mark(self, mark: Mark) -> str:
        x = min(max(self.x(mark.x), LEFT), self.width - RIGHT)
        side, shift = ("end", -5) if x > self.width / 2 else ("", 5)
        text = escape(mark.text)
        return (
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 12}" y2="{HEIGHT - BOTTOM}"/>'
            f'<text class="note {side}" x="{x + shift:.1f}" y="{TOP - 4}">{text}</text>'
        )


def _column(frame: _Frame, left: float, right: float, base: int, count: int, group: Bars) -> str:
    x, top = frame.x(left) + 0.75, frame.y(base + count)
    width, height = max(frame.x(right) - frame.x(left) - 1.5, 0.5), frame.y(base) - top
    tip = f"{short(left)} to {short(right)}: {count:,} {escape(group.name)}"
    place = f'x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{group.style}" {place}><title>{tip}</title></rect>'


def _line(frame: _Frame, line: Series) -> str:
    places = [(frame.x(x), frame.y(y)) for x, y in line.points]
    path = " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(places))
    stroke = f'<path class="{line.style} stroke" d="{path}"/>' if len(places) > 1 else ""
    if line.style != "ink" and len(places) > 1:
        return stroke
    tips = (f"<title>{short(x)}: {short(y)}</title>" for x, y in line.points)
    dots = (
        f'<circle class="{line.style} dot" cx="{x:.1f}" cy="{y:.1f}" r="3">{tip}</circle>'
        for (x, y), tip in zip(places, tips, strict=True)
    )
    return stroke + "".join(dots)


def _figure(
    title: str,
    summary: str,
    keys: Sequence[tuple[str, str]],
    frame: _Frame,
    shapes: Sequence[str],
    x_label: str,
) -> Markup:
    """Caption and drawing; the legend is text, so that it stays readable when the drawing shrinks.

    `summary` is read out in place of the drawing.
    """
    legend = "".join(
        f'<span class="key"><i class="swatch {style}"></i>{escape(name)}</span>'
        for name, style in keys
    )
    label = escape(f"{title}: {summary}")
    return Markup(
        f'<figure class="chart"><figcaption>{escape(title)}{legend}</figcaption>'
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {frame.width} {HEIGHT}" '
        f'data-scale="{frame.x_low:g} {frame.x_high:g} {LEFT} {frame.width - RIGHT}">'
        f"{frame.axes(x_label)}{''.join(shapes)}</svg></figure>"
    )


def _round_step(raw: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `raw`."""
    if not math.isfinite(raw) or raw <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))


def _percent(share: float) -> str:
    """A share as an SVG length within 0 and 100 %; 0 % for what is not finite."""
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%" if math.isfinite(share) else "0%"
