"""Matthews correlation of several classes (Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006)."""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import matthews_corrcoef


class MatthewsCorrelation(evaluate.Metric):  # type: ignore[misc]
    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Correlation of predicted and true classes: 1 perfect, 0 as good as chance.",
            citation="",
            inputs_description="predictions, references: class indices",
            features=datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"matthews_correlation": float(matthews_corrcoef(references, predictions))}
