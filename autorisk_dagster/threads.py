"""How many threads the libraries under one process may run: in one place, and never more at work than there are cores.

One thread drives the pass over a video. Decoder, scaler, OpenCV and detector are called by it in turn, so that each may
use every core while the others wait. Only the decoder goes on by itself, with the few frames it holds. Measured on two
cores (docs/performance.md): what matters is that the detector has them all.

How many cores there are: `AUTORISK_CORES` where it is set (several workers on one machine must share it), else those
that the process is bound to and its container's quota lets it use. FFmpeg, onnxruntime and OpenCV count a container's
quota wrongly or not at all.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autorisk_dagster.errors import InputError

CORES_VARIABLE = "AUTORISK_CORES"
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# Read once, on import: torch and NumPy's linear algebra (OpenMP), Polars.
_OF_LIBRARIES = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS")


@dataclass(frozen=True)
class ThreadBudget:
    """Threads that each library may have while a video is read.

    Attributes:
        decoder: FFmpeg's frame threads; 1: it decodes in the thread that asks
        detector: one frame's
        pictures: OpenCV's and the scaler's. Pictures of the pass are small: handing parts to other threads costs more
            than it gains
    """

    decoder: int
    detector: int
    pictures: int


def thread_budget(cores: int | None = None) -> ThreadBudget:
    """The shares of `cores`; None: of all that this process may use."""
    cores = usable_cores() if cores is None else cores
    return ThreadBudget(decoder=cores, detector=cores, pictures=1)


def usable_cores(environment: Mapping[str, str] = os.environ, quota: Path = _CGROUP_QUOTA) -> int:
    """Cores that this process may use, at least 1.

    Raises:
        InputError: `AUTORISK_CORES` is no positive number.
    """
    named = environment.get(CORES_VARIABLE)
    if named:
        if not named.isdecimal() or int(named) < 1:
            raise InputError(f"{CORES_VARIABLE} must be a positive number of cores, got {named!r}")
        return int(named)
    return min(_bound_cores(), _quota_cores(quota))


def limit_libraries(environment: MutableMapping[str, str] = os.environ, quota: Path = _CGROUP_QUOTA) -> None:
    """Where this process may use fewer cores than it is bound to, tell the libraries that read it from the environment.

    What is set there already stays.
    """
    try:
        cores = usable_cores(environment, quota)
    except InputError:
        return  # said, with a name and a value, by the first command that opens a video; not by an import
    if cores < _bound_cores():
        for name in _OF_LIBRARIES:
            environment.setdefault(name, str(cores))


@contextmanager
def opencv_threads(threads: int) -> Iterator[None]:
    """Inside, OpenCV uses so many threads, in the whole process."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _bound_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota_cores(quota: Path) -> int:
    """Whole cores of a control group's time ("max 100000" or "150000 100000", in microseconds; Linux, version 2)."""
    try:
        allowed, period = quota.read_text().split()
    except (OSError, ValueError):
        return sys.maxsize
    return sys.maxsize if allowed == "max" else math.ceil(int(allowed) / int(period))
