"""`autorisk dashboard` and `autorisk ui`: what people look at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import click

from autorisk_dagster.cli.instance import local_instance, shown
from autorisk_dagster.fleet.daemon import COMMAND as DAEMON
from autorisk_dagster.fleet.deployment import deployment
from autorisk_dagster.paths import ROOT, data_root
from autorisk_dagster.storage import data_storage


@click.command()
def dashboard() -> None:
    """Make the fleet's dashboard: a site that opens from its folder, over every registered video."""
    from autorisk_dagster.definitions import defs as definitions

    with local_instance() as instance:
        job = definitions().resolve_job_def("fleet_views")
        result = job.execute_in_process(
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            raise_on_error=False,
        )
    if not result.success:
        raise click.ClickException("the dashboard could not be made; the run's log is in the UI: autorisk ui")
    index = data_storage().url("media/fleet/dashboard/index.html")
    click.echo(f"Open {shown(index)} in a browser, or serve it: autorisk ui")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on; others can reach 0.0.0.0")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--read-only", is_flag=True, help="for viewers: nothing can be launched, switched or deleted")
def ui(host: str, port: int, read_only: bool) -> None:
    """The Dagster UI with the media store under /media, and the daemon that runs schedules. Ends with Ctrl-C.

    There is no log-in: whoever reaches the address sees the footage. A fleet's daemon is a program of its own.
    """
    with local_instance():  # the home is there, with its settings, and orphaned runs are closed
        pass
    if host not in ("127.0.0.1", "::1", "localhost"):
        click.echo(f"no log-in: everyone who reaches {host}:{port} sees the footage", err=True)
    click.echo(f"Dagster UI: http://{host}:{port}   dashboard: http://{host}:{port}/media/fleet/dashboard/index.html")
    workspace = ["-w", str(ROOT / "workspace.yaml")]
    web = [sys.executable, "-m", "autorisk_dagster.cli.webserver", "--host", host, "--port", str(port), *workspace]
    commands = [[*web, "--read-only"]] if read_only else [web] if deployment() == "fleet" else [web, DAEMON]
    sys.exit(_together(commands, {**os.environ, "AUTORISK_DATA": data_root()}))


def _together(commands: list[list[str]], environment: dict[str, str]) -> int:
    """Run programs until one ends or a person ends them, then take all of them down with what they started."""
    running: list[subprocess.Popen[bytes]] = []

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        # Groups of their own: a code server that a program started must not outlive it.
        running += [subprocess.Popen(c, env=environment, cwd=ROOT, start_new_session=True) for c in commands]
        while True:
            for program in running:
                try:
                    return program.wait(timeout=0.5)
                except subprocess.TimeoutExpired:
                    continue
    except KeyboardInterrupt:
        return 0
    finally:
        for program in running:
            _end(program)
        signal.signal(signal.SIGTERM, previous)


def _end(program: subprocess.Popen[bytes], grace_sec: float = 15.0) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(program.pid, number)
        except ProcessLookupError:
            return
        try:
            program.wait(timeout=grace_sec)
        except subprocess.TimeoutExpired:
            continue
