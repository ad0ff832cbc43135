"""The tables that cross an asset border: one Polars schema each, and the Pandera checks on it.

Units are in the column names; severity is an enum; time is seconds from the first video frame, by presentation
timestamp. A null means "not measured" or "does not apply", never zero.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from autorisk_dagster.errors import InputError
from autorisk_dagster.tables import fleet, per_video, training
from autorisk_dagster.tables.checks import check as check
from autorisk_dagster.tables.checks import pandera_schema as pandera_schema
from autorisk_dagster.tables.fleet import *  # noqa: F403
from autorisk_dagster.tables.per_video import *  # noqa: F403
from autorisk_dagster.tables.training import *  # noqa: F403
from autorisk_dagster.tables.vocabulary import *  # noqa: F403
from autorisk_dagster.tables.vocabulary import Schema

# By asset: a schema bears its asset's name in capitals.
TABLES: dict[str, Schema] = {
    name.lower(): value
    for module in (per_video, fleet, training)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, dict)
}


def empty(schema: Schema) -> pl.DataFrame:
    """A table with the columns of `schema` and no rows."""
    return pl.DataFrame(schema=schema)


def frame(rows: list[dict[str, Any]], schema: Schema) -> pl.DataFrame:
    """A table from rows of Python values; every row must carry exactly the columns of `schema`.

    Raises:
        InputError: other columns, or a value that its column cannot hold (Polars would make it null from a row).
    """
    wanted = set(schema)
    for row in rows:
        if set(row) != wanted:
            raise InputError(f"row has columns {sorted(row)}, expected {sorted(wanted)}")
    try:
        return pl.DataFrame(
            {name: pl.Series(name, [row[name] for row in rows], dtype) for name, dtype in schema.items()}
        )
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise InputError(f"a value does not fit its column: {error}") from error
