"""What a table's data version is made of, and how pictures go into metadata."""

from __future__ import annotations

import base64
import io

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from PIL import Image
from polars.testing.parametric import dataframes

from assets.tabulate import content_hash, picture

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


@pytest.mark.parametrize("photograph", [False, True])
def test_a_plot_is_kept_exactly_and_a_photograph_nearly_and_both_are_smaller(photograph: bool) -> None:
    across, down = np.meshgrid(np.linspace(0, 9, 300), np.linspace(0, 9, 200))
    waves = 127 + 60 * np.sin(across * down) + np.random.default_rng(1).normal(0, 4, across.shape)
    plot = np.where(np.abs(down - 4 - 3 * np.sin(across)) < 0.1, 200, 255)
    pixels = np.repeat((waves if photograph else plot).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG", optimize=True)
    head, _, text = str(picture("it", png.getvalue(), photograph=photograph).value).partition("base64,")
    assert head == "![it](data:image/webp;"
    webp = base64.b64decode(text.removesuffix(")"), validate=True)
    shown = np.asarray(Image.open(io.BytesIO(webp)).convert("RGB")).astype(int)
    assert np.abs(shown - pixels).mean() <= (4 if photograph else 0)
    assert len(webp) < len(png.getvalue()) / (3 if photograph else 1)
