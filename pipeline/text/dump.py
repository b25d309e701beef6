"""MediaWiki XML exports, read safely and as a stream: .xml, .xml.gz, .xml.bz2 and multistream bz2.

The stream is cut between pages into chunks of about a megabyte, which any process can parse on its own.
bz2 blocks are independent of each other too, so they are decoded wherever ``spread`` takes them. Nothing is
held longer than its chunk; what a hostile file may ask for is bounded at each step.
"""

import bz2
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from lxml import etree

from pipeline.console import log
from pipeline.errors import UsageError
from pipeline.parallel import Spread

CHUNK_BYTES = 1 << 20
MAX_HEADER_BYTES = 1 << 20
MAX_PAGE_BYTES = 16 << 20  # MediaWiki itself stores no page over 2 MiB
MAX_RATIO, FREE_BYTES = 500, 64 << 20  # real dumps unpack to 4-20 times their size
READ_BYTES = 1 << 20

_TOO_LARGE = b"<page><too_large/></page>"


@dataclass(frozen=True)
class SiteInfo:
    dbname: str = ""
    namespaces: dict[int, str] = field(default_factory=dict)

    @property
    def language(self) -> str:
        """The Wikipedia code that the wiki's database name means; "" for other projects or none."""
        return self.dbname.removesuffix("wiki").replace("_", "-") if self.dbname.endswith("wiki") else ""


@dataclass(frozen=True)
class Page:
    """The last revision of a page. ``problem`` says why there is no ``text``."""

    id: int = 0
    title: str = ""
    namespace: int | None = None  # None where an old export does not say
    redirect: str = ""  # the title it leads to
    model: str = "wikitext"
    text: str = ""
    problem: str | None = None


def read(path: Path, *, allow_truncated: bool, spread: Spread = map) -> tuple[SiteInfo, Iterator[bytes]]:
    """The wiki's description, and chunks of whole ``<page>`` elements, the same ones for any ``spread``.

    Raises UsageError, at once or while iterating: not a MediaWiki export, cut off (unless ``allow_truncated``),
    damaged, a DOCTYPE, or a file that unpacks to far more than dumps do.
    """
    blobs = _unpacked(path, allow_truncated, spread)
    head = bytearray()
    for blob in blobs:
        head += blob
        if b"<page>" in head or len(head) > MAX_HEADER_BYTES:
            break
    header, page, rest = bytes(head).partition(b"<page>")
    info = _siteinfo(path, header, bool(page))
    return info, _chunks(path, page + rest, blobs, allow_truncated, ended=b"</mediawiki>" in header)


def pages(chunk: bytes) -> Iterator[Page]:
    """The pages of a chunk. One that is not well-formed costs itself only: its ``problem`` says so."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, remove_comments=True)
    try:
        root = etree.fromstring(b"<mediawiki>" + chunk + b"</mediawiki>", parser)
    except etree.XMLSyntaxError:
        parts = [part + b"</page>" for part in chunk.split(b"</page>") if b"<page>" in part]
        if len(parts) > 1:
            for part in parts:
                yield from pages(part)
        else:
            yield _mended(chunk)
        return
    for element in root.iter("page"):
        yield _page(element)


def _mended(chunk: bytes) -> Page:
    """A page without the invalid UTF-8 and forbidden characters in it; a ``problem`` where that does not help."""
    text = re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", chunk.decode("utf-8", "replace"))
    text = re.sub(
        r"&#(?:x(?:[0-8bcefBCEF]|1[0-9a-fA-F]|[dD][89a-fA-F]..)|[0-8]|1[124-9]|2[0-9]|3[01]|5[56]\d{3});", "", text
    )
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    try:
        return _page(etree.fromstring(text.encode("utf-8"), parser))
    except etree.XMLSyntaxError:
        return Page(problem="malformed")


def _page(element: "etree._Element") -> Page:
    if element.find("too_large") is not None:
        return Page(problem="too_large")
    parts = {part.tag: part for part in element}  # of several revisions, the last
    inner = {part.tag: part for part in parts.get("revision", element)}
    texts = {name: found[name].text or "" for found in (inner, parts) for name in found}
    number, namespace = texts.get("id", "").strip(), texts.get("ns", "").strip()
    if not re.fullmatch(r"[0-9]{1,10}", number) or int(number) >> 31 or not re.fullmatch(r"(-?[0-9]{1,9})?", namespace):
        return Page(problem="malformed")
    text, content = texts.get("text", ""), inner.get("text")
    problem = None
    if content is None:
        problem = "no_text"
    elif content.get("deleted") is not None:
        problem = "deleted"
    elif len(text) > MAX_PAGE_BYTES // 2:
        problem = "too_large"
    return Page(
        id=int(number),
        title=" ".join(texts.get("title", "").replace("_", " ").split()),
        namespace=int(namespace) if namespace else None,
        redirect=parts["redirect"].get("title", "?") if "redirect" in parts else "",
        model=texts.get("model", "wikitext"),
        text="" if problem else text,
        problem=problem,
    )


def _siteinfo(path: Path, header: bytes, has_pages: bool) -> SiteInfo:
    start = header.lstrip(b"\xef\xbb\xbf \t\r\n")[:200]
    if header[:2] in (b"\xff\xfe", b"\xfe\xff") or re.match(rb"<\?xml[^>]*encoding=[\"'](?!utf-?8[\"'])", start, re.I):
        raise UsageError(f"{path} is not in UTF-8: convert it, or use a dump from dumps.wikimedia.org")
    if b"<!DOCTYPE" in header and b"<mediawiki" in header:
        raise UsageError(f"{path} has a DOCTYPE, which no MediaWiki export has: it may be hostile and is not read")
    if not re.search(rb"<mediawiki[\s>]", header):
        shown = start[:40].decode("utf-8", "replace")
        raise UsageError(
            f"{path} is not a MediaWiki dump (it starts with {shown!r}): give a pages-articles file, .xml, .bz2 or .gz"
        )
    if not has_pages and len(header) > MAX_HEADER_BYTES:
        raise UsageError(
            f"{path} has no page in its first {MAX_HEADER_BYTES >> 20} MiB: it is not a pages-articles dump"
        )
    block = re.search(rb"<siteinfo>.*?</siteinfo>", header, re.S)
    if not block:
        return SiteInfo()
    try:
        root = etree.fromstring(block[0], etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError as error:
        raise UsageError(f"{path}: its siteinfo is not XML ({error}): download the dump again") from error
    names = {
        int(n.get("key", "0")): n.text or "" for n in root.iter("namespace") if re.fullmatch(r"-?\d+", n.get("key", ""))
    }
    return SiteInfo(root.findtext("dbname", ""), names)


def _chunks(path: Path, start: bytes, blobs: Iterator[bytes], allow_truncated: bool, ended: bool) -> Iterator[bytes]:
    end = b"</page>"
    buffer, searched, skipping = bytearray(start), 0, False
    for blob in [b""] if ended else chain([b""], blobs):
        buffer += blob
        while True:
            if skipping:
                found = buffer.find(end)
                if found < 0:
                    del buffer[: -len(end)]
                    break
                del buffer[: found + len(end)]
                skipping, searched = False, 0
                yield _TOO_LARGE
            found = buffer.find(end, max(searched, CHUNK_BYTES - len(end)))
            if found >= 0:
                yield bytes(buffer[: found + len(end)])
                del buffer[: found + len(end)]
                searched = 0
                continue
            searched = max(0, len(buffer) - len(end))
            if len(buffer) <= CHUNK_BYTES + MAX_PAGE_BYTES:
                break
            whole = buffer.rfind(end, 0, CHUNK_BYTES + len(end)) + len(end)
            if whole >= len(end):
                yield bytes(buffer[:whole])
                del buffer[:whole]
            skipping = True
    whole = buffer.rfind(end) + len(end)
    if whole >= len(end):
        yield bytes(buffer[:whole])
        del buffer[:whole]
    if not ended and b"</mediawiki>" not in buffer:
        _truncated(path, allow_truncated)


def _truncated(path: Path, allowed: bool) -> None:
    if not allowed:
        raise UsageError(
            f"{path} is cut off before its end: download it again, or use what there is: corpus.allow_truncated=true"
        )
    log.warning("%s is cut off before its end: what comes before that is used", path)


def _unpacked(path: Path, allow_truncated: bool, spread: Spread) -> Iterator[bytes]:
    """The file's content, in pieces of bounded size."""
    packed = path.stat().st_size
    unpacked = 0
    with path.open("rb") as file:
        magic = file.read(6)
        file.seek(0)
        if magic.startswith(b"BZh"):
            blobs = _bunzip(path, file, allow_truncated, spread)
        elif magic.startswith(b"\x1f\x8b"):
            blobs = _gunzip(path, file, allow_truncated)
        elif magic.startswith((b"\xfd7zXZ", b"7z\xbc\xaf", b"PK\x03\x04", b"\x28\xb5\x2f\xfd")):
            raise UsageError(f"{path} is packed in a way that is not read here: unpack it, or pack it as .bz2 or .gz")
        else:
            blobs = iter(lambda: file.read(READ_BYTES), b"")
        for blob in blobs:
            unpacked += len(blob)
            if unpacked > FREE_BYTES + MAX_RATIO * packed:
                raise UsageError(f"{path} unpacks to over {MAX_RATIO} times its size, as no dump does: it is not read")
            yield blob


def _gunzip(path: Path, file: BinaryIO, allow_truncated: bool) -> Iterator[bytes]:
    data = file.read(READ_BYTES)
    while data:  # one round a member
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            try:
                blob = member.decompress(data, READ_BYTES)
            except zlib.error as error:
                raise UsageError(f"{path} is damaged ({error}): download it again") from error
            if blob:
                yield blob
            data = member.unconsumed_tail or (b"" if member.eof else file.read(READ_BYTES))
            if not data and not blob and not member.eof:
                _truncated(path, allow_truncated)
                return
        data = (member.unused_data or file.read(READ_BYTES)).lstrip(b"\0")


# bz2: blocks start at any bit with one 48-bit number, streams end with another (bzip2's own block recovery
# finds them the same way). A block between a header and a footer of its own is a whole file.
_BLOCK, _END = 0x314159265359, 0x177245385090
# For each number and each of the 8 bits of a byte it may start at: the 5 whole bytes inside, that bit, all 56 bits of
# the 7 bytes around it, is it a block.
_NEEDLES = [
    ((number << 8 - offset).to_bytes(7)[1:6], offset, number << 8 - offset, number == _BLOCK)
    for number in (_BLOCK, _END)
    for offset in range(8)
]


def _marks(data: bytes, start: int) -> list[tuple[int, bool]]:
    """Where the two numbers stand in ``data`` after byte ``start``: (position in bits, is it a block)."""
    found = []
    for needle, offset, bits, is_block in _NEEDLES:
        mask = ((1 << 48) - 1) << 8 - offset
        at = data.find(needle, start)
        while at >= 0:
            window = data[at - 1 : at + 6]
            if at >= 1 and int.from_bytes(window.ljust(7, b"\0")) & mask == bits:
                found.append((8 * (at - 1) + offset, is_block))
            at = data.find(needle, at + 1)
    return sorted(found)


def _bunzip(path: Path, file: BinaryIO, allow_truncated: bool, spread: Spread) -> Iterator[bytes]:
    for number, blob in enumerate(spread(_decode, _blocks(file))):
        if blob is None:
            raise UsageError(f"{path} is damaged in block {number + 1}: download it again")
        if not blob:
            _truncated(path, allow_truncated)
            return
        yield blob


def _blocks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """(bytes, first bit, last bit) of each block; the last bit is -1 where the file ends before the block does."""
    data, searched, begin = b"", 0, None
    while more := file.read(READ_BYTES):
        data += more
        marks = [mark for mark in _marks(data, max(0, searched)) if mark[0] + 48 <= 8 * len(data)]
        for bit, is_block in marks:
            if begin is not None and bit > begin:  # else the same mark, met again in the bytes that are kept
                yield data[begin // 8 : (bit + 7) // 8], begin % 8, bit - begin // 8 * 8
            begin = bit if is_block else None
        keep = begin // 8 if begin is not None else max(0, len(data) - 8)
        searched = len(data) - keep - 7
        begin = begin % 8 if begin is not None else None
        data = data[keep:]
        if len(data) > 8 * READ_BYTES:  # a block is at most 900 kB before packing
            break
    if begin is not None:
        yield b"", 0, -1


def _decode(block: tuple[bytes, int, int]) -> bytes | None:
    """What a bz2 block holds, at most 46 MB; b"" for a block cut off, None for a damaged one."""
    data, first, last = block
    if last < 0:
        return b""
    bits = (int.from_bytes(data) & ((1 << 8 * len(data) - first) - 1)) >> (8 * len(data) - last)
    length = last - first
    crc = (bits >> length - 80) & 0xFFFFFFFF
    padding = -(length + 80) % 8
    body = ((((bits << 48) | _END) << 32 | crc) << padding).to_bytes((length + 80 + padding) // 8)
    try:
        return bz2.decompress(b"BZh9" + body)
    except (OSError, ValueError):
        return None
