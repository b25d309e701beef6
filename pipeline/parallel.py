"""Worker processes that leave nothing behind; and ``map`` over them: results in order, few tasks in flight."""

import multiprocessing
import os
import re
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError


def cores(workers: int | str) -> int:
    """What ``workers: auto`` means: the cores this process may use."""
    return len(os.sched_getaffinity(0)) if workers == "auto" else int(workers)


Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""``map`` in any number of processes: results in order, arguments taken lazily."""


@contextmanager
def spreading(workers: int, preload: str) -> Iterator[Spread]:
    """A lazy ordered ``map`` over ``workers`` processes, which import ``preload`` first; 1 is plain ``map``.

    Arguments are drawn only as results are taken, so that memory does not depend on how many there are. However
    the block is left, the processes end with the tasks they have in hand; they also end when this process is killed.
    UsageError: one of them was killed.
    """
    if workers == 1:
        yield map
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    pool = ProcessPoolExecutor(workers, context, initializer=begin_worker)

    def spread(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        waiting: deque[Future[Any]] = deque()
        for item in items:
            with interrupts_wait():  # a process that had only begun to start would be forgotten, and complain
                waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    try:
        yield spread
        note_memory()
    except BrokenProcessPool as error:
        raise UsageError(
            "a worker process was killed, perhaps because memory ran out: lower extract.workers or filter.workers"
        ) from error
    finally:
        # Workers end after the task in hand. To terminate them in the middle of sending a result would leave the
        # pool waiting for the rest of it for ever.
        pool.shutdown(cancel_futures=True)


_most_bytes = 0


def note_memory() -> None:
    """Remember the most memory that a worker has held: once workers have ended, the kernel tells it to none but their
    server, which nobody waits for.
    """
    global _most_bytes
    for worker in multiprocessing.active_children():
        with suppress(OSError):  # it has just ended, or the system has no /proc
            status = Path(f"/proc/{worker.pid}/status").read_text("utf-8")
            for kilobytes in re.findall(r"VmHWM:\s*(\d+)", status):
                _most_bytes = max(_most_bytes, 1024 * int(kilobytes))


def worker_memory_bytes() -> int:
    """The most memory that a worker has held at once."""
    return _most_bytes


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Ctrl-C takes effect at the end of the block."""
    came = False

    def note(*_: Any) -> None:
        nonlocal came
        came = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def begin_worker() -> None:
    """A worker leaves interrupts to its parent, and does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
