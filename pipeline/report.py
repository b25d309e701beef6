"""Write the page that tells how it went.

Reads the manifests, metrics, samples and scores of every earlier stage; writes ``index.html``, one file that
loads nothing and needs no script. A part whose results are absent is left out.
"""

from pathlib import Path
from typing import Any

from pipeline.artifacts import Run
from pipeline.console import log
from pipeline.program import stage_main
from pipeline.reporting.gather import everything
from pipeline.reporting.page import render


def work(run: Run, out: Path) -> dict[str, Any]:
    found = everything(run)
    page = out / "index.html"
    page.write_text(render(found), "utf-8")
    log.info("report: results of %d stages read; open %s", len(found["manifests"]), run.input("report/index.html"))
    return {"stages": len(found["manifests"]), "bytes": page.stat().st_size}


if __name__ == "__main__":
    stage_main("report", work)
