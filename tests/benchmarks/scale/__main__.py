"""`python -m tests.benchmarks.scale`: the history grown step by step, everything measured at each size.

Writes build/benchmarks/scale.json. 100,000 videos need about an hour, 30 GB of disk and a PostgreSQL server's programs;
--sizes 1000 10000 is a short try.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks import footage
from tests.benchmarks.machine import machine_facts
from tests.benchmarks.measure import ROOT
from tests.benchmarks.scale import project as projects
from tests.benchmarks.scale import questions
from tests.benchmarks.scale.front_end import webserver
from tests.benchmarks.scale.server import postgres

SIZES = (1_000, 10_000, 30_000, 100_000)
RUNS = 3
TEMPLATE, TEMPLATE_SEC = "merge_near_miss_horn", 15.0  # a short video with clips, processed once and copied
KEPT = ROOT / "build" / "benchmarks"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=SIZES, help="videos, ascending; none: a run's bytes alone"
    )
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--target", type=Path, default=KEPT / "scale.json")
    parser.add_argument("--video", type=Path, help="it is processed once, and its history is copied")
    wanted = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    clip = wanted.video or footage.shared_videos().get(TEMPLATE)
    clip = clip or next(iter(footage.long_clips(KEPT, TEMPLATE_SEC).values()))
    with tempfile.TemporaryDirectory(prefix="scale", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server may be another user
        with postgres(folder) as url:
            server = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
            project = projects.Project(folder, url)
            project.set_up()
            try:
                measure_sizes(project, clip, server, wanted.sizes, wanted.runs, wanted.target)
            except projects.DiskFullError as error:
                print(f"stopped: {error}")
    print(f"{wanted.target}: {len(json.loads(wanted.target.read_text())['measured'])} figures")


def measure_sizes(
    project: projects.Project, clip: Path, server: int, sizes: list[int], runs: int, target: Path
) -> None:
    """Grow, measure, keep each figure.

    Raises:
        DiskFullError: the next size does not fit.
    """
    measured: list[dict[str, Any]] = []
    kept: dict[str, Any] = {"facts": machine_facts(), "measured": measured, "sizes": {}}
    with project.instance() as instance:
        projects.take_templates(project, instance, clip)
        assert project.template is not None
        kept["template"] = {"rows": project.template.rows(), "bytes": project.template.size_bytes()}
        kept["clips_a_video"] = projects.rows_a_video(project)
        kept["bytes_a_run"] = projects.bytes_a_run(project)
        print(kept["clips_a_video"], "clips a video;", kept["bytes_a_run"], "bytes;", kept["template"], flush=True)
        target.write_text(json.dumps(kept, indent=1))
        for size in sizes:
            start = time.perf_counter()
            projects.grow(project, instance, size)
            fill_sec = time.perf_counter() - start
            print(f"{size:>7,} videos, made in {fill_sec:.0f} s", flush=True)

            def note(one: questions.Measured, size: int = size) -> None:
                what, cost, facts = one
                measured.append({"videos": size, "what": what, **cost.as_json(), **facts, "load": os.getloadavg()[0]})
                peak = f"{cost.peak_mb:8.0f} MB" if cost.peak_mb else ""
                print(f"  {what:<42} {cost.wall_sec:8.2f} s {cost.cpu_sec:8.2f} CPU s {peak} {facts}", flush=True)
                target.write_text(json.dumps(kept, indent=1))

            kept["sizes"][str(size)] = {"fill_sec": fill_sec, **questions.history_size(project)}
            for one in questions.ticks(project, instance, (server,), runs):
                note(one)
            with webserver(project.environment()) as ui:
                for one in questions.pages(project, ui, (server, ui.pid), runs):
                    note(one)
            for one in questions.commands(project, (server,), runs):
                note(one)


if __name__ == "__main__":
    main()
