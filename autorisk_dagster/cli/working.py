"""`autorisk worker`, `autorisk daemon`: the programs of the fleet beside the UI."""

from __future__ import annotations

import os
import sys

import click

from autorisk_dagster.cli.instance import local_instance
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.fleet.daemon import COMMAND
from autorisk_dagster.fleet.deployment import QUEUES, VARIABLE, deployment
from autorisk_dagster.paths import ROOT

# Dagster gives up a run that does not begin within 60 s, and its retry too: on a machine with a load of twenty a core
# that were two of twelve.
LAUNCH_PATIENCE_SEC = 300


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
        from autorisk_dagster.fleet.worker import run_worker

        run_worker(queues)
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error


@click.command()
def daemon() -> None:
    """Run the fleet's schedules, sensors, queue and runs, until ended; steps are the workers'. One in the whole fleet:
    while it runs, a second one ends with an error that names it.

    Needs AUTORISK_DEPLOYMENT=fleet; on one machine `autorisk ui` has it.
    """
    try:
        if deployment() != "fleet":
            raise click.ClickException(f"autorisk ui runs the daemon of the local deployment; set {VARIABLE}=fleet")
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error
    with local_instance():  # the home is there, with its settings
        pass
    os.environ.setdefault("DAGSTER_GRPC_TIMEOUT_SECONDS", str(LAUNCH_PATIENCE_SEC))
    os.chdir(ROOT)
    os.execv(sys.executable, COMMAND)  # signals reach it without a process between
