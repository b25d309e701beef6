"""What kind of corpus a file or folder is, told from its name and its first bytes, to refuse a wrong one early."""

import bz2
import gzip
import io
import json
import re
import zlib
from pathlib import Path
from typing import Literal

from pipeline.errors import UsageError
from pipeline.text.plain import require_dataset

Kind = Literal["dump", "text", "jsonl", "dataset"]

KINDS: dict[str, Kind] = {".xml": "dump", ".bz2": "dump", ".gz": "dump", ".txt": "text", ".jsonl": "jsonl"}
_DUMP_START = re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*\?>\s*)?(?>(?:<!--.*?-->\s*)*)<mediawiki[\s>]", re.DOTALL)


def corpora_in(path: Path) -> list[tuple[Kind, Path]]:
    """The corpora that a file or folder holds: itself, or each file of a folder that `datasets` did not save.

    UsageError: it holds none, or a dataset and other files, or one that is not what its name says.
    """
    if path.is_dir():
        every = sorted(file for file in path.rglob("*") if file.is_file())
        files = [file for file in every if _suffix(file) in KINDS]
        if {".parquet", ".arrow"} & set(map(_suffix, every)):
            if files:
                raise UsageError(f"{path} holds a dataset and {files[0]}, too: give each a folder of its own")
            require_dataset(path)
            return [("dataset", path)]
        if not files:
            raise UsageError(f"{path} holds no corpus: put {_NAMES} files there, or a dataset saved by `datasets`")
        return [corpus for file in files for corpus in corpora_in(file)]
    if _suffix(path) not in KINDS:
        raise UsageError(f"{path} is of no known format: a corpus is a {_NAMES} file or a folder")
    kind = KINDS[_suffix(path)]
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty: give a file with text, or leave it out")
    (require_dump if kind == "dump" else _require_text)(path)
    return [(kind, path)]


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def require_dump(path: Path) -> None:
    """UsageError unless ``path`` begins as a MediaWiki XML export does, packed as its name says."""
    if KINDS.get(_suffix(path)) != "dump" or path.is_dir():
        raise UsageError(f"{path} is no dump by its name: a dump ends in .xml, .xml.bz2 or .xml.gz")
    try:
        with _open(path) as file:
            start = file.read1(1 << 16)  # what there is, of a file that is cut off
    except (EOFError, zlib.error) as error:
        raise UsageError(f"{path} is cut off before its first page: get it again") from error
    except OSError as error:
        if error.errno is not None:  # not readable at all, which the error itself says best
            raise
        raise UsageError(f"{path} is not packed as its name says ({error}): get it again or rename it") from error
    if not start:
        raise UsageError(f"{path} is empty: get it again")
    if not _DUMP_START.match(start):
        begin = " ".join(start[:60].decode("utf-8", "replace").split())
        raise UsageError(
            f"{path} is not a MediaWiki dump, which begins with <mediawiki (it begins `{begin}`): "
            "get it again, or unpack what is text"
        )


def _open(path: Path) -> bz2.BZ2File | gzip.GzipFile | io.BufferedReader:
    if _suffix(path) == ".bz2":
        return bz2.BZ2File(path)
    return gzip.GzipFile(path) if _suffix(path) == ".gz" else path.open("rb")


def _require_text(path: Path) -> None:
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"")
    try:
        text = first.decode("utf-8-sig")
        row = json.loads(text) if _suffix(path) == ".jsonl" else None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: convert it, e.g. with `iconv`") from error
    except (ValueError, RecursionError) as error:  # ValueError: of a number of thousands of digits, too
        raise UsageError(f"{path} is not JSON lines ({error}): write one object with a `text` a line") from error
    if not text.strip():
        raise UsageError(f"{path} is empty: give a file with text, or leave it out")
    if _suffix(path) == ".jsonl" and not (isinstance(row, dict) and isinstance(row.get("text"), str)):
        raise UsageError(f"{path} has no `text` in its first line: write one object with a `text` a line")


_NAMES = ".txt, .jsonl, .xml, .xml.bz2 or .xml.gz"
