"""Where the marks of a chart go, in percent of its plot, so that the page can draw them at any width.

Drawing is left to the template: marks in HTML and SVG take their colours from the page (light, dark, print)
and their labels stay text of readable size on a phone, which a picture made by a plotting library does not do.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

Point = tuple[float, float]


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """About ``wanted`` round numbers (1, 2 or 5 times a power of ten apart) within ``low`` and ``high``."""
    if not high > low:
        return [low]
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if rough <= 1.4 * factor * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 10) for n in range(first, last + 1)]


def percent_of(value: float, low: float, high: float) -> float:
    """How far ``value`` lies between ``low`` (0) and ``high`` (100)."""
    return round(100 * (value - low) / (high - low), 3) if high > low else 50.0


def line_chart(series: Sequence[dict[str, Any]], *, bottom: float | None = None) -> dict[str, Any] | None:
    """The layout of lines over a common x axis that starts at zero; None where there is nothing to draw.

    Each of ``series`` holds ``points`` [(x, y)], and whatever else the template needs (name, class). Points
    that are not finite are left out. The result adds to each ``path`` (SVG path data in a 100 × 100 box, y
    down) and ``dots`` [(left, top)], and holds ``x`` and ``y``: [(position, value)] of the ticks.
    ``bottom`` fixes where the y axis starts.
    """
    drawn = [{**line, "points": finite} for line in series if (finite := _finite(line["points"]))]
    if not drawn:
        return None
    xs, ys = zip(*(point for line in drawn for point in line["points"]), strict=True)
    right = max(xs)
    low, high = min(ys) if bottom is None else bottom, max(ys)
    margin = 0.04 * (high - low) or abs(high) * 0.1 or 1.0
    low, high = low - margin if bottom is None else low, high + margin
    for line in drawn:
        line["dots"] = [(percent_of(x, 0, right), 100 - percent_of(y, low, high)) for x, y in line["points"]]
        line["path"] = "M" + "L".join(f"{x:g},{y:g}" for x, y in line["dots"])
    return {
        "series": drawn,
        "x": [(percent_of(x, 0, right), x) for x in ticks(0, right)],
        "y": [(100 - percent_of(y, low, high), y) for y in ticks(low, high, 4)],
    }


def _finite(points: Iterable[Point]) -> list[Point]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def thinned(points: Sequence[Point], most: int = 300) -> list[Point]:
    """At most ``most`` points, each the mean of its neighbours, so that a long log stays a small picture."""
    if len(points) <= most:
        return list(points)
    edges = [round(i * len(points) / most) for i in range(most + 1)]
    groups = [points[a:b] for a, b in pairwise(edges)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def whiskers(
    rows: Sequence[dict[str, Any]], *, span: tuple[float, float] = (0.0, 1.0), reference: float | None = None
) -> dict[str, Any] | None:
    """The layout of estimates with intervals on one axis; None without rows.

    A row holds ``mean`` and may hold ``low``, ``high`` and ``per_seed``. The axis spans what is drawn, and
    ``reference``, widened to whole tenths within ``span``.
    """
    if not rows:
        return None
    values = [v for row in rows for v in (row["mean"], row.get("low"), row.get("high"), *row.get("per_seed", ()))]
    shown = [v for v in (*values, reference) if v is not None]
    low, high = math.floor(min(shown) * 10 - 0.2) / 10, math.ceil(max(shown) * 10 + 0.2) / 10
    low, high = max(low, span[0]), min(high, span[1])

    def at(value: float | None) -> float | None:
        return None if value is None else percent_of(value, low, high)

    places = [
        {
            **row,
            "at": at(row["mean"]),
            "from": at(row.get("low")),
            "to": at(row.get("high")),
            "seeds_at": [at(value) for value in row.get("per_seed", ())],
        }
        for row in rows
    ]
    return {"rows": places, "ticks": [(at(t), t) for t in ticks(low, high)], "reference": at(reference)}


def waterfall(total: int, left: int, removed: dict[str, int]) -> list[dict[str, Any]]:
    """A bar for each of ``removed``, from the ``left`` there were down to the rest, in percent of ``total``."""
    bars: list[dict[str, Any]] = []
    for name, count in sorted(removed.items(), key=lambda item: -item[1]):
        left -= count
        start, width = percent_of(left, 0, total), percent_of(count, 0, total)
        bars.append({"name": name, "count": count, "start": start, "width": width})
    return bars
