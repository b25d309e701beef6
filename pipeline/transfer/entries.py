"""How an embedding table trains on few documents: the entries that they hold by themselves, and all by what they share.

Of a vocabulary, some hundred documents hold a fraction. What a network learns of these entries alone, it does not know
of others that are spelled alike or keep the same company.
"""

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from pipeline.transfer.pieces import Pieces

# How far what entries share moves them at the same rate of learning, found on labelled documents (docs/transfer.md).
BY_COMPANY, BY_SPELLING = 16.0, 40.0
AT_ONCE = 8192  # entries


class SeenEntries(torch.nn.Module):
    """``table``, of which the rows of the ids ``seen``, (k,) int64, lie apart in ``weight``, (k, width)."""

    def __init__(self, table: torch.nn.Embedding, seen: torch.Tensor) -> None:
        super().__init__()
        self.table = table
        self.weight = torch.nn.Parameter(table.weight.detach()[seen])
        places = torch.full((table.num_embeddings,), -1, device=seen.device)
        places[seen] = torch.arange(len(seen), device=seen.device)
        self.places = _constant(places)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        places = self.places[ids]
        rows = F.embedding(places.clamp(min=0), self.weight)
        return torch.where((places >= 0).unsqueeze(-1), rows, self.table(ids))


class SharingEntries(SeenEntries):
    """``SeenEntries`` that all move, besides, by what they share.

    Each by a linear map of its vector of company (a map learned on some words that serves all of them: Vulić, Glavaš,
    Mrkšić and Korhonen 2018, arXiv 1805.03228), and by the mean of what its n-grams of characters have learned (as in
    fastText: Bojanowski, Grave, Joulin and Mikolov 2017, arXiv 1607.04606). Both begin at zero.
    """

    def __init__(self, table: torch.nn.Embedding, seen: torch.Tensor, pieces: Pieces) -> None:
        super().__init__(table, seen)
        company, spelling = (torch.from_numpy(each).to(seen.device) for each in pieces)
        met = spelling[seen].unique()
        met = met[met > 0]  # other n-grams learn nothing
        number = torch.zeros(int(spelling.max()) + 1, dtype=torch.int64, device=seen.device)
        number[met] = torch.arange(1, len(met) + 1, device=seen.device)
        self.company = _constant(company)
        self.spelling = _constant(number[spelling])
        self.counts = _constant((spelling > 0).sum(1, keepdim=True).clamp(min=1))
        self.by_company = torch.nn.Parameter(torch.zeros(company.shape[1], table.embedding_dim, device=seen.device))
        self.by_spelling = torch.nn.Parameter(torch.zeros(len(met) + 1, table.embedding_dim, device=seen.device))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        each, places = ids.unique(return_inverse=True)
        grams = F.embedding_bag(self.spelling[each], self.by_spelling, mode="sum", padding_idx=0) / self.counts[each]
        company = F.normalize(self.company[each]) @ self.by_company
        return super().forward(ids) + (BY_COMPANY * company + BY_SPELLING * grams)[places]


def _constant(values: torch.Tensor) -> torch.nn.Parameter:
    """No buffer: DistributedDataParallel would send it round at every step."""
    return torch.nn.Parameter(values, requires_grad=False)


def shared_parameters(model: PreTrainedModel) -> list[str]:
    """The names of the parameters that ``SharingEntries`` bring, in place of the input embeddings of ``model``."""
    table = next(name for name, module in model.named_modules() if module is model.get_input_embeddings())
    return [f"{table}.{name}" for name in ("by_company", "by_spelling")]


@contextlib.contextmanager
def training_entries(model: PreTrainedModel, ids: set[int], pieces: Pieces | None) -> Iterator[None]:
    """Within this context only those input embeddings of ``model`` train that belong to ``ids``; with ``pieces`` the
    others move, too, by what is learned of these.

    The rows of the others would get no gradient, yet each step would clear, clip and move them: of XLM-R's 250,000 a
    few thousand occur in some hundred documents. Weight decay alone would have shrunk them by a thousandth.
    """
    table = model.get_input_embeddings()
    seen = torch.tensor(sorted(ids - {table.padding_idx}), device=table.weight.device)
    apart = SharingEntries(table, seen, pieces) if pieces else SeenEntries(table, seen)
    vocabulary = len(pieces.company) if pieces else table.num_embeddings  # a table may have entries to spare
    model.set_input_embeddings(apart)
    try:
        yield
    finally:
        with torch.no_grad():
            for some in torch.arange(vocabulary, device=seen.device).split(AT_ONCE):
                table.weight[some] = apart(some)
        model.set_input_embeddings(table)
