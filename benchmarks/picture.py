"""SVG of section c: the cost of one novelty question against the number of rows.

Both axes are logarithmic. Self-contained, readable on light and dark pages (the colours follow the
reader's setting). Lines are told apart by a name at their end and by dashes, not by colour alone.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

from benchmarks import novelty
from localinstruct.records import JsonObject

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 72, 252, 68, 48
GAP = 17.0
"""Least distance between two names, in pixels."""

OURS_EMBEDDED = "ours: embedding + product"
STYLES = {
    novelty.ROUGE: "rouge",
    novelty.ROUGE_POOL: "rouge dashed",
    novelty.ROUGE_BITS: "rouge dotted",
    OURS_EMBEDDED: "ours",
    novelty.OURS: "ours dashed",
}
"""Line -> its CSS classes."""
CSS = """
text { font: 13px system-ui, sans-serif; fill: #3d3a36 } \
.title { font-size: 15px; font-weight: 600 } .soft { fill: #76716a }
.grid { stroke: #dedad3 } path { fill: none; stroke-width: 2.2 } \
.ours { stroke: #0b6e6e } .rouge { stroke: #b0552b }
circle.ours { fill: #0b6e6e } circle.rouge { fill: #b0552b } \
text.ours { fill: #0b6e6e; stroke: none }
text.rouge { fill: #9a4620; stroke: none } \
path.dashed { stroke-dasharray: 7 5 } path.dotted { stroke-dasharray: 2 4 }
.paper { fill: #fdfcfa }
@media (prefers-color-scheme: dark) {
  text { fill: #dcd7cf } .soft { fill: #a09a90 } .grid { stroke: #3a3835 } .paper { fill: #1c1b19 }
  .ours { stroke: #4fc3bf } .rouge { stroke: #e59366 }
  circle.ours, text.ours { fill: #4fc3bf } circle.rouge, text.rouge { fill: #e59366 }
}
"""

Point = tuple[float, float]


def lines(section: JsonObject) -> dict[str, list[Point]]:
    """(rows, milliseconds) of every line; ours with and without a lone candidate's embedding."""
    rows = section["rows"]
    embedding = section["embedding_ms"][novelty.EMBED]
    curves = {
        name: [(row["rows"], row[name]) for row in rows] for name in STYLES if name in rows[0]
    }
    return {**curves, OURS_EMBEDDED: [(row["rows"], row[novelty.OURS] + embedding) for row in rows]}


def svg(section: JsonObject, caption: str) -> str:
    """The picture of section c as text."""
    title = "Is this candidate new? Milliseconds per question"
    return figure(lines(section), STYLES, title, caption)


def figure(
    curves: dict[str, list[Point]],
    styles: Mapping[str, str],
    title: str,
    caption: str,
    along: str = "rows compared with",
) -> str:
    """Lines over numbers of rows, as text; `styles` has the CSS classes of each."""
    xs = [x for points in curves.values() for x, _ in points]
    ys = [y for points in curves.values() for _, y in points]
    low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
    scale = _Scale(math.log10(min(xs)), math.log10(max(xs)), low, high)
    body = [
        *scale.axes([float(x) for x in sorted(set(xs))], along),
        *_curves(scale, curves, styles),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"<style>{CSS}</style>"
        '<rect class="paper" width="100%" height="100%" rx="6"/>'
        f'<text class="title" x="16" y="26">{escape(title)}</text>'
        f'<text class="soft" x="16" y="44">{escape(caption)}</text>'
        f"{''.join(body)}</svg>\n"
    )


class _Scale:
    """Conversion of rows and milliseconds to pixels; the arguments are powers of ten."""

    def __init__(self, left: float, right: float, low: int, high: int) -> None:
        self._left, self._right = left, max(right, left + 1e-9)
        self._low, self._high = low, max(high, low + 1)

    def at(self, point: Point) -> Point:
        along = (math.log10(point[0]) - self._left) / (self._right - self._left)
        x = LEFT + along * (WIDTH - LEFT - RIGHT)
        share = (math.log10(point[1]) - self._low) / (self._high - self._low)
        return x, HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def axes(self, columns: Sequence[float], along: str) -> Iterator[str]:
        for power in range(self._low, self._high + 1):
            y = self.at((10**self._left, 10.0**power))[1]
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield _text(LEFT - 8, f"{y + 4:.1f}", "end", _short(10.0**power))
        for rows in columns:
            x = self.at((rows, 1.0))[0]
            yield _text(f"{x:.1f}", HEIGHT - BOTTOM + 20, "middle", f"{rows:,.0f}")
        middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
        yield _text(f"{middle:.0f}", HEIGHT - 8, "middle", along)


def _text(x: int | str, y: int | str, anchor: str, words: str) -> str:
    return f'<text class="soft" x="{x}" y="{y}" text-anchor="{anchor}">{words}</text>'


def _curves(
    scale: _Scale, curves: dict[str, list[Point]], styles: Mapping[str, str]
) -> Iterator[str]:
    heights = spread_out({name: scale.at(points[-1])[1] for name, points in curves.items()})
    for name, points in curves.items():
        spots = [scale.at(point) for point in points]
        path = " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(spots))
        yield f'<path class="{styles[name]}" d="{path}"/>'
        color, *_ = styles[name].split()
        for x, y in spots:
            yield f'<circle class="{color}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>'
        label = escape(f"{name}: {_short(points[-1][1])}")
        x_label, y_label = WIDTH - RIGHT + 10, heights[name] + 4
        yield f'<text class="{color}" x="{x_label}" y="{y_label:.1f}">{label}</text>'


def spread_out(ends: dict[str, float]) -> dict[str, float]:
    """Heights of the names: where their lines end, moved down where two would touch."""
    placed: dict[str, float] = {}
    lowest = -math.inf
    for name, y in sorted(ends.items(), key=lambda item: item[1]):
        lowest = placed[name] = max(y, lowest + GAP)
    return placed


def _short(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.3g} s" if milliseconds >= 1000 else f"{milliseconds:.3g} ms"
