"""A project folder with N videos: footage in an inbox, the ledger, the tables that are read over the fleet, and a
Dagster home whose history lies in PostgreSQL.

One video is processed and one torn file fails for real; every other video's history and tables are copies of theirs.
Of a hundred videos one failed and one was not processed yet.
"""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from autorisk_dagster.fleet import check_index
from autorisk_dagster.reporting.dashboard.fleet_data import PER_VIDEO
from tests.benchmarks.scale import history

# The tables that are copied for every video: what the night, `autorisk status` and the assets over the fleet read most.
TABLES = ("source_video", "severity_ranking", "mined_clips")
DASHBOARD_VIDEOS = 1_000  # as many have all the tables that the dashboard reads
FAILED, WAITING = 7, 13  # of each hundred videos, by number
NO_REDIS = "redis://127.0.0.1:9/0"
LEAST_FREE_BYTES = 8e9  # on the disk; before that the growing stops
AT_ONCE = 5_000  # videos between two looks at the disk


class DiskFullError(Exception):
    """The next videos would not fit; what was measured is kept."""


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
        own = {
            **{"AUTORISK_DATA": self.data, "AUTORISK_INBOX": self.inbox, "DAGSTER_HOME": self.home},
            # PostgreSQL is the fleet's; of Redis nothing is asked here, so that its address leads nowhere.
            **{"AUTORISK_DEPLOYMENT": "fleet", "AUTORISK_POSTGRES_URL": self.url, "AUTORISK_REDIS_URL": NO_REDIS},
            "POLARS_MAX_THREADS": 1,
        }
        return {**os.environ, **{name: str(value) for name, value in own.items()}}

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

    @contextmanager
    def check_index(self) -> Iterator[None]:
        """The index on the results of checks that Dagster lacks, for as long as this lasts."""
        with closing(self.connection()) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            check_index.make(self.url)
            cursor.execute(f"VACUUM ANALYZE {check_index.TABLE}")
            yield
            cursor.execute(f"DROP INDEX {check_index.NAME}")

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
    torn, whole = project.folder / "torn.mp4", project.folder / "000000.mp4"  # its key is as long as the others'
    torn.write_bytes(b"no video")
    shutil.copyfile(video, whole)
    key, run_id, success = process(instance, whole)
    failed_key, failed_run, failed_success = process(instance, torn)
    if not success or failed_success:
        raise RuntimeError("the video must go through and the torn file must fail; see the log")
    with project.connection() as connection:
        project.template = history.template(connection, run_id, key, keep=history.COPIED)
        # Of what failed nothing is pruned.
        project.failure = history.template(connection, failed_run, failed_key, keep=history.EVERYTHING)
    project.keys = [key, failed_key]


def grow(project: Project, instance: Any, count: int) -> None:
    """Bring the fleet to `count` videos, each with its file, record, history and tables.

    Raises:
        DiskFullError: less than `LEAST_FREE_BYTES` are left.
    """
    assert project.template is not None and project.failure is not None
    first = len(project.keys)
    numbered = list(enumerate(_see_files(project, range(first, count)), first))
    with project.connection() as connection, history.indexed_afterwards(connection):
        for start in range(0, len(numbered), AT_ONCE):
            if shutil.disk_usage(project.folder).free < LEAST_FREE_BYTES:
                raise DiskFullError(f"less than {LEAST_FREE_BYTES / 1e9:.0f} GB left at {first + start:,} videos")
            some = numbered[start : start + AT_ONCE]
            done = [key for number, key in some if number % 100 not in (FAILED, WAITING)]
            history.write(connection, project.template, done)
            history.write(connection, project.failure, [key for number, key in some if number % 100 == FAILED])
            _copy_tables(project, done, TABLES)
            if count <= DASHBOARD_VIDEOS:
                _copy_tables(project, done, tuple(name for name in PER_VIDEO if name not in TABLES))
            instance.add_dynamic_partitions("videos", [key for _, key in some])
    with closing(project.connection()) as connection:
        history.point_to_newest(connection)
        connection.autocommit = True
        connection.cursor().execute("VACUUM ANALYZE")
    project.keys += [key for _, key in numbered]


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


def _copy_tables(project: Project, keys: Sequence[str], names: Sequence[str]) -> None:
    """The processed video's tables as those of other videos: not packed, so that its key, which their ids begin with,
    can be replaced in the file."""
    like = project.keys[0].encode()
    for name in names:
        folder = project.data / "tables" / name
        unpacked = io.BytesIO()
        pl.read_parquet(folder / f"{project.keys[0]}.parquet").write_parquet(unpacked, compression="uncompressed")
        content = unpacked.getvalue()
        for key in keys:
            if len(key) != len(like):
                raise ValueError(f"{key} cannot stand where {project.keys[0]} stood")
            (folder / f"{key}.parquet").write_bytes(content.replace(like, key.encode()))


def bytes_a_run(project: Project) -> dict[str, int]:
    """What a run of the processed video adds to the database, in bytes: as it was written, with its log pruned, without
    pictures and long tables too, and as it is copied; and how many rows it wrote into the event log."""
    assert project.template is not None
    run_id, key = project.template.run_id, project.template.partition
    with closing(project.connection()) as connection:
        kinds = {
            "whole": history.template(connection, run_id, key, keep=history.EVERYTHING, whole=True),
            "pruned": history.template(connection, run_id, key, whole=True),
            "bare": history.template(connection, run_id, key),
            "copied": project.template,
        }
        found = {name: history.bytes_a_run(connection, one) for name, one in kinds.items()}
        return found | {"event rows": kinds["whole"].rows()["event_logs"]}


def rows_a_video(project: Project) -> int:
    """Clips that the processed video has."""
    return pl.read_parquet(project.data / "tables" / "severity_ranking" / f"{project.keys[0]}.parquet").height


def remove(project: Project) -> None:
    """All files of it."""
    shutil.rmtree(project.folder, ignore_errors=True)
