"""Checkpoints and tokenizers that others made: a folder here, or one that the Hub has."""

import re
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError

# What a tokenizer and a model are made of: never a log, never a pickle.
TOKENIZER_FILES = (
    *("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.model"),
    "config.json",  # tells the class of a tokenizer that does not tell it itself
)
MODEL_FILES = ("*.safetensors", "*.safetensors.index.json", *TOKENIZER_FILES)

_HUB_NAME = re.compile(r"(?P<name>[\w-][\w.-]*(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?")


def files_of(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files of ``folder`` that one of ``patterns`` matches, sorted."""
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def folder_of(name: str, patterns: tuple[str, ...]) -> Path:
    """The folder that ``name`` is, or that the Hub has under it (owner/name, or owner/name@revision), downloaded.

    UsageError: it is neither, or cannot be had.
    """
    if Path(name).is_dir():
        return Path(name)
    hub = _HUB_NAME.fullmatch(name)
    if not hub:
        raise UsageError(f"{name} is no folder: name one, or a model of the Hub as owner/name@revision")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub["name"], revision=hub["revision"], allow_patterns=list(patterns)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{name} is no folder here, and the Hub does not give it ({reason}): check the name"
        ) from error


def load_tokenizer(folder: Path, needed: tuple[str, ...] = ("cls", "sep", "pad", "mask")) -> Any:
    """The tokenizer in ``folder``. UsageError: there is no fast one, or none with the special tokens ``needed``."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} holds no tokenizer that AutoTokenizer can load: name a folder with one") from error
    if not getattr(tokenizer, "backend_tokenizer", None):
        raise UsageError(f"{folder} holds no fast tokenizer, which measuring and encoding need: convert it first")
    for role in needed:
        if getattr(tokenizer, f"{role}_token_id") is None:
            raise UsageError(f"the tokenizer in {folder} has no {role} token, which a masked language model needs")
    tokenizer.backend_tokenizer.no_truncation()  # as it may have been saved
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer
