"""A project folder with N videos: footage in an inbox, the ledger, the tables that are read over the fleet, and a
Dagster home whose history lies in PostgreSQL.

One video is processed and one torn file fails for real; every other video's history and tables are copies of theirs.
Of a hundred videos one failed and one was not processed yet.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from tests.benchmarks.scale import history

# The tables that are copied for every video: what the night, `autorisk status` and the assets over the fleet read most.
TABLES = ("source_video", "severity_ranking", "mined_clips")
FAILED, WAITING = 7, 13  # of each hundred videos, by number


@dataclass
class Project:
    """Attributes:
    folder: of everything
    url: of the database
    keys: of the videos that were added so far
    template: of the run of the video that was processed
    failure: of the run of the torn file
    """

    folder: Path
    url: str
    keys: list[str] = field(default_factory=list)
    template: history.Template | None = None
    failure: history.Template | None = None

    @property
    def data(self) -> Path:
        """`AUTORISK_DATA`."""
        return self.folder / "data"

    @property
    def inbox(self) -> Path:
        """`AUTORISK_INBOX`."""
        return self.folder / "inbox"

    @property
    def home(self) -> Path:
        """`DAGSTER_HOME`."""
        return self.folder / "home"

    def environment(self) -> dict[str, str]:
        """Of every process that works on this project."""
        own = {"AUTORISK_DATA": self.data, "AUTORISK_INBOX": self.inbox, "DAGSTER_HOME": self.home}
        return {**os.environ, **{name: str(path) for name, path in own.items()}, "POLARS_MAX_THREADS": "1"}

    def set_up(self) -> None:
        """The folders, and the settings of an instance on PostgreSQL."""
        for folder in (self.data, self.inbox, self.home):
            folder.mkdir()
        (self.home / "dagster.yaml").write_text(
            "telemetry: {enabled: false}\nnux: {enabled: false}\n"
            f"storage:\n  postgres:\n    postgres_url: {self.url}\n"
        )
        os.environ.update(self.environment())

    def instance(self) -> Any:
        """The Dagster instance of the home."""
        import dagster as dg

        return dg.DagsterInstance.from_config(str(self.home))

    def connection(self) -> Any:
        """A connection of psycopg2."""
        import psycopg2

        return psycopg2.connect(self.url.replace("+psycopg2", ""))


def process(instance: Any, video: Path) -> tuple[str, str, bool]:
    """Run `fleet_batch` on a file: video, run id, success."""
    from autorisk_dagster.definitions import defs
    from autorisk_dagster.intake.sources import source_ledger

    key = source_ledger().register(video).video_id
    instance.add_dynamic_partitions("videos", [key])
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    job = defs().resolve_job_def("fleet_batch")
    found = job.execute_in_process(instance=instance, partition_key=key, raise_on_error=False, run_config=quiet)
    return key, found.run_id, found.success


def take_templates(project: Project, instance: Any, video: Path) -> None:
    """Process `video` and a torn file; keep what Dagster wrote."""
    torn = project.folder / "torn.mp4"
    torn.write_bytes(b"no video")
    key, run_id, success = process(instance, video)
    failed_key, failed_run, failed_success = process(instance, torn)
    if not success or failed_success:
        raise RuntimeError("the video must go through and the torn file must fail; see the log")
    with project.connection() as connection:
        project.template = history.template(connection, run_id, key)
        project.failure = history.template(connection, failed_run, failed_key)
    project.keys = [key, failed_key]


def grow(project: Project, instance: Any, count: int) -> None:
    """Bring the fleet to `count` videos, each with its file, record, history and tables."""
    assert project.template is not None and project.failure is not None
    first = len(project.keys)
    keys = _see_files(project, range(first, count))
    for start in range(0, len(keys), 10_000):
        instance.add_dynamic_partitions("videos", keys[start : start + 10_000])
    done = [key for number, key in enumerate(keys, first) if number % 100 not in (FAILED, WAITING)]
    with project.connection() as connection:
        history.write(connection, project.template, done)
        failed = [key for number, key in enumerate(keys, first) if number % 100 == FAILED]
        history.write(connection, project.failure, failed)
    with project.connection() as connection:
        connection.autocommit = True
        connection.cursor().execute("ANALYZE")
    _copy_tables(project, done)
    project.keys += keys


def put_footage(project: Project, numbers: Sequence[int] | range) -> None:
    """Small files into the inbox, each of its own content, settled."""
    old = time.time() - 3600
    for number in numbers:
        folder = project.inbox / f"car{number % 997:03d}"
        folder.mkdir(exist_ok=True)
        path = folder / f"{number:06d}.mp4"
        path.write_bytes(b"footage %d" % number)
        os.utime(path, (old, old))


def _see_files(project: Project, numbers: range) -> list[str]:
    """Put files into the inbox and have the inbox's own functions see and register them; return their keys."""
    from autorisk_dagster.intake.discovery import decide, files_to_read
    from autorisk_dagster.intake.inbox import InboxLedger, read_file, registered_of
    from autorisk_dagster.intake.inbox_places import open_inbox
    from autorisk_dagster.intake.sources import source_ledger

    put_footage(project, numbers)
    ledger, sources = InboxLedger(project.data / "inbox" / "seen.sqlite"), source_ledger()
    inbox = open_inbox(str(project.inbox))
    listing, seen, now_sec = inbox.look(), ledger.seen(), time.time()
    now, _ = files_to_read(listing.files, seen, now_sec, limit=len(listing.files))
    readings = {path: read_file(inbox, path, listing.files[path], None, ()) for path in now}
    known = registered_of(inbox, readings, sources)
    outcome = decide(listing.files, seen, readings, known, now_sec)
    ledger.keep(seen, outcome)
    for action in outcome.actions:
        sources.place(action.video_id, inbox.location(action.path), action.fingerprint, action.profile)
    return [action.video_id for action in sorted(outcome.actions, key=lambda action: action.path[-10:])]


def _copy_tables(project: Project, keys: Sequence[str]) -> None:
    """The processed video's tables under other names."""
    like = project.keys[0]
    for name in TABLES:
        folder = project.data / "tables" / name
        content = (folder / f"{like}.parquet").read_bytes()
        for key in keys:
            (folder / f"{key}.parquet").write_bytes(content)


def rows_a_video(project: Project) -> int:
    """Clips that the processed video has."""
    return pl.read_parquet(project.data / "tables" / "severity_ranking" / f"{project.keys[0]}.parquet").height


def remove(project: Project) -> None:
    """All files of it."""
    shutil.rmtree(project.folder, ignore_errors=True)
