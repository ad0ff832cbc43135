"""Where the severity was wrong, worst first: what was said, which rule changed it, what was measured.

Understated danger comes before overstated danger of the same size, because it is what hurts; a clip without a severity
comes with the understatements of its label.
"""

from __future__ import annotations

import math
from typing import Any, Final

import polars as pl

from autorisk_dagster import tables

STEP: Final = {name: step for step, name in enumerate(tables.SEVERITIES)}


def error_analysis(labelled: pl.DataFrame) -> pl.DataFrame:
    """All labelled clips with their errors.

    Args:
        labelled: as `metrics.eval_metrics`, with rule, what it read, scores, reasoning and place of the clip

    Returns:
        tables.ERROR_ANALYSIS, worst first; right ones last
    """
    rows = [_row(row) for row in labelled.iter_rows(named=True)]
    rows.sort(key=_worst_first)
    return tables.frame(rows, tables.ERROR_ANALYSIS)


def error_counts(errors: pl.DataFrame) -> pl.DataFrame:
    """How often each rule repaired, spoilt, or left an error: `rule` ("none": no rule fired), and a column each."""
    kinds = ("repaired", "nearer", "unchanged", "farther", "spoilt")
    return (
        errors.group_by(pl.col("rule").cast(pl.String).fill_null("none"))
        .agg(pl.len().alias("clips"), *((pl.col("correction") == kind).sum().alias(kind) for kind in kinds))
        .sort("rule")
    )


def _row(row: dict[str, Any]) -> dict[str, Any]:
    error, raw_error = _steps(row["severity"], row["label"]), _steps(row["raw_severity"], row["label"])
    kept = {name: row[name] for name in tables.ERROR_ANALYSIS if name in row}
    return {
        **kept,
        "verdict": "not_judged" if error is None else ("right" if error == 0 else ("under" if error < 0 else "over")),
        "error_steps": error,
        "raw_error_steps": raw_error,
        "correction": _correction(raw_error, error),
        "measured": measured_words(row),
    }


def _steps(given: str | None, label: str) -> int | None:
    return None if given is None else STEP[given] - STEP[label]


def _correction(before: int | None, after: int | None) -> str | None:
    if before is None or after is None:
        return None
    if before == after:
        return "unchanged"
    if after == 0:
        return "repaired"
    if before == 0:
        return "spoilt"
    return "nearer" if abs(after) < abs(before) else "farther"


def _worst_first(row: dict[str, Any]) -> tuple[Any, ...]:
    steps = row["error_steps"]
    size = STEP[row["label"]] if steps is None else abs(steps)
    # A clip of label NONE without a severity has size 0, and still comes before what is right.
    order = {"under": 0, "not_judged": 1, "over": 2, "right": 3}[row["verdict"]]
    return (row["verdict"] == "right", -size, order, -STEP[row["label"]], row["video_id"], row["clip_id"])


def measured_words(row: dict[str, Any]) -> str:
    """What the rules read and the signals were, for people."""
    ttc = row["min_ttc_sec"]
    if ttc is None or math.isnan(ttc):
        told = ["time to contact cannot be said"]
    else:
        told = ["nothing approaches" if math.isinf(ttc) else f"shortest time to contact {ttc:.1f} s"]
    if row["critical_tracks"] is not None:
        told.append(f"{row['critical_tracks']} critical tracks")
    for signal in tables.SIGNALS:
        score = row[f"{signal}_score"]
        told.append(f"{signal} " + ("not measured" if score is None else f"{score:.2f}"))
    return ", ".join(told)
