"""Vectors of a tokenizer's pieces by the company they keep.

An embedding table starts from those of near company, which tell a piece's grammar; a linear classifier reads those of
wide company, which tell its topic. Neither serves the other as well (docs/ablations.md).

A factored matrix of positive pointwise mutual information is what skip-gram with negative sampling tends to (Levy and
Goldberg 2014, "Neural Word Embedding as Implicit Matrix Factorization"). It takes seconds, and a seed decides it.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from sklearn.utils.extmath import randomized_svd
from transformers import PreTrainedModel

Ids = npt.NDArray[np.integer]

NEAR, WIDE = 5, 20  # pieces to either side
SMOOTHING = 0.75  # of the frequency of contexts (Levy, Goldberg and Dagan 2015, section 3.2)
ITERATIONS = 4  # of the factoring
SAMPLE_PAIRS = 60_000_000  # more text changes the vectors little and takes memory: these, about a gigabyte


def piece_vectors(
    blocks: Ids, vocabulary: int, width: int, special: Ids, seed: int, window: int = NEAR
) -> npt.NDArray[np.float32]:
    """(vocabulary, width) vectors from ``blocks`` (n, length) of ids; a row of zeros for a piece that has no company.

    The ids in ``special`` are nobody's company, and company ends ``window`` pieces away.
    """
    some = blocks[:: math.ceil(blocks.size * window / SAMPLE_PAIRS)]
    counts = _company(some, vocabulary, special, window)
    of_piece, of_context = counts.sum(1).A1, counts.sum(0).A1 ** SMOOTHING
    counts = counts.tocoo()
    expected = of_piece[counts.row] * of_context[counts.col] / of_context.sum()
    information = np.log(counts.data / expected)
    kept = information > 0
    places = (counts.row[kept], counts.col[kept])
    matrix = sparse.csr_matrix((information[kept].astype(np.float32), places), shape=(vocabulary, vocabulary))
    seen = np.flatnonzero(np.diff(matrix.indptr))  # few of a vocabulary of many languages
    matrix = matrix[seen][:, seen]
    vectors = np.zeros((vocabulary, width), np.float32)
    rank = min(width, len(seen) - 1)
    if rank > 0:
        left, values, _ = randomized_svd(matrix, rank, n_iter=ITERATIONS, random_state=seed)
        vectors[seen, :rank] = left * np.sqrt(values)
    return vectors


def _company(blocks: Ids, vocabulary: int, special: Ids, window: int) -> sparse.csr_matrix:
    """How often two pieces stand within ``window``, near ones counting more: (vocabulary, vocabulary), symmetric."""
    counts = sparse.csr_matrix((vocabulary, vocabulary), dtype=np.float32)
    ordinary = ~np.isin(blocks, special)
    for distance in range(1, window + 1):
        both = ordinary[:, distance:] & ordinary[:, :-distance]
        pair = blocks[:, :-distance][both].astype(np.int64), blocks[:, distance:][both].astype(np.int64)
        weights = np.full(len(pair[0]), 1 / distance, np.float32)
        counts = counts + sparse.csr_matrix((weights, pair), shape=counts.shape)
    return (counts + counts.T).tocsr()


def starting_from_vectors(
    new_model: Callable[[], PreTrainedModel], blocks: Ids, special: Ids, seed: int, scale: float = 1.0
) -> Callable[[], PreTrainedModel]:
    """``new_model`` with ``piece_vectors`` in its embedding table, ``scale`` times as large as the random ones there.

    Special pieces start at zero, so that a hidden token begins as one that says nothing (docs/ablations.md).
    """
    vocabulary, width = new_model().get_input_embeddings().weight.shape
    vectors = torch.from_numpy(piece_vectors(blocks, vocabulary, width, special, seed))
    known = vectors.any(1, keepdim=True)
    vectors /= vectors[known.squeeze(1)].std()
    known[torch.from_numpy(special.astype(np.int64))] = True

    def start() -> PreTrainedModel:
        model = new_model()
        with torch.no_grad():
            table = model.get_input_embeddings().weight
            table.copy_(torch.where(known, vectors * table.std() * scale, table))
        return model

    return start
