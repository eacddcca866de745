"""The map of a run's rows: two dimensions of their embeddings, as a drawing and as data.

The dimensions are the first two principal components of the vectors: what is near in all of them is
near here too, but not the other way round. A point is a candidate, kept or rejected as too similar;
what came of it is told by form and colour, its topic (the recipe's, or a cluster) by colour alone,
beside a list that has each with its count. The page's script reads the rows' texts from data in the
page; without it the drawing, its legend and its counts stand. Not covered: rejects of other stages,
which were never embedded.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from localinstruct.curate.clusters import clusters
from localinstruct.report.candidates import Candidate
from localinstruct.report.page import clip, data_block, visible

if TYPE_CHECKING:
    import numpy as np

MOST, FEWEST = 5_000, 3
"""Rows on a map, at most and at least."""
TOPICS = 7
"""Topics that have a colour of their own; the rest share one."""
CLOSE = 0.05
"""How far below the threshold a kept row counts as a near-copy of another."""
WIDTH, HEIGHT, MARGIN = 720, 460, 12
CLIPS = (280, 140, 70, 35)
"""Characters of a text in the data, the longest that fit into BUDGET bytes."""
BUDGET = 1_600_000
KINDS = ("kept", "kept, near-copy of another", "rejected as too similar")
"""What came of a row, in the order in which they are drawn."""


@dataclass(frozen=True, slots=True)
class RowMap:
    """A drawing, the data of its points in the same order, and lists for the legend.

    `spread` is the share of the vectors' variance that the two dimensions hold, `kinds` and
    `topics` are (class of the drawing, name, rows); `count` of `total` candidates are on it.
    """

    drawing: Markup
    data: Markup
    kinds: Sequence[tuple[str, str, int]]
    topics: Sequence[tuple[str, str, int]]
    spread: float
    count: int
    total: int
    clustered: bool
    """Whether the topics are clusters, which no recipe named."""
    rejects: int


def plane(vectors: "np.ndarray") -> "tuple[np.ndarray, float]":
    """(n, 2) places from 0 to 1 of (n, d) vectors, and the share of their variance in them.

    Axes point so that their largest part is positive: the same rows give the same map.
    """
    import numpy as np

    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(centred.T @ centred)
    total = float(values.sum())
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])])
    places = centred @ axes
    if places.shape[1] < 2:
        places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    spans = np.ptp(places, axis=0)
    scaled = (places - places.min(axis=0)) / np.where(spans > 1e-9, spans, 1.0)
    scaled[:, spans <= 1e-9] = 0.5
    return scaled, float(values[::-1][:2].sum()) / total if total > 1e-12 else 0.0


def row_map(
    rows: Sequence[Candidate], vectors: "np.ndarray", threshold: float, total: int
) -> RowMap | None:
    """The map of n rows with (n, d) vectors; None for fewer than FEWEST, or all alike."""
    if len(rows) < FEWEST or not vectors.size:
        return None
    places, spread = plane(vectors)
    if not spread:
        return None  # all in one place
    topics, clustered = _topics(rows, vectors)
    names = [name for name, _ in Counter(filter(None, topics)).most_common(TOPICS)]
    number = {name: k for k, name in enumerate(names)}
    kinds = [_kind(row, threshold) for row in rows]
    colours = [number.get(topic, TOPICS) for topic in topics]
    order = sorted(range(len(rows)), key=lambda n: (kinds[n], n))
    points = [(kinds[n], colours[n], _x(places[n][0]), _y(places[n][1])) for n in order]
    told, coloured = Counter(kinds), Counter(colours)
    others = [("t7", "all others" if names else "no topic", coloured[TOPICS])]
    return RowMap(
        drawing=_drawing(points, told),
        data=_data([rows[n] for n in order], [topics[n] for n in order], points),
        kinds=[(f"k{k}", name, told[k]) for k, name in enumerate(KINDS) if told[k]],
        topics=[(f"t{k}", name, coloured[k]) for k, name in enumerate(names)]
        + (others if coloured[TOPICS] else []),
        spread=spread,
        count=len(rows),
        total=total,
        clustered=clustered,
        rejects=told[2],
    )


def _kind(row: Candidate, threshold: float) -> int:
    if not row.kept:
        return 2
    return int(row.score is not None and row.score > threshold - CLOSE)


def _topics(rows: Sequence[Candidate], vectors: "np.ndarray") -> tuple[list[str], bool]:
    """A topic of each row, "" for none, and whether they are clusters of this map.

    Rejected rows have lost theirs with the recipe's topics; clusters have all rows.
    """
    if any(row.topic for row in rows):
        return [row.topic for row in rows], False
    made, _ = clusters(vectors, [f"{row.text} {row.output}" for row in rows])
    topics = [""] * len(rows)
    for number, cluster in enumerate(made, 1):
        name = ", ".join(cluster.words) or f"cluster {number}"
        for place in cluster.rows:
            topics[place] = name
    return topics, bool(made)


def _x(share: float) -> float:
    return round(MARGIN + float(share) * (WIDTH - 2 * MARGIN), 1)


def _y(share: float) -> float:
    return round(HEIGHT - MARGIN - float(share) * (HEIGHT - 2 * MARGIN), 1)


def _drawing(points: Sequence[tuple[int, int, float, float]], told: Counter[int]) -> Markup:
    """The points by what came of them: discs, discs with a ring, and crosses."""
    forms = {
        0: '<circle class="k0 t{t}" cx="{x:g}" cy="{y:g}" r="3.2"/>',
        1: '<circle class="k1 t{t}" cx="{x:g}" cy="{y:g}" r="3.4"/>',
        2: '<path class="k2 t{t}" d="M{x:g} {y:g}m-3-3l6 6m0-6l-6 6"/>',
    }
    shapes = "".join(forms[kind].format(t=topic, x=x, y=y) for kind, topic, x, y in points)
    words = "; ".join(f"{told[k]:,} {name}" for k, name in enumerate(KINDS) if told[k])
    return Markup(
        f'<svg class="rowmap by-kind" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Map of the rows: {words}"><rect class="ground" width="{WIDTH}" '
        f'height="{HEIGHT}" rx="4"/><g class="points">{shapes}</g></svg>'
    )


def _data(
    rows: Sequence[Candidate],
    topics: Sequence[str],
    points: Sequence[tuple[int, int, float, float]],
) -> Markup:
    """Texts of the points for the page's script, as long as the budget allows."""
    block = Markup("")
    for limit in CLIPS:
        texts = [
            [*_texts(row, limit), visible(topic), kind, x, y]
            for row, topic, (kind, _, x, y) in zip(rows, topics, points, strict=True)
        ]
        block = data_block({"kinds": list(KINDS), "rows": texts})
        if len(block.encode()) <= BUDGET:
            break
    return block


def _texts(row: Candidate, limit: int) -> list[str | float | None]:
    """Text, output and nearest row, and the similarity to that."""
    near = row.near[0] if row.near else ""
    text, output, neighbour = (visible(clip(part, limit)) for part in (row.text, row.output, near))
    return [text, output, neighbour, None if row.score is None else round(row.score, 3)]
