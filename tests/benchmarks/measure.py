"""Runs measured child processes one after the other, interleaved, and keeps what they noted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ONE_CORE, ALL_CORES = "one core", "all cores"
RUNS, ALL_CORES_RUNS = 5, 3
REFERENCE_RUNS = 3  # it takes most of the time: a minute or two a run; on all cores once


@dataclass(frozen=True)
class Order:
    """One job to run, again and again.

    Attributes:
        subject: what it is run on, for the tables
        job: name in `jobs.JOBS`
        cores: `ONE_CORE` or `ALL_CORES`
        runs: how often
        arguments: the job's own
    """

    subject: str
    job: str
    cores: str
    runs: int
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What one child process noted."""

    subject: str
    job: str
    cores: str
    steps: list[dict[str, Any]]
    facts: dict[str, Any]


def run_interleaved(orders: list[Order], say: Any = print) -> Iterator[list[Run]]:
    """All orders once, then those with runs left once more, and so on: a slow minute of the machine hits all alike.

    After each round all runs so far are given out.

    The reference's windows of a subject are handed on to the jobs on the same subject that come after it.
    """
    runs: list[Run] = []
    windows: dict[str, Any] = {}
    for number in range(max((order.runs for order in orders), default=0)):
        for order in orders:
            if number >= order.runs:
                continue
            arguments = order.arguments | {"windows": windows.get(order.subject, [])}
            run = run_once(order.subject, order.job, order.cores, arguments)
            windows[order.subject] = run.facts.get("windows", arguments["windows"])
            runs.append(run)
            seconds = sum(step["cpu_sec"] for step in run.steps)
            what = f"{order.subject:<34} {order.job:<10} {order.cores:<9}"
            say(f"  {number + 1}/{order.runs}  {what} {seconds:8.2f} CPU s")
        yield runs


def run_once(subject: str, job: str, cores: str, arguments: dict[str, Any]) -> Run:
    """One child process.

    Raises:
        RuntimeError: it failed; its message is in its own output above.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "answer.json"
        core = min(os.sched_getaffinity(0)) if cores == ONE_CORE else None
        order = arguments | {"job": job, "core": core, "target": str(target)}
        command = [sys.executable, "-m", "tests.benchmarks.child", json.dumps(order)]
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            raise RuntimeError(f"{job} on {subject} failed: see its message above")
        answer = json.loads(target.read_text())
    return Run(subject, job, cores, answer["steps"], answer["facts"])


class Runs:
    """Medians over the runs of one group."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs

    @property
    def subjects(self) -> list[str]:
        """In the order of the runs."""
        return list(dict.fromkeys(run.subject for run in self.runs))

    def of(self, subject: str, job: str, cores: str = ONE_CORE) -> list[Run]:
        """The runs of one job."""
        return [r for r in self.runs if (r.subject, r.job, r.cores) == (subject, job, cores)]

    def facts(self, subject: str, job: str, cores: str = ONE_CORE) -> dict[str, Any]:
        """What the job found out, in its last run."""
        return self.of(subject, job, cores)[-1].facts

    def steps(self, subject: str, job: str, cores: str = ONE_CORE, what: str = "cpu_sec") -> dict[str, float]:
        """Median of each step."""
        found: dict[str, list[float]] = {}
        for run in self.of(subject, job, cores):
            for step in run.steps:
                found.setdefault(step["name"], []).append(step[what])
        return {name: median(values) for name, values in found.items()}

    def total(
        self, subject: str, job: str, names: tuple[str, ...], cores: str = ONE_CORE, what: str = "cpu_sec"
    ) -> list[float]:
        """Sum of the named steps in each run, smallest first."""
        return sorted(
            sum(step[what] for step in run.steps if step["name"] in names) for run in self.of(subject, job, cores)
        )

    def stages(self, subject: str) -> dict[str, float]:
        """Median CPU seconds inside each stage of the one pass, on one core."""
        each = [run.facts["stages"] for run in self.of(subject, "ours")]
        return {name: median(stages[name] for stages in each) for name in each[0]}


def stored(runs: list[Run], facts: dict[str, Any]) -> dict[str, Any]:
    """As JSON: `facts` (machine, versions, date) and the runs."""
    return {"facts": facts, "runs": [asdict(run) for run in runs]}


def loaded(content: dict[str, Any]) -> Runs:
    """Back from JSON."""
    return Runs([Run(**run) for run in content["runs"]])
