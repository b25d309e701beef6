"""What one wiki calls things: namespaces, redirect words, headings of reference sections.

The dump's own siteinfo comes first, then MediaWiki's localisation of the run's language and of the wiki's
(``mediawiki.json``), then English, which MediaWiki always understands.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE, CATEGORY, TEMPLATE, MEDIA = 6, 14, 10, -2

_ENGLISH = {
    "file": ("media", "file", "image"),
    "category": ("category",),
    "redirect": ("redirect",),
    "pagename": ("pagename", "fullpagename", "subjectpagename", "articlepagename"),
    "references": (
        *("references", "references list", "notes", "footnotes", "citations", "sources", "bibliography"),
        *("further reading", "see also", "external link", "external links", "weblinks"),
    ),
}
_ENGLISH_NAMESPACES = (
    "talk user project wikipedia file mediawiki template help category portal module draft book special"
)


@dataclass(frozen=True)
class Site:
    """Every name case-folded, with spaces for underscores."""

    file: frozenset[str]  # prefixes of files and media
    category: frozenset[str]
    template: frozenset[str]
    namespaces: frozenset[str]  # every prefix but that of articles
    redirect: tuple[str, ...]
    pagename: frozenset[str]  # magic words for the title of the page they stand on
    languages: frozenset[str]  # prefixes of interlanguage links
    closing: frozenset[str]  # headings of sections that hold sources and links, not text
    disambiguation: frozenset[str]  # names of templates

    def is_article(self, title: str, number: int | None) -> bool:
        """Is a page an article? ``number`` is its namespace, None where an old export does not say."""
        if number is not None:
            return number == 0
        prefix, colon, _ = title.partition(":")
        return not colon or key(prefix) not in self.namespaces

    def namespace(self, title: str) -> tuple[str, str]:
        """A link's target as (prefix, rest); the prefix is "" where the target is an article of this wiki."""
        prefix, colon, rest = title.partition(":")
        name = key(prefix)
        return (name, rest.strip()) if colon and (name in self.namespaces or name in self.languages) else ("", title)


def key(name: str) -> str:
    """A name in the form in which names are compared."""
    return " ".join(name.replace("_", " ").split()).casefold()


def site(
    languages: tuple[str, ...],
    namespaces: Mapping[int, str] | None = None,
    closing: frozenset[str] = frozenset(),
    disambiguation: frozenset[str] = frozenset(),
) -> Site:
    """What is known of a wiki in any of ``languages`` (Wikipedia codes) whose siteinfo names ``namespaces``.

    ``closing`` and ``disambiguation`` are what the dump itself teaches, beside what MediaWiki knows.
    """
    own = {number: key(name) for number, name in (namespaces or {}).items()}

    def words(kind: str) -> set[str]:
        return {*_ENGLISH[kind], *(w for code in languages for w in _facts()["words"].get(code, {}).get(kind, ()))}

    file = words("file") | {own[n] for n in (FILE, MEDIA) if n in own}
    category = words("category") | ({own[CATEGORY]} if CATEGORY in own else set())
    return Site(
        file=frozenset(file),
        category=frozenset(category),
        template=frozenset({"template", own.get(TEMPLATE, "template")}),
        namespaces=frozenset({*own.values(), *_ENGLISH_NAMESPACES.split(), *file, *category} - {""}),
        redirect=tuple(sorted(words("redirect"), key=len, reverse=True)),
        pagename=frozenset(words("pagename")),
        languages=frozenset(_facts()["languages"].split()),
        closing=frozenset(words("references") | closing),
        disambiguation=frozenset(_facts()["disambiguation"]) | disambiguation,
    )


@cache
def _facts() -> Any:
    return json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
