"""Several networks at once, where one by itself would leave cores idle: a process and a share of the threads each.

The steps of fine-tuning are small, so a second thread brings one network less than another core would: two networks
of one thread each take a quarter less than one after the other with two (docs/benchmarks.md). The steps of a tiny
network are over before threads have met: where another program has one of the cores, they wait for each other most of
the time. So one thread trains those, one network after the other.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch

from pipeline.console import progress, speak
from pipeline.errors import UsageError
from pipeline.parallel import begin_worker, interrupts_wait, note_memory
from pipeline.training.precision import settle_precision
from pipeline.training.processes import processes
from pipeline.transfer import classifier
from pipeline.transfer.bench import Bench

Item = TypeVar("Item")

AT_ONCE = 2  # a process holds a gigabyte and a half
# Tokens that a network reads × bytes of its weights: ten seconds or so, what two processes take to start.
WORTHWHILE = 2e12

_bench: Bench | None = None  # of a process that works for another


def side_by_side(task: Callable[[Bench, Item], None], bench: Bench, items: Sequence[Item], planned: int) -> None:
    """Do ``task`` on each of ``items``, in any order, and keep what it writes: it returns nothing.

    ``planned``: how many items there are when none is done yet. The processes, and so the threads of each, depend on
    that alone, since sums in another number of threads end in other digits.
    """
    if not items:
        return
    workers, threads = _workers_and_threads(bench, planned)
    if workers == 1:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            for item in items:
                task(bench, item)
        finally:
            torch.set_num_threads(before)
        return
    precision = settle_precision(bench.settings.precision, bench.accelerator.device)
    parts = bench._asdict() | {"settings": bench.settings.model_copy(update={"precision": precision})}
    del parts["accelerator"]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(workers, context, _begin, (parts, threads)) as pool:
        try:
            with interrupts_wait():
                doing = [pool.submit(_do, task, item) for item in items]
            for done in progress(as_completed(doing), total=len(items), desc="side by side", unit=" networks"):
                done.result()
            note_memory()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():  # what they have in hand may take minutes
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise UsageError(
                    "a process that trains a network was killed, as for lack of memory: "
                    "with OMP_NUM_THREADS=1 before the command one network is trained after the other"
                ) from error
            raise


def _workers_and_threads(bench: Bench, planned: int) -> tuple[int, int]:
    """How many networks at once, and the threads of each. Only on a CPU that is ours alone is there a choice."""
    threads = torch.get_num_threads()
    if bench.accelerator.num_processes > 1 or bench.accelerator.device.type != "cpu":
        return 1, threads
    tokens = sum(map(len, bench.splits["train"].ids)) * bench.settings.epochs
    if tokens * (bench.checkpoint / "model.safetensors").stat().st_size < WORTHWHILE:
        return 1, 1
    workers = min(AT_ONCE, threads, planned)
    return workers, threads // workers


def _begin(parts: dict[str, Any], threads: int) -> None:
    global _bench
    begin_worker()
    speak()
    classifier.quiet_transformers()
    _bench = Bench(accelerator=processes(), **parts)
    torch.set_num_threads(threads)  # last: under torchrun, Accelerate gives each process every core


def _do(task: Callable[[Bench, Item], None], item: Item) -> None:
    assert _bench, "_begin has made it"
    task(_bench, item)
