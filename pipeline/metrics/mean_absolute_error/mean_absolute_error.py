"""By how many places the predicted class of ordered ones is off, for ``evaluate.load`` by path."""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import mean_absolute_error


class MeanAbsoluteError(evaluate.Metric):  # type: ignore[misc]
    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Mean distance in places between predicted and true class.",
            citation="",
            inputs_description="predictions, references: class indices, in their order",
            features=datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"mean_absolute_error": float(mean_absolute_error(references, predictions))}
