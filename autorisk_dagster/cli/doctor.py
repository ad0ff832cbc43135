"""`autorisk doctor`: what a run needs, what is wrong, and how to mend it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import click

from autorisk_dagster.doctor import machine, records, services
from autorisk_dagster.doctor.finding import Finding, checked, redacted
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.fleet.deployment import deployment
from autorisk_dagster.intake.sources import SourceRecord, source_ledger
from autorisk_dagster.paths import CONFIGS, ROOT, data_root, local_folder
from autorisk_dagster.profile import load_profile
from autorisk_dagster.storage import data_storage

_STYLES = {"ok": "green", "warn": "yellow", "broken": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
def doctor(as_json: bool) -> None:
    """Check what a run needs and say how to mend what is missing. Exit code 1: something is broken.

    Changes nothing; a small file is written where data lies, and deleted."""
    findings = _all_findings()
    shown = json.dumps([one.as_json() for one in findings])
    broken = [one for one in findings if one.state == "broken"]
    if as_json:
        click.echo(redacted(json.dumps({"broken": len(broken), "findings": json.loads(shown)}, indent=1), os.environ))
    else:
        for one in findings:
            click.echo(click.style(f"{one.state:<7}", fg=_STYLES[one.state]), nl=False)
            click.echo(redacted(f" {one.name}: {one.found}", os.environ))
            if one.mend:
                click.echo(redacted(f"         -> {one.mend}", os.environ))
        click.echo(f"{len(broken)} broken, {sum(one.state == 'warn' for one in findings)} to know, of {len(findings)}")
    sys.exit(1 if broken else 0)


def _all_findings() -> list[Finding]:
    environment = os.environ
    home = Path(environment.get("DAGSTER_HOME", ROOT / ".dagster"))
    found = checked("Python", machine.python_version)
    found += checked("packages", partial(machine.packages, ROOT / "constraints.txt"))
    if "://" in data_root():
        found += checked("data bucket", lambda: machine.data_bucket_is_usable(data_storage()))
    found += checked("data folder", partial(machine.data_folder_is_usable, local_folder()))
    in_order = checked("Dagster home", partial(machine.dagster_home, home))
    in_order += checked("deployment", partial(services.chosen, home, environment))
    found += in_order
    if in_order[-1].state == "ok" and deployment() == "fleet":
        served = checked("fleet", partial(services.fleet, environment))
        found += served
        in_order += [one for one in served if one.name == "database"]
    sources: list[SourceRecord] = []
    try:
        sources = source_ledger().all()
    except (AutoRiskError, ValueError, TypeError, OSError) as error:
        text = f"{data_root()}/sources holds a record that cannot be read ({type(error).__name__}: {error})"
        found.append(Finding("registered videos", "broken", text, "restore it, or remove it and ingest its file again"))
    used = Counter(record.profile for record in sources)
    found += checked("profiles", partial(machine.profiles, CONFIGS, used))
    for name in sorted({"default", *used}):
        try:
            profile = load_profile(name, CONFIGS)
        except (AutoRiskError, OSError):
            continue  # told above
        found += checked(f"profile {name}", partial(machine.needs, profile, environment))
    found += checked("audit keys", partial(records.audit_keys, environment))
    found += checked("review log", lambda: records.review_log_is_whole(data_storage().pull("review")))
    found += checked("footage", partial(records.footage, sources, _has_report))
    found += checked("inbox", partial(records.inbox_folder, environment, local_folder() / "inbox" / "seen.sqlite"))
    if (home / "dagster.yaml").exists() and all(one.state == "ok" for one in in_order):
        found += checked("Dagster's history", partial(_history, home, sources, bool(environment.get("AUTORISK_INBOX"))))
    return found


def _has_report(video_id: str) -> bool:
    return data_storage().exists(f"media/{video_id}/report.html")


def _history(home: Path, sources: list[SourceRecord], has_inbox: bool) -> list[Finding]:
    import dagster as dg
    from dagster._core.scheduler.instigation import InstigatorStatus

    from autorisk_dagster import fleet_history as history
    from autorisk_dagster.jobs import GRAPH, PER_VIDEO
    from autorisk_dagster.night.failures import by_cause
    from autorisk_dagster.partitions import videos

    # Of the instance that the environment names, without making or mending anything in it.
    with dg.DagsterInstance.from_config(str(home)) as instance:
        states = instance.all_instigator_state()
        on = [state.instigator_name for state in states if state.status is InstigatorStatus.RUNNING]
        signs = [beat.timestamp for beat in instance.get_daemon_heartbeats().values()]
        silent = time.time() - max(signs) if signs else None
        registered = instance.get_dynamic_partitions(videos.name or "")
        broken = history.broken(instance, GRAPH, sources, registered)
    paths = {record.video_id: record.path for record in sources}
    start = "autorisk daemon" if deployment() == "fleet" else "autorisk ui"
    return [
        *records.broken_now(by_cause(broken), paths, PER_VIDEO),
        *records.automation(on, silent, has_inbox=has_inbox, start=start),
        *(services.daemon(silent, patience_sec=records.DAEMON_SILENT_SEC) if deployment() == "fleet" else ()),
    ]
