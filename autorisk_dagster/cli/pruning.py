"""`autorisk prune`: the logs of runs that nobody will read any more."""

from __future__ import annotations

import datetime as dt

import click

from autorisk_dagster.cli.instance import local_instance
from autorisk_dagster.errors import AutoRiskError


@click.command()
@click.option("--older-than", "days", required=True, type=click.IntRange(min=1), help="days since the run's end")
@click.option("--yes", is_flag=True, help="remove them; without it they are only counted")
def prune(days: int, yes: bool) -> None:
    """Remove the step-by-step logs of runs that succeeded, five of six rows of Dagster's event log.

    What was made, its versions, lineage and checks, and the runs themselves stay, and the logs of runs that failed.
    """
    from autorisk_dagster.run_logs import Pruned
    from autorisk_dagster.run_logs import prune as pruned

    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
    total = Pruned()
    try:
        with local_instance() as instance:
            for page in pruned(instance, before, remove=yes):
                total += page
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error
    verb = "removed" if yes else "would remove"
    click.echo(
        f"{verb} {total.rows:,} rows of the logs of {total.runs:,} runs, {total.size_bytes / 1e6:,.1f} MB of text"
    )
    if total.rows and not yes:
        click.echo("nothing was removed; do it with --yes")
