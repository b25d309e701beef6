"""Masked language modelling on packed blocks: which blocks a step reads, what is hidden, and the loss.

All of it is a pure function of (seed, step, row), so a run can stop and go on anywhere, and any number of
processes sees the same global batch.
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn.attention.flex_attention import BlockMask
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.config import Masking
from pipeline.model.attention import takes_masks, within_documents
from pipeline.model.masked_lm import decoder_left_out, narrowed_to
from pipeline.text.encoded import document_ids, epoch_order
from pipeline.text.spelling import word_beginnings
from pipeline.training.halves import contrast_of_halves
from pipeline.training.loop import Batch, draw_by, to_device
from pipeline.training.masked_loss import linear_cross_entropy
from pipeline.training.precision import autocast

VALID_SEED, VALID_RATE = 1234, 0.15  # the same tokens are hidden at every evaluation of every run
VALID_BLOCKS = 256
SPAN_STOPS, LONGEST_SPAN = 0.2, 10  # mean 3.8 (SpanBERT, arXiv 1907.10529, section 3.1)

# Of token ids and draws in [0, 1), both (n, length): where a stretch that is hidden as one begins, (n, length) bool.
Beginnings = Callable[[np.ndarray, np.ndarray], np.ndarray]


def beginnings(masking: Masking, tokenizer: PreTrainedTokenizerBase) -> Beginnings | None:
    """Of words, as ``tokenizer`` marks them, or of random spans; None to hide each token by itself."""
    if masking == "words":
        begins = word_beginnings(tokenizer)
        return lambda ids, _draws: begins[ids]
    return span_beginnings if masking == "spans" else None


def span_beginnings(ids: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Cut each block from end to end into spans of geometric length, up to ``LONGEST_SPAN``."""
    within = 1 - (1 - SPAN_STOPS) ** LONGEST_SPAN
    lengths = 1 + (np.log1p(-draws * within) / np.log1p(-SPAN_STOPS)).astype(np.int64)
    n, length = ids.shape
    begins = np.zeros((n, length + 1), np.bool_)
    np.put_along_axis(begins, np.minimum(lengths.cumsum(1), length), True, axis=1)
    return begins[:, :length]


def validation_blocks(blocks: np.ndarray) -> np.ndarray:
    """As many of ``blocks`` (n, length) as an evaluation reads, evenly spread: each corpus is one stretch of them."""
    rows = np.linspace(0, len(blocks), min(len(blocks), VALID_BLOCKS), endpoint=False, dtype=np.intp)
    return blocks[rows]


class MaskedBlocks(NamedTuple):
    """``blocks``: (n, length) token ids of any integer dtype; ``special``: ids that are never hidden; ``beginnings``
    of what is hidden together; ``separator``: what ends a document, where none is to be read beyond its end."""

    blocks: np.ndarray
    special: np.ndarray
    mask_id: int
    vocabulary: int
    beginnings: Beginnings | None = None
    separator: int | None = None

    def batch(self, which: np.ndarray, rows: np.ndarray, *, rate: float, seed: int, step: int) -> Batch:
        """Blocks ``which``, with ``rate`` of each one's ordinary tokens hidden: 80 % as the mask, 10 % as another
        token, 10 % as they are (Devlin et al. 2019, section 3.1).

        A block's random numbers depend on (seed, step, its row in the global batch) alone. Every block hides the same
        number of tokens, so shapes stay the same from one micro-batch to the next; the last word or span to be hidden
        may be cut short for it.
        Returns int64 tensors: input_ids (n, length); positions (n·k,), into the flattened input; targets (n·k,);
        ordinary (n, length), bool: which tokens are not special; dropout_seed (3,); and, with a separator,
        documents (n, length).
        """
        inputs = self.blocks[which].astype(np.int64)
        documents = {} if self.separator is None else {"documents": document_ids(inputs, self.separator)}
        n, length = inputs.shape
        masked = max(1, round(rate * length))
        draws = np.stack([_generator(seed, step, int(row)).random((3, length), dtype=np.float32) for row in rows])
        ordinary = np.isin(inputs, self.special, invert=True)
        priority = np.where(ordinary, self._order(inputs, draws), 2.0)
        columns = np.sort(np.argpartition(priority, masked - 1, axis=1)[:, :masked], axis=1)
        positions = (columns + np.arange(n)[:, None] * length).ravel()
        targets = inputs.ravel()[positions]
        how = np.take_along_axis(draws[:, 1], columns, axis=1).ravel()
        # uniform over the vocabulary for 0.8 ≤ how < 0.9
        other = ((how - 0.8) * 10 * self.vocabulary).astype(np.int64).clip(0, self.vocabulary - 1)
        inputs.ravel()[positions] = np.select(
            [how < 0.8, how < 0.9], [np.full_like(targets, self.mask_id), other], targets
        )
        arrays = {"input_ids": inputs, "positions": positions, "targets": targets, "ordinary": ordinary, **documents}
        arrays["dropout_seed"] = np.array([seed, step, rows[0]])
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def some_or_nothing(self, which: np.ndarray, rows: np.ndarray, *, rate: float, seed: int, step: int) -> Batch:
        """``batch``; of no blocks, one in which nothing is hidden, so that it counts for nothing."""
        if len(which):
            return self.batch(which, rows, rate=rate, seed=seed, step=step)
        first = self.batch(np.zeros(1, np.int64), np.zeros(1, np.int64), rate=rate, seed=seed, step=step)
        return first | {name: first[name][:0] for name in ("positions", "targets")}

    def _order(self, inputs: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """In which order tokens are hidden, from low to high: at random, but what belongs together in one go."""
        if self.beginnings is None:
            return draws[:, 0]
        columns = np.arange(inputs.shape[1])
        first = np.maximum.accumulate(np.where(self.beginnings(inputs, draws[:, 2]), columns, 0), axis=1)
        from_the_front = columns * 2.0**-40  # draws are 2**-24 apart
        order: np.ndarray = np.take_along_axis(draws[:, 0], first, axis=1) + from_the_front
        return order


def _generator(seed: int, step: int, row: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, step, row]))


def training_steps(
    data: MaskedBlocks,
    accelerator: Accelerator,
    steps: range,
    *,
    global_batch: int,
    micro_batch: int,
    rate: Callable[[int], float],
    seed: Callable[[int], int],
) -> Iterator[tuple[int, list[Batch]]]:
    """Each of ``steps`` with this process's share of its global batch, cut into micro-batches, on its device.

    Blocks come in the order of ``epoch_order(seed(step), epoch)``, epoch after epoch; ``rate(step)`` is the share
    hidden.
    """
    n = len(data.blocks)
    order = lru_cache(maxsize=2)(lambda seed, epoch: epoch_order(seed, epoch, n))
    parts = shares(global_batch, accelerator, micro_batch)
    for step in steps:
        places = [step * global_batch + part for part in parts]
        which = (np.array([order(seed(step), p // n)[p % n] for p in place.tolist()], np.int64) for place in places)
        batches = (
            data.some_or_nothing(blocks, part, rate=rate(step), seed=seed(step), step=step)
            for blocks, part in zip(which, parts, strict=True)
        )
        yield step, [to_device(batch, accelerator.device) for batch in batches]


def shares(rows: int, accelerator: Accelerator, micro_batch: int) -> list[np.ndarray]:
    """This process's part of ``rows`` rows, in micro-batches: as many in every process, since they exchange weights or
    buffers with each; some may be empty.
    """
    mine = np.array_split(np.arange(rows), accelerator.num_processes)[accelerator.process_index]
    largest = math.ceil(rows / accelerator.num_processes)
    return np.array_split(mine, math.ceil(largest / micro_batch))


def masked_tokens(batch: Batch) -> int:
    return len(batch["targets"])


def summed_loss(model: torch.nn.Module, batch: Batch, *, z_loss: float = 0.0, contrastive: float = 0.0) -> torch.Tensor:
    """Cross-entropy in nats, float32, summed over the hidden tokens; the head runs on those alone.

    What ``z_loss`` (``linear_cross_entropy``) and ``contrastive`` (``contrast_of_halves``) weigh counts in the gradient
    alone. The contrast is multiplied by the number of hidden tokens, since the sum will be divided by it.
    """
    inner: PreTrainedModel = getattr(model, "module", model)  # without DistributedDataParallel's shell
    draw_by(batch)
    whole = contrastive > 0
    with narrowed_to(inner, batch["positions"], whole=whole) as states, decoder_left_out(inner) as decoder:
        hidden = model(input_ids=batch["input_ids"], attention_mask=attention_mask(inner, batch)).logits[0]
    loss = linear_cross_entropy(hidden, decoder.weight, decoder.bias, batch["targets"], z_loss)
    if not contrastive:
        return loss
    more = contrastive * masked_tokens(batch) * contrast_of_halves(states[0], batch["ordinary"])
    return loss + (more - more.detach())


def attention_mask(model: PreTrainedModel, batch: Batch) -> torch.Tensor | BlockMask | None:
    """What keeps the documents of ``batch`` apart; None where they are read as one, or ``model`` cannot."""
    if "documents" not in batch or not takes_masks(model):
        return None
    device = batch["documents"].device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    return within_documents(model, batch["documents"], dtype)


@torch.no_grad()
def validation_nats(
    model: torch.nn.Module, data: MaskedBlocks, accelerator: Accelerator, *, micro_batch: int, precision: str
) -> float:
    """Mean cross-entropy of the hidden tokens, in nats; each counts once, whatever the number of processes."""
    sums = torch.zeros(2, dtype=torch.float64, device=accelerator.device)
    model.eval()
    for part in shares(len(data.blocks), accelerator, micro_batch):
        batch = data.some_or_nothing(part, part, rate=VALID_RATE, seed=VALID_SEED, step=0)
        batch = to_device(batch, accelerator.device)
        # Without compiled code: it would be compiled a second time, for inference, at more than it could save.
        with autocast(accelerator.device, precision), torch.compiler.set_stance("force_eager"):
            sums += torch.stack([summed_loss(model, batch).double(), batch["targets"].new_tensor(masked_tokens(batch))])
    model.train()
    total, count = accelerator.reduce(sums, "sum").tolist()
    return float(total / count)
