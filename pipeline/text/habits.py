"""What a dump teaches about its own wiki: which sections hold only sources and links, which templates mark
disambiguation pages. No list of titles covers three hundred languages; each wiki's own habits do."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.text.dump import pages
from pipeline.text.mediawiki import Site, key


@dataclass
class Habits:
    """Counted over some chunks of a dump; ``+=`` joins those of several."""

    headings: Counter[str] = field(default_factory=Counter)  # how often a heading occurs,
    closings: Counter[str] = field(default_factory=Counter)  # and how often above nothing but sources or links
    disambiguation: set[str] = field(default_factory=set)  # names of templates
    redirects: dict[str, str] = field(default_factory=dict)  # of templates

    def __iadd__(self, other: "Habits") -> "Habits":
        self.headings += other.headings
        self.closings += other.closings
        self.disambiguation |= other.disambiguation
        self.redirects |= other.redirects
        return self

    def closing(self) -> frozenset[str]:
        """Headings that stand over sources or links nearly every time."""
        return frozenset(
            name for name, n in self.closings.items() if name and n >= 3 and n >= 0.8 * self.headings[name]
        )

    def disambiguation_templates(self) -> frozenset[str]:
        also = {name for name, target in self.redirects.items() if target in self.disambiguation}
        return frozenset(self.disambiguation | also)


def habits(chunk: bytes, site: Site) -> Habits:
    """What the pages of a chunk of a dump show."""
    found = Habits()
    telling = [part for part in chunk.split(b"</page>") if b"\n==" in part or b"<ns>10<" in part or b"<ns>" not in part]
    for page in pages(b"</page>".join([*telling, b""])):
        prefix, _, name = page.title.partition(":")
        if page.namespace == 10 or (page.namespace is None and key(prefix) in site.template):
            if page.redirect:
                found.redirects[key(name)] = key(page.redirect.partition(":")[2])
            elif "__DISAMBIG__" in _DOCUMENTATION.sub("", page.text):
                found.disambiguation.add(key(name))
        elif site.is_article(page.title, page.namespace) and not page.redirect and "==" in page.text:
            _sections(page.text, found)
    return found


_DOCUMENTATION = re.compile(r"<noinclude>.*?(?:</noinclude>|\Z)|<(nowiki|pre)>.*?</\1>|<!--.*?-->", re.S | re.I)
_HEADING = re.compile(r"^={2,6}[ \t]*([^=\n].*?)[ \t]*={2,6}[ \t]*$", re.M)
_ITEM = re.compile(r"^[*#]+[ \t]*(.*)$", re.M)
_SOURCE = re.compile(r"\[?(?:https?:)?//|\{\{[^{}|]*(?:\|[^{}]*)?https?://|<ref|''|[\"“«„]")
_BARE_LINK = re.compile(r"'*\[\[[^\[\]\n]*\]\]'*[\s.,;]*$")
_NOT_TEXT = re.compile(r"\{\{[^{}]*\}\}|\[\[[^\[\]|]*:[^\[\]]*\]\]|<references.*?(?:/>|</references>)|<!--.*?-->", re.S)


def _sections(text: str, found: Habits) -> None:
    parts = _HEADING.split(text)
    names, bodies = parts[1::2], parts[2::2]
    at_end = True
    for name, body in zip(reversed(names), reversed(bodies), strict=True):
        kind = _kind(body)
        found.headings[key(name)] += 1
        # A list of bare links is "see also" where it closes the page; elsewhere it is the section's own matter.
        found.closings[key(name)] += kind == "sources" or (kind == "links" and at_end)
        at_end = at_end and kind != "text"


def _kind(body: str) -> str:
    """``sources``, ``links``, ``empty`` or ``text``."""
    items = _ITEM.findall(body)
    rest = _NOT_TEXT.sub("", _ITEM.sub("", body))
    if sum(map(str.isalpha, rest)) > 3:
        return "text"
    if not items:
        return "sources" if "<references" in body else "empty"
    if all(_BARE_LINK.match(item) for item in items):
        return "links"
    return "sources" if all(_SOURCE.search(item) and "http" in item for item in items) else "text"


def learn(found: Iterable[Habits]) -> Habits:
    """The habits of several chunks together."""
    total = Habits()
    for each in found:
        total += each
    return total
