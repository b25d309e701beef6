"""Download published dumps: interrupted transfers go on where they broke off, and what arrives is checked."""

import fcntl
import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, Retry
from urllib3.exceptions import HTTPError

from pipeline import __version__
from pipeline.console import log, progress
from pipeline.errors import UsageError

USER_AGENT = (
    f"akshara/{__version__} (turns a Wikipedia dump of a low-resource language into a document classifier) "
    f"requests/{requests.__version__}"
)
ARTICLES = "-pages-articles.xml.bz2"  # after prefix and date, in the name of what is wanted
ATTEMPTS = 6  # in a row without a byte more
BACKOFF_SECONDS = 2.0  # doubles with every attempt
MOST_WAIT_SECONDS = 300  # that a server may ask for
TIMEOUT_SECONDS = (15, 60)  # to connect, and between two packets
CHUNK_BYTES = 1 << 16  # what is lost at most where a connection breaks


class Checksum(NamedTuple):
    algorithm: str  # a name that hashlib knows
    digest: str


class Dump(NamedTuple):
    path: Path
    url: str
    date: str | None  # YYYYMMDD; None where the mirror does not tell it


def download_dump(mirror: str, prefix: str, date: str, folder: Path) -> Dump:
    """The articles of the dump ``prefix`` (``orwiki``) of ``date`` (``latest`` or YYYYMMDD), in ``folder``.

    A whole file with the published digest that is there already is not fetched again. UsageError: no such dump, the
    server cannot be reached, or what it sends twice fails its own checksum.
    """
    with _session() as session:
        url = dump_url(mirror, prefix, date)
        day, checksum = _published_checksum(session, url.removesuffix(ARTICLES), prefix)
        day = day if date == "latest" else date
        target = folder / f"{prefix}-{day or date}{ARTICLES}"
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_with(target):
            if checksum is None:
                log.warning("fetch: %s publishes no checksum of this dump: it is taken unchecked", mirror)
            elif target.exists() and _matches(target, checksum):
                log.info("fetch: %s is there already and has the published %s", target, checksum.algorithm)
                return Dump(target, url, day)
            _download(session, url, target, checksum)
            log.info("fetch: %s downloaded, %s bytes", target, f"{target.stat().st_size:,}")
            return Dump(target, url, day)


def dump_url(mirror: str, prefix: str, date: str) -> str:
    return f"{mirror.rstrip('/')}/{prefix}/{date}/{prefix}-{date}{ARTICLES}"


@contextmanager
def _alone_with(target: Path) -> Iterator[None]:
    """Runs of one language share its folder: one at a time downloads ``target``, and the others find it whole."""
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("fetch: another run is downloading %s: waiting for it", target)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:  # some shared file systems know no locks
            log.warning("fetch: %s cannot be locked (%s): let no other run download it now", target, error.strerror)
        yield


class _Retry(Retry):
    """One that says for how long a server asks to wait, and gives up where that is long."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        seconds = super().get_retry_after(response)
        if seconds and seconds > MOST_WAIT_SECONDS:
            raise UsageError(
                f"the server asks to wait {seconds / 60:,.0f} minutes ({response.status} {response.reason}): "
                "run the same command again then, or set corpus.mirror"
            )
        if seconds:
            log.info("fetch: the server asks to wait %d s (%d %s)", seconds, response.status, response.reason)
        return seconds


def _session() -> requests.Session:
    retry = _Retry(
        ATTEMPTS,
        connect=2,  # no network at all should not take a minute to say
        backoff_factor=BACKOFF_SECONDS,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
    )
    session = requests.Session()
    session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})  # ranges count the file's bytes
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def _get(session: requests.Session, url: str, *, stream: bool = False, **headers: str) -> requests.Response:
    try:
        return session.get(url, headers=headers, stream=stream, timeout=TIMEOUT_SECONDS)
    except (requests.RequestException, HTTPError) as error:  # urllib3's: of an address that is none
        cause = getattr(error.args[0], "reason", error) if error.args else error  # urllib3's own, without its wrapping
        raise UsageError(
            f"{url} cannot be reached ({str(cause).rpartition(': ')[2]}): "
            "check the network and corpus.mirror, or set corpus.dump to a file"
        ) from error


def _published_checksum(session: requests.Session, base: str, prefix: str) -> tuple[str | None, Checksum | None]:
    """The date and digest that the mirror's own list states. Lists of ``latest`` name the dated file."""
    for algorithm in ("sha1", "md5"):
        answer = _get(session, f"{base}-{algorithm}sums.txt")
        if answer.status_code == 404:
            continue
        _require_ok(answer)
        line = rf"^([0-9a-f]+) [ *]{prefix}-(\d{{8}}){re.escape(ARTICLES)}\s*$"
        if found := re.search(line, answer.text, re.MULTILINE):
            return found[2], Checksum(algorithm, found[1])
    return None, None


def _download(session: requests.Session, url: str, target: Path, checksum: Checksum | None) -> None:
    part = target.with_name(f"{target.name}.part")
    for _ in range(2):
        _receive(session, url, part)
        if checksum is None or _matches(part, checksum):
            part.replace(target)
            _version(part).unlink()
            return
        log.warning("fetch: %s has not the published %s: it is deleted", part, checksum.algorithm)
        part.unlink()
        _version(part).unlink()
    raise UsageError(
        f"{url} twice came with another checksum than its server publishes: "
        "try later, another date (corpus.dump=YYYYMMDD) or another mirror (corpus.mirror=...)"
    )


def _receive(session: requests.Session, url: str, part: Path) -> None:
    """Fill ``part`` to the end, from where it breaks off if the server still has that same file."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        with _get(session, url, stream=True, **_range_headers(part)) as answer:
            if answer.status_code == 416 and before:  # nothing lies beyond what we hold
                if answer.headers.get("Content-Range") == f"bytes */{before}":
                    return
                part.unlink(missing_ok=True)
                _version(part).unlink(missing_ok=True)
                continue
            _require_ok(answer)
            try:
                _write(answer, part)
                return
            except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError) as error:
                failures = 0 if part.stat().st_size > before else failures + 1
                if failures == ATTEMPTS:
                    raise UsageError(
                        f"{url} keeps breaking off ({error}): run the same command again to go on from there"
                    ) from error
        log.info("fetch: the connection broke at %s bytes: trying again", f"{part.stat().st_size:,}")
        time.sleep(BACKOFF_SECONDS * 2**failures)


def _version(part: Path) -> Path:
    """Beside ``part``: the ETag or date of the file it is the start of (RFC 9110, section 13.1.5)."""
    return part.with_name(f"{part.name}.version")


def _range_headers(part: Path) -> dict[str, str]:
    held = part.stat().st_size if part.exists() else 0
    version = _version(part).read_text("utf-8") if _version(part).exists() else ""
    return {"Range": f"bytes={held}-", "If-Range": version} if held and version else {}


def _require_ok(answer: requests.Response) -> None:
    if answer.status_code == 404:
        dates = answer.url.rsplit("/", 2)[0]
        raise UsageError(f"there is no dump at {answer.url}: see {dates}/ for the dates there are, and set corpus.dump")
    if not answer.ok:
        raise UsageError(f"{answer.url} answers {answer.status_code} {answer.reason}: try later, or set corpus.mirror")


def _write(answer: requests.Response, part: Path) -> None:
    """Append what a range answer (206) holds; any other answer is the whole file and starts it over."""
    goes_on = answer.status_code == 206
    held = part.stat().st_size if goes_on else 0
    length = answer.headers.get("Content-Length")
    total = held + int(length) if length else None
    with (
        part.open("ab" if goes_on else "wb") as file,
        progress(desc=part.name, total=total, initial=held, unit="B", unit_scale=True) as bar,
    ):
        if not goes_on:
            _note_version(answer, part)
        for chunk in answer.iter_content(CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))


def _note_version(answer: requests.Response, part: Path) -> None:
    etag = answer.headers.get("ETag", "")
    version = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")
    _version(part).write_text(version, "utf-8")


def _matches(path: Path, checksum: Checksum) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, checksum.algorithm).hexdigest() == checksum.digest
