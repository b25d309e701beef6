"""Agreement of ordered classes beyond chance, where being two places off costs four times as much as one.

Cohen 1968, Weighted kappa, Psychological Bulletin 70 (doi:10.1037/h0026256).
"""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import cohen_kappa_score


class QuadraticWeightedKappa(evaluate.Metric):  # type: ignore[misc]
    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Agreement with squared distances as weights: 1 perfect, 0 as good as chance.",
            citation="",
            inputs_description="predictions, references: class indices, in their order",
            features=datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        if len({*predictions, *references}) == 1:  # nothing to disagree on: scikit-learn has no number for it
            return {"quadratic_weighted_kappa": 1.0}
        places = list(range(1 + max(*predictions, *references)))  # a class that does not occur keeps others apart
        kappa = cohen_kappa_score(references, predictions, labels=places, weights="quadratic")
        return {"quadratic_weighted_kappa": float(kappa)}
