"""Token ids on disk: one flat stream a split, read through memory maps and cut into blocks by whoever reads it.

``<split>.tokens.npy`` holds every document's ids one after another, each document ended by the tokenizer's separator;
``<split>.offsets.npy`` holds where each document starts, and at last where the stream ends. Blocks of any
length are views of the stream, so one encoding serves every length.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from pipeline.errors import UsageError
from pipeline.text.documents import in_batches

_BATCH_CHARACTERS = 1_000_000
_CUT = re.compile(r"\n|(?<=\S) (?=\S)")


def id_type(vocab_size: int) -> np.dtype[np.unsignedinteger]:
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


class _GrowingArray:
    """A one-dimensional ``.npy`` file whose length is known only when it is closed."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self.file, self.dtype, self.length = path.open("wb"), np.dtype(dtype), 0
        self._header()

    def _header(self) -> None:
        # NumPy pads the header so that a longer shape still fits
        about = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self.file, about)

    def append(self, values: npt.ArrayLike) -> None:
        array = np.asarray(values, self.dtype)
        self.file.write(array.tobytes())
        self.length += len(array)

    def close(self) -> None:
        self.file.seek(0)
        self._header()
        self.file.close()


def encode(
    texts: Iterable[str], tokenizer: Tokenizer, folder: Path, split: str, separator: str = "[SEP]"
) -> dict[str, int]:
    """Write the two files of ``split`` and return the number of documents, words, bytes of text and tokens.

    Text is read in batches of about a million characters, encoded by the threads of ``tokenizers``; the bytes
    written do not depend on how many there are. What looks like a special token in the text stays text.
    """
    tokenizer.encode_special_tokens = True
    end = tokenizer.token_to_id(separator)
    assert end is not None
    counts = dict.fromkeys(("documents", "words", "bytes", "tokens"), 0)
    tokens = _GrowingArray(folder / f"{split}.tokens.npy", id_type(tokenizer.get_vocab_size()))
    offsets = _GrowingArray(folder / f"{split}.offsets.npy", "<i8")
    for batch in in_batches(texts, len, _BATCH_CHARACTERS):
        pieces = [(piece, last) for text in batch for piece, last in _pieces(text)]
        encoded = tokenizer.encode_batch_fast([piece for piece, _ in pieces], add_special_tokens=False)
        start = True
        for (_, last), encoding in zip(pieces, encoded, strict=True):
            if start:
                offsets.append([tokens.length])
            tokens.append(encoding.ids)
            if last:
                tokens.append([end])
            start = last
        counts["documents"] += len(batch)
        counts["words"] += sum(len(text.split()) for text in batch)
        counts["bytes"] += sum(len(text.encode()) for text in batch)
    offsets.append([tokens.length])
    counts["tokens"] = tokens.length
    for array in (tokens, offsets):
        array.close()
    return counts


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """``text`` as (piece, is it the last), so that a huge document costs no more memory than a batch.

    It is cut where tokens never reach across: after line ends, and at a single space between words, which goes,
    since every piece starts with one of its own.
    """
    start = 0
    while len(text) - start > _BATCH_CHARACTERS and (cut := _CUT.search(text, start + _BATCH_CHARACTERS)):
        yield text[start : cut.end() if cut[0] == "\n" else cut.start()], False
        start = cut.end()
    yield text[start:], True


def stream(folder: Path, split: str) -> npt.NDArray[np.unsignedinteger]:
    """The ids of ``split``, memory-mapped: shape (tokens,), uint16 or uint32."""
    array: npt.NDArray[np.unsignedinteger] = np.load(folder / f"{split}.tokens.npy", mmap_mode="r")
    return array


def blocks(folder: Path, split: str, length: int) -> npt.NDArray[np.unsignedinteger]:
    """The stream of ``split`` cut into blocks: a memory-mapped view of shape (blocks, length), nothing copied.

    The remainder that fills no block is left out. Raises UsageError where there is not one block.
    """
    ids = stream(folder, split)
    if len(ids) < length:
        raise UsageError(
            f"{folder}: the {split} text has {len(ids):,} tokens, fewer than one block of {length}: "
            f"add text (corpus.extra) or set pretrain.length_tokens to {max(8, len(ids) // 2)} or less"
        )
    return ids[: len(ids) // length * length].reshape(-1, length)


def document_ids(block: npt.NDArray[np.integer], separator: int) -> npt.NDArray[np.int64]:
    """Which document of its block each token belongs to, from 0: shape and axes of ``block`` (…, length).

    A separator belongs to the document it ends. Attention inside equal numbers does not cross documents.
    """
    ends = block == separator
    ids: npt.NDArray[np.int64] = np.cumsum(ends, axis=-1, dtype=np.int64) - ends
    return ids


def epoch_order(seed: int, epoch: int, n: int) -> npt.NDArray[np.int64]:
    """The order of ``n`` blocks in an epoch: a permutation that depends on the arguments alone.

    It sorts raw output of Philox, a counter-based generator (Salmon et al. 2011), which, unlike
    ``Generator.permutation``, NumPy promises never to change.
    """
    keys = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(n)
    return np.argsort(keys, kind="stable")
