"""Which deployment runs here: `local` (SQLite, in this process) or `fleet` (PostgreSQL, Celery on Redis).

One switch for every process, so that a daemon and a worker cannot disagree; both deployments are files in `configs/`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from autorisk_dagster.errors import InputError
from autorisk_dagster.paths import CONFIGS

Deployment = Literal["local", "fleet"]
VARIABLE = "AUTORISK_DEPLOYMENT"
POSTGRES_URL = "AUTORISK_POSTGRES_URL"  # postgresql+psycopg2://user:password@host:5432/database
REDIS_URL = "AUTORISK_REDIS_URL"  # redis://:password@host:6379/0
QUEUES = ("cpu", "gpu")  # of the steps' tags: assets/placement.py
_NEEDS: Mapping[Deployment, tuple[str, ...]] = {"local": (), "fleet": (POSTGRES_URL, REDIS_URL)}


def deployment(environment: Mapping[str, str] = os.environ) -> Deployment:
    """The deployment that the environment chooses; `local` where it says nothing.

    Raises:
        InputError: there is no such deployment, or the environment lacks an address it needs.
    """
    name = environment.get(VARIABLE) or "local"
    for known in get_args(Deployment):
        if name == known:
            missing = [variable for variable in _NEEDS[known] if not environment.get(variable)]
            if missing:
                raise InputError(f"{VARIABLE}={name} needs {' and '.join(missing)}: set it to the server's address")
            return known  # type: ignore[no-any-return]
    raise InputError(f"{VARIABLE} is {name!r}; known: {', '.join(get_args(Deployment))}")


def instance_file(name: Deployment) -> Path:
    """The `dagster.yaml` of a deployment."""
    return CONFIGS / f"dagster_{name}.yaml"


def celery_file() -> Path:
    """Settings that the executor and the workers of the fleet share."""
    return CONFIGS / "dagster_celery.yaml"


def celery_settings() -> dict[str, Any]:
    """What `celery_file` says, with secrets still as names of environment variables.

    Raises:
        InputError: the file lacks the nesting or the broker; Celery would look for RabbitMQ on this machine instead.
    """
    path = celery_file()
    settings = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("execution", {}).get("config", {})
    if not (settings.get("broker") and settings.get("backend")):
        raise InputError(f"{path} must name broker and backend under execution: config:")
    return dict(settings)


def deployment_of(home: Path) -> Deployment | None:
    """The deployment whose database the `dagster.yaml` in `home` names; None: there is no such file yet.

    Raises:
        InputError: the file holds no settings.
    """
    path = home / "dagster.yaml"
    if not path.exists():
        return None
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise InputError(f"{path} holds no settings; copy {instance_file('local')} there")
    return "fleet" if "postgres" in (settings.get("storage") or {}) else "local"


def check_home(home: Path, chosen: Deployment) -> None:
    """Refuse a Dagster home of the other deployment: its runs would be recorded in one and looked for in the other.

    Raises:
        InputError: with the two ways out.
    """
    found = deployment_of(home)
    if found is not None and found != chosen:
        raise InputError(
            f"{home / 'dagster.yaml'} is of the deployment {found}, and {VARIABLE} says {chosen}: "
            f"set {VARIABLE}={found}, or copy {instance_file(chosen)} there"
        )
