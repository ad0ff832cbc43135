"""The tables refuse what does not belong in them."""

from __future__ import annotations

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError

ROW = {
    "clip_id": "a-c01",
    "raw_severity": "HIGH",
    "severity": "MEDIUM",
    "rule": "R4",
    "rule_set": "seed",
    "ttc_read_sec": 1.6,
    "fused_read": 0.5,
    "critical_tracks": 1,
}


def test_a_good_row_passes() -> None:
    table = tables.frame([ROW], tables.CORRECTED_SEVERITIES)
    assert tables.check(table, tables.CORRECTED_SEVERITIES) is table


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_an_empty_table_is_valid(name: str) -> None:
    tables.check(tables.empty(tables.TABLES[name]), tables.TABLES[name])


def test_no_table_has_an_object_column() -> None:
    assert all(dtype != pl.Object for schema in tables.TABLES.values() for dtype in schema.values())


def test_a_missing_or_a_strange_column_is_named() -> None:
    with pytest.raises(InputError, match="strange"):
        tables.frame([{**ROW, "strange": 1}], tables.CORRECTED_SEVERITIES)


def test_a_severity_outside_the_enum_does_not_get_in() -> None:
    """Polars alone would write a null: a severity that silently becomes "none was judged"."""
    with pytest.raises(InputError, match="CRITICAL"):
        tables.frame([{**ROW, "severity": "CRITICAL"}], tables.CORRECTED_SEVERITIES)


@pytest.mark.parametrize(
    "change", [{"critical_tracks": -1}, {"clip_id": None}], ids=["a negative count", "a row without its key"]
)
def test_values_that_cannot_be_are_refused(change: dict[str, object]) -> None:
    table = tables.frame([{**ROW, **change}], tables.CORRECTED_SEVERITIES)
    with pytest.raises(InputError, match=next(iter(change))):
        tables.check(table, tables.CORRECTED_SEVERITIES)


def test_a_nan_score_is_refused() -> None:
    event = dict.fromkeys(tables.NEAR_MISS_EVENTS) | {"event_id": "e1", "frame_index": 1, "risk_score": float("nan")}
    with pytest.raises(InputError, match="risk_score"):
        tables.check(tables.frame([event], tables.NEAR_MISS_EVENTS), tables.NEAR_MISS_EVENTS)
