"""A learning curve as its page shows it: the lines with their spread, and what they say in words."""

import math
from collections.abc import Collection, Iterator
from typing import Any

from pipeline.reporting import charts
from pipeline.reporting.gather import NAMES as BASELINES
from pipeline.reporting.page import percent, points


def names(kinds: Collection[str]) -> dict[str, str]:
    """What to call each of the ``kinds`` of classifiers."""
    linear = "network joined with a linear classifier" if "network" in kinds else "linear classifier on the frozen body"
    return {kind: (BASELINES | {"network": "transferred network", "answer": linear})[kind] for kind in kinds}


def chart(curves: dict[str, list[dict[str, Any]]]) -> dict[str, Any] | None:
    """The layout of ``curves`` over the logarithm of the labels, each in a band of a standard deviation over seeds."""
    first = min(point["labels"] for curve in curves.values() for point in curve)
    sizes = sorted({point["labels"] for curve in curves.values() for point in curve})

    def line(curve: list[dict[str, Any]], spreads: float) -> list[charts.Point]:
        return [(math.log(at["labels"] / first), at["mean"] + spreads * (at["sd"] or 0)) for at in curve]

    bands = [
        {"kind": f"band {name}", "points": line(curve, 1) + line(curve, -1)[::-1]}
        for name, curve in curves.items()
        if curve[0]["sd"] is not None
    ]
    lines = [{"kind": name, "dotted": True, "points": line(curve, 0)} for name, curve in curves.items()]
    layout = charts.line_chart([*bands, *lines])
    right = math.log(sizes[-1] / first)
    return layout and layout | {"x": [(charts.percent_of(math.log(n / first), 0, right), n) for n in sizes]}


def story(result: dict[str, Any]) -> Iterator[str]:
    """What the curves say, a sentence for each comparison and one for the labels that each kind needs."""
    until, curves = result["labels_until"], result["curves"]
    name = names(curves)
    for each in result["contrasts"]:
        start, slope, end = each["start"], each["slope"], each["end"]
        yield (
            f"Against the {name[each['theirs']]}, the {name[each['ours']]} "
            f"starts {_word(start, 'higher', 'level', 'lower')} "
            f"(with {each['from']:,} labels {_interval(start)} points), "
            f"rises {_word(slope, 'more steeply', 'as steeply', 'less steeply')} "
            f"({_interval(slope)} points a doubling) and "
            f"ends {_word(end, 'higher', 'level', 'lower')} (with {each['to']:,} labels {_interval(end)} points)."
        )
    needs = "; ".join(f"{name[kind]}: {needed(count, curves[kind])}" for kind, count in until["labels"].items())
    height, every = percent(until["accuracy"]), curves["tfidf_svm"][-1]["labels"]
    yield f"Labels until {height}, what the {name['tfidf_svm']} has with all {every:,}: {needs}."


def needed(count: float | None, curve: list[dict[str, Any]]) -> str:
    """A number of labels in words; at the first point of its ``curve``, fewer might have done."""
    if count is None:
        return "never"
    return f"{count:,.0f}{' or fewer' if count == curve[0]['labels'] else ''}"


def _word(figure: dict[str, float], above: str, level: str, below: str) -> str:
    return above if figure["low"] > 0 else below if figure["high"] < 0 else level


def _interval(figure: dict[str, float]) -> str:
    return f"{points(figure['mean'])}, {points(figure['low'])} to {points(figure['high'])}"
