"""Which Wikipedias there are, what their dumps are called and which SIB-200 set is in their language."""

import difflib
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

from pipeline.errors import UsageError

SIB200 = "sib200"
"""What a configuration writes for the language's own set of SIB-200 (Adelani et al. 2024, arXiv 2309.07445)."""

_ALL = "https://meta.wikimedia.org/wiki/List_of_Wikipedias"
_DATA = Path(__file__).parents[1] / "data"


def is_published(dump: str) -> bool:
    """Whether ``corpus.dump`` names a dump to download, by ``latest`` or by date, and not a file."""
    return dump == "latest" or re.fullmatch(r"\d{8}", dump) is not None


def dump_prefix(code: str) -> str:
    """The name that dumps of the Wikipedia ``code`` go by: ``orwiki``, ``zh_min_nanwiki``, ``be_x_oldwiki``."""
    renamed = _table("wikipedias.txt").get(code)
    return f"{renamed[0] if renamed else code.replace('-', '_')}wiki"


def same_wikipedia(code: str) -> tuple[str, ...]:
    """``code``, and by what else its Wikipedia goes: ("no", "nb"), since one is its address and one its language."""
    known = _table("wikipedias.txt")
    return (code, *(other for other in known if other != code and dump_prefix(other) == dump_prefix(code)))


def sib200_name(code: str) -> str | None:
    """The SIB-200 set in the language of the Wikipedia ``code``, such as ``ory_Orya``; None where there is none."""
    return next((name for name, codes in _table("sib200.txt").items() if code in codes), None)


def require_wikipedia(code: str) -> None:
    """UsageError, with the nearest codes, unless there is a Wikipedia of that code."""
    if code not in _table("wikipedias.txt"):
        raise UsageError(f"there is no Wikipedia `{code}`{_nearest(code)}")


def require_language(code: str) -> None:
    """UsageError, with the nearest codes, unless ``code`` is a Wikipedia's or a valid language tag (BCP 47)."""
    import langcodes  # takes a quarter of a second, which a known code need not wait for

    if code not in _table("wikipedias.txt") and not langcodes.tag_is_valid(code):
        raise UsageError(f"`{code}` is no known language code{_nearest(code)}")


def _nearest(code: str) -> str:
    import langcodes

    near = difflib.get_close_matches(code.lower(), _table("wikipedias.txt"), n=3, cutoff=0.5)
    with suppress(ValueError):  # no language tag
        near.insert(0, langcodes.standardize_tag(code, macro=True))  # ory → or
    with suppress(LookupError):  # no name of a language
        near.insert(0, langcodes.find(code).to_tag())  # Odia → or
    known = [f"`{c}`" for c in dict.fromkeys(near) if c in _table("wikipedias.txt")]
    return f": did you mean {', '.join(known)}?" if known else f": {_ALL} lists them"


@cache
def _table(file: str) -> dict[str, list[str]]:
    """The words of each line after its first, by its first; lines that start with # are remarks."""
    lines = (_DATA / file).read_text("utf-8").splitlines()
    return {first: rest for first, *rest in (line.split() for line in lines if not line.startswith("#"))}
