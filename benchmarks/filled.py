"""SVG of section g: places filled at the server over time, one panel for each kind of lengths."""

from collections.abc import Iterator
from xml.sax.saxutils import escape

from benchmarks import unequal
from benchmarks.picture import CSS
from localinstruct.records import JsonObject

WIDTH, PANEL, LEFT, TOP, GAP = 760, 118, 48, 62, 34
"""Pixels; PANEL is the height of one panel, GAP what lies below it."""
CLASSES = {unequal.PLAIN: "plain dashed", unequal.OURS: "ours", unequal.BEFORE: "rouge"}
"""Client -> CSS classes of its line."""
MORE_CSS = """.plain { stroke: #76716a } text.plain { fill: #76716a; stroke: none }
.title, .soft { stroke: none }
"""


def svg(section: JsonObject, caption: str) -> str:
    """The picture as text: of each client its first repetition."""
    kinds = list(dict.fromkeys(run["lengths"] for run in section["runs"]))
    firsts = [run for run in section["runs"] if run["repetition"] == 0]
    longest = max(run["filled"][-1][0] for run in firsts)
    height = TOP + len(kinds) * (PANEL + GAP)
    title = f"Places filled of {section['places']}, over the seconds since the first request"
    body = list(_legend(firsts))
    for number, kind in enumerate(kinds):
        top = TOP + number * (PANEL + GAP)
        body.append(f'<text class="soft" x="{LEFT}" y="{top + PANEL + 26}">{escape(kind)}</text>')
        body += _axes(top, section["places"], longest)
        for run in firsts:
            if run["lengths"] == kind:
                body.append(_line(run, top, section["places"], longest))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="{escape(title)}">'
        f"<style>{CSS}{MORE_CSS}</style>"
        '<rect class="paper" width="100%" height="100%" rx="6"/>'
        f'<text class="title" x="16" y="24">{escape(title)}</text>'
        f'<text class="soft" x="16" y="42">{escape(caption)}</text>'
        f"{''.join(body)}</svg>\n"
    )


def _legend(runs: list[JsonObject]) -> Iterator[str]:
    there = [who for who in CLASSES if any(run["who"] == who for run in runs)]
    for number, who in enumerate(there):
        x = WIDTH - 16 - 190 * (len(there) - number)
        yield f'<path class="{CLASSES[who]}" d="M{x} 52 h22"/>'
        color = CLASSES[who].split()[0]
        yield f'<text class="{color}" x="{x + 28}" y="56">{escape(who.replace("`", ""))}</text>'


def _axes(top: int, places: int, longest: float) -> Iterator[str]:
    for share in (0.0, 0.5, 1.0):
        y = top + PANEL * (1 - share)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 16}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield (
            f'<text class="soft" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{places * share:.0f}</text>"
        )
    for seconds in range(0, int(longest) + 1, 10):
        x = LEFT + (WIDTH - 16 - LEFT) * seconds / longest
        yield (
            f'<text class="soft" x="{x:.1f}" y="{top + PANEL + 12}" text-anchor="middle">'
            f"{seconds}</text>"
        )


def _line(run: JsonObject, top: int, places: int, longest: float) -> str:
    spots = [
        (LEFT + (WIDTH - 16 - LEFT) * x / longest, top + PANEL * (1 - y / places))
        for x, y in run["filled"]
    ]
    path = " ".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(spots))
    return f'<path class="{CLASSES[run["who"]]}" d="{path}"/>'
