"""Results on disk: what a kill or a full disk leaves, what is gone on with, and what a result is made from."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import artifacts
from pipeline.artifacts import Run, begin, finish_part, write_json
from pipeline.config import load
from pipeline.errors import UsageError
from pipeline.recipe import LINE


def test_only_training_that_was_begun_under_other_settings_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, once, now = Run(load("or"), "or"), *({"settings": {"a": n}, "inputs": {}} for n in (1, 2))
    for name in ("extract", "pretrain"):
        (artifacts.open_part(LINE[name], run, once) / "work").touch()
        assert (artifacts.open_part(LINE[name], run, once) / "work").exists()
    assert not (artifacts.open_part(LINE["extract"], run, now) / "work").exists()
    with pytest.raises(UsageError, match="was begun under other settings"):
        artifacts.open_part(LINE["pretrain"], run, now)
    assert (run.folder / "pretrain.part/work").exists()


def test_json_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "about.json", {"step": 1})

    def cut_short(path: Path, text: str, encoding: str) -> None:
        with path.open("w", encoding=encoding) as file:
            file.write(text[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", cut_short)
    with pytest.raises(OSError, match="No space"):
        write_json(tmp_path / "about.json", {"step": 2})
    assert json.loads((tmp_path / "about.json").read_bytes()) == {"step": 1}


def test_a_stage_that_cannot_write_its_manifest_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "pretrain.part"
    begin(part, {"settings": {}, "inputs": {}})
    (part / "model").touch()
    (part / "checkpoints/step-9").mkdir(parents=True)
    (part / "checkpoints/step-9/weights").touch()
    (tmp_path / "pretrain").mkdir()
    (tmp_path / "pretrain.old/left").mkdir(parents=True)

    def full(path: Path, value: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(artifacts, "write_json", full)
        with pytest.raises(OSError, match="No space"):
            finish_part(part, {}, ("checkpoints",))
    assert (part / "begun.json").exists(), "by which the next attempt knows what it goes on with"
    assert (part / "checkpoints/step-9/weights").exists(), "from which it goes on"
    (part / "manifest.json").write_text("{", "utf-8")  # as a kill leaves it
    (part / "manifest.json.tmp").touch()
    finish_part(part, {}, ("checkpoints",))
    made = json.loads((tmp_path / "pretrain/manifest.json").read_bytes())
    assert made["outputs"].keys() == {"model"}
    assert {path.name for path in tmp_path.iterdir()} == {"pretrain"}
    assert {path.name for path in (tmp_path / "pretrain").iterdir()} == {"model", "manifest.json"}


def test_a_result_is_on_the_disk_before_the_checkpoints_of_it_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "pretrain.part"
    begin(part, {"settings": {}, "inputs": {}})
    (part / "model").touch()
    (part / "checkpoints").mkdir()
    flushed = []

    def fsync(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        assert (part / "checkpoints").exists()

    monkeypatch.setattr("os.fsync", fsync)
    finish_part(part, {}, ("checkpoints",))
    assert flushed == ["model", "manifest.json"]
    assert not (tmp_path / "pretrain/checkpoints").exists()


def test_a_stage_killed_before_its_result_is_in_place_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "pretrain.part"
    begin(part, {"settings": {}, "inputs": {}})
    (part / "checkpoints/step-9").mkdir(parents=True)

    def killed(path: Path, _target: Path) -> None:
        if path == part:
            raise KeyboardInterrupt
        path.rename(_target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            finish_part(part, {}, ("checkpoints",))
    assert (part / "begun.json").exists()
    assert (part / "checkpoints/step-9").exists()


def test_after_a_mistake_in_the_settings_that_ended_training_at_once_others_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, stage = Run(load("or"), "or"), LINE["pretrain"]
    wrong, right = ({"settings": {"type": name}, "inputs": {}} for name in ("brt", "bert"))
    artifacts.open_part(stage, run, wrong)
    part = artifacts.open_part(stage, run, right)
    (part / "plan.json").touch()
    with pytest.raises(UsageError, match="type: bert → brt"):
        artifacts.open_part(stage, run, wrong)


def test_a_file_that_a_setting_names_is_known_by_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.bin").write_bytes(b"one")
    run = Run(load("or", ["filter.language_model=model.bin"]), "or")
    before = artifacts.ingredients(LINE["filter"], run)
    Path("model.bin").write_bytes(b"two")
    assert artifacts.ingredients(LINE["filter"], run) != before
