"""`autorisk worker`: a worker of the fleet."""

from __future__ import annotations

import click

from autorisk_dagster.deployment import QUEUES, VARIABLE, deployment
from autorisk_dagster.errors import AutoRiskError


@click.command()
@click.option("--queue", type=click.Choice(QUEUES), required=True, help="cpu, or gpu: one such worker a GPU")
def worker(queue: str) -> None:
    """Take steps of the fleet, one at a time, until ended; Ctrl-C or SIGTERM lets the step under way finish.

    Start as many as the machine has cores to spare. Needs AUTORISK_DEPLOYMENT=fleet.
    """
    try:
        if deployment() != "fleet":
            raise click.ClickException(f"the local deployment has no workers; set {VARIABLE}=fleet")
        from autorisk_dagster.worker import run_worker

        run_worker(queue)
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error
