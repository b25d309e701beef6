"""What a run of masked-LM pretraining is made of: its plan, its data, its model, and its steps."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel

from pipeline.config import Pretrain
from pipeline.model.attention import suit_attention
from pipeline.training.compilation import compile_layers
from pipeline.training.loop import Batch, adamw, fit, warmup_stable_decay
from pipeline.training.masked import MaskedBlocks, masked_tokens, summed_loss, training_steps, validation_nats
from pipeline.training.optimizers import muon_and_adamw
from pipeline.training.watch import Watch

MICRO_BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}  # what `micro_batch_blocks: auto` holds at once


class Plan(NamedTuple):
    """What the first attempt settles and every later one keeps, so that a resumed run is the same run."""

    steps: int  # 0: still to be settled
    precision: str
    compiled: bool
    micro_batch: int  # blocks at once in one process
    evaluations: int  # how often validation loss is measured
    step_seconds: float = 0.0  # as measured; 0: not
    attention: str = ""  # its implementation; empty: what suits the device without a measurement
    detours: tuple[int, ...] = ()  # the steps from which on other blocks were read, after the run had diverged


@dataclass(frozen=True)
class Session:
    settings: Pretrain
    accelerator: Accelerator
    train: MaskedBlocks
    valid: MaskedBlocks
    new_model: Callable[[], PreTrainedModel]

    @property
    def tokens_a_step(self) -> int:
        return self.settings.global_batch_blocks * self.settings.length_tokens

    @property
    def micro_batch(self) -> int:
        """Blocks that a process should take at once, and no more than its share of the global batch."""
        given, tokens = self.settings.micro_batch_blocks, MICRO_BATCH_TOKENS.get(self.accelerator.device.type, 8192)
        share: int = math.ceil(self.settings.global_batch_blocks / self.accelerator.num_processes)
        return min(share, given if isinstance(given, int) else max(1, tokens // self.settings.length_tokens))

    def epochs(self, plan: Plan) -> float:
        return plan.steps * self.settings.global_batch_blocks / len(self.train.blocks)

    def start(self, plan: Plan) -> tuple[PreTrainedModel, Any, list[Any]]:
        """The model at step 0, the same as the launcher shares it out, and its optimizers."""
        torch.manual_seed(self.settings.seed)
        model = self.new_model()
        suit_attention(model, self.accelerator.device, plan.attention)
        if plan.compiled:
            compile_layers(model)
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        if self.settings.optimizer == "muon":
            optimizers = muon_and_adamw(model, rate, decay)
        else:
            optimizers = [adamw(model.named_parameters(), rate, decay)]
        wrapped, *optimizers = self.accelerator.prepare(model, *optimizers)
        return model, wrapped, optimizers

    def take_steps(
        self,
        wrapped: Any,
        optimizers: list[Any],
        plan: Plan,
        steps: range,
        watch: Watch,
        after_step: Callable[[int], None],
    ) -> None:
        """Take ``steps`` of the run that ``plan`` lays out."""
        s, turn = self.settings, self.short_steps(plan)
        short, whole = range(steps.start, min(turn, steps.stop)), range(max(turn, steps.start), steps.stop)
        fit(
            self.accelerator,
            wrapped,
            optimizers,
            chain(self.batches(plan, short, cut=2), self.batches(plan, whole, cut=1)),
            items=masked_tokens,
            summed_loss=partial(summed_loss, z_loss=s.z_loss, contrastive=s.contrastive),
            rate=lambda step: warmup_stable_decay(step, plan.steps, s.warmup_share, s.decay_share),
            after_step=lambda step, _loss, _norm: after_step(step),
            sound=watch.sound,
            precision=plan.precision,
        )

    def short_steps(self, plan: Plan) -> int:
        """The steps at the start that read blocks of half the length, twice as many."""
        return math.ceil(self.settings.short_share * plan.steps)

    def batches(self, plan: Plan, steps: range, cut: int) -> Iterator[tuple[int, list[Batch]]]:
        """What ``steps`` read, in blocks cut into ``cut`` parts."""
        s = self.settings
        return training_steps(
            self.train._replace(blocks=self.train.blocks.reshape(-1, s.length_tokens // cut)),
            self.accelerator,
            steps,
            global_batch=s.global_batch_blocks * cut,
            micro_batch=plan.micro_batch * cut,
            rate=lambda step: s.mask_rate + (s.mask_rate_end - s.mask_rate) * step / plan.steps,
            seed=lambda step: s.seed + sum(step >= start for start in plan.detours),
        )

    def valid_nats(self, wrapped: Any, plan: Plan) -> float:
        return validation_nats(
            wrapped, self.valid, self.accelerator, micro_batch=plan.micro_batch, precision=plan.precision
        )
