"""`autorisk job`: any job of the graph, in this process, without the UI."""

from __future__ import annotations

import click

from autorisk_dagster.cli.instance import local_instance
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.fleet.orphans import PROCESS_TAG, this_process
from autorisk_dagster.intake.sources import source_ledger


@click.command()
@click.argument("name", required=False)
@click.argument("videos", nargs=-1, metavar="[VIDEO_ID]...")
@click.option("--verbose", "-v", is_flag=True, help="show the run's log")
def job(name: str | None, videos: tuple[str, ...], verbose: bool) -> None:
    """Run the job NAME; without one, list the jobs. A job of single videos takes their ids, as `autorisk status` has
    them."""
    from autorisk_dagster.definitions import defs as definitions

    known = {found.name: found for found in definitions().resolve_all_job_defs() if not found.name.startswith("__")}
    if name is None:
        for found in sorted(known.values(), key=lambda one: one.name):
            click.echo(
                f"{found.name:20} {'of a video' if found.partitions_def else 'of the fleet':13} {found.description}"
            )
        return
    if name not in known:
        raise click.ClickException(f"no job {name!r}; known: {', '.join(sorted(known))}")
    chosen = known[name]
    if bool(chosen.partitions_def) != bool(videos):
        wanted = "give the ids of the videos (autorisk status)" if chosen.partitions_def else "it takes no video"
        raise click.ClickException(
            f"{name} is a job of {'a video' if chosen.partitions_def else 'the fleet'}: {wanted}"
        )
    try:
        keys: list[str | None] = [source_ledger().get(video).video_id for video in videos]
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error
    failed = []
    with local_instance() as instance:
        for key in keys or [None]:
            result = chosen.execute_in_process(
                instance=instance,
                partition_key=key,
                tags={PROCESS_TAG: this_process()},
                run_config={
                    **(chosen.get_run_config_for_partition_key(key) if key else {}),  # what the job itself says
                    "loggers": {"console": {"config": {"log_level": "INFO" if verbose else "ERROR"}}},
                },
                raise_on_error=False,
            )
            refused = [check.check_name for check in result.get_asset_check_evaluations() if not check.passed]
            click.echo(f"{key or name}: {'done' if result.success else 'failed'}")
            if refused:
                click.echo(f"  checks that did not pass: {', '.join(refused)}")
            if not result.success:
                failed.append(key or name)
    if failed:
        raise click.ClickException(
            f"{len(failed)} failed; the runs' logs are in the UI (autorisk ui), or with --verbose"
        )
