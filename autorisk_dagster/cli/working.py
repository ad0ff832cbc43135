"""`autorisk worker`: a worker of the fleet."""

from __future__ import annotations

import click

from autorisk_dagster.deployment import QUEUES, VARIABLE, deployment
from autorisk_dagster.errors import AutoRiskError


@click.command()
@click.option(
    "--queue",
    "queues",
    type=click.Choice(QUEUES),
    multiple=True,
    required=True,
    help="cpu: a worker a core; gpu: one worker a GPU; may be given twice",
)
def worker(queues: tuple[str, ...]) -> None:
    """Take steps of the fleet, one at a time, until ended; Ctrl-C or SIGTERM lets the step under way finish.

    Needs AUTORISK_DEPLOYMENT=fleet.
    """
    try:
        if deployment() != "fleet":
            raise click.ClickException(f"the local deployment has no workers; set {VARIABLE}=fleet")
        from autorisk_dagster.worker import run_worker

        run_worker(queues)
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error
