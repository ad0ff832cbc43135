"""For every test: nothing is asked of a model hub, and tiny models run on one thread, twenty times faster."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it on import, for every thread of a test's servers
