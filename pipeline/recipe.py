"""The line of stages, as data: what each one is for, which settings it obeys and which files it reads.

This table is the only place that knows the order. A stage's name is its module, its Make target and its
folder under ``runs/<run>/``.
"""

from typing import NamedTuple

from pipeline.model.checkpoints import TOKENIZER_FILES


class Stage(NamedTuple):
    name: str
    summary: str
    settings: tuple[str, ...] = ()  # sections (or keys) of the configuration that its result depends on
    inputs: tuple[str, ...] = ()  # `<stage>/<pattern>`: files of earlier stages that its result depends on
    resumes: bool = False  # picks up from what an interrupted attempt left
    distributed: bool = False  # may run under `accelerate launch`
    scratch: tuple[str, ...] = ()  # folders that it goes on from, and that go when the result is whole


TOKENIZER = tuple(f"tokenizer/{pattern}" for pattern in TOKENIZER_FILES)  # and not the measures beside it

LINE = {
    stage.name: stage
    for stage in (
        Stage(
            "fetch", "get the dump, the extra corpora and the labelled documents", ("language", "corpus", "labelled")
        ),
        Stage(
            "extract",
            "turn wikitext and extra corpora into plain documents",
            ("language", "corpus.allow_truncated", "extract"),
            ("fetch/sources.json",),
            resumes=True,
            scratch=("counts",),
        ),
        Stage(
            "filter",
            "clean, deduplicate and split the documents",
            ("language", "filter"),
            ("extract/*.jsonl", "fetch/weights.json", "fetch/labelled/dev.jsonl", "fetch/labelled/test.jsonl"),
        ),
        Stage("tokenizer", "train the subword tokenizer", ("tokenizer",), ("filter/train.jsonl", "filter/valid.jsonl")),
        Stage(
            "encode",
            "turn text into packed token ids",
            ("encode",),
            ("filter/train.jsonl", "filter/valid.jsonl", *TOKENIZER),
        ),
        Stage(
            "pretrain",
            "train the masked language model",
            ("model", "pretrain"),
            ("encode/*", *TOKENIZER),
            resumes=True,
            distributed=True,
            scratch=("checkpoints", "compiled"),
        ),
        Stage(
            "finetune",
            "swap the head and learn the classes",
            ("finetune",),
            (
                "pretrain/model.safetensors",
                "pretrain/config.json",
                *TOKENIZER,
                "fetch/labelled/train.jsonl",
                "fetch/labelled/dev.jsonl",
                "fetch/labelled/order.json",
                "filter/train.jsonl",
                "encode/train.tokens.npy",
            ),
            resumes=True,
            distributed=True,
        ),
        Stage(
            "score",
            "read the test documents, once, and measure",
            ("score",),
            ("finetune/*", "fetch/labelled/*", "filter/train.jsonl"),
        ),
        Stage("report", "write the page that tells how it went", ("run",), ("*/manifest.json",)),
    )
}

BESIDE = {
    "predict": "classify new documents with a finished model",
    "demo": "show what the demo run has made",
    "curve": "measure accuracy against the number of labels",
    "tune": "search for better settings of fine-tuning",
}
IN_PLACE_OF_FINETUNE = ("curve", "tune")  # those that read what finetune reads


def upstream(name: str) -> list[str]:
    """The stages that ``name`` reads from, directly or not, and itself, in the order they run."""
    wanted = {name}
    for stage in reversed(LINE.values()):
        if stage.name in wanted:
            before = list(LINE)[: list(LINE).index(stage.name)]
            wanted |= {other for pattern in stage.inputs for other in before if pattern.split("/")[0] in (other, "*")}
    return [stage for stage in LINE if stage in wanted]
