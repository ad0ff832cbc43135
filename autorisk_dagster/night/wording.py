"""How costs, causes and commands are put in words, alike in the terminal, in Dagster and in messages."""

from __future__ import annotations

import shlex
from collections.abc import Collection

from autorisk_dagster.night.cost import Estimate, NightCost
from autorisk_dagster.night.failures import Broken

NO_HISTORY = "no history yet"


def in_words(cost: NightCost) -> str:
    """A night's expected cost in one line."""
    return "; ".join(
        [f"{cost.videos} {'video' if cost.videos == 1 else 'videos'}", *(f"{n}: {v}" for n, v in rows(cost))]
    )


def rows(cost: NightCost) -> list[tuple[str, str]]:
    """Quantity and value with its interval, for a table."""
    return [
        ("footage", _amount(cost.footage_hours, 1.0, "h")),
        ("machine time", _amount(cost.machine_sec, 1 / 3600, "h")),
        ("GPU", _amount(cost.gpu_sec, 1.0, "s")),
        ("tokens", _amount(cost.tokens, 1.0, "")),
    ]


def _amount(estimate: Estimate | None, scale: float, unit: str) -> str:
    if estimate is None:
        return NO_HISTORY
    text = f"{_number(estimate.value * scale)} {unit}".strip()
    if estimate.low is None or estimate.high is None:
        return f"{text} (no interval: one past video)"
    if estimate.low == estimate.high:
        return text
    return f"{text} ({_number(estimate.low * scale)} to {_number(estimate.high * scale)}, n = {estimate.n})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == 0 else f"{value:.3g}"


def rerun_command(one: Broken, path: str | None, per_video: Collection[str]) -> str:
    """What a person types to make again what is broken."""
    if one.video_id is None:
        return "autorisk job after_night"
    if one.asset in per_video and path:
        return f"autorisk run {shlex.quote(path)}"
    return f"autorisk job {'process_video' if one.asset in per_video else 'finalize'} {one.video_id}"
