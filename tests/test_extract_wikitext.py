"""Wikitext to plain text: no trace of markup, nothing visible lost."""

import html
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from articles import articles
from residue import residue

from pipeline.text import dump, habits, mediawiki, wikitext

ODIA = mediawiki.site(("or",), {0: "", 6: "ଫାଇଲ", 10: "ଛାଞ୍ଚ", 14: "ଶ୍ରେଣୀ"})


def plain(source: str, title: str = "Title") -> str:
    return wikitext.article(title, source, ODIA).text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("'''ବହଳ''' ''ତେରେଛା'' '''''ଦୁଇ''''' l''''a'''", "ବହଳ ତେରେଛା ଦୁଇ l'a"),
        ("[[ଓଡ଼ିଶା]]ର [[ପୁରୀ|ଶ୍ରୀକ୍ଷେତ୍ର]] [[a#b|c]] [[:ଶ୍ରେଣୀ:କ]]", "ଓଡ଼ିଶାର ଶ୍ରୀକ୍ଷେତ୍ର c କ"),
        ("ଏକ [http://x.org ସାଇଟ୍] ଓ [http://x.org] ଓ http://x.org/a?b=c ।", "ଏକ ସାଇଟ୍ ଓ ଓ ।"),
        ("a [[ଫାଇଲ:x.jpg|thumb|[[b]] ''c'' [[d|e]]]] f [[Image:y.png]] [[Datei:z.svg|10px]]", "a f"),
        ("a [[fr:Titre]] [[ଶ୍ରେଣୀ:କ|ଖ]] [[Category:X]] b", "a b"),
        ("a {{{{b}}|c}} d {{{e|{{f}}}}} g", "a d g"),
        ("a {{b|{{c|{{d}}}}}} e {{#if: {{{x|}}} | [[y]] }} f", "a e f"),
        ("a<ref name=x>b [[c]]</ref><ref name=x /> d<!-- e\n\nf --> g", "a d g"),
        ("{| class=x\n|-\n| a\n{|\n| b\n|}\n| c\n|}\nd", "d"),
        ("a\n<table><tr><td>b<table><tr><td>c</td></tr></table></td></tr></table>\nd", "a\nd"),
        ("a <math>x^2</math>, <chem>H2O</chem> b <score>c d e</score><gallery>\nx.jpg|y\n</gallery>", "a, b"),
        ("<syntaxhighlight lang=py>if x: y</syntaxhighlight>a<source>b</source>", "a"),
        ("-{zh-hans:简体; zh-hant:繁體}- a -{b}- -{A|c}-", "简体 a b c"),
        ("<nowiki>''a''</nowiki> <nowiki>[[b]]</nowiki> c", "a c"),
        ("__NOTOC__ a __ବଦଳା_ନହେବାଶ୍ରେଣୀ__ ~~~~ b", "a b"),
        ("a&nbsp;b &amp;lt;ref&amp;gt; &#2821; &ldquo;c&rdquo;", "a b ଅ “c”"),
        ("x ({{lang|en|a}}; {{b}}) y ( , z) w ({{c}}) v (1, {{d}}) u", "x y (z) w v (1) u"),
        ("a {{b}}. c {{d}}, e {{f}} । g{{h}}।", "a. c, e । g।"),
        ("'''{{PAGENAME}}''' {{formatnum:12345}} {{ପୃଷ୍ଠା_ନାଆଁ}}", "Title 12345 Title"),
        ("a<br>b<br />c <small>d</small> <span style='x'>e</span> <b>f</b>", "a\nb\nc d e f"),
        ("a\nb\n\nc\n: d\n----\ne", "a b\nc\nd\ne"),
        ('a {{b\n| c = d\n! e\n\nstyle="x"| f', "a\nf"),
        ("a [[b\n\nc]] d ]] [[ e", "a b\nc d e"),
        ("[[File:a.jpg|thumb|b\n\nc", "c"),
        ("a <ref>b c\n\nd", "a b c\nd"),
        ("校网：www.example.com，于2001年建立。后来", "校网：，于2001年建立。后来"),  # no space ends the address
        ("床前明月光//疑是地上霜 3//4 and//or //x.org/y b", "床前明月光//疑是地上霜 3//4 and//or b"),
        ("これは<ruby>漢字<rp>(</rp><rt>かんじ</rt><rp>)</rp></ruby>の文", "これは漢字の文"),
    ],
)
def test_visible_text_stays_and_markup_goes(source: str, text: str) -> None:
    assert plain(source) == text
    assert not list(residue(text))


def test_what_begins_like_an_entity_and_is_none_stays() -> None:
    assert plain("&section; &sect;") == "&section; §"


def test_sentences_of_lists_stay_and_lists_of_names_go() -> None:
    source = "* [[ଏକ]]\n* [[ଦୁଇ]] ସହର\n* ଏହା ଏକ ସମ୍ପୂର୍ଣ୍ଣ ବାକ୍ୟ ଅଟେ ।\n# [http://x ଲିଙ୍କ ଯାହା ଏକ ଉତ୍ସ ଅଟେ ।]"
    assert plain("କ\n" + source) == "କ\nଏହା ଏକ ସମ୍ପୂର୍ଣ୍ଣ ବାକ୍ୟ ଅଟେ ।"
    assert (
        plain("a\n* 他于1990年在北京出生，后来移居上海。\n* 北京\n* 东京都")
        == "a\n他于1990年在北京出生，后来移居上海。"
    )


def test_headings_are_named_and_empty_and_closing_sections_go() -> None:
    source = """ଆରମ୍ଭ ।
== ଇତିହାସ ==
=== ଖାଲି ===
{{ଛାଞ୍ଚ}}
=== ପୁରାତନ ===
ଲେଖା ।
== ତାଲିକା ==
* [[କ]]
== ଆଧାରମାନ ==
ଏହି ବହିରୁ ।
=== ତଳେ ===
ଆହୁରି ।
== ''ପରେ'' ==
ଶେଷ ।
== See also ==
* [[କ]] ଏକ ଦୁଇ ତିନି ଚାରି ପାଞ୍ଚ ଛଅ ।"""
    article = wikitext.article("T", source, ODIA)
    assert article.text.split("\n") == ["ଆରମ୍ଭ ।", "ଇତିହାସ", "ପୁରାତନ", "ଲେଖା ।", "ପରେ", "ଶେଷ ।"]
    assert article.headings == ["ଇତିହାସ", "ପୁରାତନ", "ପରେ"]


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("#REDIRECT [[a]]", "redirect"),
        ("#ଲେଉଟାଣି: [[a]]", "redirect"),
        ("# [[a]] ଏକ ଦୁଇ ତିନି ଚାରି ପାଞ୍ଚ ଛଅ", "article"),
        ("{{Disambig}}\nକ", "disambiguation"),
        ("{{ଛାଞ୍ଚ:ବହୁବିକଳ୍ପ}}\nକ", "disambiguation"),
        ("ପୁରୀ:\n* [[ପୁରୀ (ସହର)]]\n* '''[[ପୁରୀ ଜିଲ୍ଲା|ପୁରୀ]]''' x\n* [[ପୁରୀ, ଭାରତ]]", "disambiguation"),
        ("{{x}} [[ଶ୍ରେଣୀ:କ]] ।", "empty"),
    ],
)
def test_kinds_of_pages(source: str, kind: str) -> None:
    assert wikitext.article("ପୁରୀ", source, ODIA).kind == kind


def test_categories_and_links_are_counted() -> None:
    article = wikitext.article("T", "[[a]] [[b|c]] [[d#e]] x y [[ଶ୍ରେଣୀ:କ ଖ|*]] [[Category:C_D]] [[fr:x]]", ODIA)
    assert (article.categories, article.links) == (["କ ଖ", "C D"], 3)


N = 20_000
HOSTILE = {
    "nested templates": "{{a|" * N + "}}" * N,
    "open templates": "{{a\n|b=" * N,
    "nested links": "[[a#b|" * N + "]]" * N,
    "open links": "[[a|" * N,
    "open files": "[[File:a|\n" * N,
    "open external links": "[http://a " * N,
    "nested tables": "{|\n|a\n" * N + "|}\n" * N,
    "nested html tables": "<table><tr><td>a" * N + "</table>" * N,
    "open refs": "<ref>a" * N,
    "open tags": '<b x="' * N,
    "brackets": "(" * N + " ; " * N + ")" * N,
    "gaps": "({{a}}; " * N,
    "headings": "== " * N,
    "quotes": "'''a" * N,
    "entities": "&amp;" * N + "&#x" * N,
    "variants": "-{a:b;" * N,
    "underscores": "__a" * N,
    "one character": "ଅ" * 5_000_000,
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_pages_take_time_in_proportion_to_their_length(source: str) -> None:
    began = time.process_time()
    text = plain(source)
    assert time.process_time() - began < 5
    assert not [found for found in residue(text[:10_000]) if found[0] in ("template", "link", "table")]


def test_what_a_dump_teaches_of_its_own_headings_and_templates() -> None:
    def page(number: int, title: str, ns: int, text: str, extra: str = "") -> str:
        shown = html.escape(text)
        return (
            f"<page><title>{title}</title><ns>{ns}</ns><id>{number}</id>{extra}"
            f"<revision><text>{shown}</text></revision></page>"
        )

    tail = "== Rubutu ==\nDa rubutu.\n== Duba ==\n* [[a]]\n* [[b]]\n== Waje ==\n* [http://x y]\n\n[[Category:c]]"
    pages = [page(n, f"T{n}", 0, tail) for n in range(4)]
    pages += [
        page(11, "Template:Rarrabe", 10, "<includeonly>__DISAMBIG__</includeonly><noinclude>x</noinclude>"),
        page(12, "Template:Rb", 10, "#REDIRECT [[Template:Rarrabe]]", '<redirect title="Template:Rarrabe" />'),
        page(13, "Template:Bayani", 10, "<noinclude>__DISAMBIG__</noinclude>"),
    ]
    learned = habits.learn([habits.habits("".join(pages).encode(), ODIA)])
    assert learned.closing() == {"duba", "waje"}
    assert learned.disambiguation_templates() == {"rarrabe", "rb"}


# -- real dumps


FIXTURES = {"bn": 1600, "br": 38_000, "mr": 2300, "ne": 100, "or": 20, "sw": 500, "ur": 33_000, "yo": 30}
REAL = {
    "dumps/hawiki-latest-pages-articles.xml.bz2": ("ha", 560_000),
    "dumps/igwiki-latest-pages-articles.xml.bz2": ("ig", 300_000),
    **{f"fixtures/dbpedia-mini-{code}.xml.bz2": (code, least) for code, least in FIXTURES.items()},
    "fixtures/enwiki-table-markup.xml.bz2": ("en", 90_000),
    "fixtures/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2": ("en", 2_700_000),
}


@pytest.mark.parametrize(("file", "language", "characters"), [(k, *v) for k, v in REAL.items()], ids=REAL)
def test_no_residue_in_real_articles(akshara_data: Path, file: str, language: str, characters: int) -> None:
    found, length = [], 0
    for page, article, site in articles(akshara_data / file, language):
        prefixes = tuple(site.file | site.category | site.template)
        found += [(page.title, *piece) for piece in residue(article.text, prefixes)]
        length += len(article.text)
    assert not found
    assert length >= characters


def letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def test_real_sentences_of_the_reference_are_recovered(akshara_data: Path) -> None:
    """Sentences of five words or more that WikiExtractor has and that are the page's own, not residue."""
    dump_file = akshara_data / "dumps/hawiki-latest-pages-articles.xml.bz2"
    ours = {page.title: letters(article.text) for page, article, _ in articles(dump_file, "ha")}
    _, chunks = dump.read(dump_file, allow_truncated=False)
    templates = "".join(letters(page.text) for chunk in chunks for page in dump.pages(chunk) if page.namespace == 10)
    reference = (akshara_data / "dumps/wikiextractor_reference/hau.txt").read_text("utf-8")
    outcome: Counter[str] = Counter()
    for title, text in re.findall(r'<doc id="\d+"[^>]* title="([^"]*)">\n.*?\n(.*?)</doc>', reference, re.S):
        own = ours.get(html.unescape(html.unescape(title)), "")
        for sentence in re.split(r"\n|(?<=[.!?])\s+", re.sub(r"https?://\S+|</?(?!comment)[^<>]*>", "", text)):
            outcome[fate(sentence, own, templates)] += 1
    real = outcome["recovered"] + outcome["lost"]
    assert real > 4700
    assert outcome["recovered"] >= 0.99 * real, outcome
    assert outcome["template"] + outcome["residue"] < 0.02 * real, outcome


def fate(sentence: str, own: str, templates: str) -> str:
    if len(sentence.split()) < 5:
        return "short"
    if letters(sentence) in own:
        return "recovered"
    if re.search(r"\[\[|\[ |\]\]|\( ?[:;,)]|<comment>|==", sentence):
        return "residue"  # the reference's own: links left open, brackets that a template left empty
    return "template" if letters(sentence.split(" by")[0]) in templates else "lost"
