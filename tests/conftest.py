"""What all tests share: no network, where the real data lies, and programs run as people run them."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from made_up import lines

from pipeline.errors import Interrupted

ROOT = Path(__file__).parents[1]
Program = Callable[..., subprocess.CompletedProcess[str]]


hypothesis.settings.register_profile("shared machine", deadline=None)  # it may stand still for a moment
hypothesis.settings.load_profile("shared machine")

# A shell has what it starts by `&`, and all below it, ignore interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection but to this machine, and keep `datasets` and `transformers` from trying one."""

    def guarded(connect: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
        def only_loopback(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
                raise AssertionError(f"a test reached for the network: {address}")
            return connect(self, address)

        return only_loopback

    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)


OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
}
"""For subprocesses too, where the guard on sockets does not reach: a proxy that is not there stops them."""


@pytest.fixture
def akshara_data() -> Path:
    """The folder of real corpora and labelled sets that ``AKSHARA_DATA`` names; skips where it is absent."""
    folder = Path(os.environ.get("AKSHARA_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set AKSHARA_DATA to run this test")
    return folder.resolve()


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """``program("fetch", "run.yaml", ...)`` runs ``python -m pipeline.fetch run.yaml ...`` in ``tmp_path``.

    ``program("pipeline", ...)`` runs ``python -m pipeline ...``. ``meanwhile`` is called with the running process;
    other keywords become environment variables.
    """

    def run(
        name: str, *arguments: str, meanwhile: Callable[[subprocess.Popen[str]], None] | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        module = name if name == "pipeline" else f"pipeline.{name}"
        command = [sys.executable, "-m", module, *arguments]
        own = {"PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path / ".hf")}
        with subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, **OFFLINE, **own, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        ) as process:
            if meanwhile:
                meanwhile(process)
            output, errors = process.communicate()
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    return run


@pytest.fixture
def text_run(tmp_path: Path) -> Path:
    """The folder of a configuration, ``small.yaml``, whose corpus is one text file of 200 documents."""
    (tmp_path / "corpus.txt").write_text(lines(200), "utf-8")
    settings = {"run": "small", "language": "or", "corpus": {"dump": None, "extra": [{"path": "corpus.txt"}]}}
    (tmp_path / "small.yaml").write_text(json.dumps({**settings, "labelled": None}), "utf-8")
    return tmp_path


@pytest.fixture
def tokenizer() -> Any:
    """A vocabulary of 100: 5 special pieces and 95 words."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(95))]
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=inner, **names)


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps, counted over all attempts, after which a run is asked to stop."""
    asked: list[int] = []
    taken = 0

    class Stop:
        def agreed(self, _accelerator: Any, due: bool) -> tuple[bool, bool]:
            nonlocal taken
            taken += 1
            return taken in asked, due

        def stop(self) -> None:
            raise Interrupted(by_user=False)

    monkeypatch.setattr("pipeline.training.pretraining.StopRequest", Stop)
    return asked


@pytest.fixture
def filtered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[dict[str, Any], Path]]:
    """``filtered({"wiki": [texts or rows]}, "filter.x=1")`` runs the stage and returns its counts and its folder."""
    from pipeline import config
    from pipeline.artifacts import Run
    from pipeline.filter import work
    from pipeline.text.documents import write_jsonl

    monkeypatch.chdir(tmp_path)

    def run_stage(
        corpora: dict[str, Iterable[str | dict[str, Any]]],
        *overrides: str,
        weights: dict[str, float] | None = None,
        test: Iterable[str] = (),
    ) -> tuple[dict[str, Any], Path]:
        Path("run.yaml").write_text("run: x\nlanguage: ha\n", "utf-8")
        run = Run(config.load("run.yaml", overrides), "run.yaml")
        for folder in ("extract", "fetch/labelled", "filter.part"):
            (run.folder / folder).mkdir(parents=True, exist_ok=True)
        for old in run.folder.glob("extract/*"):
            old.unlink()
        for name, texts in corpora.items():
            rows = [t if isinstance(t, dict) else {"id": str(i), "title": "", "text": t} for i, t in enumerate(texts)]
            lines = [json.dumps({**row, "source": name}) for row in rows]
            (run.folder / "extract" / f"{name}.jsonl").write_text("\n".join(lines), "utf-8")
        every = dict.fromkeys(corpora, 1.0) | (weights or {})
        (run.folder / "fetch/weights.json").write_text(json.dumps(every), "utf-8")
        write_jsonl(run.folder / "fetch/labelled/test.jsonl", [{"id": "t", "text": t, "label": "a"} for t in test])
        return work(run, run.folder / "filter.part"), run.folder / "filter.part"

    return run_stage
