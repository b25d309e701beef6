"""What the layers of a frozen body say of documents."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator

from pipeline.transfer.documents import Ids, in_windows, reading_batches

Floats = npt.NDArray[np.float32]

RARE = 1e-4  # the share of a text that halves a token's weight
COUNTED_AT_ONCE = 2**24


def token_weights(stream: npt.NDArray[np.integer], special: list[int], vocabulary: int) -> Floats:
    """How much each token counts in the mean over a document, the more the rarer it is in ``stream``: (vocabulary,).

    Smooth inverse frequency (Arora, Liang and Ma 2017, "A Simple but Tough-to-Beat Baseline for Sentence Embeddings").
    Tokens that are ``special`` count for nothing.
    """
    parts = np.array_split(stream, math.ceil(len(stream) / COUNTED_AT_ONCE))
    counts = np.sum([np.bincount(part, minlength=vocabulary) for part in parts], axis=0)
    weights = RARE / (RARE + counts / len(stream))
    weights[special] = 0
    return np.asarray(weights, np.float32)


def embeddings(
    accelerator: Accelerator, body: Any, ids: Ids, pad: int, layers: Sequence[int], weight_of: Floats
) -> Floats:
    """The mean over a document's tokens of what each of ``layers`` gives: (documents, layers, width), in their order.

    Layer 0 is the embedding table's, the last the top's; ``weight_of`` is what ``token_weights`` gives. The mean of a
    document in windows is over the tokens of all. Processes read different windows and add their tables.
    """
    body = body.to(accelerator.device).eval()
    windows, documents = in_windows(ids, body)
    by_id, of = (torch.as_tensor(each).to(accelerator.device) for each in (weight_of, documents))
    sums = torch.zeros(len(ids), len(layers), body.config.hidden_size, device=accelerator.device)
    weight = torch.zeros(len(ids), device=accelerator.device)
    with torch.inference_mode(), accelerator.autocast():
        for indices, batch in reading_batches(accelerator, windows, pad):
            states = body(**batch, output_hidden_states=True).hidden_states
            weights = by_id[batch["input_ids"]] * batch["attention_mask"]
            weight.index_add_(0, of[indices], weights.sum(1))
            for place, layer in enumerate(layers):
                sums[:, place].index_add_(0, of[indices], (states[layer].float() * weights.unsqueeze(-1)).sum(1))
    sums, weight = accelerator.reduce(sums, "sum"), accelerator.reduce(weight, "sum")
    means = sums / weight.clamp(min=RARE)[:, None, None]  # some documents hold special tokens alone
    return np.asarray(means.cpu().numpy(), np.float32)
