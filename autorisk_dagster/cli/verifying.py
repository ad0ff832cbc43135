"""`autorisk verifier`: the strict verifier of proposed events."""

from __future__ import annotations

from pathlib import Path

import click

from autorisk_dagster.cli.instance import shown
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.paths import local_folder


@click.group()
def verifier() -> None:
    """The strict verifier of proposed events."""


@verifier.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on; others can reach 0.0.0.0")
@click.option("--port", default=8788, show_default=True, type=click.IntRange(1, 65535))
@click.option("--allow-origin", multiple=True, metavar="URL", help="web page that may call it from a browser")
def serve(host: str, port: int, allow_origin: tuple[str, ...]) -> None:
    """Serve the gesture verifier: POST /verify, GET /health. COSMOS_NIM_URL names the model's endpoint."""
    import uvicorn

    from autorisk_dagster.verification import gesture
    from autorisk_dagster.verification.endpoint import URL_VARIABLE, ChatClient, Endpoint
    from autorisk_dagster.verification.event_log import EventLog
    from autorisk_dagster.verification.service import create_app
    from autorisk_dagster.verification.verifier import Verifier

    log = EventLog(local_folder() / "verification" / "gesture.jsonl")
    try:
        endpoint = Endpoint.from_environment()
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error
    if endpoint is None:
        click.echo(f"{URL_VARIABLE} is not set: a stub, which rejects every gesture and says so", err=True)
    judge = Verifier(gesture.CONTRACT, ChatClient(endpoint) if endpoint else None, log)
    click.echo(f"verdicts are logged in {shown(log.path)}", err=True)
    uvicorn.run(create_app(judge, allow_origins=allow_origin), host=host, port=port)


@verifier.command()
@click.argument("logs", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--csv", "table", type=click.Path(path_type=Path), help="write a row an event: latency, disagreement")
@click.option("--training", type=click.Path(path_type=Path), help="write features with the model's verdict, JSON lines")
def report(logs: tuple[Path, ...], table: Path | None, training: Path | None) -> None:
    """What the log says: how often the model disagreed with the detector and why, and how long it took.

    LOGS: the verifier's log, and those of other programs that carry the same event ids [default: the service's log]
    """
    from autorisk_dagster.verification.event_log import read_log, write_training_rows
    from autorisk_dagster.verification.log_report import event_rows, is_verdict, summary

    paths = logs or (local_folder() / "verification" / "gesture.jsonl",)
    try:
        readings = [read_log(path) for path in paths]
        records = [record for reading in readings for record in reading.records]
        found = summary(records)
        if table is not None:
            event_rows(records).write_csv(table)
    except FileNotFoundError as error:
        raise click.ClickException(f"no verdict was logged yet in {shown(paths[0])}") from error
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{found.events} events, the model heard on {found.heard}, {found.disagreed} not confirmed")
    for reason, count in found.reasons.items():
        click.echo(f"  {count:6d}  {reason}")
    for name, spread in (("verifier", found.latency_sec), ("end to end", found.end_to_end_sec)):
        if spread is not None:
            click.echo(f"{name}: median {spread[0]:.2f} s, 95 % within {spread[1]:.2f} s, longest {spread[2]:.2f} s")
    broken = sum(reading.broken_lines for reading in readings)
    if broken:
        click.echo(f"{broken} lines are no record", err=True)
    if training is not None:
        rows = write_training_rows([record for record in records if is_verdict(record)], training)
        click.echo(f"{rows} training rows in {shown(training)}")
