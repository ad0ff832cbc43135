"""What something costs: wall seconds, CPU seconds of all processes that take part, peak memory of a child process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_TICK_SEC = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Of one run.

    Attributes:
        cpu_sec: user and system time, PostgreSQL's included
        peak_mb: largest resident memory; None: not measured
    """

    wall_sec: float
    cpu_sec: float
    peak_mb: float | None = None

    def as_json(self) -> dict[str, Any]:
        """For the file that keeps it."""
        return asdict(self)


def measure(work: Callable[[], object], servers: Iterable[int]) -> Cost:
    """Run `work` in this process; CPU is that of this process, the processes in `servers` and all their children."""
    roots = (os.getpid(), *servers)
    cpu_sec, start = _cpu_sec(roots), time.perf_counter()
    work()
    return Cost(time.perf_counter() - start, _cpu_sec(roots) - cpu_sec)


def measure_command(
    arguments: Sequence[str], environment: Mapping[str, str], servers: Iterable[int], answers: Container[int] = (0,)
) -> Cost:
    """Run `python ARGUMENTS` as a process of its own; `answers`: exit codes that are no failure.

    Raises:
        RuntimeError: it failed; its message is in its own output above.
    """
    servers = tuple(servers)
    cpu_sec, start = _cpu_sec(servers), time.perf_counter()
    peak_kb = 0
    with subprocess.Popen([sys.executable, *arguments], env=dict(environment), stdout=subprocess.DEVNULL) as process:
        # Looked at while it runs: what the kernel tells afterwards counts the memory of the process that started it.
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            peak_kb = max(peak_kb, _peak_kb(process.pid))
            time.sleep(0.02)
        _, status, usage = ended
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in answers:
        raise RuntimeError(f"{' '.join(arguments)[:80]} failed with {process.returncode}")
    own = usage.ru_utime + usage.ru_stime
    return Cost(time.perf_counter() - start, own + _cpu_sec(servers) - cpu_sec, peak_kb / 1024)


def _peak_kb(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def _cpu_sec(roots: Iterable[int]) -> float:
    """User and system time of process trees, of children that ended too."""
    parents: dict[int, list[tuple[int, float]]] = {}
    own: dict[int, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        process, parent = int(stat.parent.name), int(fields[1])
        own[process] = sum(int(ticks) for ticks in fields[11:15]) * _TICK_SEC
        parents.setdefault(parent, []).append((process, own[process]))
    total, waiting = 0.0, list(dict.fromkeys(roots))
    while waiting:
        process = waiting.pop()
        total += own.get(process, 0.0)
        waiting += [child for child, _ in parents.get(process, ())]
    return total
