"""Whether transfer was worth it, as a pure function of measured figures: a word, its evidence and a paragraph."""

from collections.abc import Mapping
from typing import Any, Literal

Word = Literal["positive", "neutral", "negative"]


def verdict(
    accuracy: float, evidence: Mapping[str, Any], documents: int, names: Mapping[str, str], ours: str
) -> dict[str, Any]:
    """Judge transfer against every control on the same test documents.

    ``accuracy``: of the transferred classifier, the mean over its seeds. ``evidence``, by control (``scratch`` among
    them; the others are linear classifiers): its ``accuracy``; ``difference`` (ours − theirs), with ``mean`` and the
    ``low``, ``high`` and ``p`` of ``comparison.paired``; ``mcnemar`` of the model to ship. ``names``: what to call each
    control, and ``ours`` the transferred classifier.

    - ``verdict``: positive where the interval of the difference lies above zero against *every* control, negative where
      it lies below zero against *any* of them, else neutral.
    - ``against``: the control with the higher accuracy.
    - ``offer``: the model to use, ``transfer`` or the name of the best linear classifier: the more accurate one, and at
      a tie the simpler one. It is chosen on the test documents, so its own figure flatters it a little where the two
      are close.
    - ``story``: all of it in plain English.
    """
    gaps = [each["difference"] for each in evidence.values()]
    word: Word = "neutral"
    if all(gap["low"] > 0 for gap in gaps):
        word = "positive"
    elif any(gap["high"] < 0 for gap in gaps):
        word = "negative"
    linear = max((name for name in evidence if name != "scratch"), key=lambda name: float(evidence[name]["accuracy"]))
    offer = "transfer" if accuracy > evidence[linear]["accuracy"] else linear
    sentences = [
        f"Transfer is {word} on this data.",
        f"{ours[0].upper()}{ours[1:]} is right on {_percent(accuracy)} of the {documents:,} test documents.",
        *(_against(names[name], each) for name, each in evidence.items()),
        _conclusion(word, offer, evidence, names, linear),
        f"Of {ours} and {names[linear]}, take {ours if offer == 'transfer' else names[linear]}.",
    ]
    return {
        "verdict": word,
        "evidence": dict(evidence),
        "against": max(evidence, key=lambda name: float(evidence[name]["accuracy"])),
        "offer": offer,
        "story": " ".join(sentences),
    }


def _against(name: str, control: Mapping[str, Any]) -> str:
    gap, coins = control["difference"], control["mcnemar"]
    certain = "" if gap["low"] > 0 or gap["high"] < 0 else ", which chance alone could explain"
    return (
        f"It is {100 * abs(gap['mean']):.1f} points {'ahead of' if gap['mean'] >= 0 else 'behind'} {name} "
        f"({_percent(control['accuracy'])}){certain}: 95 % interval {_points(gap['low'])} to {_points(gap['high'])}, "
        f"paired bootstrap; of the documents that one alone gets right, the shipped model has "
        f"{coins['only_ours_right']} and the control {coins['only_theirs_right']}, {_p(coins['p'])} by McNemar's test."
    )


def _conclusion(word: Word, offer: str, evidence: Mapping[str, Any], names: Mapping[str, str], linear: str) -> str:
    if evidence[linear]["difference"]["high"] < 0:
        return f"The linear baseline wins: {names[linear]} is the better model here."
    if offer == linear:
        return f"It is not shown to be better than {names[linear]}, which is simpler and no less accurate."
    if word == "positive":
        return "Transfer was worth it."
    if word == "negative":
        return "Transfer did harm: the network learns these classes better from random weights."
    level = " and ".join(names[name] for name, each in evidence.items() if each["difference"]["low"] <= 0)
    return f"It is the more accurate one here, but not shown to be better than {level}."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
