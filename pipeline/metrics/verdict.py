"""Whether transfer was worth it, as a pure function of measured figures: a word, its evidence and a paragraph."""

from collections.abc import Mapping
from typing import Any, Literal

Word = Literal["positive", "neutral", "negative"]
LEVEL = 0.05  # of McNemar's test


def verdict(
    accuracy: float, evidence: Mapping[str, Any], documents: int, names: Mapping[str, str], ours: str
) -> dict[str, Any]:
    """Judge transfer against every control on the same test documents.

    ``accuracy``: of the transferred classifier, the mean over its seeds. ``evidence``, by control (``scratch``, unless
    it is our own; the others are linear classifiers): its ``accuracy``; ``difference`` (ours − theirs), with ``mean``
    and the ``low``, ``high`` and ``p`` of ``comparison.paired``; ``mcnemar`` of the model to ship. ``names``: what to
    call each control, and ``ours`` the transferred classifier.

    A difference is one where both tests agree: its interval holds no zero, and McNemar's p is below ``LEVEL`` on the
    same side. Of few documents on which two differ the interval alone is too sure: four on one side would do.

    - ``verdict``: positive where ours is ahead of *every* control, negative where it is behind *any* of them, else
      neutral; None where nothing is transferred.
    - ``against``: the control with the higher accuracy.
    - ``offer``: the model to use, ``transfer``, the name of the best linear classifier, or ``scratch`` where ours is
      behind it: the most accurate one, and at a tie the simpler one. It is chosen on the test documents, so its own
      figure flatters it a little where they are close.
    - ``story``: all of it in plain English.
    """
    word: Word | None = None
    if "scratch" in evidence:
        sides = {*map(_side, evidence.values())}
        word = "positive" if sides == {1} else "negative" if -1 in sides else "neutral"
    linear = max((name for name in evidence if name != "scratch"), key=lambda name: float(evidence[name]["accuracy"]))
    choices = {linear: float(evidence[linear]["accuracy"]), "transfer": accuracy}
    if "scratch" in evidence and _side(evidence["scratch"]) < 0:
        choices["scratch"] = float(evidence["scratch"]["accuracy"])
    offer = max(choices, key=lambda name: choices[name])
    called = {**names, "transfer": ours}
    sentences = [
        f"Transfer is {word} on this data." if word else "Nothing is transferred here.",
        f"{_capital(ours)} is right on {_percent(accuracy)} of the {documents:,} test documents.",
        *(_against(names[name], each) for name, each in evidence.items()),
        _conclusion(word, offer, evidence, called, linear),
        f"Of {ours} and {called[linear if offer == 'transfer' else offer]}, take {called[offer]}.",
    ]
    return {
        "verdict": word,
        "evidence": dict(evidence),
        "against": max(evidence, key=lambda name: float(evidence[name]["accuracy"])),
        "offer": offer,
        "story": " ".join(sentences),
    }


def _side(control: Mapping[str, Any]) -> int:
    """1 where ours is ahead, -1 where it is behind, 0 where chance alone could explain the difference."""
    gap, coins = control["difference"], control["mcnemar"]
    more = coins["only_ours_right"] - coins["only_theirs_right"]
    if coins["p"] < LEVEL and gap["low"] > 0 and more > 0:
        return 1
    if coins["p"] < LEVEL and gap["high"] < 0 and more < 0:
        return -1
    return 0


def _against(name: str, control: Mapping[str, Any]) -> str:
    gap, coins = control["difference"], control["mcnemar"]
    if not (gap["mean"] or coins["only_ours_right"] or coins["only_theirs_right"]):
        return f"It is right on the same documents as {name}."
    where = f"{100 * abs(gap['mean']):.1f} points {'ahead of' if gap['mean'] > 0 else 'behind'}"
    certain = "" if _side(control) or not gap["mean"] else ", which chance alone could explain"
    return (
        f"It is {where if gap['mean'] else 'level with'} {name} "
        f"({_percent(control['accuracy'])}){certain}: 95 % interval {_points(gap['low'])} to {_points(gap['high'])}, "
        f"paired bootstrap; of the documents that one alone gets right, {coins['only_ours_right']} are ours "
        f"and {coins['only_theirs_right']} the control's, {_p(coins['p'])} by McNemar's test."
    )


def _conclusion(
    word: Word | None, offer: str, evidence: Mapping[str, Any], names: Mapping[str, str], linear: str
) -> str:
    if offer == "scratch":
        return f"{_capital(names['scratch'])} is more accurate than {names['transfer']} (finetune.strategy=scratch)."
    if _side(evidence[linear]) < 0:
        return f"The linear baseline wins: {names[linear]} is the better model here."
    if offer == linear:
        return f"It is not shown to be better than {names[linear]}, which is simpler and no less accurate."
    if word == "positive":
        return "Transfer was worth it."
    level = " and ".join(names[name] for name, each in evidence.items() if _side(each) < 1)
    return f"It is the more accurate one here{f', but not shown to be better than {level}' if level else ''}."


def _capital(name: str) -> str:
    return f"{name[0].upper()}{name[1:]}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
