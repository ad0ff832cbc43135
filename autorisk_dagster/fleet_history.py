"""What Dagster's records say of the fleet: what failed, what was made, what the nights ran and what videos cost.

A fixed number of queries whatever the number of videos: run records, the run failures of the event log, and one query
an asset for what was made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import dagster as dg

from autorisk_dagster.intake.sources import SourceRecord
from autorisk_dagster.night.cost import Cost, PastVideo
from autorisk_dagster.night.failures import Broken, Failure, Made, broken_now, cause_of, one_line
from autorisk_dagster.night.watch import NightRun, State

CODE_TAG = "autorisk/code"
NIGHT_TAG = "autorisk/night"
PROFILE_TAG = "autorisk/profile"

LOOK_BACK_DAYS = 90.0  # what failed before that and never since is forgotten: the night tries it again
HISTORY_RUNS = 200  # newest whole runs that tell what a video costs
FAILED_VIDEOS = "failed"  # metadata of a batch's failure: the message of each video
_PAGE = 1000

_STATES: Mapping[dg.DagsterRunStatus, State] = {
    dg.DagsterRunStatus.NOT_STARTED: "queued",
    dg.DagsterRunStatus.QUEUED: "queued",
    dg.DagsterRunStatus.STARTING: "running",
    dg.DagsterRunStatus.STARTED: "running",
    dg.DagsterRunStatus.CANCELING: "running",
    dg.DagsterRunStatus.SUCCESS: "succeeded",
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "cancelled",
}


def gpu_tag(run_id: str, step: str = "") -> str:
    """Tag of the seconds that models worked for a step. It names its run: Dagster's retry takes over its parent's."""
    return f"autorisk/gpu_sec/{run_id[:8]}/{step}"


def tokens_tag(run_id: str, step: str = "") -> str:
    """Tag of the tokens that a step used."""
    return f"autorisk/tokens/{run_id[:8]}/{step}"


@dataclass(frozen=True)
class Graph:
    """What of the asset graph the records are read with.

    Attributes:
        steps: the assets that each step makes, by the step's name
        per_video: the assets of a video in topological order
        code: digest of their code versions
    """

    steps: Mapping[str, tuple[str, ...]]
    per_video: tuple[str, ...]
    code: str

    def assets(self) -> list[str]:
        """Every asset that a step makes."""
        return sorted({name for made in self.steps.values() for name in made})


def broken(
    instance: dg.DagsterInstance,
    graph: Graph,
    records: Collection[SourceRecord],
    registered: Iterable[str],
    made: Made | None = None,
) -> list[Broken]:
    """What is broken now, from the newest failures of each video; without `made` it is asked of what failed alone."""
    names = {record.video_id: (record.video_id, record.path, record.path.rpartition("/")[2]) for record in records}
    profiles = {record.video_id: record.profile for record in records}
    found = failures(instance, graph, names)
    if made is None:
        made = made_events(instance, sorted({asset for failure in found for asset in failure.assets}))
    return broken_now(found, made, graph.code, profiles, registered)


def made_events(instance: dg.DagsterInstance, assets: Iterable[str]) -> Made:
    """Number of the newest materialisation of each asset and video; of what is over the fleet, of the video ""."""
    keys = [dg.AssetKey(name) for name in assets]
    made = {
        key.to_user_string(): dict(
            instance.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION)
        )
        for key in keys
    }
    for record in instance.get_asset_records(keys) if keys else ():  # asked of none, Dagster tells of all
        newest = record.asset_entry.last_materialization_record
        if newest is not None:
            made[record.asset_entry.asset_key.to_user_string()].setdefault("", newest.storage_id)
    return made


def failures(instance: dg.DagsterInstance, graph: Graph, names: Mapping[str, Collection[str]]) -> list[Failure]:
    """Every failure of the last `LOOK_BACK_DAYS`; `names`: what of each video's own may stand in a message."""
    found: list[Failure] = []
    for page in _failure_events(instance):
        records = instance.get_run_records(dg.RunsFilter(run_ids=[event.run_id for event in page]))
        runs = {record.dagster_run.run_id: record.dagster_run for record in records}
        for event in page:
            run = runs.get(event.run_id)
            if run is not None:
                found += _of_run(event, run, graph, names)
    return found


def newest_failure(instance: dg.DagsterInstance) -> int:
    """Number of the newest failure in the event log; 0: nothing ever failed."""
    records = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1).records
    return records[0].storage_id if records else 0


def night_runs(instance: dg.DagsterInstance, night: str, job: str) -> list[dg.RunRecord]:
    """The runs of `job` that belong to a night."""
    return list(instance.get_run_records(dg.RunsFilter(job_name=job, tags={NIGHT_TAG: night})))


def as_night_run(record: dg.RunRecord) -> NightRun:
    """A run record as the watch sees it."""
    run = record.dagster_run
    # Dagster's own retry of a run carries its parent's run key and is no doubled request.
    request = run.run_id if run.parent_run_id else run.tags.get("dagster/run_key", run.run_id)
    # A run that Dagster is about to try again has not ended: nobody else must ask for it.
    state = "running" if run.is_complete_and_waiting_to_retry else _STATES.get(run.status, "running")
    return NightRun(run.run_id, run.tags.get("dagster/partition", ""), request, record.storage_id, state)


def cost_of(record: dg.RunRecord, now_sec: float) -> Cost:
    """What a run has used until now."""
    run = record.dagster_run
    end = record.end_time or now_sec
    machine = max(0.0, end - record.start_time) if record.start_time else 0.0
    return Cost(machine, _summed(run.tags, gpu_tag(run.run_id)), _summed(run.tags, tokens_tag(run.run_id)))


def past_videos(
    instance: dg.DagsterInstance,
    graph: Graph,
    jobs: Iterable[str],
    footage_hours: Callable[[Collection[str]], Mapping[str, float]],
) -> list[PastVideo]:
    """The newest runs that took a video through the whole graph, of those whose footage is known; `footage_hours` is
    asked of their videos alone."""
    ended: list[tuple[float, str, dg.RunRecord]] = []
    for job in jobs:
        filters = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
        for record in instance.get_run_records(filters, limit=HISTORY_RUNS):
            if record.end_time and _is_whole(record.dagster_run, graph):
                ended.append((record.end_time, record.dagster_run.tags.get("dagster/partition", ""), record))
    hours = footage_hours({key for _, key, _ in ended})
    known = [one for one in ended if hours.get(one[1], 0.0) > 0]
    newest = sorted(known, key=lambda one: one[0], reverse=True)[:HISTORY_RUNS]
    return [PastVideo(hours[key], cost_of(record, end)) for end, key, record in newest]


def _is_whole(run: dg.DagsterRun, graph: Graph) -> bool:
    resumed = run.parent_run_id is not None  # it made only what was left
    return not resumed and _selected(run, graph) >= set(graph.per_video)


def _selected(run: dg.DagsterRun, graph: Graph) -> set[str]:
    """The assets that a run was to make; one without a selection is of a video."""
    return {key.to_user_string() for key in run.asset_selection or ()} or set(graph.per_video)


def _summed(tags: Mapping[str, str], prefix: str) -> float:
    return sum(float(value) for name, value in tags.items() if name.startswith(prefix))


@dataclass(frozen=True)
class _Event:
    run_id: str
    number: int
    at_sec: float
    event: dg.DagsterEvent


def _failure_events(instance: dg.DagsterInstance) -> Iterator[list[_Event]]:
    filters = dg.RunStatusChangeRecordsFilter(
        dg.DagsterEventType.RUN_FAILURE, after_timestamp=time.time() - LOOK_BACK_DAYS * 86_400
    )
    cursor, more = None, True
    while more:
        page = instance.fetch_run_status_changes(filters, limit=_PAGE, cursor=cursor)
        cursor, more = page.cursor, page.has_more
        entries = ((record.storage_id, record.event_log_entry) for record in page.records)
        events = [_Event(e.run_id, number, e.timestamp, e.dagster_event) for number, e in entries if e.dagster_event]
        if events:
            yield events


def _of_run(event: _Event, run: dg.DagsterRun, graph: Graph, names: Mapping[str, Collection[str]]) -> Iterator[Failure]:
    video_id = run.tags.get("dagster/partition")
    step, error, each = _told(event.event)
    assets = graph.steps.get(step or "", ()) or _last_of(run, graph)

    def of(key: str | None, why: str) -> Failure:
        return Failure(
            run.run_id,
            key,
            assets,
            cause_of(why, names.get(key or "", ()) or (key or "",)),
            one_line(why),
            event.at_sec,
            event.number,
            run.tags.get(CODE_TAG),
            run.tags.get(PROFILE_TAG),
        )

    if video_id is not None or not each:
        yield of(video_id, error)
    else:
        yield from (of(key, why) for key, why in each.items())


def _told(event: dg.DagsterEvent) -> tuple[str | None, str, Mapping[str, str]]:
    """Of a run's failure: the step, its message, and of a batch the message of each video."""
    data = event.job_failure_data if event.event_specific_data else None
    first = data.first_step_failure_event if data else None
    if first is None:
        error = data.error if data else None
        return None, (error.message if error else event.message) or "no reason was recorded", {}
    failed = first.step_failure_data
    user = failed.user_failure_data
    if user is not None and user.description:
        each = user.metadata.get(FAILED_VIDEOS)
        videos = each.value if each is not None and isinstance(each.value, dict) else {}
        return first.step_key, user.description, {str(key): str(why) for key, why in videos.items()}
    raised = (failed.error.cause or failed.error) if failed.error else None  # Dagster wraps what the asset raised
    return first.step_key, raised.message if raised else "failed", {}


def _last_of(run: dg.DagsterRun, graph: Graph) -> tuple[str, ...]:
    """The last asset that a run was to make: what is not over before it is made."""
    chosen = _selected(run, graph)
    return tuple(name for name in graph.per_video if name in chosen)[-1:] or tuple(sorted(chosen))[-1:]
