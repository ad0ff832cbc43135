"""The machine and the versions that figures belong to."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("av", "numpy", "onnxruntime", "opencv-python", "polars", "scipy", "trackers")


def machine_facts() -> dict[str, Any]:
    """CPU model, cores, system, versions, the code's commit, the load of the last minute and today's
    date. No path, no host name."""
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": commit(),
        "load": os.getloadavg()[0],
        "date": datetime.date.today().isoformat(),
    }


def cpu_model() -> str:
    """As the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def commit() -> str:
    """Short name of the commit, marked where files differ from it; "unknown" outside a git checkout."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"
