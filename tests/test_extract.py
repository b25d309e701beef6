"""The extract stage on files: what it reads, refuses, counts and writes."""

import bz2
import gzip
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from extracting import PROSE, Here, documents, sources

from pipeline import extract
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.parallel import spreading
from pipeline.text import dump

HEADER = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="or">
<siteinfo><sitename>W</sitename><dbname>orwiki</dbname><namespaces>
<namespace key="0" /><namespace key="1">ଆଲୋଚନା</namespace><namespace key="6">ଫାଇଲ</namespace>
<namespace key="10">ଛାଞ୍ଚ</namespace><namespace key="14">ଶ୍ରେଣୀ</namespace></namespaces></siteinfo>
"""


def page(number: int, text: str | None = PROSE, title: str = "", ns: int = 0, extra: str = "") -> str:
    body = "" if text is None else f'<text xml:space="preserve">{text}</text>'
    return (
        f"<page><title>{title or f'ଲେଖା {number}'}</title><ns>{ns}</ns><id>{number}</id>{extra}"
        f"<revision><id>{number + 1000}</id><model>wikitext</model>{body}</revision></page>\n"
    )


def xml(*pages: str, header: str = HEADER, end: str = "</mediawiki>\n") -> bytes:
    return (header + "".join(pages) + end).encode()


def run_extract(
    tmp_path: Path, data: bytes, name: str = "d.xml", workers: int = 1, language: str = "or", **corpus: Any
) -> dict[str, int]:
    """Extract a dump of these bytes into ``tmp_path / "out"``; its counts."""
    (path := tmp_path / name).write_bytes(data)
    out = sources(tmp_path, {"name": "dump", "kind": "dump", "path": str(path)})
    config = Config(run="r", language=language, extract={"workers": workers}, corpus=corpus)
    counts: dict[str, int] = extract.work(Here(config, tmp_path), out)["dump"]
    return counts


def test_every_page_is_counted_once_under_what_became_of_it(tmp_path: Path) -> None:
    data = xml(
        page(1),
        page(2, "#ଲେଉଟାଣି [[ଲେଖା 1]]"),
        page(3, "", extra='<redirect title="ଲେଖା 1" />'),
        page(4, title="ଆଲୋଚନା:ଲେଖା", ns=1),
        page(5, None),
        page(6).replace("<text ", '<text deleted="deleted" '),
        page(7, "{{ଖାଲି}} [[ଶ୍ରେଣୀ:କ]]"),
        page(8, f"{PROSE} __DISAMBIG__"),
        page(1, "ଦ୍ୱିତୀୟ ଥର ସେହି ସଂଖ୍ୟା ।"),
        page(9).replace("<id>9</id>", "<id>x</id>"),
        page(10).replace("<model>wikitext", "<model>css"),
    )
    counts = run_extract(tmp_path, data)
    assert counts == {
        **dict.fromkeys(["no_text", "deleted", "empty", "disambiguation", "duplicate_id", "malformed"], 1),
        **{"pages": 11, "documents": 1, "redirect": 2, "other_namespaces": 1, "other_content_models": 1},
        **{"words": 5, "text_bytes": len(PROSE.encode())},
    }
    assert [(row["id"], row["text"], row["source"]) for row in documents(tmp_path)] == [("1", PROSE, "dump")]


def test_the_same_bytes_for_every_packing_and_number_of_workers(tmp_path: Path) -> None:
    long = " ".join(PROSE for _ in range(400))
    pages = [page(n, f"'''{n}''' {long}") for n in range(1, 160)]
    data = xml(*pages)
    assert len(data) > 2 * dump.CHUNK_BYTES
    half = len(data) // 2
    packed = {
        "a.xml": data,
        "a.xml.gz": gzip.compress(data[:half]) + gzip.compress(data[half:]),
        "a.xml.bz2": bz2.compress(data, 1),
        "multistream.xml.bz2": bz2.compress(data[:1000]) + bz2.compress(data[1000:half]) + bz2.compress(data[half:], 2),
    }
    results = set()
    for name, content in packed.items():
        for workers in (1, 2, 3) if name == "a.xml.bz2" else (1,):
            (folder := tmp_path / f"{name}{workers}").mkdir()
            assert run_extract(folder, content, name, workers)["documents"] == 159
            results.add((folder / "out/dump.00000.jsonl").read_bytes())
    assert len(results) == 1


@pytest.mark.parametrize("before", range(4, 12))
def test_a_block_may_begin_wherever_a_reading_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    data = xml(*(page(n) for n in range(1, 60)))
    first, second = bz2.compress(data[:4000]), bz2.compress(data[4000:])
    monkeypatch.setattr(dump, "READ_BYTES", len(first) + len(b"BZh9") + before)
    assert run_extract(tmp_path, first + second, "d.xml.bz2")["pages"] == 59


def test_finished_shards_of_an_interrupted_attempt_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "SHARD_CHUNKS", 1)
    monkeypatch.setattr(dump, "CHUNK_BYTES", 2000)
    data = xml(*(page(n % 40 + 1) for n in range(60)))
    counts = run_extract(tmp_path, data)
    shards = {file.name: file.read_bytes() for file in (tmp_path / "out").glob("*.*")}
    assert len(shards) > 3
    assert run_extract(tmp_path, data) == counts, "an attempt that was stopped after its last shard goes on"

    parse, failing = extract._articles, 5

    def interrupted(*arguments: Any) -> Any:
        nonlocal failing
        failing -= 1
        if not failing:
            raise KeyboardInterrupt
        return parse(*arguments)

    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(extract, "_articles", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_extract(tmp_path, data)
    kept = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out").glob("*.jsonl")}
    assert kept
    monkeypatch.setattr(extract, "_articles", parse)
    assert run_extract(tmp_path, data) == counts
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").glob("*.*")} == shards
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in kept} == kept


BOMB = xml(header="<!DOCTYPE mediawiki [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;'>]>" + HEADER)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("d.xml", b"<!DOCTYPE html><html><body>404</body></html>", "not a MediaWiki dump"),
        ("d.xml", b"", "not a MediaWiki dump"),
        ("d.xml", BOMB, "DOCTYPE"),
        ("d.xml", xml(page(1)).decode().encode("utf-16"), "UTF-8"),
        ("d.xml", xml(page(1), page(2))[:-100], "cut off"),
        ("d.xml", xml(page(1), end=""), "cut off"),
        ("d.bz2", bz2.compress(xml(page(1)))[:-30], "cut off"),
        ("d.gz", gzip.compress(xml(page(1)))[:-30], "cut off"),
        ("d.gz", b"\x1f\x8b" + b"x" * 100, "damaged"),
        ("d.bz2", bz2.compress(xml(page(1)))[:60] + b"xxxx" + bz2.compress(xml(page(1)))[64:], "damaged"),
        ("d.7z", b"7z\xbc\xaf\x27\x1c" + b"x" * 100, "unpack it"),
        ("d.bz2", bz2.compress(HEADER.encode() + b" " * 200_000_000), "its size|no page"),
        ("d.gz", gzip.compress(xml(page(1, "a" * 200_000_000))), "its size"),
        ("d.xml", xml(page(1, "")), "no source holds a document"),
    ],
    ids=range(14),
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as refusal:
        run_extract(tmp_path, data, name)
    assert "\n" not in str(refusal.value)
    assert not list((tmp_path / "out").glob("*.jsonl")) or message == "no source holds a document"


def test_corpora_without_a_document_are_refused_as_often_as_they_are_tried(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"text": ""}\n')
    out = sources(tmp_path, {"name": "b", "kind": "jsonl", "path": str(tmp_path / "b.jsonl")})
    for _ in range(2):
        with pytest.raises(UsageError, match="no source holds a document"):
            extract.work(Here(Config(run="r", language="or"), tmp_path), out)


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("ଧାନ ଚାଷ\nଓ ଗହମ\nଚାଷ\n\n" * 10, True),
        ("ଧାନ ଚାଷ\n\n" * 30, False),
        ("ଧାନ ଚାଷ\n" * 30, False),
    ],
    ids=["wrapped", "a paragraph a line", "a document a line"],
)
def test_a_text_that_is_wrapped_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, warned: bool
) -> None:
    (tmp_path / "a.txt").write_text(text, "utf-8")
    out = sources(tmp_path, {"name": "a", "kind": "text", "path": str(tmp_path / "a.txt")})
    extract.work(Here(Config(run="r", language="or", extract={"workers": 1}), tmp_path), out)
    assert ("write a document a line" in caplog.text) == warned


def test_a_corpus_is_never_taken_for_a_part_of_a_dump(tmp_path: Path) -> None:
    (tmp_path / "d.xml").write_bytes(xml(page(1)))
    (tmp_path / "dump-00000.jsonl").write_text('{"text": "x"}\n')
    out = sources(
        tmp_path,
        {"name": "dump", "kind": "dump", "path": str(tmp_path / "d.xml")},
        {"name": "dump-00000", "kind": "jsonl", "path": str(tmp_path / "dump-00000.jsonl")},
    )
    extract.work(Here(Config(run="r", language="or", extract={"workers": 1}), tmp_path), out)
    assert sorted((row["source"], row["text"]) for row in documents(tmp_path)) == [("dump", PROSE), ("dump-00000", "x")]


@pytest.mark.parametrize("name", ["d.xml", "d.xml.gz", "d.xml.bz2"])
def test_what_comes_before_a_cut_is_used_where_that_is_allowed(tmp_path: Path, name: str) -> None:
    rows = [page(n, os.urandom(600).hex()) for n in range(1, 3000)]
    data = xml(*rows)
    packed = {"d.xml": data, "d.xml.gz": gzip.compress(data), "d.xml.bz2": bz2.compress(data, 1)}[name]
    counts = run_extract(tmp_path, packed[: len(packed) * 2 // 3], name, allow_truncated=True)
    assert 1000 < counts["documents"] < 2500


def test_pages_that_are_broken_cost_themselves_only(tmp_path: Path) -> None:
    data = xml(page(1), page(2, "ପୂର୍ବ BAD ପର"), page(3, "CONTROL ଠିକ୍ ।"), page(4, "<unclosed>"), page(5))
    data = data.replace(b"BAD", b"\xff\xed\xa0\x80").replace(b"CONTROL", b"\x0b&#8;")
    counts = run_extract(tmp_path, data)
    assert counts["documents"] == 4
    assert counts["malformed"] == 1
    assert documents(tmp_path)[1]["text"].startswith("ପୂର୍ବ \ufffd")


def test_a_page_of_50_mb_is_counted_and_passed_over_in_bounded_time_and_memory(tmp_path: Path) -> None:
    big = "ଅଆ ଇଈ ଉଊ " * 2_500_000
    data = bz2.compress(xml(page(1), page(2, big), page(3)), 1)
    assert len(big.encode()) > 50_000_000
    began = time.monotonic()
    counts = run_extract(tmp_path, data, "d.xml.bz2")
    assert counts["too_large"] == 1
    assert [row["id"] for row in documents(tmp_path)] == ["1", "3"]
    assert time.monotonic() - began < 30


def test_a_dump_of_another_language_is_named_in_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "akshara")
    run_extract(tmp_path, xml(page(1), header=HEADER.replace("orwiki", "zh_min_nanwiki")))
    assert "zh_min_nanwiki" in caplog.text
    caplog.clear()
    (second := tmp_path / "second").mkdir()
    run_extract(second, xml(page(1)))
    assert not caplog.text


@pytest.mark.parametrize("code", ["no", "nb"])
def test_a_wikipedia_with_two_codes_is_known_by_both(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    caplog.set_level(logging.WARNING, "akshara")
    bergen = page(1, "'''{{SIDENAVN}}''' er en by i Norge.", title="Bergen")
    run_extract(tmp_path, xml(bergen, header=HEADER.replace("orwiki", "nowiki")), language=code)
    assert documents(tmp_path)[0]["text"] == "Bergen er en by i Norge."
    assert not caplog.text


STAGE = """
import sys
from pathlib import Path
if __name__ == "__main__":
    from pipeline import extract
    from pipeline.artifacts import Run
    from pipeline.config import Config
    class Here(Run):
        folder = Path(sys.argv[1])
    extract.work(Here(Config(run="r", language="or", extract={"workers": 2}), ""), Here.folder / "out")
"""


@pytest.mark.parametrize(("how", "to_group"), [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGKILL, False)])
def test_no_worker_outlives_an_interrupt(tmp_path: Path, how: signal.Signals, to_group: bool) -> None:
    template = page(1, "'''ଓଡ଼ିଶା''' [[a|b]] {{c|d}} ଏକ ରାଜ୍ୟ । " * 100)
    (tmp_path / "d.xml").write_bytes(xml(*[template] * 4000))
    sources(tmp_path, {"name": "dump", "kind": "dump", "path": str(tmp_path / "d.xml")})
    (tmp_path / "stage.py").write_text(textwrap.dedent(STAGE))
    root = str(Path(__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, tmp_path / "stage.py", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": root},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )

    def group() -> int:
        """How many processes of that session are running."""
        states = (stat.read_text().rpartition(")")[2].split() for stat in Path("/proc").glob("[0-9]*/stat"))
        return sum(state[3] == str(process.pid) and state[0] != "Z" for state in _existing(states))

    deadline = time.monotonic() + 30
    while not list((tmp_path / "out").glob("*.unfinished")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert group() >= 4  # the stage, two workers and what starts them
    (os.killpg if to_group else os.kill)(process.pid, how)
    process.wait(10)
    deadline = time.monotonic() + 30
    while group() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert group() == 0


def _is_killed(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_from_outside_is_one_line() -> None:
    killed = pytest.raises(UsageError, match=r"a worker process was killed.*: lower extract\.workers")
    with killed, spreading(2, preload="json") as spread:
        list(spread(_is_killed, range(3)))


def _existing(states: Any) -> Any:
    """Processes may end while they are listed."""
    while True:
        try:
            yield next(states)
        except StopIteration:
            return
        except (FileNotFoundError, ProcessLookupError):
            continue


@pytest.mark.slow
def test_a_gigabyte_of_real_pages_takes_less_than_500_mb(akshara_data: Path, tmp_path: Path) -> None:
    """The Hausa dump's pages over and over, as a multistream file; all are parsed, and written once, for ids repeat."""
    from benchmarks.extract import ours, repeated

    dump_file = akshara_data / "dumps/hawiki-latest-pages-articles.xml.bz2"
    megabytes = repeated(dump_file, 300, tmp_path / "large.xml.bz2")
    assert megabytes >= 1000
    figures = ours(tmp_path / "large.xml.bz2", "ha", 2, tmp_path / "run", megabytes)
    print(f"{megabytes:,.0f} MB of XML: {figures}")
    assert figures["peak MB"] < 500
    assert figures["residue"] == 0
    assert figures["words"] > 97_000
