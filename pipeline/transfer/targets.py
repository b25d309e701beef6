"""What the loss is taken against: the classes of the documents, smoothed and weighed as the settings say.

Of ordered classes, those near the true one get more of the target than those far from it.
"""

import numpy as np
import numpy.typing as npt

from pipeline.config import Finetune

Floats = npt.NDArray[np.float32]

SMOOTHING = 0.1  # of a document's one label (docs/transfer.md)
FALL = 2.0  # nats from a place to the one beside it: a neighbour has an eighth of what the true class has


def of_ordered(count: int) -> Floats:
    """The target of each of ``count`` ordered classes: (classes, classes), rows that sum to 1.

    A softmax over the distances from the true class (Díaz and Marathe 2019, Soft Labels for Ordinal Regression, CVPR).
    """
    places = np.arange(count)
    table = np.exp(-FALL * np.abs(places[:, None] - places))
    return np.asarray(table / table.sum(1, keepdims=True), np.float32)


def targets(given: Floats, settings: Finetune, *, multi_label: bool = False) -> Floats:
    """``given`` (documents, classes), of rows that sum to 1, smoothed (arXiv 1512.00567) and weighed.

    By itself only a row of one class alone is smoothed: a teacher's answers, and places in an order, are smooth as they
    are. Where a document may have several classes, ``multi_label``, none is.

    Balanced, a document weighs the more the rarer its foremost class is, so that all classes weigh the same together
    and a document 1 on average. A row then sums to its document's weight.
    """
    smoothing: Floats | float = 0.0 if multi_label else SMOOTHING * (given.max(1, keepdims=True) == 1)
    if settings.label_smoothing != "auto":
        smoothing = settings.label_smoothing
    smooth = (1 - smoothing) * given + smoothing / given.shape[1]
    if settings.class_weights == "balanced":
        _, place, sizes = np.unique(given.argmax(1), return_inverse=True, return_counts=True)
        smooth = smooth * (len(given) / (len(sizes) * sizes[place]))[:, None]
    return np.asarray(smooth, np.float32)
