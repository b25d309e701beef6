"""What the layers of a frozen body say of documents."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator

from pipeline.program import progress
from pipeline.transfer.documents import Ids, by_length, collate

READING_BATCH = 32


def embeddings(accelerator: Accelerator, body: Any, ids: Ids, pad: int, layers: list[int]) -> npt.NDArray[np.float32]:
    """The mean over a document's tokens of what each of ``layers`` gives: (documents, layers, width), in their order.

    Layer 0 is the embedding table's, the last the top's. Processes read different documents and add their tables.
    """
    body = body.to(accelerator.device).eval()
    table = torch.zeros(len(ids), len(layers), body.config.hidden_size, device=accelerator.device)
    batches = by_length(ids, READING_BATCH)[accelerator.process_index :: accelerator.num_processes]
    with torch.inference_mode(), accelerator.autocast():
        for indices in progress(batches, desc="reading", unit=" batches"):
            batch = {k: v.to(accelerator.device) for k, v in collate([ids[i] for i in indices], pad).items()}
            states = body(**batch, output_hidden_states=True).hidden_states
            real = batch["attention_mask"].unsqueeze(-1)
            for place, layer in enumerate(layers):
                table[indices, place] = ((states[layer] * real).sum(1) / real.sum(1)).float()
    return np.asarray(accelerator.reduce(table, "sum").cpu().numpy(), np.float32)
