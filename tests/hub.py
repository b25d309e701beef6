"""A Hub on this machine: what the libraries ask of the real one for a model or a dataset, answered from a folder.

Below the folder lie ``models/<owner>/<name>/`` and ``datasets/<owner>/<name>/``, each with one revision, ``main``.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c" * 40
_ABOUT = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/(?:main|c{40}))?")
_FILE = re.compile(r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/(?:main|c{40})/(.+)")


@contextmanager
def hub(folder: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """The environment of a program that is to ask this Hub; and the files that were asked for, as they come."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            if about := _ABOUT.fullmatch(path):
                self.answer(_about(folder / about[1] / about[2], about[2], about[3]))
            elif file := _FILE.fullmatch(path):
                asked.append(file[3])
                self.send(folder / (file[1] or "models") / file[2] / file[3])
            else:
                self.missing("EntryNotFound")

        do_HEAD = do_GET  # noqa: N815

        def do_POST(self) -> None:
            wanted = self.rfile.read(int(self.headers["Content-Length"])).decode()
            about = _ABOUT.fullmatch(unquote(urlsplit(self.path).path))
            files = _about(folder / about[1] / about[2], about[2], about[3]) if about else None
            self.answer([file for file in files or [] if file["path"] in wanted])

        def answer(self, value: Any) -> None:
            if value is None:
                self.missing("RepoNotFound")
            else:
                self.reply(200, json.dumps(value).encode())

        def send(self, path: Path) -> None:
            if path.is_file():
                content = path.read_bytes()
                self.reply(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"')
            else:
                self.missing("EntryNotFound")

        def missing(self, what: str) -> None:
            self.reply(404, b'{"error": "not found"}', **{"X-Error-Code": what})

        def reply(self, code: int, content: bytes, **headers: str) -> None:
            self.send_response(code)
            for name, value in {"X-Repo-Commit": COMMIT, "Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            online = {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}
            yield {**online, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}, asked
        finally:
            server.shutdown()


def _about(folder: Path, name: str, part: str | None) -> Any:
    """What there is in ``folder``; None without it."""
    if not folder.is_dir():
        return None
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if part in ("tree", "paths-info"):
        oid = hashlib.sha1(name.encode()).hexdigest()
        return [
            {"type": "file", "path": str(path.relative_to(folder)), "size": path.stat().st_size, "oid": oid}
            for path in paths
        ]
    siblings = [{"rfilename": str(path.relative_to(folder))} for path in paths]
    return {"_id": "1", "id": name, "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "siblings": siblings}
