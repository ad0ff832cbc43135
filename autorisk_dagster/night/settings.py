"""The night's settings: one file, `night.yaml` beside the profiles. An unknown key or a wrong value is an error.

Secrets are not here: an address that holds a token and a password come from the environment (`delivery.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import Field, ValidationError, field_validator

from autorisk_dagster.errors import ProfileError
from autorisk_dagster.profile import NIGHT, Section


class BudgetSettings(Section):
    """What one night may use; null: as much as it takes."""

    machine_sec: float | None = Field(None, gt=0, description="seconds of all runs together, first start to last end")
    gpu_sec: float | None = Field(None, gt=0, description="seconds that models worked, or were waited for")
    tokens: float | None = Field(None, gt=0, description="of prompts and answers")


class EmailSettings(Section):
    """How alerts are mailed; user and password come from the environment."""

    host: str
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: str
    recipients: tuple[str, ...] = Field(min_length=1)


class AlertSettings(Section):
    """Who is told what is broken."""

    email: EmailSettings | None = None


class NightSettings(Section):
    """When the night's batch starts, and what it may use."""

    start: str = Field("02:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="clock time of `timezone`")
    timezone: str = Field("UTC", description="IANA name")
    budget: BudgetSettings = BudgetSettings()
    alerts: AlertSettings = AlertSettings()

    @field_validator("timezone")
    @classmethod
    def known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"no time zone {name!r}; use an IANA name such as Europe/Berlin") from error
        return name

    @property
    def cron(self) -> str:
        """`start` as a cron expression."""
        hour, minute = self.start.split(":")
        return f"{int(minute)} {int(hour)} * * *"


def load_night(folder: Path) -> NightSettings:
    """Read `folder/night.yaml`; without the file, the defaults.

    Raises:
        ProfileError: not YAML, an unknown key, a value out of range; the message names it.
    """
    path = folder / f"{NIGHT}.yaml"
    if not path.exists():
        return NightSettings()
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return NightSettings.model_validate(values)
    except yaml.YAMLError as error:
        raise ProfileError(f"{path.name} is not YAML: {error}") from error
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        raise ProfileError(f"{path.name}: {found}") from error
