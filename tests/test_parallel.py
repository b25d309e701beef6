"""Worker processes, and what they cost."""

import os
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
