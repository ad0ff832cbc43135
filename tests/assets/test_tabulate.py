"""What a table's data version is made of."""

from __future__ import annotations

import io

import polars as pl
from hypothesis import given, settings
from polars.testing.parametric import dataframes

from assets.tabulate import content_hash

STRUCT = pl.Struct({"a": pl.Float64, "b": pl.Enum(["x", "y"])})
KINDS = [pl.Float64, pl.Int64, pl.String, pl.Boolean, pl.Enum(["a", "b"]), pl.Datetime("us", "UTC")]


def stored(table: pl.DataFrame) -> pl.DataFrame:
    """`table` as it is read from its file."""
    file = io.BytesIO()
    table.write_parquet(file)
    file.seek(0)
    return pl.read_parquet(file)


@settings(max_examples=60, deadline=None)
@given(dataframes(max_size=12, allowed_dtypes=[*KINDS, STRUCT, pl.List(pl.String), pl.List(STRUCT)]))
def test_a_table_and_its_file_have_the_same_hash(table: pl.DataFrame) -> None:
    assert content_hash(table) == content_hash(stored(table))


def test_what_a_computation_leaves_behind_a_null_does_not_count() -> None:
    table = pl.DataFrame({"a": [1.0, 2.0, 3.0]}).with_columns(b=pl.when(pl.col("a") > 1.5).then(pl.col("a") * 2))
    assert content_hash(table) == content_hash(stored(table))
    assert content_hash(table) == content_hash(pl.DataFrame({"a": [1.0, 2.0, 3.0], "b": [None, 4.0, 6.0]}))


def test_infinite_null_and_zero_are_three_things() -> None:
    tables = [pl.DataFrame({"ttc_sec": [value]}, schema={"ttc_sec": pl.Float64}) for value in (None, 0.0, float("inf"))]
    assert len({content_hash(table) for table in tables}) == 3


def test_seconds_do_not_count() -> None:
    one = pl.DataFrame({"clip_id": ["a"], "seconds": [1.0]})
    assert content_hash(one) == content_hash(one.with_columns(seconds=pl.lit(2.0)))
