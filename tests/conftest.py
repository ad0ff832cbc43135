"""For every test: nothing is asked of a model hub, tiny models run on one thread, twenty times faster, and what
libraries keep for the whole process does not reach the next test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it on import, for every thread of a test's servers


@pytest.fixture(autouse=True)
def nothing_of_another_test() -> Iterator[None]:
    """Importing a pipeline of diffusers 0.42 switches torch's gradients off; Dagster keeps the storage of the instance
    that was entered last, and loads definitions by it though the instance is gone."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_grad_enabled(True)
    yield
    storage = sys.modules.get("dagster._core.storage.defs_state.base")
    if storage is not None:
        storage._current_storage.set(None)
