"""From lines of almost plain text to prose: sections that hold any, paragraphs, and what removed markup left mended.

``wikitext`` leaves headings as ``== name ==``, list items behind their ``*#:;`` and the three characters below.
"""

import re
from collections.abc import Iterator

from pipeline.text.mediawiki import key
from pipeline.text.script import count_words
from pipeline.text.unicode import decoded

# XML forbids these characters, so no page holds them.
GAP = "\x01"  # where something without visible text stood
LINK, END = "\x02", "\x03"  # around the label of a link


_HEADING = re.compile(rf"^(={{1,6}})[\s{GAP}]*(.*?)[\s{GAP}]*(={{1,6}})[\s{GAP}]*$")


def sections(lines: list[str], closing: frozenset[str]) -> tuple[list[str], list[str]]:
    """Paragraphs, list items and headings that hold text; and those of them that are headings.

    ``closing``: headings of sections that hold sources or links. These go, and so do headings over nothing.
    """
    body: list[str] = []
    headings: list[str] = []
    waiting: list[tuple[int, str]] = []  # headings above, outermost first, that have no text so far
    closed = 0  # the level of the section of sources or links that we are in
    for is_heading, level, text in _blocks(lines):
        if is_heading:
            if closed and level > closed:
                continue
            closed = level if key(text) in closing else 0
            waiting = [(outer, name) for outer, name in waiting if outer < level] + (
                [] if closed or not text else [(level, text)]
            )
        elif not closed:
            for _, name in waiting:
                body.append(name)
                headings.append(name)
            waiting = []
            body.append(text)
    return body, headings


def _blocks(lines: list[str]) -> Iterator[tuple[bool, int, str]]:
    """(is it a heading, its level, text) of each heading, paragraph and list item that holds text."""
    paragraph: list[str] = []

    def close() -> Iterator[tuple[bool, int, str]]:
        if paragraph:
            joined = " ".join(paragraph)
            paragraph.clear()
            text = _clean(joined)
            if text and not _only_links(joined):
                yield False, 0, text

    for line in lines:
        heading = _HEADING.match(line) if line.startswith("=") else None
        if heading:
            yield from close()
            yield True, min(len(heading[1]), len(heading[3])), _clean(heading[2].strip("="))
        elif line[:1] in ("*", "#"):
            yield from close()
            text = _clean(line.lstrip("*#:;"))
            if text and _is_prose(line, text):
                yield False, 0, text
        elif line[:1] in (":", ";"):
            yield from close()
            paragraph.append(line.lstrip(":;*#"))
            yield from close()
        elif not line.strip(f" \t{GAP}") or line.startswith("----"):
            yield from close()
        else:
            paragraph.append(line)
    yield from close()


_LINKED = re.compile(f"{LINK}[^{LINK}{END}]*{END}")
_FULL_STOP = re.compile(r"[.!?…।॥۔؟።။។༎᱾᱿。！？｡]['\"”’»)\]]*$")


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def _only_links(line: str) -> bool:
    """A line of navigation: nothing but links, and no sentence."""
    return LINK in line and not _letters(_LINKED.sub("", line)) and not _FULL_STOP.search(line.rstrip(f" {GAP}{END}"))


def _is_prose(item: str, text: str) -> bool:
    """Is a list item a sentence, rather than a name, a link or a source?"""
    words, letters = count_words(text), _letters(text)
    free = _letters(_LINKED.sub("", item))
    if 2 * free < letters:
        return False
    return words >= 5 or (words >= 3 and bool(_FULL_STOP.search(text))) or (letters >= 30 and letters > 12 * words)


_Steps = tuple[tuple[str, re.Pattern[str], str], ...]


def _steps(*steps: tuple[str, str, str]) -> _Steps:
    """(characters of which the pattern needs one, pattern, replacement): most lines hold none of them."""
    return tuple((needs, re.compile(pattern), replacement) for needs, pattern, replacement in steps)


def _apply(steps: _Steps, line: str) -> str:
    for needs, pattern, replacement in steps:
        if any(character in line for character in needs):
            line = pattern.sub(replacement, line)
    return line


# Han, kana, Thai, Lao, Khmer and Burmese set no space behind an address.
_ADDRESS = (
    r"[^\s<>\[\]{}|\"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]+"
)
_CLEAN = _steps(
    ("/:.", rf"(?:(?:https?|ftps?)://|(?<![^\s(])//(?=[\w-]+\.\w)|\bwww\.){_ADDRESS}|mailto:\S+", GAP),
    ("{", r"-\{(?:[A-Z|;]{0,9}\|)?(?:[^{}|;:]{0,30}:)?([^{};]*)(?:;[^{}]*)?\}-", r"\1"),
    ("_＿", r"(?:__|＿＿)[^\W_](?:[^\s_]|_(?!_)){1,60}(?:__|＿＿)|_{3,}", GAP),
    ("~", r"~~~+", ""),
    ("<", r"</?[a-zA-Z][^<>]*>", GAP),
    ("=", r"\b(?:style|align|valign|class|width|height|colspan|rowspan|bgcolor|border|cellpadding|cellspacing|scope)"
          r"\s*=\s*(?:\"[^\"]*\"?|'[^']*'?|[^\s|]+)\s*\|*", GAP),
    ("[]{}|=", r"\[\[|\]\]|\{\{+|\}\}+|\{\||\|\}|\|\|+|\{\s*\}|\[\s*\]|={2,}", GAP),
    ("|!", r"^[\s\x01]*[|!]+[-+}]*", ""),
)  # fmt: skip
_QUOTES = re.compile(r"'{2,}")


def _unquoted(text: str) -> str:
    """Without the apostrophes of bold and italics; of four, the first is visible."""
    return _QUOTES.sub(lambda run: "'" if len(run[0]) == 4 else "", text)


def _clean(line: str) -> str:
    """One line as a reader sees it, with what removed markup left behind mended."""
    quoted, line = "''" in line, line.replace(LINK, "").replace(END, "")
    if quoted:
        line = _unquoted(line)
    if "&" in line:
        line = decoded(line)
    line = _apply(_CLEAN, " ".join(line.split()))
    return _mended(line.lstrip(f"=*#:; {GAP}").rstrip(f"= {GAP}"))


_COMMAS = ",;،؛，；、"
_EMPTY = re.compile(rf"[(\[（][ {GAP}{_COMMAS}:·/–-]*[)\]）]")
_JOINT = re.compile(rf" ?[{GAP}{_COMMAS}:][ {GAP}{_COMMAS}:]*")
_ODD = re.compile(rf"[{_COMMAS}] ?[{_COMMAS})）]|[(（] ?[{_COMMAS}]")


def _joint(found: re.Match[str]) -> str:
    """What stays of spaces, commas and gaps between words: "( ; x" → "(x", "x , , y" → "x, y", "x {{y}}." → "x."."""
    run, (begin, end), line = found[0], found.span(), found.string
    before, after = line[begin - 1 : begin], line[end : end + 1]
    marks = run.replace(GAP, "").split()
    commas = [mark for mark in "".join(marks) if mark in _COMMAS]
    if GAP not in run and not (len(commas) > 1 or (commas and (before in "([（" or after in ")]）"))):
        return run
    if before in "([（" or after in ")]）" or not (marks or " " in run):
        return ""
    if not marks:
        return "" if after in ".!?。።" or (after in "।॥۔" and not run.endswith(" ")) else " "
    return marks[0][0] + (" " if " " in run or len(commas) > 1 else "")


def _mended(line: str) -> str:
    if GAP in line or _ODD.search(line) or _EMPTY.search(line):
        for _ in range(3):
            shorter = _JOINT.sub(_joint, _EMPTY.sub(GAP, " ".join(line.split())))
            if shorter == line:
                break
            line = shorter
        line = " ".join(line.replace(GAP, "").split())
    line = line.strip(" \t,;|·•")
    return line if any(map(str.isalnum, line)) else ""
