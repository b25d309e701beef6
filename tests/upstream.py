"""A run whose stages before finetune are done, on a corpus small enough for tests."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedTokenizerFast

from pipeline import artifacts, config
from pipeline.artifacts import Run
from pipeline.recipe import LINE, upstream
from pipeline.text.documents import write_jsonl

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]
WORDS = {"ଖେଳ": ["ବଲ୍", "ଦଳ", "ଗୋଲ୍", "ଖେଳାଳି"], "ଚାଷ": ["ଧାନ", "ବିଲ", "ବର୍ଷା", "ଚାଷୀ"], "ସ୍ୱାସ୍ଥ୍ୟ": ["ରୋଗ", "ଔଷଧ", "ଡାକ୍ତର", "ଜ୍ୱର"]}
COMMON = ["ଏହା", "ସେ", "ଓ", "ଆଜି", "ଭଲ", "ଗାଁ"]
SETTINGS = (
    "finetune: {strategy: full, seeds: 2, epochs: 3, batch_documents: 12, learning_rate: 2e-3, max_length_tokens: 12}\n"
)


def documents(split: str, count: int) -> list[dict[str, str]]:
    """``count`` documents of three classes told apart by their words, of 4 to 20 words."""
    rng = random.Random(split)
    rows = []
    for i in range(count):
        label = list(WORDS)[i % len(WORDS)]
        words = rng.choices(WORDS[label] + COMMON, k=rng.randint(4, 20))
        rows.append({"id": f"{split}-{i}", "text": " ".join(words), "label": label})
    return rows


def save_tokenizer(folder: Path) -> int:
    words = [*SPECIAL, *(word for words in WORDS.values() for word in words), *COMMON]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    names = dict(zip(("pad_token", "cls_token", "sep_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return len(words)


def save_checkpoint(folder: Path, family: str, vocabulary: int = 23) -> None:
    """A random masked language model of ``family``: 2 × 32."""
    ids = {"pad_token_id": 0, "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    torch.manual_seed(0)
    settings = AutoConfig.for_model(family, vocab_size=vocabulary, max_position_embeddings=40, **shape, **ids)
    AutoModelForMaskedLM.from_config(settings).save_pretrained(folder)


def make_run(root: Path, family: str = "bert", splits: dict[str, list[dict[str, Any]]] | None = None) -> Run:
    """A run in ``root`` (the current folder) with everything that finetune asks for, made by the real bookkeeping."""
    if splits is None:
        splits = {split: documents(split, count) for split, count in (("train", 60), ("dev", 21), ("test", 30))}
    (root / "run.yaml").write_text(f"run: small\nlanguage: or\ncorpus: {{dump: null}}\n{SETTINGS}", "utf-8")
    run = Run(config.load(str(root / "run.yaml")), "run.yaml")

    def labelled(part: Path) -> None:
        (part / "labelled").mkdir()
        for split, rows in splits.items():
            write_jsonl(part / "labelled" / f"{split}.jsonl", rows)

    def filtered(part: Path) -> dict[str, Any]:
        texts = [row["text"] for row in documents("corpus", 60)]
        write_jsonl(part / "train.jsonl", ({"id": str(i), "text": text} for i, text in enumerate(texts)))
        return {"kept": {"train": {"documents": 60, "words": sum(len(text.split()) for text in texts)}}}

    fill = {
        "fetch": labelled,
        "filter": filtered,
        "tokenizer": save_tokenizer,
        "encode": lambda part: np.save(part / "train.tokens.npy", np.arange(23, dtype=np.uint16)),
        "pretrain": lambda part: save_checkpoint(part, family, save_tokenizer(part)),
    }
    for name in upstream("finetune")[:-1]:
        finish(run, name, fill.get(name, lambda _: None))
    return run


def finish(run: Run, name: str, fill: Any) -> dict[str, Any]:
    """Do what the stage's program does, with ``fill(part)`` as its work."""
    made_from = artifacts.ingredients(LINE[name], run)
    part = artifacts.open_part(LINE[name], run, made_from)
    counts = fill(part)
    artifacts.finish_part(part, {"stage": name, **made_from, "counts": counts if isinstance(counts, dict) else {}})
    return counts if isinstance(counts, dict) else {}
