"""ModernBERT classifiers that pool as transformers' own do not: by the largest value of each feature, or by attention.

They are of a type that only this project knows, so that a program without it refuses their folder and does not pool
otherwise in silence. To import this module makes transformers' Auto classes load them.
"""

from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertForSequenceClassification,
)
from transformers.modeling_outputs import SequenceClassifierOutput

POOLINGS = ("max", "attention")


class PooledConfig(ModernBertConfig):
    model_type = "akshara-modernbert"
    pooling: str = "max"


class PooledMaskedLM(ModernBertForMaskedLM):
    """ModernBERT's own: what the classifier's body is compared with."""

    config_class = PooledConfig


class PooledClassifier(ModernBertForSequenceClassification):
    """Logits (documents, classes) from the pooled states of a document's tokens, padding left out.

    ``max``: of each feature the largest (Conneau et al. 2017, arXiv 1705.02364). ``attention``: the mean, each token
    weighed by the softmax of its product with a learned vector (Lin et al. 2017, arXiv 1703.03130, with one hop).
    """

    config_class = PooledConfig

    def __init__(self, config: PooledConfig) -> None:
        super().__init__(config)
        if config.pooling == "attention":
            self.pooling = torch.nn.Linear(config.hidden_size, 1, bias=False)
            self.post_init()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **others: Any
    ) -> SequenceClassifierOutput:
        states = self.model(input_ids, attention_mask=attention_mask, **others).last_hidden_state
        padding = torch.zeros_like(input_ids) if attention_mask is None else 1 - attention_mask
        hidden = padding.unsqueeze(-1).bool()
        if self.config.pooling == "max":
            pooled = states.masked_fill(hidden, float("-inf")).amax(1)
        else:
            scores = self.pooling(states).float().masked_fill(hidden, float("-inf"))
            pooled = (states * scores.softmax(1)).sum(1)
        return SequenceClassifierOutput(logits=self.classifier(self.drop(self.head(pooled))))


def pooled(config: ModernBertConfig, pooling: str) -> PooledConfig:
    """``config`` for a classifier that pools by ``pooling``, one of POOLINGS."""
    return PooledConfig(**config.to_dict() | {"model_type": PooledConfig.model_type, "pooling": pooling})


AutoConfig.register(PooledConfig.model_type, PooledConfig)
AutoModelForMaskedLM.register(PooledConfig, PooledMaskedLM)
AutoModelForSequenceClassification.register(PooledConfig, PooledClassifier)
