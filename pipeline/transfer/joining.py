"""A linear classifier beside the networks, and how much each has to say, by documents that none has learned from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import AutoModelForMaskedLM

from pipeline.console import log
from pipeline.metrics import decisions
from pipeline.metrics.decisions import Table, Truth
from pipeline.text.encoded import stream
from pipeline.transfer import linear, shipped
from pipeline.transfer.baseline import no_vectors
from pipeline.transfer.bench import Bench, suit_windows
from pipeline.transfer.documents import all_but
from pipeline.transfer.embeddings import Body, embeddings, token_weights
from pipeline.transfer.networks import Job, held_out, unseen_probabilities
from pipeline.transfer.shipped import Frozen

JOINING = ("auto", "hybrid", "features")  # strategies
SHARES = tuple(round(share / 10, 1) for share in range(1, 10))  # of the network


def join(bench: Bench, outcomes: dict[Job, Any]) -> dict[str, Any]:
    """Write ``linear/seed-0`` and tell what answers best: it, the network or both. For every process."""
    body: Body | None
    body, vectors = frozen_body(bench)
    if not bench.accelerator.is_main_process:
        return {}
    texts, truth = bench.texts["train"], bench.splits["train"].truth()
    lexical = bench.settings.strategy != "features"
    chosen = linear.choose(texts, vectors["train"], truth, bench.settings.machine, lexical=lexical)
    if not any(chosen.weights):  # what is shipped need not bring a body, nor read by it
        body, vectors = None, {split: no_vectors(each) for split, each in bench.texts.items()}
    fitted = linear.fit(texts, vectors["train"], truth, chosen)
    shipped.save_frozen(Frozen(bench.labels, fitted, body, bench.tokenizer), bench.out / "linear" / "seed-0")
    log.info(
        "finetune: linear, %s, weights of pieces and top layer %s: right on %.3f of train, cross-validated%s",
        chosen.machine,
        " and ".join(map(str, chosen.weights)),
        chosen.accuracy,
        f"; {chosen.lexical_accuracy:.3f} by characters alone" if lexical else "",
    )
    if not lexical:
        return {"answer": "linear", "share": 0.0, "linear": chosen._asdict()}
    network_probabilities = unseen_probabilities(outcomes)
    if "dev" in bench.splits:
        truth = bench.splits["dev"].truth()
        linear_probabilities = fitted.probabilities(bench.texts["dev"], vectors["dev"])
    else:
        truth, linear_probabilities = _left_out(bench, vectors["train"], chosen)
    choice = settle(bench.settings.strategy, network_probabilities, linear_probabilities, truth)
    accuracies = ", ".join(f"{name} {each['accuracy']:.3f}" for name, each in choice["evidence"].items())
    log.info("finetune: right on documents that none has learned from: %s; %s answers", accuracies, choice["answer"])
    return {**choice, "linear": chosen._asdict()}


def frozen_body(bench: Bench) -> tuple[Body, dict[str, Table]]:
    """The pretrained body that a linear classifier reads, and what it says of each split's documents."""
    network = AutoModelForMaskedLM.from_pretrained(bench.checkpoint, use_safetensors=True).base_model
    suit_windows(network, bench)
    weights = token_weights(stream(bench.encoded, "train"), bench.tokenizer.all_special_ids, len(bench.tokenizer))
    body = Body(network, bench.pieces.company, weights)
    pad = bench.tokenizer.pad_token_id
    return body, {split: embeddings(bench.accelerator, body, data.ids, pad) for split, data in bench.splits.items()}


def _left_out(bench: Bench, vectors: Table, chosen: linear.Choice) -> tuple[Truth, Table]:
    """Cross-validate the linear classifier on train, fold after fold.

    Returns the truth of the documents that are left out, in the order of the folds, and the probabilities (documents,
    classes) by a classifier that has not seen their fold.
    """
    texts, train = bench.texts["train"], bench.splits["train"]
    truth, parts, tables = train.truth(), held_out(train), []
    for left_out in parts:
        kept = all_but(left_out, len(texts))
        fitted = linear.fit([texts[i] for i in kept], vectors[kept], truth[kept], chosen)
        tables.append(fitted.probabilities([texts[i] for i in left_out], vectors[left_out]))
    return truth[np.concatenate(parts)], np.concatenate(tables)


def settle(strategy: str, networks: Sequence[Table], linear: Table, truth: npt.ArrayLike) -> dict[str, Any]:
    """The network's ``share`` in the answer, and the ``evidence``: accuracy and nats of either, and of both.

    ``networks``, one a seed, and ``linear`` hold the probabilities of (documents, classes). The share of both together
    has the least loss, which is steadier than accuracy where documents are few. ``auto`` takes the most accurate of
    the three, the linear classifier first among equals; ``hybrid`` both, and ``features`` the linear classifier.
    """
    share = min(SHARES, key=lambda share: mean_of([mixed(share, each, linear) for each in networks], truth)["nats"])
    evidence = {
        "linear": {"share": 0.0, **mean_of([linear], truth)},
        "joined": {"share": share, **mean_of([mixed(share, each, linear) for each in networks], truth)},
        "network": {"share": 1.0, **mean_of(networks, truth)},
    }
    answer = {"hybrid": "joined", "features": "linear"}.get(strategy) or max(
        evidence, key=lambda name: (evidence[name]["accuracy"], name == "linear")
    )
    return {"answer": answer, "share": evidence[answer]["share"], "evidence": evidence}


def mixed(share: float, network: Table, linear: Table) -> Table:
    return share * network + (1 - share) * linear


def mean_of(tables: Sequence[Table], truth: npt.ArrayLike) -> dict[str, float]:
    """Accuracy and loss in nats a document, the mean over ``tables``."""
    each = [decisions.accuracy_and_nats(table, truth) for table in tables]
    return {name: round(float(np.mean([one[name] for one in each])), 4) for name in ("accuracy", "nats")}
