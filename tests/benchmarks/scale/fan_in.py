"""One measured process: `python -m tests.benchmarks.scale.fan_in ASSET group|collect`.

Reads an asset's table over all videos as an asset over the fleet does; `group` streams a count by severity, `collect`
takes every row into memory.
"""

from __future__ import annotations

import sys

import polars as pl

from autorisk_dagster.intake.sources import source_ledger
from autorisk_dagster.io import FrameStoreIOManager
from autorisk_dagster.storage import data_storage


def main() -> None:
    asset, how = sys.argv[1:]
    fleet = FrameStoreIOManager(data_storage().at("tables")).read_fleet(asset, source_ledger().keys())
    rows = fleet.rows.group_by("severity").agg(pl.len()) if how == "group" else fleet.rows
    found = rows.collect(engine="streaming")
    print(fleet.coverage()["videos"], found.height)


if __name__ == "__main__":
    main()
