"""`autorisk verifier`: the strict verifier of proposed events."""

from __future__ import annotations

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
