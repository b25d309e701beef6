"""Downloads end with the right bytes or a clear error, whatever the server does. The server here is real."""

import bz2
import errno
import hashlib
import json
import logging
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from conftest import Program

from pipeline.errors import UsageError
from pipeline.text import download
from pipeline.text.download import download_dump

NOISE = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(40_000))  # packs badly: over 1 MiB
PAGE = f"<page><title>ଓଡ଼ିଶା</title><ns>0</ns><id>1</id><revision><text>{NOISE}</text></revision></page>"
DUMP = bz2.compress(f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/">{PAGE}</mediawiki>'.encode())
DATED = "orwiki-20260901-pages-articles.xml.bz2"


class Mirror(ThreadingHTTPServer):
    """A dump server. ``faults`` befall the next requests for a dump: a ``drop`` or ``stall`` midway, or a status."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.faults: list[str | int] = []
        self.ranges = True
        self.retry_after = "0"
        self.stalled = threading.Event()
        self.log: list[tuple[str, dict[str, str]]] = []

    def publish(self, content: bytes = DUMP, *, listed: bytes | None = None, algorithm: str = "sha1") -> None:
        """Put up ``content`` as the dump of 2026-09-01 and the latest; ``listed`` is what the checksum is made of."""
        digest = hashlib.new(algorithm, content if listed is None else listed).hexdigest()
        for date in ("latest", "20260901"):
            self.files[f"/orwiki/{date}/orwiki-{date}-pages-articles.xml.bz2"] = content
            listing = f"{'0' * 40}  orwiki-20260901-pages-meta-history.xml.bz2\n{digest}  {DATED}\n"
            self.files[f"/orwiki/{date}/orwiki-{date}-{algorithm}sums.txt"] = listing.encode()

    def dump_requests(self) -> list[str]:
        return [headers.get("Range", "whole") for path, headers in self.log if path.endswith(".bz2")]


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Mirror

    def do_GET(self) -> None:
        self.server.log.append((self.path, dict(self.headers)))
        content = self.server.files.get(self.path)
        fault = self.server.faults.pop(0) if self.server.faults and self.path.endswith(".bz2") else None
        if content is None or isinstance(fault, int):
            self.send_response(fault if isinstance(fault, int) else 404)
            if fault == 503:
                self.send_header("Retry-After", self.server.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        start = 0
        if self.server.ranges and "Range" in self.headers and self.headers.get("If-Range") == etag:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        body = content[start:]
        self.wfile.write(body[: len(body) // 2] if fault else body)
        self.wfile.flush()
        if fault == "stall":
            self.server.stalled.set()
            self.rfile.read(1)  # until the other side hangs up
        self.close_connection = fault is not None

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(download, "CHUNK_BYTES", 4096)
    with Mirror() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def get(mirror: Mirror, folder: Path, date: str = "latest") -> Path:
    return download_dump(mirror.url, "orwiki", date, folder).path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[!.]*"))


@pytest.mark.parametrize("algorithm", ["sha1", "md5"])
def test_latest_is_stored_under_its_date_and_not_fetched_twice(mirror: Mirror, tmp_path: Path, algorithm: str) -> None:
    mirror.publish(algorithm=algorithm)
    dump = download_dump(mirror.url + "/", "orwiki", "latest", tmp_path / "corpora")
    assert dump.path == tmp_path / "corpora" / DATED
    assert dump.url == f"{mirror.url}/orwiki/latest/orwiki-latest-pages-articles.xml.bz2"
    assert dump.date == "20260901"
    assert dump.path.read_bytes() == DUMP
    assert get(mirror, tmp_path / "corpora", "20260901") == dump.path
    assert mirror.dump_requests() == ["whole"]
    assert names(dump.path.parent) == [DATED]
    assert all(headers["User-Agent"].startswith("akshara/") for _, headers in mirror.log)


def test_a_dropped_connection_goes_on_where_it_broke(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish()
    mirror.faults = ["drop", "drop"]
    assert get(mirror, tmp_path).read_bytes() == DUMP
    whole, *ranges = mirror.dump_requests()
    starts = [int(value.removeprefix("bytes=").removesuffix("-")) for value in ranges]
    assert whole == "whole"
    assert 0 < starts[0] < starts[1] < len(DUMP)


def test_a_later_command_goes_on_where_an_earlier_one_broke(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish()
    mirror.faults = ["drop", 404]
    with pytest.raises(UsageError):
        get(mirror, tmp_path)
    held = (tmp_path / f"{DATED}.part").stat().st_size
    assert get(mirror, tmp_path).read_bytes() == DUMP
    assert mirror.dump_requests()[-1] == f"bytes={held}-"
    assert names(tmp_path) == [DATED]


def test_a_part_that_is_already_whole_is_not_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish()
    (tmp_path / f"{DATED}.part").write_bytes(DUMP)
    (tmp_path / f"{DATED}.part.version").write_text(f'"{hashlib.md5(DUMP).hexdigest()}"', "utf-8")
    assert get(mirror, tmp_path).read_bytes() == DUMP
    assert mirror.dump_requests() == [f"bytes={len(DUMP)}-"]


def test_a_file_that_changed_on_the_server_is_begun_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish()
    (tmp_path / f"{DATED}.part").write_bytes(b"of an older file")
    (tmp_path / f"{DATED}.part.version").write_text('"older"', "utf-8")
    assert get(mirror, tmp_path).read_bytes() == DUMP
    assert mirror.dump_requests() == ["bytes=16-"]


def test_a_server_that_ignores_ranges_is_asked_for_the_whole_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish()
    mirror.ranges = False
    mirror.faults = ["drop"]
    assert get(mirror, tmp_path).read_bytes() == DUMP
    assert len(mirror.dump_requests()) == 2


def test_a_server_that_always_breaks_off_at_the_same_point_is_given_up(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish()
    mirror.ranges = False
    mirror.faults = ["drop"] * 50
    with pytest.raises(UsageError, match="keeps breaking off"):
        get(mirror, tmp_path)
    assert len(mirror.dump_requests()) == 1 + download.ATTEMPTS


def test_a_busy_server_is_asked_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish()
    mirror.faults = [503, 503, 502]
    assert get(mirror, tmp_path).read_bytes() == DUMP
    assert len(mirror.dump_requests()) == 4


def test_where_files_cannot_be_locked_the_download_goes_on_with_a_warning(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mirror.publish()
    monkeypatch.setattr("fcntl.flock", Mock(side_effect=OSError(errno.ENOSYS, "Function not implemented")))
    assert get(mirror, tmp_path).read_bytes() == DUMP
    assert "cannot be locked (Function not implemented)" in caplog.text


@pytest.mark.parametrize("status", [503, 416], ids=["busy", "refusing a range that nobody asked for"])
def test_a_server_that_never_sends_anything_is_given_up(mirror: Mirror, tmp_path: Path, status: int) -> None:
    mirror.publish()
    mirror.faults = [status] * 50
    with pytest.raises(UsageError, match=f"answers {status}"):
        get(mirror, tmp_path)
    assert names(tmp_path) == []


def test_a_server_that_asks_to_wait_is_obeyed_aloud_and_not_for_long(
    mirror: Mirror, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "akshara")
    mirror.publish()
    mirror.retry_after, mirror.faults = "1", [503]
    assert get(mirror, tmp_path).read_bytes() == DUMP
    assert "the server asks to wait 1 s (503 Service Unavailable)" in caplog.text
    (tmp_path / DATED).unlink()
    mirror.retry_after, mirror.faults = "3600", [503]
    with pytest.raises(UsageError, match=r"asks to wait 60 minutes .*: run the same command again then"):
        get(mirror, tmp_path)


def test_runs_that_download_at_once_take_turns(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "akshara")
    mirror.publish()
    ready = threading.Barrier(2)
    asked, received = download._published_checksum, download._receive

    def together(*arguments: Any) -> Any:
        answer = asked(*arguments)
        ready.wait(10)
        return answer

    def slowly(*arguments: Any) -> None:
        time.sleep(0.5)
        received(*arguments)

    monkeypatch.setattr(download, "_published_checksum", together)
    monkeypatch.setattr(download, "_receive", slowly)
    with ThreadPoolExecutor(2) as runs:
        paths = list(runs.map(lambda _: get(mirror, tmp_path), range(2)))
    assert [path.read_bytes() for path in paths] == [DUMP, DUMP]
    assert mirror.dump_requests() == ["whole"]
    assert caplog.text.count("another run is downloading") == 1


def test_a_wrong_checksum_is_tried_once_more_and_then_refused(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish(listed=b"something else")
    with pytest.raises(UsageError, match="another checksum than its server publishes"):
        get(mirror, tmp_path)
    assert mirror.dump_requests() == ["whole", "whole"]
    assert names(tmp_path) == []


def test_a_good_file_survives_a_download_that_fails(mirror: Mirror, tmp_path: Path) -> None:
    """The server's new file is broken: what an earlier run fetched stays."""
    mirror.publish()
    get(mirror, tmp_path)
    mirror.publish(listed=b"something else")
    with pytest.raises(UsageError):
        get(mirror, tmp_path)
    assert (tmp_path / DATED).read_bytes() == DUMP


def test_a_damaged_file_is_replaced(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish()
    (tmp_path / DATED).write_bytes(DUMP[:-1])
    assert get(mirror, tmp_path).read_bytes() == DUMP


def test_a_dump_without_published_checksum_is_taken_with_a_warning(
    mirror: Mirror, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mirror.files["/orwiki/latest/orwiki-latest-pages-articles.xml.bz2"] = DUMP
    dump = download_dump(mirror.url, "orwiki", "latest", tmp_path)
    assert (dump.date, dump.path.read_bytes()) == (None, DUMP)
    assert "publishes no checksum" in caplog.text


def test_a_date_without_dump_is_said_so(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no dump at .*20200101.*: see .*/orwiki/ for the dates"):
        get(mirror, tmp_path / "corpora", "20200101")
    assert not any((tmp_path / "corpora").glob("*.bz2"))


def test_an_address_that_is_none_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(UsageError, match=r"cannot be reached \('a\.\.b', label empty or too long\): check .*mirror"):
        download_dump("http://a..b/", "orwiki", "latest", tmp_path)


def test_no_server_is_one_line(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"sums\.txt cannot be reached \(.*refused\): check the network"):
        download_dump("http://127.0.0.1:9", "orwiki", "latest", tmp_path)


def test_fetch_downloads_and_tells_date_and_digest(mirror: Mirror, tmp_path: Path, program: Program) -> None:
    mirror.publish()
    done = program("fetch", "or", f"corpus.mirror={mirror.url}", "labelled=null")
    assert done.returncode == 0, done.stderr
    source = {
        "name": "orwiki",
        "kind": "dump",
        "path": f"corpora/or/{DATED}",
        "sha256": hashlib.sha256(DUMP).hexdigest(),
        "date": "20260901",
        "url": f"{mirror.url}/orwiki/latest/orwiki-latest-pages-articles.xml.bz2",
    }
    assert json.loads((tmp_path / "runs/or/fetch/sources.json").read_text("utf-8")) == [source]
    manifest = json.loads((tmp_path / "runs/or/fetch/manifest.json").read_text("utf-8"))
    assert manifest["counts"]["sources"] == [source]
    again = program("fetch", "or", f"corpus.mirror={mirror.url}", "labelled=null")
    assert "up to date" in again.stderr
    assert mirror.dump_requests() == ["whole"]


def test_a_label_that_is_corrected_brings_no_newer_dump_and_needs_no_mirror(
    mirror: Mirror, tmp_path: Path, program: Program
) -> None:
    (tmp_path / "train.tsv").write_text("category\ttext\na\tx\nb\ty\n", "utf-8")
    settings = ("or", f"corpus.mirror={mirror.url}", "labelled.train=train.tsv")
    sources = tmp_path / "runs/or/fetch/sources.json"

    def dates(*arguments: str) -> list[str]:
        done = program("fetch", *settings, *arguments)
        assert done.returncode == 0, done.stderr
        return [source["date"] for source in json.loads(sources.read_text("utf-8"))]

    mirror.publish()
    assert dates() == ["20260901"]
    for path, content in [*mirror.files.items()]:
        mirror.files[path] = content.replace(b"orwiki-20260901", b"orwiki-20261001")
    with (tmp_path / "train.tsv").open("a", encoding="utf-8") as file:
        file.write("b\tz\n")
    requests = len(mirror.log)
    stays = program("fetch", *settings).stderr
    newer = shlex.join(["python", "-m", "pipeline", "fetch", *settings, "--force"])
    assert f"to look for a newer one: {newer}" in stays
    assert len(mirror.log) == requests
    assert dates() == ["20260901"]
    assert dates("--force") == ["20261001"]
    assert dates("corpus.dump=20260901") == ["20260901"], "another dump is asked for"
    stays = program("fetch", *settings, "corpus.dump=20260901", "labelled.as_corpus=true").stderr
    assert f"{DATED} stays" in stays
    assert "newer" not in stays
    damaged = tmp_path / f"corpora/or/{DATED}"
    damaged.write_bytes(DUMP[:-1])
    assert dates("corpus.dump=20260901", "labelled.remove_leaked=false") == ["20260901"]
    assert damaged.read_bytes() == DUMP


def test_an_interrupted_download_goes_on_at_the_next_command(mirror: Mirror, tmp_path: Path, program: Program) -> None:
    mirror.publish()
    mirror.faults = ["stall"]
    settings = ("or", f"corpus.mirror={mirror.url}", "labelled=null")
    part = tmp_path / f"corpora/or/{DATED}.part"

    def interrupt(process: subprocess.Popen[str]) -> None:
        mirror.stalled.wait(60)
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)

    done = program("fetch", *settings, meanwhile=interrupt)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        130,
        "error: interrupted: the same command goes on from here",
    )
    held = part.stat().st_size
    assert program("fetch", *settings).returncode == 0
    assert mirror.dump_requests() == ["whole", f"bytes={held}-"]
    assert (tmp_path / f"corpora/or/{DATED}").read_bytes() == DUMP


def test_the_guard_on_sockets_holds() -> None:
    with pytest.raises(AssertionError, match="reached for the network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_own_files_are_looked_at_before_anything_is_downloaded(
    mirror: Mirror, tmp_path: Path, program: Program
) -> None:
    mirror.publish()
    (tmp_path / "train.tsv").write_text("category\ttext\na\tx\n", "utf-8")
    done = program("fetch", "or", f"corpus.mirror={mirror.url}", "labelled.train=train.tsv")
    assert (done.returncode, mirror.log) == (2, [])
    assert done.stderr.splitlines()[-1] == "error: train.tsv has one class only, `a`: a classifier needs at least two"
    assert not (tmp_path / "runs/or/fetch").exists()
