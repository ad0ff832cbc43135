"""What a check found. Whatever is shown has gone through `redacted`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from autorisk_dagster.errors import AutoRiskError

State = Literal["ok", "warn", "broken"]
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL", re.IGNORECASE)
_MIN_SECRET = 6  # characters; a shorter value would blacken words
_USER_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True)
class Finding:
    """One thing a run needs.

    Attributes:
        name: of what was looked at
        state: ok; warn: runs go on, and somebody should know; broken: a run that needs it fails
        found: what is there
        mend: what to do; "" where there is nothing to do
    """

    name: str
    state: State
    found: str
    mend: str = ""

    def as_json(self) -> dict[str, str]:
        """For `--json`."""
        return asdict(self)


def checked(name: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """What `check` finds; a check that fails itself is a finding, and does not keep the others from being made."""
    try:
        return check()
    except (AutoRiskError, OSError, ValueError, ImportError) as error:
        return [Finding(name, "broken", f"could not be looked at ({type(error).__name__}: {error})")]


def redacted(text: str, environment: Mapping[str, str]) -> str:
    """`text` without the values of the environment's secrets and without users and passwords in addresses.

    Names that end in a folder or file (`AUTORISK_AUDIT_KEYS`) are of paths, which are shown.
    """
    for name, value in sorted(environment.items(), key=lambda pair: -len(pair[1])):
        if _SECRET_NAME.search(name) and len(value) >= _MIN_SECRET and not value.startswith(("/", ".")):
            text = text.replace(value, f"[{name}]")
    return _USER_IN_URL.sub("", text)
