"""Of an embedding table, training only the entries that the documents hold."""

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel


class SeenEntries(torch.nn.Module):
    """``table``, of which the rows of the ids ``seen``, (k,) int64, lie apart in ``weight``, (k, width)."""

    def __init__(self, table: torch.nn.Embedding, seen: torch.Tensor) -> None:
        super().__init__()
        self.table = table
        self.weight = torch.nn.Parameter(table.weight.detach()[seen])
        places = torch.full((table.num_embeddings,), -1, device=seen.device)
        places[seen] = torch.arange(len(seen), device=seen.device)
        # No buffer: DistributedDataParallel would send it round at every step.
        self.places = torch.nn.Parameter(places, requires_grad=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        places = self.places[ids]
        rows = F.embedding(places.clamp(min=0), self.weight)
        return torch.where((places >= 0).unsqueeze(-1), rows, self.table(ids))


@contextlib.contextmanager
def training_seen_entries(model: PreTrainedModel, ids: set[int]) -> Iterator[None]:
    """Within this context only those input embeddings of ``model`` train that belong to ``ids``.

    The others get no gradient, yet each step would clear, clip and move them: of XLM-R's 250,000 a few thousand occur
    in some hundred documents. They keep their vectors, which weight decay alone would have shrunk by a thousandth.
    """
    table = model.get_input_embeddings()
    seen = torch.tensor(sorted(ids - {table.padding_idx}), device=table.weight.device)
    apart = SeenEntries(table, seen)
    model.set_input_embeddings(apart)
    try:
        yield
    finally:
        with torch.no_grad():
            table.weight[seen.to(table.weight.device)] = apart.weight
        model.set_input_embeddings(table)
