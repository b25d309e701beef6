"""Build the demo corpus from its sources: `python corpora/demo/build.py`.

Reads `source/<topic>.wiki` (articles in wikitext) and `source/<topic>.txt` (labelled documents, one a line) and
writes `orwiki-demo-pages-articles.xml.bz2` in MediaWiki's export format 0.11, and `{train,dev,test}.{tsv,jsonl}`.
The same sources give the same bytes.
"""

import bz2
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

HERE = Path(__file__).parent
TOPICS = ("agriculture", "culture", "geography", "health", "science", "sports")
SHARES = {"train": 0.60, "dev": 0.15, "test": 0.25}

NAMESPACES = {
    -2: "ମାଧ୍ୟମ",
    -1: "ବିଶେଷ",
    0: "",
    1: "ଆଲୋଚନା",
    2: "ବ୍ୟବହାରକାରୀ",
    3: "ବ୍ୟବହାରକାରୀଙ୍କ ଆଲୋଚନା",
    4: "ଉଇକିପିଡ଼ିଆ",
    5: "ଉଇକିପିଡ଼ିଆ ଆଲୋଚନା",
    6: "ଫାଇଲ",
    7: "ଫାଇଲ ଆଲୋଚନା",
    8: "ମିଡ଼ିଆଉଇକି",
    9: "ମିଡ଼ିଆଉଇକି ଆଲୋଚନା",
    10: "ଛାଞ୍ଚ",
    11: "ଛାଞ୍ଚ ଆଲୋଚନା",
    12: "ସହଯୋଗ",
    13: "ସହଯୋଗ ଆଲୋଚନା",
    14: "ଶ୍ରେଣୀ",
    15: "ଶ୍ରେଣୀ ଆଲୋଚନା",
    828: "ମଡ୍ୟୁଲ",
    829: "ମଡ୍ୟୁଲ ଆଲୋଚନା",
}

ODIA_DIGITS = str.maketrans("0123456789", "୦୧୨୩୪୫୬୭୮୯")


class Page(NamedTuple):
    title: str
    text: str
    namespace: int = 0
    redirect: str | None = None


def articles(topic: str) -> Iterator[Page]:
    parts = re.split(r"^=== page: (.+?) ===\n", (HERE / "source" / f"{topic}.wiki").read_text("utf-8"), flags=re.M)
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        yield Page(title, text.strip())


def year_stubs() -> Iterator[Page]:
    """One-line pages as bots write them: a sentence pattern with other values."""
    for year in range(1876, 1900):
        digits = str(year).translate(ODIA_DIGITS)
        before, after = str(year - 1).translate(ODIA_DIGITS), str(year + 1).translate(ODIA_DIGITS)
        text = f"'''{digits}''' ମସିହା [[ଗ୍ରେଗୋରୀୟ ପାଞ୍ଜି]] ଅନୁସାରେ ଏକ ବର୍ଷ। ଏହା [[{before}]] ପରେ ଓ [[{after}]] ଆଗରୁ ଆସେ।"
        yield Page(digits, f"{text}\n\n[[ଶ୍ରେଣୀ:ବର୍ଷ]]")


def other_pages() -> list[Page]:
    """What a real dump holds beside articles; none of it is text to learn from."""
    redirects = {
        "ମହାନଦୀ ନଦୀ": "ମହାନଦୀ",
        "ଚିଲିକା": "ଚିଲିକା ହ୍ରଦ",
        "Mahanadi": "ମହାନଦୀ",
        "Chilika": "ଚିଲିକା ହ୍ରଦ",
        "ଖେଳ": "ହକି",
        "Hockey": "ହକି",
    }
    return [
        *(
            Page(title, f"#{word} [[{target}]]", redirect=target)
            for (title, target), word in zip(redirects.items(), ["ଲେଉଟାଣି", "REDIRECT"] * 3, strict=True)
        ),
        Page(
            "ପଦ୍ମ (ବହୁବିକଳ୍ପ)",
            "'''ପଦ୍ମ''' କହିଲେ ତଳେ ଦିଆଯାଇଥିବା ଯେ କୌଣସି ଗୋଟିକୁ ବୁଝାଇପାରେ:\n"
            "* [[ପଦ୍ମ ଫୁଲ]]\n* [[ପଦ୍ମ ପୁରସ୍କାର]]\n* [[ପଦ୍ମ ପୁରାଣ]]\n\n{{ବହୁବିକଳ୍ପ}}\n__DISAMBIG__",
        ),
        Page("ଆଲୋଚନା:ମହାନଦୀ", "ଏହି ପୃଷ୍ଠାରେ ଗୋଟିଏ ମାନଚିତ୍ର ଯୋଡ଼ିଲେ ଭଲ ହେବ। --[[ବ୍ୟବହାରକାରୀ:ଉଦାହରଣ|ଉଦାହରଣ]] ୧୦:୧୫, ୨ ମଇ ୨୦୨୬", 1),
        Page("ବ୍ୟବହାରକାରୀ:ଉଦାହରଣ", "ମୁଁ ଏଠାରେ ଲେଖେ। {{ବାବେଲ|or|en-3}}", 2),
        Page("ଉଇକିପିଡ଼ିଆ:ନୀତି", "ଏହା ଏକ ଉଦାହରଣ ପୃଷ୍ଠା।", 4),
        Page("ଫାଇଲ:Example.jpg", "== ସାରାଂଶ ==\nଏକ ଉଦାହରଣ ଛବି।", 6),
        Page(
            "ଛାଞ୍ଚ:Infobox river",
            '<includeonly>{| class="infobox"\n! {{{name|}}}\n|}</includeonly><noinclude>{{ନଥି}}</noinclude>',
            10,
        ),
        Page("ଶ୍ରେଣୀ:ଓଡ଼ିଶାର ନଦୀ", "[[ଶ୍ରେଣୀ:ଓଡ଼ିଶା]]", 14),
        Page("ମଡ୍ୟୁଲ:ଉଦାହରଣ", "return {}", 828),
        Page("ଖାଲି ପୃଷ୍ଠା", ""),
    ]


def pages() -> list[Page]:
    """Articles of all topics in turn, as an encyclopedia grows, with the rest strewn in."""
    by_topic = [list(articles(topic)) for topic in TOPICS]
    longest = max(len(pages) for pages in by_topic)
    mixed = [topic[i] for i in range(longest) for topic in by_topic if i < len(topic)]
    strewn = [*year_stubs(), *other_pages()]
    for i, page in enumerate(strewn):
        mixed.insert((i + 1) * len(mixed) // (len(strewn) + 1), page)
    return mixed


def siteinfo() -> str:
    spaces = "".join(
        f'      <namespace key="{key}" case="first-letter"' + (f">{name}</namespace>\n" if name else " />\n")
        for key, name in NAMESPACES.items()
    )
    return f"""  <siteinfo>
    <sitename>ଉଇକିପିଡ଼ିଆ</sitename>
    <dbname>orwiki</dbname>
    <base>https://or.wikipedia.org/wiki/%E0%AC%AA%E0%AD%8D%E0%AC%B0%E0%AC%A7%E0%AC%BE%E0%AC%A8_%E0%AC%AA%E0%AD%83%E0%AC%B7%E0%AD%8D%E0%AC%A0%E0%AC%BE</base>
    <generator>MediaWiki 1.45.0-wmf.20</generator>
    <case>first-letter</case>
    <namespaces>
{spaces}    </namespaces>
  </siteinfo>
"""


def base36_sha1(data: bytes) -> str:
    number, digits = int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest()), ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits.rjust(31, "0")


def page_xml(page: Page, number: int) -> str:
    data = page.text.encode()
    redirect = f"    <redirect title={quoteattr(page.redirect)} />\n" if page.redirect else ""
    model, form = ("Scribunto", "text/plain") if page.namespace == 828 else ("wikitext", "text/x-wiki")
    digest, body = base36_sha1(data), escape(page.text)
    text = f'<text bytes="{len(data)}" sha1="{digest}" xml:space="preserve"' + (f">{body}</text>" if body else " />")
    return f"""  <page>
    <title>{escape(page.title)}</title>
    <ns>{page.namespace}</ns>
    <id>{number}</id>
{redirect}    <revision>
      <id>{1000 + number}</id>
      <timestamp>2026-0{1 + number % 9}-{1 + number % 28:02}T08:{number % 60:02}:00Z</timestamp>
      <contributor>
        <username>Akshara demo</username>
        <id>1</id>
      </contributor>
      <origin>{1000 + number}</origin>
      <model>{model}</model>
      <format>{form}</format>
      {text}
      <sha1>{digest}</sha1>
    </revision>
  </page>
"""


def dump() -> bytes:
    xsd = "http://www.mediawiki.org/xml/export-0.11"
    head = (
        f'<mediawiki xmlns="{xsd}/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{xsd}/ {xsd}.xsd" version="0.11" xml:lang="or">\n'
    )
    body = "".join(page_xml(page, number) for number, page in enumerate(pages(), 1))
    return bz2.compress((head + siteinfo() + body + "</mediawiki>\n").encode())


def labelled() -> dict[str, list[dict[str, str]]]:
    """Each class split 60/15/25 by the digest of its documents, which no edit elsewhere moves."""
    splits: dict[str, list[dict[str, str]]] = {name: [] for name in SHARES}
    for topic in TOPICS:
        lines = (HERE / "source" / f"{topic}.txt").read_text("utf-8").splitlines()
        rows = [{"id": f"{topic}-{n:02}", "category": topic, "text": line} for n, line in enumerate(lines, 1)]
        rows.sort(key=lambda row: hashlib.sha256(row["text"].encode()).digest())
        start = 0.0
        for name, share in SHARES.items():
            splits[name] += rows[round(start * len(rows)) : round((start + share) * len(rows))]
            start += share
    for rows in splits.values():
        rows.sort(key=lambda row: hashlib.sha256(row["id"].encode()).digest())
    return splits


def build(folder: Path) -> None:
    (folder / "orwiki-demo-pages-articles.xml.bz2").write_bytes(dump())
    for name, rows in labelled().items():
        table = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
        (folder / f"{name}.tsv").write_text("\n".join(table) + "\n", "utf-8")
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    build(HERE)
