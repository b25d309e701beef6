"""What is known of a tokenizer's pieces without any label: the company that they keep, and how they are spelled."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast

from pipeline.model.piece_vectors import WIDE, piece_vectors
from pipeline.text.encoded import blocks, stream
from pipeline.text.spelling import spellings
from pipeline.training.memory import give_back

STRETCH = 512  # tokens of the corpus that stand together, where pieces keep company
NGRAMS = range(2, 6)  # characters
MOST = 48  # n-grams of a piece, which those of up to 14 characters do not have


class Pieces(NamedTuple):
    company: npt.NDArray[np.float32]  # (vocabulary, width): vectors by wide company; zeros where there is none
    spelling: npt.NDArray[np.int32]  # (vocabulary, MOST): n-grams of characters, counted from 1; 0 where none is left


def known_pieces(accelerator: Accelerator, tokenizer: Any, encoded: Path, width: int) -> Pieces:
    """Of all pieces of ``tokenizer``: their company in the corpus in the folder ``encoded``, and their spelling."""
    names = [(piece or b"").decode("utf-8", "ignore") for piece in spellings(tokenizer)]  # of part of a character: none
    return Pieces(_company(accelerator, encoded, len(names), tokenizer.all_special_ids, width), shared_ngrams(names))


def _company(
    accelerator: Accelerator, encoded: Path, vocabulary: int, special: list[int], width: int
) -> npt.NDArray[np.float32]:
    """By the main process for all: in their last bits the vectors depend on its threads."""
    vectors = np.zeros((vocabulary, width), np.float32)
    if accelerator.is_main_process:
        stretches = blocks(encoded, "train", min(STRETCH, len(stream(encoded, "train"))))
        vectors = piece_vectors(stretches, vocabulary, width, np.array(special), seed=0, window=WIDE)
        give_back()
    shared: torch.Tensor = broadcast(torch.from_numpy(vectors).to(accelerator.device))
    return np.asarray(shared.cpu().numpy())


def shared_ngrams(names: Sequence[str]) -> npt.NDArray[np.int32]:
    """The n-grams of each name that another one has, too: (names, MOST)."""
    each = [sorted({name[i : i + n] for n in NGRAMS for i in range(len(name) - n + 1)}) for name in names]
    common = sorted(gram for gram, count in Counter(chain(*each)).items() if count > 1)
    number = {gram: i for i, gram in enumerate(common, start=1)}
    table = np.zeros((len(names), MOST), np.int32)
    for row, grams in zip(table, each, strict=True):
        found = [number[gram] for gram in grams if gram in number][:MOST]
        row[: len(found)] = found
    return table
