"""Measured values and rules in words, the same wherever a person reads them.

A null, an infinity and a number say three different things about a time to contact, and no two of them may read alike.
"""

from __future__ import annotations

import math
from typing import Final

from autorisk_dagster.profile import CorrectionSettings

NOT_JUDGED: Final = "NOT JUDGED"

OUTCOME_WORDS: Final = {
    "severity": "judged",
    "abstained": "the reasoner abstained",
    "parse_failure": "the reasoner's answer could not be read",
    "not_run": "the reasoner did not run on this clip",
}

REASONER_WORDS: Final = {"kinematic": "kinematic reasoner: rules on measured signals, not a Cosmos model"}

SEVERITY_MEANING: Final = {
    "HIGH": "collision risk, emergency response needed",
    "MEDIUM": "evasive action warranted (decelerate, yield)",
    "LOW": "attention needed, but margin exists",
    "NONE": "no hazard elements (normal driving)",
    NOT_JUDGED: "no severity was given; this does not mean safe",
}

# What the quantities of a rule set are, for a reader who sees their values beside the time to contact.
RULE_SET_WORDS: Final = {
    "seed": "The rules read the quantities that they were tuned on: the area form A / (dA/dt), which is half the time "
    "to contact, and the fused score by minimum and maximum within this video."
}


def clock(seconds: float, decimals: int = 1) -> str:
    """`75.26` as `1:15.3`; hours only where there are any.

    >>> clock(75.26), clock(59.96), clock(3661.0, 0)
    ('1:15.3', '1:00.0', '1:01:01')
    """
    ticks = round(seconds * 10**decimals)  # rounded before it is split, so that 59.96 is never "0:60.0"
    whole, rest = divmod(ticks, 10**decimals)
    hours, minutes, secs = whole // 3600, whole // 60 % 60, whole % 60
    tail = f".{rest:0{decimals}d}" if decimals else ""
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{secs:02d}{tail}"


def ttc_words(ttc_sec: float | None, low_sec: float | None = None, high_sec: float | None = None) -> str:
    """A time to contact with its 90 % interval.

    >>> ttc_words(1.42, 1.1, 2.0), ttc_words(math.inf), ttc_words(None)
    ('1.4 s (1.1 to 2.0 s)', 'nothing approaches', 'cannot say')
    """
    if ttc_sec is None or math.isnan(ttc_sec):
        return "cannot say"
    if math.isinf(ttc_sec):
        return "nothing approaches"
    if low_sec is None or high_sec is None or math.isnan(low_sec) or math.isnan(high_sec):
        return f"{ttc_sec:.1f} s"
    if math.isinf(high_sec):
        return f"{ttc_sec:.1f} s ({low_sec:.1f} s or more)"
    return f"{ttc_sec:.1f} s ({low_sec:.1f} to {high_sec:.1f} s)"


def quantity(value: float | None, unit: str = "", decimals: int = 2) -> str:
    """A number with its unit; null and NaN read "not measured".

    >>> quantity(0.5), quantity(math.inf, "s"), quantity(None, "s")
    ('0.50', 'infinite', 'not measured')
    """
    if value is None or math.isnan(value):
        return "not measured"
    if math.isinf(value):
        return "infinite"
    return f"{value:.{decimals}f} {unit}".rstrip()


def size_words(size_bytes: int) -> str:
    """`1536` as `1.5 kB` (steps of 1000).

    >>> size_words(999), size_words(1_536), size_words(2_500_000)
    ('999 B', '1.5 kB', '2.5 MB')
    """
    if size_bytes < 1000:
        return f"{size_bytes} B"
    value, unit = size_bytes / 1e3, "kB"
    for larger in ("MB", "GB"):
        if value >= 999.95:
            value, unit = value / 1000, larger
    return f"{value:.1f} {unit}"


def rule_words(rule: str, settings: CorrectionSettings) -> str:
    """Condition and effect of a correction rule, with the thresholds of the profile (seed 000, stage 3)."""
    s = settings
    return {
        "R1": f"TTC ≥ {s.r1_ttc_sec:g} s, fused score < {s.r1_fused:g} and critical tracks ≤ {s.r1_critical}: set NONE",
        "R2": f"TTC ≤ {s.r2_ttc_sec:g} s and critical tracks ≥ {s.r2_critical}: set HIGH",
        "R3": f"LOW with fused score ≥ {s.r3_fused:g} and TTC ≤ {s.r3_ttc_sec:g} s: raise to MEDIUM",
        "R4": f"HIGH with TTC ≥ {s.r4_ttc_sec:g} s and critical tracks ≤ {s.r4_critical}: lower to MEDIUM",
        "R5": f"MEDIUM with fused score < {s.r5_fused:g} and TTC ≥ {s.r5_ttc_sec:g} s: lower to LOW",
        "R6": f"NONE with TTC ≤ {s.r6_ttc_sec:g} s: raise to LOW",
    }[rule]


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 clip`, `3 clips`, `no clips`."""
    return f"{number or 'no'} {one if number == 1 else many or one + 's'}"
