"""What vectors of pieces and a frozen body say of documents."""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator

from pipeline.transfer.documents import Ids, in_windows, reading_batches

Floats = npt.NDArray[np.float32]

RARE = 1e-4  # the share of a text that halves a token's weight
COUNTED_AT_ONCE = 2**24


class Body(NamedTuple):
    """A pretrained body, its head left out, with what its own corpus tells of each piece."""

    network: Any
    piece_vectors: Floats  # (vocabulary, width), of wide company
    token_weights: Floats  # (vocabulary,)


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


def embeddings(accelerator: Accelerator, body: Body, ids: Ids, pad: int) -> Floats:
    """The weighed mean over a document's tokens of their pieces' vectors, and of what the top layer gives.

    (documents, 2, width), in that order. The mean of a document in windows is over the tokens of all. Processes read
    different windows and add their tables.
    """
    network = body.network.to(accelerator.device).eval()
    windows, documents = in_windows(ids, network)
    by_id, vectors, of = (
        torch.as_tensor(each).to(accelerator.device) for each in (body.token_weights, body.piece_vectors, documents)
    )
    sums = torch.zeros(len(ids), 2, network.config.hidden_size, device=accelerator.device)
    weight = torch.zeros(len(ids), device=accelerator.device)
    with torch.inference_mode(), accelerator.autocast():
        for indices, batch in reading_batches(accelerator, windows, pad):
            weights = by_id[batch["input_ids"]] * batch["attention_mask"]
            weight.index_add_(0, of[indices], weights.sum(1))
            for place, states in enumerate((vectors[batch["input_ids"]], network(**batch).last_hidden_state.float())):
                sums[:, place].index_add_(0, of[indices], (states * weights.unsqueeze(-1)).sum(1))
    sums, weight = accelerator.reduce(sums, "sum"), accelerator.reduce(weight, "sum")
    means = sums / weight.clamp(min=RARE)[:, None, None]  # some documents hold special tokens alone
    return np.asarray(means.cpu().numpy(), np.float32)
