"""For every test: nothing is asked of a model hub."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
