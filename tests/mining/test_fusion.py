"""Fusion: absolute scores by hand, and what the two scalings promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorisk_dagster import tables
from autorisk_dagster.mining.fusion import TONALITY_PART, score_windows
from autorisk_dagster.profile import MiningSettings

SETTINGS = MiningSettings(
    loudness_full_db=12, flow_full_px=6, flow_variance_full_px2=60, proximity_full=0.5
)  # spelled out: the arithmetic below rests on them


def window(**values: float | None) -> dict[str, Any]:
    quiet: dict[str, Any] = dict.fromkeys(tables.FRAME_SIGNALS, 0.0)
    return quiet | {"frames": 5, "scene_cuts": 0, "detections": 0} | values


def video(rows: list[dict[str, Any]]) -> pl.DataFrame:
    placed = [row | {"window_index": k, "start_sec": k * 0.5, "end_sec": k * 0.5 + 0.5} for k, row in enumerate(rows)]
    return tables.frame(placed, tables.FRAME_SIGNALS)


def test_absolute_scores_by_hand() -> None:
    row = window(loudness_over_floor_db=6, tonality=0.5, flow_mean_px=3, flow_variance_px2=15, proximity=0.2)
    found = score_windows(video([row]), SETTINGS).row(0, named=True)
    assert found["audio_score"] == pytest.approx(0.5 * (1 - TONALITY_PART / 2))  # 6 of 12 dB, half tonal
    assert found["motion_score"] == pytest.approx((3 / 6 + 15 / 60) / 2)  # 0.375
    assert found["proximity_score"] == pytest.approx(0.4)
    # 0.3 * 0.425 + 0.4 * 0.375 + 0.3 * 0.4 = 0.1275 + 0.15 + 0.12
    assert found["fused_score"] == pytest.approx(0.3975)


def test_scores_saturate_and_a_window_quieter_than_the_floor_is_0() -> None:
    row = window(loudness_over_floor_db=99, tonality=1, flow_mean_px=99, flow_variance_px2=9999, proximity=1)
    found = score_windows(video([row, window(loudness_over_floor_db=-5)]), SETTINGS)
    assert found["fused_score"].to_list() == [pytest.approx(1.0), 0.0]


def test_taking_out_the_microphone_does_not_change_a_quiet_drive() -> None:
    silent = window(flow_mean_px=3, proximity=0.2)
    no_sound = silent | dict.fromkeys(
        ("audio_rms", "audio_delta_rms", "horn_band_share", "loudness_over_floor_db", "tonality")
    )
    with_it, without = (score_windows(video([row, row]), SETTINGS) for row in (silent, no_sound))
    assert with_it["fused_score"].equals(without["fused_score"])
    assert with_it["audio_score"].to_list() == [0.0, 0.0]
    assert without["audio_score"].to_list() == [None, None]


def test_the_seeds_scaling_by_hand() -> None:
    rows = [
        window(audio_rms=0.1, audio_delta_rms=None, horn_band_share=0.8, flow_mean_px=1, flow_variance_px2=5),
        window(audio_rms=0.2, audio_delta_rms=0.1, horn_band_share=0.8, flow_mean_px=3, flow_variance_px2=5),
        window(audio_rms=0.3, audio_delta_rms=0.1, horn_band_share=0.8, flow_mean_px=2, flow_variance_px2=5),
    ]
    found = score_windows(video(rows), SETTINGS.model_copy(update={"scaling": "min_max"}))
    # rms 0, 0.5, 1; its change not measured, 0, 0 (constant); share 0: means 0, 1/6, 1/3 -> over the video 0, 0.5, 1
    assert found["audio_score"].to_list() == pytest.approx([0, 0.5, 1])
    assert found["motion_score"].to_list() == pytest.approx([0, 1, 0.5])
    assert found["proximity_score"].to_list() == [0, 0, 0]
    assert found["fused_score"].to_list() == pytest.approx([0, 0.3 * 0.5 + 0.4, 0.3 + 0.4 * 0.5])
    assert found["fused_score_seed"].equals(found["fused_score"].alias("fused_score_seed"))
    assert score_windows(video(rows), SETTINGS)["fused_score_seed"].equals(found["fused_score_seed"])


def test_a_video_in_which_nothing_changes_has_a_seed_score_of_0() -> None:
    row = window(audio_rms=0.3, audio_delta_rms=0.1, horn_band_share=0.9, flow_mean_px=9, proximity=0.4)
    assert score_windows(video([row] * 4), SETTINGS)["fused_score_seed"].to_list() == [0.0] * 4


LEVELS = st.fixed_dictionaries(
    {
        "loudness_over_floor_db": st.floats(-20, 40),
        "tonality": st.floats(0, 1),
        "flow_mean_px": st.floats(0, 30),
        "flow_variance_px2": st.floats(0, 900),
        "proximity": st.floats(0, 1),
        "audio_rms": st.floats(0, 1),
        "audio_delta_rms": st.floats(0, 1),
        "horn_band_share": st.floats(0, 1),
    }
)


@settings(deadline=None)
@given(st.lists(LEVELS, min_size=1, max_size=8), LEVELS)
def test_absolute_scores_are_shares_and_do_not_depend_on_the_rest_of_the_video(
    levels: list[dict[str, float]], more: dict[str, float]
) -> None:
    rows = [window(**level) for level in levels]
    alone = score_windows(video(rows), SETTINGS)
    longer = score_windows(video([*rows, window(**more), window()]), SETTINGS).head(len(rows))
    columns = ["audio_score", "motion_score", "proximity_score", "fused_score"]
    # Not to the last bit: how many rows there are decides which vector instructions divide them.
    np.testing.assert_allclose(
        longer.select(columns).to_numpy(), alone.select(columns).to_numpy(), rtol=1e-12, atol=1e-300
    )
    values = alone.select(*columns, "fused_score_seed").to_numpy()
    assert ((values >= 0) & (values <= 1)).all()


def test_min_max_scores_do_depend_on_the_rest_of_the_video() -> None:
    rows = [window(flow_mean_px=1), window(flow_mean_px=2)]
    alone = score_windows(video(rows), SETTINGS)["fused_score_seed"]
    longer = score_windows(video([*rows, window(flow_mean_px=10)]), SETTINGS)["fused_score_seed"]
    assert alone[1] == pytest.approx(0.4 * 1.0)  # the least noise becomes a 1
    assert longer[1] == pytest.approx(0.4 * 1 / 9)
