"""What a measured child process notes about itself: CPU, wall time and memory, step by step.

Imported before the child has bound itself to its cores, so it imports nothing that starts threads.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Laps:
    """Steps of this process, in order. The first one begins with the process itself.

    Attributes:
        steps: of each step its name, CPU seconds (user and system, all threads), wall seconds and the process's
            highest resident memory so far, MB
    """

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self._cpu_sec, self._wall_sec = 0.0, time.perf_counter()

    def lap(self, name: str) -> None:
        """End the step `name`, which began when the last one ended."""
        cpu_sec, wall_sec = time.process_time(), time.perf_counter()
        self.steps.append(
            {
                "name": name,
                "cpu_sec": cpu_sec - self._cpu_sec,
                "wall_sec": wall_sec - self._wall_sec,
                "peak_mb": peak_mb(),
            }
        )
        self._cpu_sec, self._wall_sec = time.process_time(), time.perf_counter()


class Timers:
    """CPU seconds inside chosen functions, on whatever thread they run, without what their libraries' threads do.

    Only a process on one core, whose libraries work in the calling thread, is told its whole cost by these.
    """

    def __init__(self) -> None:
        self.cpu_sec: dict[str, float] = {}

    def watch(self, label: str, owner: Any, name: str) -> None:
        """Time `owner.name` under `label` from now on.

        Raises:
            AttributeError: there is no such function: the product changed, and this benchmark must follow.
        """
        inner: Callable[..., Any] = getattr(owner, name)
        self.cpu_sec.setdefault(label, 0.0)

        @functools.wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.thread_time()
            try:
                return inner(*args, **kwargs)
            finally:
                self.cpu_sec[label] += time.thread_time() - begun

        setattr(owner, name, timed)


def peak_mb() -> float:
    """Highest resident memory of this process so far, MB (Linux; not inherited from the parent, as ru_maxrss is)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status names no VmHWM: these benchmarks need Linux")
