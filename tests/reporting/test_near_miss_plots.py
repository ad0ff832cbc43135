"""The pictures of near miss 1.0's report: PNGs of the asked size, for many events and for none."""

import io
from itertools import pairwise

import polars as pl
import pytest
from PIL import Image

from autorisk_dagster.reporting.near_miss_plots import filter_png, sweep_png

STEPS = ["filters off", "stationary", "direction", "confidence", "confirmation"]


@pytest.mark.parametrize("events", [[40, 31, 30, 12, 3], [0, 0, 0, 0, 0], [3, 4, 4, 4, 2]])
def test_the_filter_picture(events):
    removed = [0, *(a - b for a, b in pairwise(events))]
    table = pl.DataFrame(
        {"step": STEPS, "events": events, "events_removed": removed, "frames_removed": [0, 9, 1, 5, 8]}
    )
    assert Image.open(io.BytesIO(filter_png(table, width_px=600, height_px=250))).size == (600, 250)


@pytest.mark.parametrize("scale", [0, 1, 500])
def test_the_sweep_picture(scale):
    table = pl.DataFrame(
        {"proximity_px": [60, 140, 220], "events_on": [0, scale, scale], "events_off": [0, scale, 3 * scale]}
    )
    assert Image.open(io.BytesIO(sweep_png(table, 100.0))).size == (760, 300)
    assert sweep_png(table, 100.0) != sweep_png(table, 180.0)  # the profile's threshold is drawn
