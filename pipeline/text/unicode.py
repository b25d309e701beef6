"""One spelling for what looks the same, and nothing invisible that the script has no use for.

``normalize`` gives NFC and leaves letters, marks and digits alone. It never joins two words, never deletes a
combining mark, and changes nothing when applied twice.
"""

import html
from collections import Counter
from collections.abc import Callable
from html.entities import html5
from unicodedata import combining
from unicodedata import normalize as unicode_form

import regex

# Scripts in which U+0964 ends a sentence in everyday prose; elsewhere a bar may be anything.
_DANDA = r"\p{Deva}\p{Beng}\p{Orya}\p{Guru}"
# Scripts written without spaces, where U+200B tells the words apart.
_ZERO_WIDTH_SPACE = r"\p{Thai}\p{Laoo}\p{Khmr}\p{Mymr}\p{Lana}\p{Java}\p{Bali}"
# Scripts whose letters join: there ZWNJ parts and ZWJ joins them, as in Persian plurals.
_JOINING = r"\p{Arab}\p{Syrc}\p{Nkoo}\p{Mong}\p{Adlm}\p{Rohg}\p{Mand}"
_VIRAMA = r"\p{ccc=9}"

# Blocks with the layout of ISCII: the same letter stands at the same place in each of them.
_ISCII_BLOCKS = (0x0900, 0x0980, 0x0A80, 0x0B00, 0x0C00, 0x0C80, 0x0D00)
_VISARGA_STEMS = ("दु", "नि", "पुन", "अन्त", "प्रात", "अध", "मन")  # in Sanskrit words, what follows is a visarga


def _in_block(devanagari: str, block: int) -> str:
    return "".join(chr(ord(letter) - 0x0900 + block) for letter in devanagari)


_VISARGA = {
    f"{_in_block(stem, block)}:": f"{_in_block(stem, block)}{chr(block + 3)}"
    for block in _ISCII_BLOCKS
    for stem in _VISARGA_STEMS
}

Replacement = str | Callable[["regex.Match[str]"], str]
_RULES: tuple[tuple[str, str, Replacement], ...] = (
    ("broken", r"\p{Cs}+", ""),
    ("broken", r"[\ufffc\ufffd]+", " "),
    ("line_ends", r"\r\n?|[\v\f\x85\u2028\u2029]", "\n"),
    (
        "invisible",
        r"[\p{Cc}--[\n\t\x1c-\x1f]]|\p{Co}|\p{Noncharacter_Code_Point}"
        r"|[\u00ad\u061c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0001-\U000e007f]"
        r"|(?<!\p{Mong})\u180e",
        "",
    ),
    ("invisible", rf"\u200b+(?:(?<![{_ZERO_WIDTH_SPACE}]\u200b+)|(?![{_ZERO_WIDTH_SPACE}]))", ""),
    ("invisible", r"(?<=\u200b)\u200b+", ""),
    ("joiners", r"(?<=\u200c)[\u200c\u200d]+|(?<=\u200d)\u200d+", ""),
    (
        "joiners",
        rf"[\u200c\u200d](?:(?<!{_VIRAMA}[\u200c\u200d])"
        rf"(?<!\p{{L}}\u200d(?={_VIRAMA}))(?<!\u200c(?=[\u17c9\u17ca]))"
        rf"(?<![{_JOINING}]\p{{Mn}}{{0,4}}[\u200c\u200d](?=[[{_JOINING}]&&\p{{L}}])))",
        "",
    ),
    # The space of Mongolian suffixes stays; every other one becomes the plain one.
    ("spaces", r"(?:[\p{Zs}--[ \u202f]]|(?<!\p{Mong})\u202f|[\t\x1c-\x1f])+", " "),
    ("spaces", r" {2,}", " "),
    ("spaces", r" *\n[ \n]*", "\n"),
    (  # before all other marks but the virama, and in one go, so that a second pass finds nothing to move
        "nukta",
        r"[\p{M}--\p{ccc=9}]*[\p{M}--\p{ccc=7}--\p{ccc=9}]\p{ccc=7}[\p{M}--\p{ccc=9}]*",
        lambda match: "".join(sorted(match[0], key=lambda mark: combining(mark) != 7)),
    ),
    # Each of these blocks reserves two places for the dandas that all of them share.
    ("dandas", r"[\u09e4\u0a64\u0ae4\u0b64\u0be4\u0c64\u0ce4\u0d64]", "।"),
    ("dandas", r"[\u09e5\u0a65\u0ae5\u0b65\u0be5\u0c65\u0ce5\u0d65]", "॥"),
    (  # after the second word of a sentence at the earliest: short pieces between bars are a menu
        "dandas",
        rf"(?<=[^\s|]\s[^\s|]{{0,60}}[[{_DANDA}]&&[\p{{L}}\p{{M}}]] ?)(?<!\|)\|{{1,2}}(?=[\s\"'”’»)]|$)",
        lambda match: "।" if len(match[0]) == 1 else "॥",
    ),
    ("dandas", r"(?<=॥ ?\p{Nd}{1,4} ?)\|\|(?!\|)", "॥"),
    (
        "visargas",
        rf"(?<![\p{{L}}\p{{M}}])(?:{'|'.join(_VISARGA)})(?=\p{{L}})",
        lambda match: _VISARGA[match[0]],
    ),
)
_COMPILED = [(name, regex.compile(f"(?V1m){pattern}"), replacement) for name, pattern, replacement in _RULES]

_LONE = regex.compile(r"\p{Cs}")
# Without these, printable ASCII needs no repair: to look for them first spares three quarters of the time.
_ASCII_WORK = regex.compile("[&<|]|  ")
_ENTITY = regex.compile(r"&(?:(?:amp|#38|#x26);)*(?:#(?:\d{1,7}|[xX][0-9a-fA-F]{1,6})|[A-Za-z][A-Za-z0-9]{1,31});")
_INLINE = (
    "a|abbr|b|big|bdi|bdo|cite|code|del|em|font|i|ins|kbd|mark|nowiki"
    "|q|s|samp|small|span|strike|strong|sub|sup|tt|u|var"
)
_BLOCK = (
    "blockquote|br|center|dd|div|dl|dt|gallery|h[1-6]|hr|li|ns|ol|p|poem|pre|ref|references|table|tbody|td|th|tr|ul"
)
_TAG = regex.compile(rf"</? ?(?:({_INLINE})|(?:{_BLOCK}))(?:\s[^<>\n]{{0,500}})?/?>", regex.IGNORECASE)


def normalize(text: str) -> str:
    """``text`` in the one form that all stages use. Lines stay lines."""
    return mend(text)[0]


def encodable(text: str) -> str:
    """JSON can name halves of surrogate pairs, which no UTF-8 file can hold: U+FFFD stands in their places."""
    return _LONE.sub("\ufffd", text)


def mend(text: str) -> tuple[str, Counter[str]]:
    """``normalize``, and how often each repair was made."""
    made: Counter[str] = Counter()
    if text.isascii() and text.isprintable() and not _ASCII_WORK.search(text):
        return text.strip(" "), made
    text = _apply_rules(text, made)

    def decode(match: "regex.Match[str]") -> str:
        character = _character(match)
        made["entities"] += character != match[0]
        return character

    while "&" in text or "<" in text:
        bare, tags = _TAG.subn(lambda match: "" if match[1] else " ", _ENTITY.sub(decode, text))
        if bare == text:
            break
        made["tags"] += tags
        text = _apply_rules(bare, made)
    return text, +made


def _apply_rules(text: str, made: Counter[str]) -> str:
    for name, pattern, replacement in _COMPILED:
        text, times = pattern.subn(replacement, text)
        made[name] += times
    return unicode_form("NFC", text.strip(" \n"))


def decoded(text: str) -> str:
    """``text`` with the characters that its HTML entities stand for."""
    return _ENTITY.sub(_character, text)


def _character(match: "regex.Match[str]") -> str:
    """The character that an entity stands for, however often its ampersand was encoded; unknown names stay."""
    name = match[0].rsplit("&", 1)[-1].removesuffix(";").rsplit(";", 1)[-1]
    if name.startswith("#"):
        return html.unescape(f"&{name};")
    return html5.get(f"{name};", match[0])
