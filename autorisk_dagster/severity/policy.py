"""Which clips a person must look at, and why: the policy on the final severity, set in the profile's section `review`.

The raw severity never decides: a clip whose HIGH the rules took back is not asked for as HIGH, but as one that they
changed by much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autorisk_dagster import tables
from autorisk_dagster.profile import ReviewSettings
from autorisk_dagster.severity.conformal import SeveritySet

_NOT_JUDGED = {
    "abstained": "the reasoner abstained: it could not say how severe this is",
    "parse_failure": "the model's answer could not be read",
    "not_run": "the clip was never judged",
}


def set_asks(found: SeveritySet, final: str | None, settings: ReviewSettings) -> bool:
    """Whether a severity set asks for a review: it is calibrated, and too wide, or leaves a severity that is always
    reviewed where the final one is not."""
    might_be = set(found.severities) & set(settings.severities)
    return found.calibrated and (
        len(found.severities) > settings.max_set_size or (bool(might_be) and final not in settings.severities)
    )


def review_reasons(
    clip: Mapping[str, Any], found: SeveritySet, near_miss_levels: Sequence[str], settings: ReviewSettings
) -> list[str]:
    """Why the policy asks for a review of a clip, one sentence each; empty: it does not.

    Args:
        clip: `outcome`, `raw_severity`, `severity` (final) and `rule`
        found: its severity set; a set that is full for want of labels is no reason
        near_miss_levels: risk levels of the near misses in it
        settings: the profile's section
    """
    final, raw = clip["severity"], clip["raw_severity"]
    reasons = []
    if final is None:
        reasons.append(_NOT_JUDGED.get(clip["outcome"], "there is no final severity"))
    elif final in settings.severities:
        reasons.append(f"its final severity is {final}")
    if final is not None and raw is not None:
        levels = tables.SEVERITIES.index(final) - tables.SEVERITIES.index(raw)
        if abs(levels) >= settings.rule_levels:
            way = "raised" if levels > 0 else "lowered"
            reasons.append(f"rule {clip['rule']} {way} it from {raw} to {final}")
    if set_asks(found, final, settings):
        reasons.append(f"it may be {', '.join(found.severities)}: the severities left at the stated coverage")
    worst = max(near_miss_levels, key=tables.RISK_LEVELS.index, default=None)
    if worst in settings.near_miss_levels and final in settings.near_miss_severities:
        reasons.append(f"there is a near miss of level {worst} in it, and its final severity is only {final}")
    return reasons
