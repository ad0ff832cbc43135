"""Figures as rows of a table of figures (`tables.vocabulary.figures`)."""

from __future__ import annotations

from typing import Any

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.evaluation.intervals import Estimate
from autorisk_dagster.tables.vocabulary import Schema

Row = dict[str, Any]


def figure(
    metric: str, stage: str, found: Estimate, *, of: str | None = None, origin: str | None = None, **more: Any
) -> Row:
    """One row: `found` as `metric` of `stage`, of the class `of`, by labels of `origin`; `more`: the table's own."""
    return {
        "label_origin": origin,
        "metric": metric,
        "stage": stage,
        "class": of,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "interval": found.interval,
        "n": found.n,
        "groups": found.groups,
        "note": found.note,
        **more,
    }


def table_of(rows: list[Row], schema: Schema) -> pl.DataFrame:
    """The rows as a table of `schema`; columns that only some rows have are null in the others."""
    return tables.frame([{name: row.get(name) for name in schema} for row in rows], schema)


def words(row: Row, decimals: int = 2) -> str:
    """A row's value with its interval and n, for people; why there is none is in its note.

    >>> words({"value": 0.65, "low": 0.433, "high": 0.819, "n": 20, "groups": 6, "note": ""})
    '0.65 (0.43 to 0.82; 20 clips, 6 groups)'
    """
    size = f"{row['n']} clips, {row['groups']} groups"
    if row["value"] is None:
        return f"cannot say ({size})"
    if row["low"] is None:
        return f"{row['value']:.{decimals}f} ({size})"
    return f"{row['value']:.{decimals}f} ({row['low']:.{decimals}f} to {row['high']:.{decimals}f}; {size})"
