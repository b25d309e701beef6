"""The articles of a real dump, for tests and benchmarks that start from them."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.text import dump, habits, mediawiki, wikitext


def articles(path: Path, language: str) -> Iterator[tuple[dump.Page, wikitext.Article, mediawiki.Site]]:
    info, chunks = dump.read(path, allow_truncated=False)
    first = list(chunks)
    known = mediawiki.site((language,), info.namespaces)
    learned = habits.learn(habits.habits(chunk, known) for chunk in first)
    site = mediawiki.site((language,), info.namespaces, learned.closing(), learned.disambiguation_templates())
    for chunk in first:
        for page in dump.pages(chunk):
            if site.is_article(page.title, page.namespace) and not page.redirect:
                article = wikitext.article(page.title, page.text, site)
                if article.kind == "article":
                    yield page, article, site
