"""What every program shares: its command line, its errors and its exit code.

Exit codes: 0 done or nothing to do, 1 a defect of ours (with a traceback), 2 something the user can mend
(one line), 75 stopped by SIGTERM or SIGUSR1 with its work saved, 130 interrupted with Ctrl-C.
"""

import argparse
import errno
import logging
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from safetensors import SafetensorError

from pipeline import artifacts, config
from pipeline.artifacts import Run
from pipeline.console import RANK, log, speak
from pipeline.errors import Interrupted, LocalError, UsageError
from pipeline.parallel import worker_memory_bytes
from pipeline.recipe import BESIDE, LINE, Stage

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of the disk, of a quota, of what a file may take


def stage_main(name: str, work: Callable[[Run, Path], dict[str, Any]]) -> NoReturn:
    """Run one stage from the command line. ``work(run, out)`` fills ``out`` and returns the counts for the manifest."""
    stage = LINE[name]
    arguments = _parsed(name, stage.summary, stage.settings)
    guarded(lambda: _run_stage(stage, run_of(arguments), work), debug=arguments.debug)


def _run_stage(stage: Stage, run: Run, work: Callable[[Run, Path], dict[str, Any]]) -> None:
    artifacts.require_upstream(stage, run)
    made_from = artifacts.ingredients(stage, run)
    older = artifacts.read_manifest(run.folder / stage.name)
    if older and not run.force and not artifacts.difference(older, made_from):
        log.info("%s: up to date", stage.name)
        return
    if RANK:  # the folder is rank 0's to prepare and to finish; `work` waits for it
        work(run, run.folder / f"{stage.name}.part")
        return
    with artifacts.alone_in(run.folder):
        part = artifacts.open_part(stage, run, made_from)
        started, clock = datetime.now(UTC), time.perf_counter()
        counts = work(run, part)
        about = {
            "stage": stage.name,
            **made_from,
            "counts": counts,
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - clock, 2),
            "peak_memory_bytes": peak_memory_bytes(),
            "command": [f"pipeline.{stage.name}", *sys.argv[1:]],
        }
        artifacts.finish_part(part, about, stage.scratch)
    log.info("%s: done in %.1f s → %s", stage.name, about["seconds"], run.folder / stage.name)


def beside_main(name: str, work: Callable[[Run], None], settings: tuple[str, ...] = ()) -> NoReturn:
    """Run a program beside the line from the command line. ``settings`` are the sections that its help lists."""
    arguments = _parsed(name, BESIDE[name], settings)
    guarded(lambda: _run_beside(run_of(arguments), work), debug=arguments.debug)


def _run_beside(run: Run, work: Callable[[Run], None]) -> None:
    with artifacts.alone_in(run.folder):
        work(run)


def _parsed(name: str, summary: str, settings: tuple[str, ...]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        f"python -m pipeline.{name}",
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=_settings_help(settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_arguments(parser)
    return parser.parse_args()


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """CONFIG [key=value ...] [--force] [--debug]"""
    parser.add_argument("config", help="a YAML file, or a Wikipedia code such as `or`")
    parser.add_argument("setting", nargs="*", help="section.key=value, in place of what the file says")
    parser.add_argument("--force", action="store_true", help="run even where the result is up to date")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")


def run_of(arguments: argparse.Namespace) -> Run:
    """The run that the ``add_run_arguments`` name. UsageError: the configuration does not hold."""
    settings = tuple(arguments.setting)
    return Run(config.load(arguments.config, settings), arguments.config, settings, arguments.force)


def _settings_help(sections: Iterable[str]) -> str:
    return "\n".join(["settings:", *_settings_lines(sections)]) if sections else ""


def _settings_lines(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        section, _, only = name.partition(".")
        field = config.Config.model_fields[section]
        default = field.default
        if isinstance(default, config.Settings):
            for key, inner in type(default).model_fields.items():
                if only in ("", key):
                    yield f"  {section}.{key} = {inner.default!r}  {inner.description or ''}".rstrip()
        else:
            yield f"  {section}  {field.description or ''}".rstrip()


def guarded(body: Callable[[], None], *, debug: bool = False) -> NoReturn:
    """Run ``body`` and end the process with the exit code that tells how it went."""
    speak()
    try:
        body()
    except KeyboardInterrupt:
        _complain("interrupted: the same command goes on from here")
        code = 130
    except Interrupted as stop:
        _complain("interrupted, with a checkpoint: the same command goes on from here")
        code = stop.code
    except (UsageError, OSError, SafetensorError) as error:
        if debug:
            traceback.print_exc()
        met_by_all = isinstance(error, UsageError) and not isinstance(error, LocalError)
        if not (RANK and met_by_all):  # rank 0 tells it
            _complain(_one_line(error))
        code = 2
    else:
        code = 0
    _end(code)


def _end(code: int) -> NoReturn:
    """End the process; one among several ends at once.

    DistributedDataParallel keeps threads of gloo alive that now and then abort an interpreter which shuts down around
    them, and a launcher takes that for a failure of work that is done.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _one_line(error: UsageError | OSError | SafetensorError) -> str:
    # safetensors passes on what the operating system said, as words
    code = getattr(error, "errno", None)
    if any(code == full or f"os error {full})" in str(error) for full in FULL):
        where = getattr(error, "filename", None) or Path.cwd()
        return f"no space left on the device of {where}: free some and run the same command again"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _complain(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)


def peak_memory_bytes() -> int:
    """The most memory this process, or the largest of its children, has held at once."""
    kilobytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(kilobytes * (1 if sys.platform == "darwin" else 1024), worker_memory_bytes())
