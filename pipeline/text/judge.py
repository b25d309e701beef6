"""Judges: what decides which texts are taken out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Judge:
    """One verdict a text, True: out, in two parts.

    ``look`` sees each text by itself and gives one finding for each; it can be pickled, to run in any process.
    ``decide`` sees the findings in the order of the corpus, and may remember; by default they are the verdicts.
    """

    look: Callable[[Sequence[str]], Sequence[Any]]
    decide: Callable[[Sequence[Any]], list[bool]] = list

    def __call__(self, texts: Sequence[str]) -> list[bool]:
        return self.decide(self.look(texts))
