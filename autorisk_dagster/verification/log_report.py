"""The verifier's log, event by event: what was proposed, what the model said, how long it took from end to end.

Source: seed 001, "Correlation". Records of other programs (the web page that proposes, the program that carries out)
may stand beside the verifier's own: they share the event's id and have `received_at` or `answered_at`, and make the
latency one from end to end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from autorisk_dagster.verification.event_log import Record, disagreement_counts, end_to_end_sec

SCHEMA: Final[dict[str, Any]] = {
    "event_id": pl.String,
    "contract": pl.String,
    "proposed": pl.String,  # the intent; null: the contract proposes nothing but the event itself
    "source": pl.String,  # model, reject or stub
    "confirmed": pl.Boolean,
    "disagrees": pl.Boolean,  # the model was heard and did not confirm; null: it was not heard
    "reason_category": pl.String,
    "stated_confidence": pl.Float64,
    "tries": pl.Int64,
    "latency_sec": pl.Float64,  # of the verifier
    "end_to_end_sec": pl.Float64,  # from the first to the last time in all records of the event
    "error": pl.String,
}


@dataclass(frozen=True)
class LogSummary:
    """Counts over the events of a log; each event counts once, as it was judged last.

    Attributes:
        events: judged
        heard: by the model itself; failures and stubs are not
        disagreed: heard, and not confirmed
        reasons: of the disagreements, most frequent first
        latency_sec, end_to_end_sec: median, 95th percentile and longest of the events on which a model was asked; None
            without one
    """

    events: int
    heard: int
    disagreed: int
    reasons: dict[str, int]
    latency_sec: tuple[float, float, float] | None
    end_to_end_sec: tuple[float, float, float] | None


def event_rows(records: Iterable[Record]) -> pl.DataFrame:
    """One row an event that the verifier judged, in order; where it was judged again the last verdict counts.

    Raises:
        InputError: a time that is none.
    """
    found = list(records)
    latency = end_to_end_sec(found)
    judged = {record["event_id"]: record for record in found if is_verdict(record)}
    rows = [
        {
            "event_id": event_id,
            "contract": record["contract"],
            "proposed": record["context"].get("proposed_intent"),
            "source": record["source"],
            "confirmed": record["confirmed"],
            "disagrees": not record["confirmed"] if record["source"] == "model" else None,
            "reason_category": record["verdict"]["reason_category"],
            "stated_confidence": record["verdict"]["confidence"],
            "tries": record["tries"],
            "latency_sec": record["latency_sec"],
            "end_to_end_sec": latency[event_id],
            "error": record["error"],
        }
        for event_id, record in judged.items()
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def summary(records: Sequence[Record]) -> LogSummary:
    """Count; see `LogSummary`.

    Raises:
        InputError: as `event_rows`.
    """
    rows = event_rows(records)
    asked = rows.filter(pl.col("source") != "stub")
    return LogSummary(
        events=rows.height,
        heard=rows["disagrees"].count(),
        disagreed=int(rows["disagrees"].sum() or 0),
        reasons=disagreement_counts(record for record in records if is_verdict(record)),
        latency_sec=_spread(asked["latency_sec"]),
        end_to_end_sec=_spread(asked["end_to_end_sec"]),
    )


def is_verdict(record: Record) -> bool:
    """A record that the verifier wrote, and not another program."""
    return {"contract", "context", "source", "verdict", "confirmed", "latency_sec"} <= set(record)


def _spread(seconds: pl.Series) -> tuple[float, float, float] | None:
    if seconds.is_empty():
        return None
    middle, high, longest = np.percentile(seconds.to_numpy(), [50, 95, 100])
    return float(middle), float(high), float(longest)
