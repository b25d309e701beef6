"""The arithmetic of a step of pretraining, counted from the shape of the model."""

from pipeline.model.masked_lm import FAMILY_DEFAULTS, SIZES

HIDDEN_SHARE = 0.225  # of the tokens, in the mean of a run that begins with 30 % and ends with 15


def feed_forward(size: str) -> int:
    """Columns of the feed-forwards of the default family."""
    return int(SIZES[size][1] * FAMILY_DEFAULTS["modernbert"]["feed_forward"])


def flops_a_token(size: str, length: int, vocabulary: int) -> float:
    """Floating-point operations of a training step for each token of a block: 6 for each weight that multiplies it.

    Layers: query, key, value and output, and the gated feed-forward; scores and their use, 12 × length × width a layer;
    the last feed-forward, head and decoder at the ``HIDDEN_SHARE`` of tokens that are masked. Norms, softmax and
    optimizer count for nothing.
    """
    layers, width, _ = SIZES[size]
    attention, gated = 4 * width**2 + 2 * length * width, 3 * width * feed_forward(size)
    everywhere = layers * attention + (layers - 1) * gated
    return 6 * (everywhere + HIDDEN_SHARE * (gated + width**2 + width * vocabulary))
