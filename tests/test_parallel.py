"""Worker processes, and what they cost."""

import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

PROGRAM = """
from pipeline.parallel import spreading, worker_memory_bytes
from pipeline.program import peak_memory_bytes

def grow(mebibytes):
    return len(b"x" * (mebibytes << 20))

if __name__ == "__main__":
    for mebibytes in (200, 400):  # workers start a second time as they did the first
        with spreading(2, preload="json") as spread:
            assert [*spread(grow, [mebibytes])] == [mebibytes << 20]
        print(worker_memory_bytes() >> 20)
        assert peak_memory_bytes() >= worker_memory_bytes()  # Linux counts what this process was forked from, too
"""


def test_what_workers_hold_counts_as_the_programs_memory(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = subprocess.check_output([sys.executable, "program.py"], cwd=tmp_path, env=environment, text=True)
    first, second = map(int, printed.split())
    assert 200 < first < 400 < second < 600


def test_threads_spin_briefly_in_a_stage_that_is_started_by_itself() -> None:
    ours = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    command = [sys.executable, "-m", "pipeline.pretrain", "--help"]
    environment = {**ours, "OMP_DISPLAY_ENV": "VERBOSE"}
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True).stderr
    assert {*re.findall(r"GOMP_SPINCOUNT = '(\d+)'", shown)} <= {"10000"}  # none where another library does it
