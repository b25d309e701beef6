"""Akshara: from a Wikipedia dump to a document classifier, in stages."""

import os

__version__ = "0.1.0"

# What follows stands here because libraries read it as they are imported.

# How long a thread of GNU's OpenMP spins before it sleeps: some microseconds. Never to spin costs a run by itself a
# seventh of its speed; to spin as long as it would costs two runs that share two cores three quarters of theirs.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the bars of libraries that load and save small files
