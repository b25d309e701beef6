"""Train one classifier, and read what a classifier says: the same result on any number of processes."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from pipeline.config import Finetune
from pipeline.console import progress
from pipeline.metrics.decisions import Table, Truth, accuracy_and_nats, decided, probabilities
from pipeline.model.attention import suit_attention
from pipeline.training.loop import Batch, adamw, draw_by, fit, to_device, warmup_stable_decay
from pipeline.training.memory import give_back
from pipeline.training.precision import settle_precision
from pipeline.transfer.classifier import is_multi_label, temperature
from pipeline.transfer.documents import Ids, collate, encode, epoch_batches, in_windows, reading_batches
from pipeline.transfer.entries import shared_parameters, training_entries
from pipeline.transfer.lora import adapters, add_adapters
from pipeline.transfer.pieces import Pieces
from pipeline.transfer.strategies import Phase, depths, phases, rates
from pipeline.transfer.targets import targets

MICRO_BATCH = 16  # documents at once in a process; a global batch is cut alike on any number of processes


class Labelled(NamedTuple):
    """Documents as token ids, and how much of each class every one of them is: (documents, classes), float32."""

    ids: Ids
    targets: npt.NDArray[np.float32]
    multi_label: bool = False  # classes do not exclude each other

    def classes(self) -> list[int]:
        """The foremost class of each document."""
        return [int(place) for place in self.targets.argmax(-1)]

    def truth(self) -> Truth:
        """The classes (documents), or 0 and 1 (documents, classes) where there may be several."""
        return decided(self.targets, multi_label=self.multi_label)

    def part(self, indices: Sequence[int]) -> "Labelled":
        return Labelled([self.ids[i] for i in indices], self.targets[indices], self.multi_label)


def train(
    accelerator: Accelerator,
    model: Any,
    pad: int,
    data: Labelled,
    dev: Labelled | None,
    settings: Finetune,
    strategy: str,
    seed: int,
    pieces: Pieces | None = None,
) -> list[dict[str, Any]]:
    """Train ``model`` in place and return a row an epoch: losses in nats a document, accuracy on ``dev``, seconds.

    Where the embedding table trains, its entries share what they learn by what is known of ``pieces``, if anything.

    All epochs are run and the last weights kept: the rate has come down to zero, and some 100 dev documents choose
    between epochs by chance more than by merit (arXiv 2006.04884 trains long and keeps the last, too).
    """
    windows, documents = in_windows(data.ids, model)
    given = targets(data.targets[documents], settings, multi_label=data.multi_label)  # a window counts as a document
    data = Labelled(windows, given, data.multi_label)
    suit_attention(model, accelerator.device)
    precision = settle_precision(settings.precision, accelerator.device)
    lengths = [len(tokens) for tokens in data.ids]
    batches = [
        batch
        for epoch in range(settings.epochs)
        for batch in epoch_batches(lengths, settings.batch_documents, seed, epoch)
    ]
    epochs = _Epochs(batches, settings.epochs, partial(_measured, accelerator, model, dev, pad))

    def steps(start: int, end: int) -> Iterator[tuple[int, list[Batch]]]:
        for step in progress(range(start, end), desc=f"seed {seed}", unit=" steps"):
            yield step, micro_batches(accelerator, data, batches[step], pad, (seed, step))

    depth = depths(model)
    adapted = add_adapters(model, settings.lora_rank) if strategy == "lora" else None
    depth |= dict.fromkeys(adapters(model), 0) | dict.fromkeys(shared_parameters(model), max(depth.values()))
    seen = {token for tokens in data.ids for token in tokens}
    for phase, start, end in stretches(phases(strategy, settings, 1 + max(depth.values())), len(batches)):
        factors = rates(phase, settings, depth)
        with training_entries(model, seen, pieces) if phase.parts is None else contextlib.nullcontext():
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(name in factors)
            fit(
                accelerator,
                accelerator.prepare(model),
                [adamw(model.named_parameters(), settings.learning_rate, settings.weight_decay, factors)],
                steps(start, end),
                items=lambda batch: int(batch["targets"].any(-1).sum()),
                summed_loss=partial(_summed_loss, settings=settings, multi_label=data.multi_label),
                rate=partial(_rate, start=start, end=end, settings=settings),
                after_step=epochs.after_step,
                precision=precision,
            )
            accelerator.free_memory()
            give_back()
    if adapted:
        adapted.merge_and_unload()
    return epochs.rows


class _Epochs:
    """A row an epoch: the mean loss of its documents, what ``measure`` says at its end, skipped steps and seconds."""

    def __init__(self, batches: list[list[int]], epochs: int, measure: Callable[[], dict[str, float]]) -> None:
        self.batches, self.steps, self.measure = batches, len(batches) // epochs, measure
        self.rows: list[dict[str, Any]] = []
        self.losses: list[torch.Tensor] = []
        self.skipped, self.clock = 0, time.perf_counter()

    def after_step(self, step: int, loss: torch.Tensor, norm: torch.Tensor) -> None:
        self.skipped += not bool(torch.isfinite(norm))
        self.losses.append(loss * len(self.batches[step]))
        if (step + 1) % self.steps:
            return
        documents = sum(len(batch) for batch in self.batches[step + 1 - self.steps : step + 1])
        nats = float(torch.stack(self.losses).sum()) / documents
        row = {"epoch": step // self.steps + 1, "loss_nats": round(nats, 6), **self.measure()}
        if self.skipped:
            row["skipped_steps"] = self.skipped
        now = time.perf_counter()
        row["seconds"], self.clock = round(now - self.clock, 2), now
        self.losses.clear()
        self.rows.append(row)


def _measured(accelerator: Accelerator, model: Any, dev: Labelled | None, pad: int) -> dict[str, float]:
    """Loss and accuracy on ``dev``, if there is one."""
    if dev is None:
        return {}
    figures = evaluation(logits(accelerator, model, dev.ids, pad), dev)
    model.train()
    return figures


def stretches(plan: list[Phase], steps: int) -> Iterator[tuple[Phase, int, int]]:
    """Each phase that gets a step, with its first step and the one after its last."""
    start, share = 0, 0.0
    for phase in plan:
        share += phase.share
        end = round(share * steps)
        if end > start:
            yield phase, start, end
        start = end


def _rate(step: int, *, start: int, end: int, settings: Finetune) -> float:
    """Every phase warms up and comes down by itself: what it trains anew has no steps behind it."""
    return warmup_stable_decay(step - start, end - start, settings.warmup_share, settings.decay_share)


def micro_batches(
    accelerator: Accelerator, data: Labelled, batch: list[int], pad: int, where: tuple[int, int]
) -> list[Batch]:
    """This process's micro-batches of a global batch. One left without any gets one that counts for nothing.

    The cut does not depend on the number of processes and each piece brings the seed of its dropout, so that
    a document meets the same network wherever it is read.
    """
    pieces = [batch[start : start + MICRO_BATCH] for start in range(0, len(batch), MICRO_BATCH)]
    mine = range(accelerator.process_index, len(pieces), accelerator.num_processes)
    shares = []
    for piece in mine or [0]:
        share = collate([data.ids[i] for i in pieces[piece]], pad)
        share["targets"] = torch.from_numpy(data.targets[pieces[piece]] * bool(mine))
        share["dropout_seed"] = torch.tensor([*where, piece])
        shares.append(to_device(share, accelerator.device))
    return shares


def _summed_loss(model: torch.nn.Module, batch: Batch, settings: Finetune, multi_label: bool = False) -> torch.Tensor:
    """The mean cross-entropy over the dropouts of the head and, for R-Drop, two passes with other dropouts everywhere;
    and ``r_drop`` × the KL between these.

    A document's weight is the sum of its targets. The KL is the mean of both directions (arXiv 2106.14448, equation 2).
    Where a document may have several classes, ``multi_label``, the sum of each class's own cross-entropy; a document
    with none counts for nothing.
    """
    draw_by(batch)
    samples, passes = settings.dropout_samples, 2 if settings.r_drop else 1
    inputs = {name: batch[name].repeat(passes, 1) for name in ("input_ids", "attention_mask")}
    with head_dropouts(model, samples):
        logits = model(**inputs).logits.float()
    times = samples * passes
    wanted = batch["targets"].repeat(times, 1)
    if multi_label:
        nats = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(-1)
        return (nats * wanted.any(-1)).sum() / times
    loss = F.cross_entropy(logits, wanted, reduction="sum") / times
    if settings.r_drop:
        one, other = logits.log_softmax(-1).unflatten(0, (samples, passes, -1)).unbind(1)
        apart = ((one.exp() - other.exp()) * (one - other)).sum(-1).mean(0) / 2
        loss = loss + settings.r_drop * (apart * batch["targets"].sum(-1)).sum()
    return loss


@contextlib.contextmanager
def head_dropouts(model: torch.nn.Module, samples: int) -> Iterator[None]:
    """Within this context the logits of ``model`` are (samples × documents, classes): each time the documents in their
    order, with another dropout of the head (multi-sample dropout: Inoue 2019, arXiv 1905.09788).

    It hooks into the last dropout of the network, so it serves any family that has one there.
    """

    def redraw(drop: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        hook.remove()  # RoBERTa's head drops twice
        return torch.cat([output, *(F.dropout(inputs[0], drop.p) for _ in range(samples - 1))])

    if samples == 1:
        yield
        return
    *_, last = (module for module in model.modules() if isinstance(module, torch.nn.Dropout))
    hook = last.register_forward_hook(redraw)
    try:
        yield
    finally:
        hook.remove()


def logits(accelerator: Accelerator, model: Any, ids: Ids, pad: int) -> torch.Tensor:
    """What ``model`` says of each document: (documents, classes), float32, on the CPU, in their order.

    Of a document in windows, the mean of what it says of each. Processes read different windows and add their tables,
    so none counts twice.
    """
    model.eval()
    windows, documents = in_windows(ids, model)
    table = torch.zeros(len(windows), model.config.num_labels, device=accelerator.device)
    with torch.inference_mode(), accelerator.autocast():
        for indices, batch in reading_batches(accelerator, windows, pad):
            table[indices] = model(**batch).logits.float()
    table = torch.as_tensor(accelerator.reduce(table, "sum")).cpu()
    sums = torch.zeros(len(ids), table.shape[1]).index_add_(0, torch.tensor(documents), table)
    return sums / torch.bincount(torch.tensor(documents)).unsqueeze(1)


def evaluation(table: torch.Tensor, data: Labelled) -> dict[str, float]:
    """Loss in nats a document and accuracy, of the logits in ``table`` (documents, classes) against the truth."""
    measures = accuracy_and_nats(probabilities(table.double().numpy(), multi_label=data.multi_label), data.truth())
    return {"dev_nats": round(measures["nats"], 6), "dev_accuracy": round(measures["accuracy"], 6)}


def classify(accelerator: Accelerator, model: Any, tokenizer: Any, texts: Sequence[str]) -> Table:
    """Probabilities of the classes of each text: (texts, classes), at the temperature that was fitted for ``model``.

    Long texts are cut as they were in training.
    """
    ids, _ = encode(tokenizer, texts, tokenizer.model_max_length)
    table = logits(accelerator, model.to(accelerator.device), ids, tokenizer.pad_token_id)
    return probabilities(table.double().numpy() / temperature(model), multi_label=is_multi_label(model))
