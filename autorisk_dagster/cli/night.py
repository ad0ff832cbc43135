"""`autorisk night`: what the night will do and cost, what is broken, and whether alerts arrive."""

from __future__ import annotations

import datetime as dt
import shutil

import click

from autorisk_dagster.cli.instance import local_instance
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.paths import CONFIGS


@click.group()
def night() -> None:
    """The nightly batch: its plan and cost, what is broken, alerts."""


@night.command()
def plan() -> None:
    """What a night that began now would make, in its order, and what it is expected to cost."""
    from rich.console import Console
    from rich.table import Table

    from autorisk_dagster.night.settings import load_night
    from autorisk_dagster.night.wording import rows
    from autorisk_dagster.tonight import planned

    try:
        settings = load_night(CONFIGS)
        with local_instance() as instance:
            found = planned(instance, settings.budget)
            at_once = _runs_at_once(instance)
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error
    console = Console(width=max(80, shutil.get_terminal_size((140, 0)).columns))
    table = Table(
        "",
        "expected (90 % of nights)",
        title=f"tonight: {len(found.videos)} of {len(found.videos) + len(found.left_out)} that wait",
    )
    for name, value in rows(found.cost):
        table.add_row(name, value)
    table.add_row("ends after", _length(found.cost.machine_sec, at_once))
    limits = {name: value for name, value in settings.budget.model_dump().items() if value is not None}
    table.add_row("budget", ", ".join(f"{name} {value:g}" for name, value in limits.items()) or "none is set")
    console.print(table)
    for place, key in enumerate(found.videos[:20], start=1):
        click.echo(f"{place:5}. {key}")
    if len(found.videos) > 20:
        click.echo(f"       and {len(found.videos) - 20} more")
    if found.left_out:
        click.echo(f"{len(found.left_out)} do not fit into the budget; the next night begins with them")
    for key in found.too_large:
        click.echo(f"{key} alone costs more than the budget of a night: no night will take it", err=True)


@night.command()
@click.option("--all", "every", is_flag=True, help="every video, not only the first five of a cause")
def broken(every: bool) -> None:
    """What is broken now, by cause, with the command that makes it again."""
    from autorisk_dagster.jobs import PER_VIDEO
    from autorisk_dagster.night.failures import by_cause
    from autorisk_dagster.night.wording import rerun_command
    from autorisk_dagster.tonight import look

    with local_instance() as instance:
        fleet = look(instance)
    causes = by_cause(fleet.broken)
    if not causes:
        click.echo(f"nothing is broken; {len(fleet.registered)} videos are registered")
        return
    for cause in causes:
        given_up = sum(one.given_up for one in cause.broken)
        waits = f", {given_up} wait for a person" if given_up else ""
        click.echo(click.style(f"{len(cause.broken)} broken{waits}: {cause.cause}", bold=True))
        click.echo(f"  first {_when(cause.first_failed_at_sec)}, last {_when(cause.last_failed_at_sec)}")
        for one in cause.broken if every else cause.broken[:5]:
            record = fleet.records.get(one.video_id or "")
            click.echo(f"  {one.asset} of {one.video_id or 'the fleet'}: {one.error}")
            click.echo(f"    {rerun_command(one, record.path if record else None, PER_VIDEO)}")
        if not every and len(cause.broken) > 5:
            click.echo(f"  and {len(cause.broken) - 5} more: --all")


@night.command("test-alert")
def test_alert() -> None:
    """Send a message to every channel that is configured."""
    from autorisk_dagster.night.alerts import Message
    from autorisk_dagster.night.delivery import WEBHOOK, channels
    from autorisk_dagster.night.settings import load_night

    try:
        found = channels(load_night(CONFIGS).alerts)
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error
    if not found:
        raise click.ClickException(f"no alert is configured: set {WEBHOOK}, or alerts.email in night.yaml")
    failed = False
    for name, send in found.items():
        key = f"test-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}"
        try:
            send(Message(key, "AutoRisk: a test", "Alerts of the fleet come here.", (name,)))
        except ConnectionError as error:
            failed = True
            click.echo(f"{name}: {error}", err=True)
        else:
            click.echo(f"{name}: sent")
    if failed:
        raise click.ClickException("not every channel took the message")


def _runs_at_once(instance: object) -> int | None:
    queue = instance.get_concurrency_config().run_queue_config  # type: ignore[attr-defined]
    at_once = queue.max_concurrent_runs if queue else 1
    return at_once if at_once and at_once > 0 else None


def _length(machine: object, at_once: int | None) -> str:
    from autorisk_dagster.night.cost import Estimate
    from autorisk_dagster.night.wording import NO_HISTORY

    if not isinstance(machine, Estimate):
        return NO_HISTORY
    if at_once is None:
        return "unknown: the number of runs at once has no limit"
    hours = [None if one is None else one / 3600 / at_once for one in (machine.value, machine.low, machine.high)]
    between = f" ({hours[1]:.2g} to {hours[2]:.2g})" if hours[1] is not None and hours[2] is not None else ""
    return f"{hours[0]:.2g} h{between}, {at_once} at once"


def _when(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
