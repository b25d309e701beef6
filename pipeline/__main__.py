"""Bring a stage up to date: run whatever it still needs, in order, and then it.

``curve`` and ``tune`` need what finetune needs; they keep their own books, and always start.
"""

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from typing import Any

from pipeline import artifacts
from pipeline.config import Config
from pipeline.console import log
from pipeline.errors import UsageError
from pipeline.program import add_run_arguments, guarded, run_of
from pipeline.recipe import BESIDE, IN_PLACE_OF_FINETUNE, LINE, upstream
from pipeline.text.wikipedias import SIB200, sib200_name
from pipeline.transfer.given import read_labelled, require_curve, require_strategy

LEFT_BEHIND_S = 120  # for what a child leaves behind to end; what nobody reaps, as in a container, never does


def main() -> None:
    names = [*((stage.name, stage.summary) for stage in LINE.values()), *BESIDE.items()]
    listing = "\n".join(f"  {name:10} {summary}" for name, summary in names)
    parser = argparse.ArgumentParser(
        "python -m pipeline",
        description=__doc__,
        epilog=f"stages in their order, then programs beside them (`python -m pipeline.NAME --help`):\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "stage", choices=[*LINE, *IN_PLACE_OF_FINETUNE], metavar="stage", help="the stage to bring up to date"
    )
    add_run_arguments(parser)
    parser.add_argument(
        "--launcher", default="", help='starts the training stages, e.g. "accelerate launch --num_processes 8"'
    )
    arguments = parser.parse_args(sys.argv[1:] or ["--help"])
    guarded(lambda: bring_up_to_date(arguments), debug=arguments.debug)


def bring_up_to_date(arguments: argparse.Namespace) -> None:
    run, asked, ran = run_of(arguments), arguments.stage, 0
    stages = [*upstream("finetune")[:-1], asked] if asked in IN_PLACE_OF_FINETUNE else upstream(asked)
    require_documents(stages, run.config)
    if asked in IN_PLACE_OF_FINETUNE:
        require_strategy(asked, run.config.finetune)
    for name in stages:
        if name == "extract" and learner_of(stages):
            documents, _ = read_labelled(run)  # what fetch has brought must do, before time is spent
            if asked == "curve":
                require_curve(documents)
        stage, forced = LINE.get(name), run.force and name == asked
        reason = artifacts.why_stale(stage, run) if stage else "asked for"
        if reason is None and not forced:
            continue
        log.info("%s: %s (%s)", name, stage.summary if stage else BESIDE[name], reason or "forced")
        launched = arguments.launcher and stage and stage.distributed
        start = shlex.split(arguments.launcher) if launched else [sys.executable]
        command = [*start, "-m", f"pipeline.{name}", arguments.config, *arguments.setting]
        code = run_and_forward([*command, *["--force"] * forced, *["--debug"] * arguments.debug])
        if code:
            sys.exit(code if code > 0 else 128 - code)
        ran += 1
    if not ran:
        log.info("%s is up to date: nothing to do", run.folder / asked)


def learner_of(stages: list[str]) -> str | None:
    """The one among ``stages`` that learns from labelled documents."""
    return next((name for name in stages if name in ("finetune", *IN_PLACE_OF_FINETUNE)), None)


def require_documents(stages: list[str], config: Config) -> None:
    """UsageError, before time is spent: a stage among ``stages`` will have no labelled documents."""
    labelled = config.labelled
    learner = learner_of(stages)
    if learner and not (labelled and (labelled.train != SIB200 or sib200_name(config.language))):
        raise UsageError(
            f"{learner} will have no documents to learn from: name some with `labelled.train=`, "
            "or ask for an earlier stage, as `make pretrain` does"
        )
    if "score" in stages and not (labelled and (labelled.test or labelled.train == SIB200)):
        raise UsageError(
            "score will have no documents to measure on: hold some back and name them with `labelled.test=`, "
            "or ask for an earlier stage, as `make finetune` does"
        )


def run_and_forward(command: list[str]) -> int:
    """Run ``command`` to its end. It, not we, decides what a signal means: a training stage saves before it stops.

    Some launchers end at a signal without a word to what they launched: that gets it then, and we wait for it. It does
    not go to all at once, since that would kill a compiler at work, too.
    """
    child = subprocess.Popen(command, start_new_session=True)
    asked: list[int] = []

    def forward(number: int, _frame: Any) -> None:
        # torchrun knows nothing of SIGUSR1: it would end, and what it started would run on
        asked.append(signal.SIGTERM if number == signal.SIGUSR1 else number)
        if child.returncode is None:
            child.send_signal(asked[-1])
        else:  # what it left behind did not end at the first one
            os.killpg(child.pid, asked[-1])

    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # under nohup it does not
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, *[signal.SIGHUP] * hangs_up):
        signal.signal(number, forward)
    code = child.wait()
    patience = time.monotonic() + LEFT_BEHIND_S
    with contextlib.suppress(ProcessLookupError):
        if asked:
            os.killpg(child.pid, asked[0])
        while asked and time.monotonic() < patience:
            with contextlib.suppress(ChildProcessError):  # who is the first of a container inherits them
                os.waitpid(-child.pid, os.WNOHANG)
            os.killpg(child.pid, 0)
            time.sleep(0.1)
    return code


main()
