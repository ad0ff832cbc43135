"""`python -m tests.benchmarks.scale.unit_costs`: what one video costs, by stage, on real footage: docs/capacity.json.

Each video goes through `fleet_batch` in this process, on a PostgreSQL of its own. CPU seconds of a step are those of
the process from the end of the step before to its own end: its work, its input and output, and what Dagster does around
it. A file that the graph finds nothing in gives what a run costs whatever is in the video; footage at two lengths gives
what a minute costs.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

from tests.benchmarks import footage
from tests.benchmarks.machine import machine_facts
from tests.benchmarks.measure import ROOT
from tests.benchmarks.scale.project import Project
from tests.benchmarks.scale.server import postgres

MEASURED = ROOT / "docs" / "capacity.json"
KEPT = ROOT / "build" / "benchmarks"
SHORT_SEC, LONG_SEC = 60.0, 120.0


def main() -> None:
    os.environ["POLARS_MAX_THREADS"] = "1"
    KEPT.mkdir(parents=True, exist_ok=True)
    videos = {
        f"{name}, {seconds:.0f} s": path
        for seconds in (SHORT_SEC, LONG_SEC)
        for name, path in footage.long_clips(KEPT, seconds).items()
    }
    with tempfile.TemporaryDirectory(prefix="unit", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        videos = {"nothing to find": _still(folder / "still.mp4")} | videos
        with postgres(folder) as url:
            project = Project(folder, url)
            project.set_up()
            with project.instance() as instance:
                _one(project, instance, _still(folder / "warm.mp4", level=90))  # imports, models
                runs = {what: _one(project, instance, path) for what, path in videos.items()}
    kept = {"facts": machine_facts(), "runs": runs}
    MEASURED.write_text(json.dumps(kept, indent=1) + "\n")
    print(json.dumps(kept, indent=1))


def _one(project: Project, instance: Any, video: Path) -> dict[str, Any]:
    import dagster as dg

    from autorisk_dagster.definitions import defs
    from autorisk_dagster.sources import source_ledger

    key = source_ledger().register(video).video_id
    instance.add_dynamic_partitions("videos", [key])
    marks: list[tuple[str, float]] = []

    @dg.success_hook
    def mark(context: dg.HookContext) -> None:
        marks.append((context.op.name, time.process_time()))

    before = _database(project)
    job = defs().resolve_job_def("fleet_batch").with_hooks({mark})
    start, wall = time.process_time(), time.perf_counter()
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    if not job.execute_in_process(instance=instance, partition_key=key, run_config=quiet).success:
        raise RuntimeError(f"{video} failed")
    end, wall = time.process_time(), time.perf_counter() - wall
    steps, last = {}, start
    for step, at in marks:
        steps[step], last = round(at - last, 3), at
    after = _database(project)
    facts = pl.read_parquet(project.data / "tables" / "source_video" / f"{key}.parquet").row(0, named=True)
    media = project.data / "media" / key
    return {
        "footage_sec": round(facts["duration_sec"], 1),
        "source_mb": round(video.stat().st_size / 1e6, 2),
        "clips": pl.read_parquet(project.data / "tables" / "mined_clips" / f"{key}.parquet").height,
        "cpu_sec": steps | {"after the last step": round(end - last, 3)},
        "wall_sec": round(wall, 2),
        "tables_kb": round(sum(path.stat().st_size for path in project.data.glob(f"tables/*/{key}.parquet")) / 1e3, 1),
        "table_files": sum(1 for _ in project.data.glob(f"tables/*/{key}.parquet")),
        "media_mb": {
            kind: round(sum(path.stat().st_size for path in files) / 1e6, 3)
            for kind, files in _media_kinds(media).items()
        },
        "media_files": sum(1 for path in media.rglob("*") if path.is_file()),
        "event_rows": after["rows"] - before["rows"],
        "loaded_inputs": after["loaded"] - before["loaded"],
        "transactions": after["transactions"] - before["transactions"],
        "database_kb": round((after["bytes"] - before["bytes"]) / 1e3, 1),
    }


def _media_kinds(media: Path) -> dict[str, list[Path]]:
    kinds: dict[str, list[Path]] = {}
    for path in media.rglob("*"):
        if path.is_file():
            first = path.relative_to(media).parts[0]
            kinds.setdefault(first, []).append(path)
    return kinds


def _database(project: Project) -> dict[str, int]:
    with project.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM event_logs")
        rows = cursor.fetchone()[0]
        cursor.execute("SELECT pg_database_size('postgres')")
        size = cursor.fetchone()[0]
        cursor.execute("SELECT count(*) FROM event_logs WHERE dagster_event_type = 'LOADED_INPUT'")
        loaded = cursor.fetchone()[0]
        # A connection is a transaction or more: Dagster opens one for each statement.
        cursor.execute("SELECT sum(xact_commit) FROM pg_stat_database")
        return {"rows": rows, "bytes": size, "loaded": loaded, "transactions": int(cursor.fetchone()[0])}


def _still(path: Path, level: int = 70) -> Path:
    """Ten seconds of one grey: decodable, and nothing in it."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(100):
            picture = np.full((240, 320, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


if __name__ == "__main__":
    main()
