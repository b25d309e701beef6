"""Results on disk: one folder a stage, a manifest that says what made it, and whether it still holds.

A stage fills ``runs/<run>/<stage>.part/``, the manifest is written last, then the folder is renamed: what
bears a stage's name is whole. Whether it is up to date is decided by digests of settings and inputs, never
by time.
"""

import fcntl
import fnmatch
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from operator import attrgetter
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.model.checkpoints import MODEL_FILES, TOKENIZER_FILES, files_of
from pipeline.recipe import LINE, Stage, upstream
from pipeline.text.labelled import local_path
from pipeline.text.wikipedias import SIB200, is_published

MANIFEST = "manifest.json"
BEGUN = "begun.json"  # settings and input digests of a result that is not finished


@dataclass(frozen=True)
class Run:
    """A configuration, where its results lie, and how the user named it: a file or a code, and settings on top."""

    config: Config
    argument: str
    settings: tuple[str, ...] = ()
    force: bool = False  # run even where the result is up to date

    @property
    def folder(self) -> Path:
        return Path("runs", self.config.run)

    def input(self, name: str) -> Path:
        """The path of ``<stage>/<file>``, a result of an earlier stage."""
        return self.folder / name

    def command(self, stage: str, *settings: str) -> str:
        """The command that brings ``stage`` up to date, with further ``settings``."""
        every = self.settings + settings
        if shlex.join(every) != " ".join(every):  # make takes them apart at spaces
            return shlex.join(["python", "-m", "pipeline", stage, self.argument, *every])
        variable = "RUN" if self.argument.endswith((".yaml", ".yml")) else "WIKI"
        return f"make {stage} {variable}={self.argument}" + (f' SET="{" ".join(every)}"' if every else "")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write ``path``, which is whole or as it was, whenever a kill or a full disk comes."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")
    temporary.replace(path)


def flush(path: Path) -> None:
    """Have the file or folder ``path`` on the disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What made ``folder``; None where there is no finished result."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
        return manifest
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def external_files(stage: Stage, config: Config) -> list[Path]:
    """The user's own files that ``stage`` starts from; downloads do not count. UsageError: one is missing."""
    match stage.name:
        case "fetch":
            return corpus_files(config)
        case "filter" if config.filter.language_model:
            model = Path(config.filter.language_model)
            return [model] if model.is_file() else []  # the stage itself refuses what is none
        case "tokenizer":
            own = config.tokenizer.existing
            compared = [file for name in config.tokenizer.compare for file in files_below(Path(name))]
            return [*(files_of(Path(own), TOKENIZER_FILES) if own else []), *compared]
        case "pretrain" if config.pretrain.init:
            return files_of(Path(config.pretrain.init), MODEL_FILES)
    return []


def corpus_files(config: Config) -> list[Path]:
    """Dump, corpora and labelled sets that are files or folders. UsageError: one is missing."""
    named = [] if config.corpus.dump is None or is_published(config.corpus.dump) else [config.corpus.dump]
    named += [extra.path for extra in config.corpus.extra]
    found = [path for name in named for path in matches(name)]
    if config.labelled:
        sets = filter(None, (config.labelled.train, config.labelled.dev, config.labelled.test))
        found += [path for name in sets if name != SIB200 for path in filter(None, [local_path(name)])]
    return [file for path in found for file in (files_below(path) if path.is_dir() else [path])]


def matches(name: str) -> list[Path]:
    """The files and folders that a path or glob names, sorted. UsageError: there is none."""
    path = Path(name)
    found = [path] if path.exists() else sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    if not found:
        raise UsageError(f"{name} names no file or folder: correct the path (it starts from {Path.cwd()})")
    return found


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def ingredients(stage: Stage, run: Run, *, own_files: bool = True) -> dict[str, Any]:
    """All that the result of ``stage`` depends on: its settings, and the digest of every input by name.

    ``own_files=False`` leaves out what the user's own files hold: a dump may take minutes to read.
    """
    settings = {name: attrgetter(name)(run.config) for name in stage.settings}
    inputs = {str(path): sha256(path) for path in external_files(stage, run.config)} if own_files else {}
    for name in upstream(stage.name)[:-1]:
        patterns = [pattern for pattern in stage.inputs if pattern.split("/")[0] in (name, "*")]
        manifest = read_manifest(run.folder / name) if patterns else None
        for file, about in (manifest or {}).get("outputs", {}).items():
            if any(fnmatch.fnmatchcase(f"{name}/{file}", pattern) for pattern in patterns):
                inputs[f"{name}/{file}"] = about["sha256"]
        if manifest and f"*/{MANIFEST}" in patterns:  # it does not list itself
            inputs[f"{name}/{MANIFEST}"] = sha256(run.folder / name / MANIFEST)
    return {
        "settings": {
            name: s.model_dump(mode="json") if hasattr(s, "model_dump") else s for name, s in settings.items()
        },
        "inputs": inputs,
    }


def difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first thing that differs between two ``ingredients``, for people; None where nothing does."""
    before, after = (
        _flat(made["settings"]) | {f"file {k}": v for k, v in made["inputs"].items()} for made in (old, new)
    )
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            if name.startswith("file "):
                return (
                    f"{name.removeprefix('file ')} {'changed' if name in before and name in after else 'came or went'}"
                )
            return f"{name}: {before.get(name)} → {after.get(name)}"
    return None


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{prefix}.{key}" if prefix else key).items()}


def why_stale(stage: Stage, run: Run, *, own_files: bool = True) -> str | None:
    """Why ``stage`` has to run again; None where its result holds. ``own_files=False`` takes those as they were."""
    manifest = read_manifest(run.folder / stage.name)
    if manifest is None:
        return "missing"
    wanted = ingredients(stage, run, own_files=own_files)
    if not own_files:
        own = {k: v for k, v in manifest["inputs"].items() if not any(fnmatch.fnmatchcase(k, p) for p in stage.inputs)}
        wanted["inputs"] |= own
    return difference(manifest, wanted)


def require_upstream(stage: Stage, run: Run) -> None:
    """Raises UsageError, with the command that mends it, unless all that ``stage`` reads is there and current."""
    for name in upstream(stage.name)[:-1]:
        reason = why_stale(LINE[name], run, own_files=False)
        if reason:
            state = "is missing" if reason == "missing" else f"is out of date ({reason})"
            raise UsageError(f"{run.folder / name} {state}: run `{run.command(stage.name)}`")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other commands from filling parts of the same run. UsageError: one is at it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another command is at work in {folder}: wait until it ends, or stop it") from error
        except OSError:  # some shared file systems know no locks
            pass
        yield


def open_part(stage: Stage, run: Run, made_from: dict[str, Any]) -> Path:
    """The folder to fill. What an interrupted attempt left stays where the stage can go on from it.

    What was begun from other things goes, unless it is training, which may hold hours of work: ``begin`` refuses that.
    Where nothing but a beginning is there, as after a mistake in the settings, there is none.
    """
    part = run.folder / f"{stage.name}.part"
    begun = (part / BEGUN).exists() and any(path.name != BEGUN for path in part.iterdir())
    goes_on = stage.resumes and begun and (stage.distributed or not _changed(part, made_from))
    if not goes_on:
        shutil.rmtree(part, ignore_errors=True)
    begin(part, made_from)
    return part


def begin(folder: Path, made_from: dict[str, Any]) -> None:
    """Begin to work in ``folder``, or go on there. UsageError: it was begun with other settings or inputs."""
    if (folder / BEGUN).exists() and (changed := _changed(folder, made_from)):
        raise UsageError(
            f"{folder} was begun under other settings ({changed}): set that back to go on, or delete {folder}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / BEGUN, made_from)


def _changed(folder: Path, made_from: dict[str, Any]) -> str | None:
    return difference(json.loads((folder / BEGUN).read_text("utf-8")), made_from)


def finish_part(part: Path, about: dict[str, Any], scratch: tuple[str, ...] = ()) -> None:
    """Write the manifest, with the digest of every file, and put ``part``, without its folders of ``scratch``, in the
    place of an older result.
    """
    ours = {f"{name}{ending}" for name in (BEGUN, MANIFEST) for ending in ("", ".tmp")}  # of attempts cut short
    files = sorted(p.relative_to(part) for p in part.rglob("*") if p.is_file())
    files = [p for p in files if p.parts[0] not in {*ours, *scratch}]
    outputs = {str(p): {"sha256": sha256(part / p), "bytes": (part / p).stat().st_size} for p in files}
    write_json(part / MANIFEST, {**about, "outputs": outputs, "versions": versions(), "git_commit": git_commit()})
    for name in (*outputs, MANIFEST):  # before checkpoints go below: a machine may fail, too
        flush(part / name)
    final, old = part.with_suffix(""), part.with_suffix(".old")
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)  # of an attempt that was killed below
        final.replace(old)
    part.replace(final)
    (final / BEGUN).unlink()
    for name in scratch:  # not before: what fails or is killed above goes on from there
        shutil.rmtree(final / name, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def versions() -> dict[str, str]:
    packages = (
        "torch",
        "transformers",
        "tokenizers",
        "datasets",
        "accelerate",
        "sentencepiece",
        "evaluate",
        "scikit-learn",
    )
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}


def git_commit() -> str | None:
    """The commit of this code, with ``+`` where the working tree differs; None outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        answer = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return answer.stdout.strip() or None
