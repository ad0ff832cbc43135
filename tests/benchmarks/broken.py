"""How long the inventory of what is broken takes: `python -m tests.benchmarks.broken [VIDEOS]`.

So many videos, each failed once in the event log of a SQLite instance as a real failed run leaves it; then what
`autorisk night broken`, the schedule and the sensors read.
"""

import sys
import time
import uuid

import dagster as dg
from dagster._serdes import serialize_value

from autorisk_dagster import fleet_history as history
from autorisk_dagster.night.failures import broken_now, by_cause

VIDEOS = dg.DynamicPartitionsDefinition(name="videos")


@dg.asset(partitions_def=VIDEOS)
def tracks(context: dg.AssetExecutionContext) -> None:
    raise dg.Failure(f"{context.partition_key}.mp4: 7 of 9 packets are damaged. Copy the file from the recorder again")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    graph = history.Graph({"tracks": ("tracks",)}, ("tracks",), "now")
    keys = [f"drive-{number:06}" for number in range(count)]
    with dg.instance_for_test() as instance:
        job = dg.Definitions([tracks], jobs=[dg.define_asset_job("videos")]).resolve_job_def("videos")
        instance.add_dynamic_partitions("videos", keys)
        job.execute_in_process(instance=instance, partition_key=keys[0], raise_on_error=False)
        (run,) = instance.get_runs()
        event = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1).records[0].event_log_entry
        storage = instance.event_log_storage
        print(f"one failure in the log: {len(serialize_value(event)) / 1024:.1f} KiB")
        with storage.index_connection() as connection:  # type: ignore[attr-defined]
            for key in keys[1:]:
                run_id = str(uuid.uuid4())
                instance.add_run(run._replace(run_id=run_id, tags={**run.tags, "dagster/partition": key}))
                connection.execute(storage.prepare_insert_event(event._replace(run_id=run_id)))  # type: ignore[attr-defined]
        for _ in range(3):
            began, cpu = time.monotonic(), time.process_time()
            failures = history.failures(instance, graph, {key: (key,) for key in keys})
            read = time.process_time() - cpu
            made = history.made_events(instance, graph.assets())
            causes = by_cause(broken_now(failures, made, "now", {}, keys))
            print(
                f"{count} videos, {len(causes[0].broken)} broken for one cause: {time.monotonic() - began:.2f} s, "
                f"{time.process_time() - cpu:.2f} s of CPU, {read:.2f} of them reading the log"
            )


if __name__ == "__main__":
    main()
