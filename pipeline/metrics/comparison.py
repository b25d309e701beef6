"""Two classifiers on the same documents: how surely the one is better, by a resampling test and by an exact one."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics.bootstrap import DIGITS, Floats, interval
from pipeline.metrics.decisions import right


def paired(ours: Floats, theirs: Floats) -> dict[str, float]:
    """``low`` and ``high`` of the 95 % interval of ours − theirs, and the two-sided ``p`` of no difference.

    ``ours`` and ``theirs``: a figure on each of the same draws of documents (resamples). The interval is the percentile
    one; ``p`` counts the draws on the other side of zero, plus one (Davison and Hinkley 1997, Bootstrap Methods and
    their Application, ch. 4), so it is never 0.
    """
    gaps = (ours - theirs).round(DIGITS)
    low, high = interval(gaps)
    other_side = min(np.count_nonzero(gaps <= 0), np.count_nonzero(gaps >= 0))
    return {"low": low, "high": high, "p": min(1.0, 2 * (1 + other_side) / (1 + len(gaps)))}


def mcnemar(ours: npt.ArrayLike, theirs: npt.ArrayLike, true: npt.ArrayLike) -> dict[str, Any]:
    """How many documents only one of two classifiers gets right, and the two-sided ``p`` of McNemar's exact test.

    Where both are equally good, each such document is a fair coin's throw (McNemar 1947, Psychometrika 12; exact, as
    Dietterich 1998, Neural Computation 10, advises for few documents).
    """
    from scipy.stats import binomtest

    one, other = right(ours, true), right(theirs, true)
    only_ours, only_theirs = int((one & ~other).sum()), int((other & ~one).sum())
    apart = only_ours + only_theirs
    p = float(binomtest(only_ours, apart).pvalue) if apart else 1.0
    return {"only_ours_right": only_ours, "only_theirs_right": only_theirs, "p": p}
