"""For every test: nothing is asked of a model hub, tiny models run on one thread, twenty times faster, and what
libraries keep for the whole process does not reach the next test."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.databases import quicken

# No property is a timing assertion. Where CI is set, hypothesis does this by itself, with the same examples each time.
if not os.environ.get("CI"):
    settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("untimed")

# In memory, where there is room, nothing waits until a disk has it: tables, review logs, PostgreSQL, Redis.
MEMORY, ROOM_BYTES = Path("/dev/shm"), 4 * 2**30
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
    os.environ["TMPDIR"] = str(MEMORY)
    tempfile.tempdir = None

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it on import, for every thread of a test's servers
os.environ.setdefault("AUTORISK_CORES", "1")  # there are as many test processes as cores: more threads only wait
quicken()


def pytest_collection_finish() -> None:
    """What was imported stays: it need not be looked through for garbage again and again."""
    gc.collect()
    gc.freeze()


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


# A file's tests stay in one process, so that what they share is made once; the longest files must not come last.
LONGEST_FIRST = (
    "tests/test_cli.py",
    "tests/assets/test_prediction.py",
    "tests/test_webserver.py",
    "tests/assets/test_graph.py",
    "tests/benchmarks/test_benchmarks.py",
    "tests/assets/test_audit_pack.py",
    "tests/assets/test_adapter_loop.py",
    "tests/storage/test_s3_faults.py",
    "tests/assets/test_reason_batches.py",
    "tests/fleet/test_workers.py",
    "tests/reasoning/test_served_vlm.py",
    "tests/reporting/dashboard/test_site_browser.py",
    "tests/prediction/test_cosmos.py",
    "tests/training/test_lora.py",
    "tests/review/test_desks.py",
    "tests/assets/test_evaluation.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files for two processes that take one after another; within a file nothing moves."""
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))
