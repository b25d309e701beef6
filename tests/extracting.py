"""The extract stage in a folder of a test: what it reads, and the documents that it writes."""

import json
from pathlib import Path
from typing import Any

from pipeline.artifacts import Run
from pipeline.config import Config

PROSE = "ଏହା ଗୋଟିଏ ଛୋଟ ଲେଖା ।"


class Here(Run):
    """A run whose folder is wherever the test wants it."""

    def __init__(self, config: Config, folder: Path) -> None:
        super().__init__(config, "or")
        object.__setattr__(self, "_folder", folder)

    @property
    def folder(self) -> Path:
        return self._folder  # type: ignore[attr-defined, no-any-return]


def sources(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    (tmp_path / "fetch").mkdir(exist_ok=True)
    (tmp_path / "fetch/sources.json").write_text(json.dumps([{"sha256": "", **row} for row in rows]))
    (out := tmp_path / "out").mkdir(exist_ok=True)
    return out


def documents(tmp_path: Path, pattern: str = "*.jsonl") -> list[dict[str, Any]]:
    files = sorted((tmp_path / "out").glob(pattern))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
