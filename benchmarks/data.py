"""Where the real corpora lie: in the folder that AKSHARA_DATA names, by default shared/data beside this project."""

import os
from pathlib import Path

DATA = Path(os.environ.get("AKSHARA_DATA", Path(__file__).parents[2] / "shared" / "data")).resolve()
