"""What is measured on a project of N videos: ticks, the UI's queries, commands, the reading of the fleet's tables."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.benchmarks.scale.front_end import Webserver
from tests.benchmarks.scale.meter import Cost, measure, measure_command
from tests.benchmarks.scale.project import DASHBOARD_VIDEOS, Project, put_footage

CLI = ("-c", "from autorisk_dagster.cli import main; main()")
EVENTS = ["MATERIALIZATION", "OBSERVATION", "FAILED_TO_MATERIALIZE"]
LATEST = 50  # rows of a page in the front end
LONG_SEC = 8.0
NOBODY_PORT = 9  # discard: nothing listens there
NIGHT_PLAN = "autorisk/night"  # where the plan of a night is kept
ASSET = "safety_report"

PAGES = {
    "asset graph: the code location's assets": "LocationWorkspaceAssetsQuery",
    "asset graph: state of the 20 assets": "AssetGraphLiveQuery",
    "asset graph: staleness of the 20 assets": "AssetStaleStatusDataQuery",
    "asset graph: health of the 20 assets": "AssetHealthQuery",
    "asset catalogue": "AssetCatalogTableQuery",
    "asset page: definition": "AssetViewDefinitionQuery",
    "asset page: latest metadata": "AssetOverviewMetadataEventsQuery",
    "asset page: 50 latest events": "RecentAssetEventsQuery",
    "asset page: state of its partitions": "PartitionHealthQuery",
    "asset page: one partition": "AssetPartitionDetailQuery",
    "asset page: staleness of one partition": "AssetPartitionStaleQuery",
    "asset page: its checks": "AssetChecksQuery",
    "runs page: 30 latest": "RunsFeedRootQuery",
    "runs page: counts": "RunFeedTabsCountQuery",
}
QUERIES = tuple(PAGES.values())
# Dagster keeps the state of an asset's partitions, and brings it up to date when it is asked for: the first time after
# runs, with all of them.
BY_CACHE_NAME, BY_CACHE = "asset graph: state of the 20 assets", "AssetGraphLiveQuery"

Measured = tuple[str, Cost, dict[str, Any]]


def ticks(project: Project, instance: Any, servers: tuple[int, ...], times: int) -> Iterator[Measured]:
    """The schedule first, so that its first tick finds Dagster's own caches as a day's runs left them."""
    import dagster as dg

    from autorisk_dagster.definitions import defs
    from autorisk_dagster.night.delivery import WEBHOOK
    from autorisk_dagster.night_sensors import failure_alerts
    from autorisk_dagster.schedules import nightly_fleet_batch
    from autorisk_dagster.sensors import inbox

    repository = defs().get_repository_def()
    night = dt.datetime(2026, 3, 1, 2, tzinfo=dt.UTC)
    found: dict[str, Any] = {}

    def schedule_tick() -> None:
        with dg.build_schedule_context(instance, scheduled_execution_time=night, repository_def=repository) as context:
            found["result"] = nightly_fleet_batch.evaluate_tick(context)

    cursor: list[str | None] = [None]

    def sensor_tick() -> None:
        with dg.SensorEvaluationContext(
            instance_ref=instance.get_ref(), instance=instance, cursor=cursor[0], repository_def=repository
        ) as context:
            found["result"] = inbox.evaluate_tick(context)
        cursor[0] = found["result"].cursor

    def alerts_tick() -> None:
        # No night is under way, nothing was seen before, and nobody takes the message.
        instance.daemon_cursor_storage.set_cursor_values({NIGHT_PLAN: ""})
        os.environ[WEBHOOK] = f"http://127.0.0.1:{NOBODY_PORT}/"
        with dg.SensorEvaluationContext(
            instance_ref=instance.get_ref(), instance=instance, cursor=None, repository_def=repository
        ) as context:
            failure_alerts.evaluate_tick(context)
        del os.environ[WEBHOOK]

    for number in _again(times + 1):
        instance.daemon_cursor_storage.set_cursor_values({NIGHT_PLAN: ""})  # no plan is kept from the tick before
        cost = measure(schedule_tick, servers)
        requested = len(found["result"].run_requests or [])
        yield ("nightly tick, first" if number == 0 else "nightly tick", cost, {"requested": requested})
    for _ in _again(times):
        yield "alerts tick, a new failure", measure(alerts_tick, servers), {}
    cursor[0] = str(10**12)  # everything that is known was done
    for _ in _again(times):
        yield "inbox tick, nothing new", measure(sensor_tick, servers), {}
    with_new = len(project.keys) + 1_000_000
    cursor[0] = str(_last_action(project))
    for _ in _again(times):
        put_footage(project, range(with_new, with_new + 100))
        with_new += 100
        yield "inbox tick, 100 new", measure(sensor_tick, servers), {"requested": len(found["result"].run_requests)}


def _again(times: int) -> Iterator[int]:
    """Once at least (what takes long), and up to `times` while that takes less than `LONG_SEC` in all."""
    start = time.perf_counter()
    for number in range(times):
        if number and time.perf_counter() - start > LONG_SEC:
            return
        yield number


def _last_action(project: Project) -> int:
    import sqlite3

    with sqlite3.connect(project.data / "inbox" / "seen.sqlite") as database:
        return int(database.execute("SELECT coalesce(max(number), 0) FROM action").fetchone()[0])


def pages(project: Project, server: Webserver, servers: tuple[int, ...], times: int) -> Iterator[Measured]:
    """What the UI asks for its pages, one query at a time."""
    from autorisk_dagster.jobs import PER_VIDEO

    keys = [{"path": [name]} for name in PER_VIDEO]
    one: dict[str, Any] = {"assetKey": {"path": [ASSET]}}
    assets, partition = {"assetKeys": keys}, one | {"partitionKey": project.keys[0]}
    latest = one | {"limit": LATEST, "eventTypeSelectors": EVENTS}
    variables: dict[str, dict[str, Any]] = {
        "LocationWorkspaceAssetsQuery": {"name": _location(server)},
        "AssetGraphLiveQuery": assets,
        "AssetStaleStatusDataQuery": assets,
        "AssetHealthQuery": assets,
        "AssetCatalogTableQuery": {"limit": 1000},
        "RecentAssetEventsQuery": latest,
        "AssetPartitionDetailQuery": partition,
        "AssetPartitionStaleQuery": partition,
        "RunsFeedRootQuery": {"limit": 30, "view": "ROOTS"},
        "RunFeedTabsCountQuery": _counted(),
    }

    def asked(query: str) -> tuple[Cost, dict[str, Any]]:
        facts: dict[str, Any] = {}

        def ask() -> None:
            try:
                facts["bytes"] = server.ask(query, variables.get(query, one))[1]
            except RuntimeError as error:  # such as: a statement took longer than the webserver lets one take
                facts["refused"] = str(error)[:200]

        return measure(ask, servers), facts

    for name, query in PAGES.items():
        if query == BY_CACHE:
            yield f"{name}, first", *asked(query)
        for _ in _again(times):
            yield name, *asked(query)
    with project.check_index():
        yield f"{BY_CACHE_NAME}, with the index", *asked(BY_CACHE)
        yield f"{BY_CACHE_NAME}, with the index", *asked(BY_CACHE)


def _counted() -> dict[str, Any]:
    return {
        "queuedFilter": {"statuses": ["QUEUED"]},
        "inProgressFilter": {"statuses": ["STARTED", "STARTING", "CANCELING"]},
        "view": "ROOTS",
    }


def _location(server: Webserver) -> str:
    found, _ = server.ask("CodeLocationStatusQuery", {})
    name: str = found["locationStatusesOrError"]["entries"][0]["name"]
    return name


def commands(project: Project, servers: tuple[int, ...], times: int) -> Iterator[Measured]:
    """Whole processes: interpreter, imports and all."""
    asked: list[tuple[str, tuple[str, ...]]] = [
        ("autorisk status", (*CLI, "status")),
        ("autorisk doctor", (*CLI, "doctor")),
        ("autorisk night plan", (*CLI, "night", "plan")),
        ("autorisk night broken", (*CLI, "night", "broken")),
        ("fan-in: clips by severity", ("-m", "tests.benchmarks.scale.fan_in", "severity_ranking", "group")),
        ("fan-in: every row of mined_clips", ("-m", "tests.benchmarks.scale.fan_in", "mined_clips", "collect")),
    ]
    if len(project.keys) <= DASHBOARD_VIDEOS:
        asked.append(("autorisk dashboard", (*CLI, "dashboard")))
    for name, arguments in asked:
        for _ in _again(times):
            # The doctor finds what is broken here, and says so with 1.
            answers = (1,) if name == "autorisk doctor" else (0,)
            yield name, measure_command(arguments, project.environment(), servers, answers), {}


def history_size(project: Project) -> dict[str, int]:
    """Bytes of each table that is not empty, indexes and out-of-line values included, and of the database."""
    with project.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables WHERE n_live_tup > 0")
        found = dict(cursor.fetchall())
        cursor.execute("SELECT pg_database_size('postgres')")
        return found | {"database": cursor.fetchone()[0]}


GROUPS: tuple[Callable[..., Iterator[Measured]], ...] = (ticks, pages, commands)
