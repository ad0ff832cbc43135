"""The sense of times and paths on people of real dashcam clips, whose driver's action is known."""

from __future__ import annotations

import polars as pl
import pytest

from tests.benchmarks import jaad_people

pytestmark = pytest.mark.skipif(not jaad_people.FOLDER.is_dir(), reason="needs ../shared/data/jaad")


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return jaad_people.read()


def test_people_come_nearer_while_the_own_car_drives_and_never_while_it_stands(rows):
    share = {row["action"]: row for row in jaad_people.by_action(rows).to_dicts()}
    assert share["stopped"]["samples"] > 100
    assert share["stopped"]["approaching"] == 0
    for action in ("decelerating", "accelerating"):
        assert share[action]["approaching"] > 0.25
        assert 1.0 < share[action]["median_ttc_sec"] < 5.0


def test_those_who_cross_are_in_the_own_path(rows):
    crossing, others = jaad_people.by_crossing(rows).to_dicts()
    assert crossing["in_own_path"] / crossing["people"] >= 0.6
    assert others["in_own_path"] / others["people"] <= 0.3
