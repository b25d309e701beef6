"""Classes with an order, all along the line."""

import json
from pathlib import Path

import numpy as np
import pytest
import upstream

from pipeline import finetune, score
from pipeline.transfer import shipped
from pipeline.transfer.bench import open_bench
from pipeline.transfer.targets import of_ordered

ORDER = ["ଚାଷ", "ଖେଳ", "ସ୍ୱାସ୍ଥ୍ୟ"]  # not as they are sorted


def test_ordered_classes_are_learned_scored_and_predicted_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = upstream.make_run(tmp_path, "bert")
    (run.input("fetch/labelled") / "order.json").write_text(json.dumps(ORDER), "utf-8")
    bench, _ = open_bench(run, tmp_path / "out")
    train = bench.splits["train"]
    true = [ORDER.index(row["label"]) for row in upstream.documents("train", 60)]
    assert train.classes() == true
    np.testing.assert_array_equal(train.targets, of_ordered(3)[true])

    upstream.finish(run, "finetune", lambda part: finetune.work(run, part))
    assert shipped.load(run.input("finetune/model")).labels == ORDER
    (tmp_path / "out").mkdir()
    score.work(run, tmp_path / "out")
    result = json.loads((tmp_path / "out" / "scores.json").read_text("utf-8"))
    assert result["test"]["confusion_matrix"]["labels"] == ORDER
    rows = [json.loads(line) for line in (tmp_path / "out/predictions.jsonl").read_text("utf-8").splitlines()]
    apart = [abs(ORDER.index(row["label"]) - ORDER.index(row["predicted"])) for row in rows]
    assert result["shipped"]["mean_absolute_error"] == pytest.approx(np.mean(apart))
    for system in (result["test"], *result["baselines"].values()):
        assert system["mean_absolute_error"]["low"] <= system["mean_absolute_error"]["mean"]
        assert -1 <= system["quadratic_weighted_kappa"]["mean"] <= 1
