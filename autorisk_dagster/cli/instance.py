"""The Dagster instance the command line records in: the one whose history the UI shows."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autorisk_dagster.errors import InputError
from autorisk_dagster.fleet.deployment import check_home, deployment, instance_file
from autorisk_dagster.fleet.orphans import close_orphans
from autorisk_dagster.paths import ROOT

if TYPE_CHECKING:
    import dagster as dg


def local_instance() -> dg.DagsterInstance:
    """The Dagster instance of this deployment; its home is made on first use, with the deployment's settings."""
    import dagster as dg

    home = Path(os.environ.setdefault("DAGSTER_HOME", str(ROOT / ".dagster")))
    if not home.is_absolute():
        raise click.ClickException(f"DAGSTER_HOME must be an absolute path, got {home}")
    try:
        chosen = deployment()
        check_home(home, chosen)
    except InputError as error:
        raise click.ClickException(str(error)) from error
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        whole = home / f".dagster.yaml.{os.getpid()}"  # another program may read it at this moment
        shutil.copyfile(instance_file(chosen), whole)
        whole.replace(home / "dagster.yaml")
    instance = dg.DagsterInstance.get()
    close_orphans(instance)
    return instance


def shown(path: Path | str) -> str:
    """A path as a person wants it printed: from the current folder where it lies under it; a URL as it is."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)
