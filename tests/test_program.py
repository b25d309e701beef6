"""Stages as people run them: what runs again, what does not, and how they fail."""

import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Program
from made_up import lines

from pipeline.recipe import BESIDE, LINE

PR_SET_CHILD_SUBREAPER = 36  # of <sys/prctl.h>


def _ran(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [line.split(":")[0] for line in done.stderr.splitlines() if ": done in" in line]


def _manifest(folder: Path, stage: str) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "runs/small" / stage / "manifest.json").read_text("utf-8"))
    return manifest


def test_only_what_is_out_of_date_runs_again(text_run: Path, program: Program) -> None:
    assert _ran(program("pipeline", "tokenizer", "small.yaml")) == ["fetch", "extract", "filter", "tokenizer"]
    again = program("pipeline", "tokenizer", "small.yaml")
    assert _ran(again) == []
    assert "nothing to do" in again.stderr
    assert _ran(program("pipeline", "tokenizer", "small.yaml", "extract.workers=1")) == [], "only how fast it comes"
    assert _ran(program("pipeline", "tokenizer", "small.yaml", "tokenizer.vocab_size=400")) == ["tokenizer"]
    assert _ran(program("pipeline", "tokenizer", "small.yaml", "tokenizer.vocab_size=400", "--force")) == ["tokenizer"]
    (text_run / "corpus.txt").touch()
    assert _ran(program("pipeline", "filter", "small.yaml")) == [], "never by time"
    with (text_run / "corpus.txt").open("a", encoding="utf-8") as file:
        file.write(lines(201).splitlines()[-1] + "\n")
    changed = program("pipeline", "filter", "small.yaml")
    assert _ran(changed) == ["fetch", "extract", "filter"]
    assert "corpus.txt changed" in changed.stderr


def test_a_weight_that_changes_extracts_nothing_anew(text_run: Path, program: Program) -> None:
    _ran(program("pipeline", "filter", "small.yaml"))
    weight = "corpus.extra=[{path: corpus.txt, weight: 0.5}]"
    assert _ran(program("pipeline", "filter", "small.yaml", weight)) == ["fetch", "filter"]
    assert _manifest(text_run, "filter")["counts"]["kept"]["train"]["documents"] < 150
    assert _ran(program("pipeline", "filter", "small.yaml", weight, "corpus.allow_truncated=true")) == [
        "fetch",
        "extract",
    ]


def test_a_tokenizer_that_is_compared_encodes_nothing_anew(text_run: Path, program: Program) -> None:
    _ran(program("pipeline", "encode", "small.yaml"))
    shutil.copytree(text_run / "runs/small/tokenizer", text_run / "other")
    assert _ran(program("pipeline", "encode", "small.yaml", "tokenizer.compare=[other]")) == ["tokenizer"]
    assert len(json.loads((text_run / "runs/small/tokenizer/measures.json").read_text("utf-8"))) == 2
    assert {name for name in _manifest(text_run, "encode")["inputs"] if name.startswith("tokenizer/")} == {
        *("tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json")
    }


def test_what_the_program_advises_after_a_dump_that_is_cut_off_works(text_run: Path, program: Program) -> None:
    pages = "".join(
        f"<page><title>{n}</title><ns>0</ns><id>{n}</id><revision><text>{line}</text></revision></page>"
        for n, line in enumerate(lines(20).splitlines(), start=1)
    )
    (text_run / "or.xml").write_text(f"<mediawiki><siteinfo/>{pages}<page>", "utf-8")
    cut = program("pipeline", "extract", "small.yaml", "corpus.dump=or.xml")
    assert (cut.returncode, "corpus.allow_truncated=true" in cut.stderr) == (2, True)
    allowed = ["corpus.dump=or.xml", "corpus.allow_truncated=true"]
    assert _ran(program("pipeline", "extract", "small.yaml", *allowed)) == ["fetch", "extract"]
    assert {path.name for path in (text_run / "runs/small/extract").iterdir()} == {
        *("corpus.jsonl", "orwiki.00000.jsonl", "manifest.json")
    }


def test_a_stage_alone_starts_no_other_and_names_the_remedy(text_run: Path, program: Program) -> None:
    started = time.monotonic()
    missing = program("filter", "small.yaml")
    assert missing.returncode == 2
    assert missing.stderr == "error: runs/small/fetch is missing: run `make filter RUN=small.yaml`\n"
    assert time.monotonic() - started < 30
    _ran(program("pipeline", "filter", "small.yaml"))
    stale = program("tokenizer", "small.yaml", "filter.min_words=4")
    assert stale.returncode == 2
    assert "runs/small/filter is out of date (filter.min_words: 5 → 4)" in stale.stderr
    assert not (text_run / "runs/small/tokenizer.part").exists()


def test_the_command_that_is_named_keeps_the_settings(text_run: Path, program: Program) -> None:
    ended = program("encode", "small.yaml", "model.size=tiny", "encode.workers=1")
    assert 'run `make encode RUN=small.yaml SET="model.size=tiny encode.workers=1"`' in ended.stderr
    ended = program("encode", "small.yaml", "model.config={mlp_dropout: 0.1}")
    assert "run `python -m pipeline encode small.yaml 'model.config={mlp_dropout: 0.1}'`" in ended.stderr


def test_a_second_command_leaves_a_run_that_is_being_made_alone(text_run: Path, program: Program) -> None:
    (part := text_run / "runs/small/fetch.part").mkdir(parents=True)
    with (text_run / "runs/small/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in ("fetch", "curve", "tune"):
            second = program(name, "small.yaml")
            assert second.returncode == 2
            assert second.stderr == "error: another command is at work in runs/small: wait until it ends, or stop it\n"
    assert part.is_dir(), "what the other one fills"
    assert _ran(program("fetch", "small.yaml")) == ["fetch"]


def test_the_manifest_tells_what_made_the_result(text_run: Path, program: Program) -> None:
    _ran(program("pipeline", "filter", "small.yaml"))
    manifest = _manifest(text_run, "filter")
    assert manifest["settings"]["filter"]["min_words"] == 5
    assert manifest["outputs"]["train.jsonl"]["bytes"] == (text_run / "runs/small/filter/train.jsonl").stat().st_size
    assert {"counts", "seconds", "peak_memory_bytes", "versions", "git_commit", "inputs"} <= manifest.keys()
    assert manifest["versions"]["torch"]


def test_an_interrupted_stage_leaves_the_older_result_alone(text_run: Path, program: Program) -> None:
    _ran(program("pipeline", "filter", "small.yaml"))
    before = _manifest(text_run, "filter")
    (text_run / "corpus.txt").write_text(lines(60_000), "utf-8")
    _ran(program("pipeline", "extract", "small.yaml"))

    def interrupt(process: subprocess.Popen[str]) -> None:
        while process.poll() is None and not (text_run / "runs/small/filter.part").exists():
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)

    done = program("filter", "small.yaml", meanwhile=interrupt)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1].startswith("error: interrupted")
    assert "Traceback" not in done.stderr
    assert _manifest(text_run, "filter") == before


@pytest.mark.parametrize(
    ("stage", "settings", "remedy"),
    [
        ("report", ["labelled={train: train.csv}"], "score will have no documents .*labelled.test="),
        ("report", ["language=nv", "labelled={}"], "finetune will have no documents .*labelled.train="),
        ("finetune", ["language=nv", "labelled={test: test.csv}"], "finetune will have no documents .*labelled.train="),
        ("finetune", [], "finetune will have no documents .*labelled.train=.* as `make pretrain` does"),
        ("curve", [], "curve will have no documents .*labelled.train="),
        ("tune", ["language=nv", "labelled={}"], "tune will have no documents .*labelled.train="),
    ],
    ids=["no test", "no SIB-200, report", "no SIB-200", "no labelled", "no labelled, curve", "no SIB-200, tune"],
)
def test_without_labelled_documents_no_hour_is_spent_before_it_says_so(
    text_run: Path, program: Program, stage: str, settings: list[str], remedy: str
) -> None:
    done = program("pipeline", stage, "small.yaml", *settings)
    assert done.returncode == 2
    assert re.match(f"error: {remedy}", done.stderr)
    assert not (text_run / "runs").exists()


@pytest.mark.parametrize(("stage", "strategy"), [("curve", "scratch"), ("tune", "scratch"), ("tune", "features")])
def test_a_strategy_that_leaves_nothing_to_measure_is_refused_at_once(
    text_run: Path, program: Program, stage: str, strategy: str
) -> None:
    done = program("pipeline", stage, "small.yaml", "labelled={train: train.csv}", f"finetune.strategy={strategy}")
    assert done.returncode == 2
    assert re.match(f"error: finetune.strategy={strategy} transfers no", done.stderr)
    assert not (text_run / "runs").exists()


@pytest.mark.parametrize(
    ("stage", "settings", "message"),
    [
        ("finetune", [], "3 training documents are too few without a dev split"),
        ("curve", ["labelled.dev=train.csv"], "every class has one training document alone"),
        (
            "report",
            ["labelled.dev=train.csv", "labelled.test=train.csv", "labelled.separator=/"],
            "finetune.r_drop is for documents with one",
        ),
        (
            "curve",
            ["labelled.dev=train.csv", "labelled.separator=/", "finetune.r_drop=0"],
            "a curve is drawn over documents with one label each",
        ),
    ],
)
def test_labelled_documents_that_will_not_do_are_refused_before_an_hour_is_spent(
    text_run: Path, program: Program, stage: str, settings: list[str], message: str
) -> None:
    (text_run / "train.csv").write_text("category,text\na/x,ka\nb/x,kha\nc/x,ga\n", "utf-8")
    given = ["labelled={train: train.csv, remove_leaked: false}", "finetune.r_drop=1", "pretrain.max_steps=1"]
    done = program("pipeline", stage, "small.yaml", *given, *settings)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {message}")
    assert [path.name for path in (text_run / "runs/small").iterdir() if path.is_dir()] == ["fetch"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_reaches_what_a_launcher_started_and_is_waited_for(
    text_run: Path, program: Program, number: signal.Signals
) -> None:
    """A launcher that ends at once, as Accelerate's does for a single process, and what it launched, which saves."""
    (text_run / "trainer.py").write_text(
        "import pathlib, signal, time\n"
        "def save(*_):\n    time.sleep(1)\n    pathlib.Path('saved').touch()\n    raise SystemExit(75)\n"
        "signal.signal(signal.SIGTERM, save)\npathlib.Path('running').touch()\ntime.sleep(60)\n",
        "utf-8",
    )
    (text_run / "launcher.py").write_text(
        "import subprocess, sys\nsubprocess.Popen([sys.executable, 'trainer.py']).wait()\n", "utf-8"
    )
    _ran(program("pipeline", "encode", "small.yaml"))

    def terminate(process: subprocess.Popen[str]) -> None:
        while process.poll() is None and not (text_run / "running").exists():
            time.sleep(0.01)
        process.send_signal(number)

    ended = program(
        "pipeline", "pretrain", "small.yaml", "--launcher", f"{sys.executable} launcher.py", meanwhile=terminate
    )
    assert ended.returncode == 128 + signal.SIGTERM
    assert (text_run / "saved").exists(), "it had the time to save"


def test_what_a_launcher_leaves_behind_is_not_waited_for_when_it_has_ended(text_run: Path, program: Program) -> None:
    """As the first process of a container does, which inherits all orphans: it reaps them, or nobody."""
    (text_run / "launcher.py").write_text(
        "import pathlib, subprocess\nsubprocess.Popen(['sleep', '1'])\npathlib.Path('running').touch()\n"
        "subprocess.run(['sleep', '60'])\n",
        "utf-8",
    )
    _ran(program("pipeline", "encode", "small.yaml"))
    launcher = f"{sys.executable} launcher.py"
    process = subprocess.Popen(
        [sys.executable, *["-m", "pipeline", "pretrain", "small.yaml", "--launcher"], launcher],
        cwd=text_run,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0),
    )
    while process.poll() is None and not (text_run / "running").exists():
        time.sleep(0.01)
    process.terminate()
    assert process.wait(timeout=30) == 128 + signal.SIGTERM


@pytest.mark.parametrize("rank", ["0", "1"])
def test_what_one_process_alone_may_meet_is_told_by_whichever_it_is(rank: str) -> None:
    script = (
        "from pipeline.program import guarded; from pipeline.training.memory import halved; guarded(lambda: halved(1))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "RANK": rank}, cwd=ROOT, capture_output=True
    )
    assert b"out of memory with one block" in told.stderr


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(text_run: Path, program: Program) -> None:
    """A file system of 256 KiB, where the right to mount one is given; else a limit on the size of files."""
    runs = text_run / "runs"
    runs.mkdir()
    mounted = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", runs], capture_output=True).returncode == 0
    )
    if not mounted:
        pytest.skip("no right to mount a small file system here")
    try:
        (text_run / "corpus.txt").write_text(lines(5000), "utf-8")
        _ran(program("fetch", "small.yaml"))
        done = program("extract", "small.yaml")
        assert done.returncode == 2
        assert "no space left on the device" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not (runs / "small/extract").exists()
    finally:
        subprocess.run(["umount", runs], check=True)
    shutil.rmtree(runs)


def test_a_defect_of_ours_shows_its_traceback_and_a_users_error_only_with_debug(
    text_run: Path, program: Program
) -> None:
    assert program("fetch", "none.yaml").stderr.count("\n") == 1
    assert "Traceback" in program("fetch", "none.yaml", "--debug").stderr
    for part in ("runs", "runs/small"):
        (text_run / part).mkdir()
    (text_run / "runs/small/fetch").mkdir()
    (text_run / "runs/small/fetch/manifest.json").write_text('{"settings": 1}', "utf-8")
    broken = program("fetch", "small.yaml")
    assert broken.returncode == 1
    assert "Traceback" in broken.stderr


def test_help_lists_every_stage_in_a_line(program: Program) -> None:
    shown = program("pipeline", "--help").stdout
    for name, summary in [*((stage.name, stage.summary) for stage in LINE.values()), *BESIDE.items()]:
        assert any(line.split() == [name, *summary.split()] for line in shown.splitlines()), name
    for name in ("filter", "tokenizer"):
        own = program(name, "--help").stdout
        assert LINE[name].summary[1:] in own
        assert f"{name}." in own
