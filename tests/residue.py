"""The residue checker: what of wikitext is still to be seen in text that should have none."""

import re
from collections.abc import Iterator

KINDS = {
    "template": r"\{\{|\}\}|\{\{\{",
    "link": r"\[\[|\]\]",
    "external link": r"\[(?:https?:)?//|\[\w+://",
    "table": r"\{\||\|\}|\|\||^\s*[|!]|^\s*\|-",
    "tag": r"</?[A-Za-z][^<>\n]*>|<!--|-->",
    "entity": r"&(?:#\d+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]+);",
    "magic word": r"__[^\W_]\w*?__|＿＿[^\W_]\w*?＿＿",
    "attribute": r"\b(?:style|align|valign|class|colspan|rowspan|cellpadding|cellspacing|bgcolor)\s*=\s*[\"'\w#]",
    "bold or italics": r"''",
    "heading": r"^=+|=+$|==",
    "list": r"^[*#:;]",
    "variant": r"-\{|\}-",
    "signature": r"~~~",
    "url": r"https?://",
    "empty brackets": r"\([\s,;:،؛、]*\)|\([\s]*[,;،؛]|[,;،؛]\s*\)",
    "marker": "[\x00-\x08\x0b-\x1f]",
    "blank line": r"^\s*$",
}
_PATTERNS = {kind: re.compile(pattern, re.M) for kind, pattern in KINDS.items()}


def residue(
    text: str, prefixes: tuple[str, ...] = ("file", "image", "category", "template", "media")
) -> Iterator[tuple[str, str]]:
    """(kind, excerpt) of each piece of markup in ``text``. ``prefixes``: names of the wiki's namespaces."""
    named = re.compile(rf"(?:^|[\s\[(])(?:{'|'.join(map(re.escape, prefixes))}):\S", re.I | re.M)
    for kind, pattern in (*_PATTERNS.items(), ("prefix", named)):
        for found in pattern.finditer(text):
            yield kind, text[max(0, found.start() - 40) : found.end() + 40].replace("\n", "⏎")
