"""What the loss is taken against: the classes of the documents, smoothed and weighed as the settings say."""

import numpy as np
import numpy.typing as npt

from pipeline.config import Finetune

Table = npt.NDArray[np.float32]


def targets(given: Table, settings: Finetune) -> Table:
    """``given`` (documents, classes), of rows that sum to 1, smoothed (arXiv 1512.00567) and weighed.

    Balanced, a document weighs the more the rarer its class is, so that all classes weigh the same together and
    a document 1 on average. A row then sums to its document's weight.
    """
    smoothing = settings.label_smoothing
    smooth = (1 - smoothing) * given + smoothing / given.shape[1]
    if settings.class_weights == "balanced":
        sizes = given.sum(0)
        present = sizes > 0  # a fold of a cross-validation may lack a class
        weights = np.where(present, len(given) / (present.sum() * np.where(present, sizes, 1)), 0)
        smooth = smooth * (given @ weights)[:, None]
    return np.asarray(smooth, np.float32)
