"""What the layers of a frozen body say of documents."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator

from pipeline.program import progress
from pipeline.transfer.documents import Ids, by_length, collate

Floats = npt.NDArray[np.float32]

READING_BATCH = 32
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

    Layer 0 is the embedding table's, the last the top's; ``weight_of`` is what ``token_weights`` gives. Processes read
    different documents and add their tables.
    """
    body = body.to(accelerator.device).eval()
    by_id = torch.from_numpy(weight_of).to(accelerator.device)
    table = torch.zeros(len(ids), len(layers), body.config.hidden_size, device=accelerator.device)
    batches = by_length(ids, READING_BATCH)[accelerator.process_index :: accelerator.num_processes]
    with torch.inference_mode(), accelerator.autocast():
        for indices in progress(batches, desc="reading", unit=" batches"):
            batch = {k: v.to(accelerator.device) for k, v in collate([ids[i] for i in indices], pad).items()}
            states = body(**batch, output_hidden_states=True).hidden_states
            weights = (by_id[batch["input_ids"]] * batch["attention_mask"]).unsqueeze(-1)
            weights /= weights.sum(1, keepdim=True).clamp(min=RARE)  # some documents hold special tokens alone
            for place, layer in enumerate(layers):
                table[indices, place] = (states[layer].float() * weights).sum(1)
    return np.asarray(accelerator.reduce(table, "sum").cpu().numpy(), np.float32)
