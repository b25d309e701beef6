"""Wikitext → plain text, without a trace of markup. Pure functions.

What a general parser is slow at, or gives up on when it is unbalanced (comments, extension tags, templates,
tables, HTML), goes first, each in one pass over the text that is linear whatever the input. What is left,
links, headings and entities, is balanced by construction and goes through mwparserfromhell. Then the lines
are mended and sections without text of their own are left out.
"""

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import mwparserfromhell
from mwparserfromhell.nodes import Argument, Comment, ExternalLink, Heading, HTMLEntity, Tag, Template, Text, Wikilink
from mwparserfromhell.wikicode import Wikicode

from pipeline.text.mediawiki import Site, key
from pipeline.text.prose import END, GAP, LINK, sections

_OURS = re.compile("[\x00-\x08\x0b-\x1f]")

Kind = Literal["article", "redirect", "disambiguation", "empty"]


@dataclass(frozen=True)
class Article:
    """``text``: paragraphs, list items and headings, one a line; ``headings``: those lines that are headings."""

    kind: Kind
    text: str = ""
    headings: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    links: int = 0  # to other articles of the wiki


def article(title: str, source: str, site: Site) -> Article:
    """The plain text of the wikitext ``source`` of the page ``title``."""
    if _is_redirect(source, site):
        return Article("redirect")
    text = _without_hidden(_OURS.sub("", source.replace("\r\n", "\n")))
    if _is_disambiguation(title, text, site):
        return Article("disambiguation")
    text = _without_braces(_with_title(text, title, site))
    text = _balanced(_without_tags(_without_tables(text)), site)
    reader = _Reader(site)
    lines = reader.read(text).split("\n")
    body, headings = sections(lines, site.closing)
    if not any(c.isalpha() for line in body if line not in headings for c in line):
        return Article("empty", categories=reader.categories, links=reader.links)
    return Article("article", "\n".join(body), headings, reader.categories, reader.links)


# -- whole pages


def _is_redirect(source: str, site: Site) -> bool:
    start = source[:300].lstrip()
    if not start.startswith(("#", "＃")):
        return False
    word = start[1:].lstrip().casefold()
    return any(word.startswith(w) for w in site.redirect) and "[[" in start


_TEMPLATE_NAME = re.compile(r"\{\{\s*([^{}|\n#<>\[\]]{1,60}?)\s*(?=[|}\n])")
_ITEM = re.compile(r"^[*#]+(.*)$", re.M)


def _is_disambiguation(title: str, text: str, site: Site) -> bool:
    """By the magic word, a template of that name, or structure: a list of links to pages of this title."""
    if "__DISAMBIG__" in text:
        return True
    for name in _TEMPLATE_NAME.findall(text):
        prefix, _, rest = key(name).rpartition(":")
        if (rest if prefix in site.template else key(name)) in site.disambiguation:
            return True
    base = key(re.sub(r"\s*\([^()]*\)$", "", title))
    items = _ITEM.findall(text)
    if len(items) < 2 or len(text) > 400 + 300 * len(items):
        return False
    same = re.compile(r"[\s'\"]*\[\[\s*:?\s*" + re.escape(base).replace(r"\ ", "[ _]") + r"\s*[(,|\]]")
    return sum(bool(same.match(item.casefold())) for item in items) > 0.6 * len(items)


# -- passes before the parser


_HIDDEN_TAGS = (
    "ref|references|nowiki|math|chem|ce|gallery|score|syntaxhighlight|source|timeline|imagemap|templatestyles|hiero|"
    "graph|mapframe|maplink|inputbox|categorytree|templatedata|pre|style|script|indicator|includeonly|charinsert|"
    "dynamicpagelist|rss|video|phonos|seo|select|textarea|option|rt|rp"
)
_HIDDEN = re.compile(rf"<!--|<({_HIDDEN_TAGS})(?=[\s/>])([^<>]*)>", re.I)


def _without_hidden(text: str) -> str:
    """Without comments and the elements whose content is not running text. Unclosed tags go alone, as in MediaWiki."""
    out: list[str] = []
    unclosed: set[str] = set()
    at = 0
    while opening := _HIDDEN.search(text, at):
        out.append(text[at : opening.start()])
        name = (opening[1] or "").lower()
        at = opening.end()
        if not name:
            end = text.find("-->", at)
            at = end + 3 if end >= 0 else len(text)
            continue
        out.append(GAP)
        if opening[2].endswith("/") or name in unclosed:
            continue
        closing = re.compile(rf"</{name}\s*>", re.I).search(text, at)
        if not closing:
            unclosed.add(name)
            continue
        content = text[at : closing.start()]
        if name == "nowiki" and not re.search(r"[\[\]{}<>|]", content):
            out.append(content)
        at = closing.end()
    out.append(text[at:])
    return "".join(out)


_VARIABLE = re.compile(r"\{\{\s*([^{}|:\n]{3,40}?)\s*\}\}")
_FORMATTED = re.compile(r"\{\{\s*formatnum:\s*([\d.,]+)\s*(?:\|\s*\w*\s*)?\}\}", re.I)


def _with_title(text: str, title: str, site: Site) -> str:
    """With what the page itself tells in place of the variables for its name and for plain numbers."""
    if "{{" not in text:
        return text
    text = _VARIABLE.sub(lambda call: title if key(call[1]) in site.pagename else call[0], text)
    return _FORMATTED.sub(r"\1", text)


_BRACES = re.compile(r"\{\{+|\}\}+")


def _without_braces(text: str) -> str:
    """Without templates, parameters and parser functions, however deeply nested."""
    spans: list[tuple[int, int]] = []
    open_: list[int] = []
    for braces in _BRACES.finditer(text):
        pairs = (braces.end() - braces.start()) // 2
        if braces[0][0] == "{":
            open_ += [braces.start()] * pairs
            continue
        begin = -1
        for _ in range(min(pairs, len(open_))):
            begin = open_.pop()
        if begin >= 0:
            while spans and spans[-1][0] >= begin:
                spans.pop()
            spans.append((begin, braces.end()))
    text = _cut(text, spans)
    # What was never closed: the rest of its line, and lines that go on with parameters.
    text = re.sub(r"\{\{[^\n]*(?:\n[ \t]*[|!}][^\n]*)*", GAP, text)
    return re.sub(r"\}\}+", GAP, text)


def _cut(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """``text`` with a gap in place of each of ``spans``, which are in order."""
    out: list[str] = []
    at = 0
    for begin, end in spans:
        if begin >= at:
            out += text[at:begin], GAP
        at = max(at, end)
    return "".join([*out, text[at:]])


_TABLE_START, _TABLE_END = re.compile(rf"[\s:*#;{GAP}]*\{{\|"), re.compile(rf"[\s{GAP}]*\|\}}")
_TABLE_TAG = re.compile(r"<(/?)table(?:\s[^<>]*)?>", re.I)


def _without_tables(text: str) -> str:
    """Without tables, nested ones included. Of one that is never closed, the lines that are markup go."""
    if "<table" in text.lower():
        spans: list[tuple[int, int]] = []
        open_: list[int] = []
        for tag in _TABLE_TAG.finditer(text):
            if not tag[1]:
                open_.append(tag.start())
            elif open_:
                begin = open_.pop()
                while spans and spans[-1][0] >= begin:
                    spans.pop()
                spans.append((begin, tag.end()))
        text = _cut(text, spans)
    if "|" not in text:
        return text
    lines = text.split("\n")
    starts: list[int] = []
    tables: list[tuple[int, int, str]] = []  # first line, last line, what follows on the last line
    for number, line in enumerate(lines):
        if "|" not in line:
            continue
        if _TABLE_START.match(line):
            starts.append(number)
        elif (end := _TABLE_END.match(line)) and starts:
            begin = starts.pop()
            while tables and tables[-1][0] >= begin:
                tables.pop()
            tables.append((begin, number, line[end.end() :]))
    for begin, number, rest in tables:
        lines[begin : number + 1] = [""] * (number - begin) + [rest]
    return "\n".join(GAP if re.match(rf"[\s{GAP}]*(?:\||!.*[|!])|[\s:*#;]*\{{\|", line) else line for line in lines)


_BREAK = re.compile(
    r"<(?:br|/?(?:p|hr|div|center|tr|td|th|table|tbody|caption|blockquote|poem|section|h[1-6]|ul|ol|dl))(?:\s[^<>]*|/)?>",
    re.I,
)
_LIST_TAG = re.compile(r"<(?:li|dd|dt)(?:\s[^<>]*)?>", re.I)
_TAG = re.compile(r"</?[a-z][\w:-]*(?:[\s/|][^<>]*)?>", re.I)
_BROKEN_TAG = re.compile(
    r"</?(?:ref|br|small|span|div|font|nowiki|gallery|center|sup|sub|u|b|i|big)\b[^<>\n]{0,40}$", re.I | re.M
)


def _without_tags(text: str) -> str:
    if "<" not in text:
        return text
    text = _BREAK.sub(f"\n{GAP}\n", text)
    text = _LIST_TAG.sub("\n* ", text)
    text = _TAG.sub("", text)
    return _BROKEN_TAG.sub("", text)


_BRACKETS = re.compile(r"\[\[|\]\]|\n\n")
_EXTERNAL = re.compile(r"\[(?=(?:[a-z]+:)?//|mailto:)(?![^\[\]\n]*\])", re.I)


def _balanced(text: str, site: Site) -> str:
    """``text`` without brackets that have no partner, which would cost the parser quadratic time."""

    def unclosed(begin: int) -> tuple[int, int]:
        """The brackets alone go, but for a file: there the rest of the line is its caption."""
        line = text.find("\n", begin)
        line = line if line >= 0 else len(text)
        return begin, line if site.namespace(text[begin + 2 : begin + 80])[0] in site.file else begin + 2

    drop: list[tuple[int, int]] = []
    open_: list[int] = []
    for bracket in _BRACKETS.finditer(text):
        if bracket[0] == "[[":
            open_.append(bracket.start())
        elif bracket[0] == "]]" and open_:
            open_.pop()
        elif bracket[0] == "]]":
            drop.append(bracket.span())
        else:  # no link goes over the end of a paragraph
            drop += map(unclosed, open_)
            open_.clear()
    drop += map(unclosed, open_)
    if drop:
        text = _cut(text, sorted(drop)).replace(GAP + GAP, GAP)
    text = re.sub(r"^([*#:;]{1,8})[*#:;]*", r"\1", text, flags=re.M)
    return _EXTERNAL.sub("", text)


# -- the parser


_MEDIA = re.compile(
    r"\.(?:jpe?g|png|svg|gif|tiff?|bmp|webp|og[gav]|web[mp]|mp[34]|flac|wav|midi?|pdf|djvu|xcf|stl)$", re.I
)


_PLAIN_LINK = re.compile(r"\[\[([^][{}|<>\n:#&_/\x01]+)(?:\|([^][{}|<>\n]*[^][{}|<>\s]))?\]\]")


class _Reader:
    """Reads parsed wikitext: the visible text, with links marked; beside it, categories and the number of links."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.categories: list[str] = []
        self.links = 0

    def read(self, text: str) -> str:
        text = _PLAIN_LINK.sub(self._plain_link, text)
        if "[" not in text:
            return text
        return "".join(self._visible(mwparserfromhell.parse(text, skip_style_tags=True)))

    def _plain_link(self, link: re.Match[str]) -> str:
        """Nine links in ten are plain ones to articles, and cost a parser most of its time."""
        self.links += 1
        return f"{LINK}{link[2] or link[1]}{END}"

    def _visible(self, code: Wikicode | None) -> Iterator[str]:
        for node in code.nodes if code is not None else ():
            if isinstance(node, Text):
                yield node.value
            elif isinstance(node, Wikilink):
                yield from self._link(node)
            elif isinstance(node, ExternalLink):
                if node.title is not None:
                    yield from (LINK, *self._visible(node.title), END)
                else:
                    yield GAP
            elif isinstance(node, Heading):
                yield from ("=" * node.level, *self._visible(node.title), "=" * node.level)
            elif isinstance(node, HTMLEntity):
                yield html.unescape(str(node))
            elif isinstance(node, Tag):
                if node.wiki_markup:
                    yield str(node.wiki_markup)
                yield from self._visible(node.contents)
            else:
                assert isinstance(node, Template | Argument | Comment)
                yield GAP

    def _link(self, node: Wikilink) -> Iterator[str]:
        target = str(node.title).replace("_", " ").strip().lstrip("\u200e\u200f")
        shown, target = target.startswith(":"), target.removeprefix(":").strip()
        prefix, name = self.site.namespace(target)
        if _MEDIA.search(name) and (prefix or ":" in name) and not shown:
            prefix = "file"
        if not shown and prefix in self.site.category:
            self.categories.append(" ".join(re.sub(f"[{GAP}{LINK}{END}]", "", name).split()))
        elif not shown and (prefix in self.site.file or (prefix in self.site.languages and node.text is None)):
            yield GAP
        else:
            self.links += not prefix
            label = "".join(self._visible(node.text)).strip() if node.text is not None else ""
            label = label.rsplit("|", 1)[-1].strip()
            yield from (LINK, label or name.lstrip(":").split("#")[0] or name.lstrip("#"), END)
