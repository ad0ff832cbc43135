"""The command line. One module a group of commands; each is registered here by name."""

from __future__ import annotations

import click

from autorisk_dagster.cli.auditing import audit
from autorisk_dagster.cli.doctor import doctor
from autorisk_dagster.cli.exporting import export
from autorisk_dagster.cli.jobs import job
from autorisk_dagster.cli.lineage import lineage
from autorisk_dagster.cli.night import night
from autorisk_dagster.cli.processing import demo, ingest, run, status
from autorisk_dagster.cli.pruning import prune
from autorisk_dagster.cli.reviewing import label, labels, review
from autorisk_dagster.cli.searching import search
from autorisk_dagster.cli.serving import dashboard, ui
from autorisk_dagster.cli.sweeping import hold, sweep
from autorisk_dagster.cli.verifying import verifier
from autorisk_dagster.cli.working import daemon, worker


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="autorisk-dagster")
def main() -> None:
    """AutoRisk: from dashcam footage to ranked, explained and auditable danger."""


for command in (
    ingest,
    run,
    status,
    demo,
    job,
    label,
    labels,
    review,
    dashboard,
    search,
    lineage,
    ui,
    verifier,
    audit,
    export,
    sweep,
    hold,
    prune,
    doctor,
    worker,
    night,
    daemon,
):
    main.add_command(command)
