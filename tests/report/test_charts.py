"""Charts: round ticks, nothing but numbers in the geometry, every value inside the frame, words
escaped."""

import itertools
import math
import re

import pytest

from localinstruct.report import charts
from localinstruct.report.charts import Bars, Mark, Series
from localinstruct.report.sections import duration, percent

NUMBER = re.compile(r'\b(?:x|y|x1|x2|y1|y2|cx|cy|width|height)="([^"]+)"')


def geometry(svg: str) -> list[float]:
    """Every coordinate of the drawing; fails on one that is not a number."""
    path = re.findall(
        r"[-\d.a-z]+",
        " ".join(re.findall(r' d="([^"]+)"', svg)).replace("M", " ").replace("L", " "),
    )
    numbers = [float(text.removesuffix("%")) for text in NUMBER.findall(svg) + path]
    assert all(math.isfinite(number) for number in numbers)
    return numbers


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (5, 5, [0, 1, 2, 3, 4, 5]),
        (-3, -3, [-3, -2, -1, 0]),
        (0, 2e-4, [0, 5e-5, 1e-4, 1.5e-4, 2e-4]),
        (-0.2, 1, [-0.5, 0, 0.5, 1]),
        (float("nan"), 3, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_ticks_are_round_and_enclose(low: float, high: float, expected: list[float]) -> None:
    assert charts.ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 3e-5, 0.07, 1, 123, 52_000, 7e11, 1e300])
@pytest.mark.parametrize("low", [0.0, 0.9, -1.0])
def test_ticks_are_few_distinct_and_even_at_every_scale(scale: float, low: float) -> None:
    found = charts.ticks(low * scale, scale)
    assert 2 <= len(found) <= 8
    assert found[0] <= low * scale * (1 - 1e-9 * (low > 0)) or found[0] == pytest.approx(
        low * scale
    )
    assert found[-1] >= scale * (1 - 1e-9)
    steps = [b - a for a, b in itertools.pairwise(found)]
    assert min(steps) > 0
    assert max(steps) == pytest.approx(min(steps), rel=1e-6)


def test_counts_have_whole_ticks() -> None:
    assert charts.ticks(0, 1, whole=True) == [0, 1]
    assert all(tick.is_integer() for tick in charts.ticks(0, 3, whole=True))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (12, "12"),
        (1234, "1,234"),
        (52_000, "52k"),
        (1.5e6, "1.5M"),
        (0.25, "0.25"),
        (2e-4, "2e-4"),
        (-0.5, "-0.5"),
    ],
)
def test_short_numbers(value: float, text: str) -> None:
    assert charts.short(value) == text


@pytest.mark.parametrize("count", [0, 1, 2, 5, 3000])
def test_a_line_of_any_length(count: int) -> None:
    points = [(float(n), 5 / (n + 1)) for n in range(count)] + [
        (1.0, float("nan")),
        (float("inf"), 1.0),
    ]
    svg = charts.line_chart(
        "Loss", [Series("training", points), Series("held-out", points[:2], "ink")], "step"
    )
    assert all(-1 <= number <= charts.WIDTH for number in geometry(svg))
    assert svg.count("L") <= charts.MAX_POINTS + 2
    assert ("<path" in svg) == (count > 1)
    assert ("no values" in svg) == (count == 0)


@pytest.mark.parametrize("value", [0.0, 1e-12, 7.0, -3.0])
def test_a_line_without_slope(value: float) -> None:
    svg = charts.line_chart("Rate", [Series("rate", [(1.0, value), (2.0, value)])], "step")
    assert all(-1 <= number <= charts.WIDTH for number in geometry(svg))


def test_thinning_keeps_the_ends_and_the_mean() -> None:
    points = [(float(n), float(n % 7)) for n in range(10_000)]
    thinned = charts.thin(points)
    assert len(thinned) <= charts.MAX_POINTS
    assert (thinned[0], thinned[-1]) == (points[0], points[-1])
    assert sum(y for _, y in thinned) / len(thinned) == pytest.approx(3, abs=0.1)


def test_a_histogram_stacks_and_marks() -> None:
    svg = charts.histogram(
        "T",
        [0, 0.5, 1],
        [Bars("kept", [3, 0]), Bars("out", [1, 2], "hollow")],
        "cosine",
        [Mark(0.5, "here")],
    )
    assert re.findall(r"<title>([^<]+)</title>", svg) == [
        "0 to 0.5: 3 kept",
        "0 to 0.5: 1 out",
        "0.5 to 1: 2 out",
    ]
    drawn = re.findall(
        r'<rect class="(\w+)" x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)">', svg
    )
    assert [style for style, *_ in drawn] == ["accent", "hollow", "hollow"]
    (x0, y0, h0), (x1, y1, h1), (x2, _, h2) = [
        [float(value) for value in values] for _, *values in drawn
    ]
    assert x0 == x1 < x2
    assert y1 + h1 == pytest.approx(y0, abs=0.11)
    assert h0 == pytest.approx(3 * h1, abs=0.2)
    assert h2 == pytest.approx(2 * h1, abs=0.2)
    assert ">here</text>" in svg


def test_an_empty_histogram_has_its_axes() -> None:
    svg = charts.histogram("T", [0.0, 1.0], [Bars("kept", [0])], "cosine")
    assert "<rect" not in svg
    assert geometry(svg)


@pytest.mark.parametrize(
    ("share", "width"), [(0.5, "50.00%"), (1.7, "100.00%"), (-1, "0.00%"), (float("nan"), "0%")]
)
def test_bars_stay_within_their_cell(share: float, width: str) -> None:
    assert f'class="accent" width="{width}"' in charts.bar(share)
    assert geometry(charts.dumbbell(share, share))


def test_words_are_escaped() -> None:
    svg = charts.line_chart(
        "<b>", [Series('"><i>', [(0, 1), (1, 2)]), Series("&", [(0, 1)])], "<u>", [Mark(0, "<s>")]
    )
    assert not re.search(r"<[bus]>|<i>", svg)
    assert "&lt;s&gt;" in svg


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0%"),
        (1, "100%"),
        (0.61, "61.0%"),
        (0.0417, "4.2%"),
        (0.04, "4.0%"),
        (0.0001, "<0.1%"),
        (0.9999, ">99.9%"),
        (0.995, "99.5%"),
    ],
)
def test_percent_never_rounds_to_none_or_all(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (48.4, "48 s"),
        (59.7, "1 min 0 s"),
        (250, "4 min 10 s"),
        (11_520, "3 h 12 min"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text
