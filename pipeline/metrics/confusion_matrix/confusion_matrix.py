"""How often documents of each class were given each class, for ``evaluate.load`` by path."""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import confusion_matrix


class ConfusionMatrix(evaluate.Metric):  # type: ignore[misc]
    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Counts of documents: a row a true class, a column a predicted one.",
            citation="",
            inputs_description="predictions, references: class indices; labels: which classes, in which order",
            features=datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}),
        )

    def _compute(self, predictions: Any, references: Any, labels: list[int] | None = None) -> dict[str, Any]:
        return {"confusion_matrix": confusion_matrix(references, predictions, labels=labels).tolist()}
