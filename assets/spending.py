"""What models use is noted on the run, so that a night's cost and budget are read with the runs, in one query."""

import threading

import dagster as dg

from autorisk_dagster.fleet_history import gpu_tag, tokens_tag

_WRITING = threading.Lock()


def note_use(context: dg.AssetExecutionContext, gpu_sec: float, tokens: int = 0) -> None:
    """Add to what this run's step used of models; `gpu_sec`: they worked or were waited for.

    Written at once: a run that is killed has used it all the same.
    """
    step, run_id = context.assets_def.node_def.name, context.run_id
    with _WRITING:  # clips are asked in several threads
        run = context.instance.get_run_by_id(run_id)
        before = run.tags if run else {}
        added = {gpu_tag(run_id, step): gpu_sec, tokens_tag(run_id, step): float(tokens)}
        context.instance.add_run_tags(
            run_id, {name: f"{float(before.get(name, 0)) + used:.1f}" for name, used in added.items() if used}
        )
