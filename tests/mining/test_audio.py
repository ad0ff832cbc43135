"""Sound: a horn in noise is found, steady noise is not, and the numbers sit in the window they were heard in."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autorisk_dagster.mining.audio import AudioSignals
from autorisk_dagster.video.reader import AUDIO_RATE_HZ as RATE

WINDOW_SEC = 0.5
Wave = NDArray[np.float32]


def measure(
    wave: Wave, *, start_sec: float = 0.0, duration_sec: float | None = None, block: int = 1024
) -> pl.DataFrame:
    signals = AudioSignals(WINDOW_SEC)
    for begin in range(0, len(wave), block):
        signals.add(start_sec + begin / RATE, wave[begin : begin + block])
    return signals.finish(start_sec + len(wave) / RATE if duration_sec is None else duration_sec)


def noise(seconds: float, rms: float = 0.05, seed: int = 0) -> Wave:
    return (np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * rms).astype(np.float32)


def tone(hz: float, seconds: float, rms: float) -> Wave:
    return (np.sqrt(2) * rms * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def laid_in(wave: Wave, at_sec: float, extra: Wave) -> Wave:
    out = wave.copy()
    out[round(at_sec * RATE) :][: len(extra)] += extra
    return out


def test_a_horn_in_noise_leads_its_windows_in_loudness_and_tonality() -> None:
    horn = tone(425, 0.75, 0.1) + tone(1100, 0.75, 0.1)
    table = measure(laid_in(noise(20), 10.0, horn))
    # Power 0.05^2 of noise + 2 * 0.1^2 of horn is 9 times the noise: about 9.5 dB, a little off by A-weighting.
    assert table["loudness_over_floor_db"][20] == pytest.approx(9.5, abs=1.5)
    # In the band, 3750/8000 of the noise's power against the horn's: 0.02 / (0.02 + 0.0012) = 0.94.
    assert table["tonality"][20] == pytest.approx(0.94, abs=0.06)
    others = table.with_row_index().filter(~pl.col("index").is_in([20, 21]))
    assert others["loudness_over_floor_db"].to_numpy().max() < 1.5
    assert others["tonality"].to_numpy().max() < 0.1


@pytest.mark.parametrize(
    "wave",
    [
        pytest.param(noise(20, rms=0.3), id="loud noise"),
        pytest.param(noise(20) + tone(1300, 20, 0.1), id="steady whine"),
    ],
)
def test_steady_noise_is_neither_loud_nor_tonal(wave: Wave) -> None:
    table = measure(wave)
    assert table["loudness_over_floor_db"].to_numpy().max() < 2.0
    assert table["tonality"].to_numpy().max() < 0.15


def test_driving_into_a_tunnel_is_loud_for_one_window_at_most() -> None:
    table = measure(np.concatenate([noise(15.1, 0.03), noise(14.9, 0.3)]))  # 20 dB
    assert (table["loudness_over_floor_db"] > 2.0).sum() <= 1


def test_bumps_under_100_hz_are_taken_out_though_they_double_the_amplitude() -> None:
    table = measure(laid_in(noise(20), 10.0, tone(50, 0.3, 0.2)))
    assert table["audio_rms"][20] > 2 * table["audio_rms"][10]
    assert table["loudness_over_floor_db"][20] < 2.0


@settings(max_examples=15, deadline=None)
@given(gain=st.floats(0.05, 20.0))
def test_gain_changes_neither_loudness_nor_tonality_nor_horn_share(gain: float) -> None:
    wave = laid_in(noise(3), 1.0, tone(900, 0.4, 0.1))
    names = ("loudness_over_floor_db", "tonality", "horn_band_share")
    plain, louder = measure(wave), measure((wave * np.float32(gain)).astype(np.float32))
    for name in names:
        np.testing.assert_allclose(louder[name].to_numpy(), plain[name].to_numpy(), atol=1e-3)


def test_digital_silence_is_zero_and_no_sound_is_null() -> None:
    silent = measure(np.zeros(2 * RATE, np.float32))
    assert silent.drop("audio_delta_rms").to_numpy().tolist() == [[0.0] * 4] * 4
    assert silent["audio_delta_rms"].to_list() == [None, 0.0, 0.0, 0.0]
    assert measure(np.zeros(0, np.float32), duration_sec=1.0).null_count().row(0) == (2,) * 5


def test_a_sound_after_digital_silence_has_a_finite_loudness() -> None:
    table = measure(laid_in(np.zeros(10 * RATE, np.float32), 5.0, tone(1000, 0.5, 0.1)))
    # A tone of rms 0.1 at 1 kHz, where the A-weighting is 0 dB, is -20 dB; silence counts as -70 dB.
    assert table["loudness_over_floor_db"][10] == pytest.approx(50.0, abs=0.2)


def test_the_seeds_numbers_by_hand() -> None:
    wave = np.concatenate([tone(500, 0.5, 0.1), tone(2000, 0.5, 0.3)])
    table = measure(wave)
    assert table["audio_rms"].to_list() == pytest.approx([0.1, 0.3], rel=1e-4)
    assert table["audio_delta_rms"][0] is None
    assert table["audio_delta_rms"][1] == pytest.approx(0.2, rel=1e-3)
    assert table["horn_band_share"].to_list() == pytest.approx([1.0, 0.0], abs=1e-3)


def test_sound_that_begins_late_is_measured_where_it_is_heard() -> None:
    table = measure(tone(500, 0.5, 0.1), start_sec=1.0, duration_sec=2.0)
    assert table["audio_rms"].to_list() == [None, None, pytest.approx(0.1, rel=1e-4), None]


def test_sound_before_the_first_frame_and_after_the_last_is_left_out() -> None:
    wave = np.concatenate([tone(500, 1.0, 0.3), tone(500, 1.0, 0.1), tone(500, 1.0, 0.3)])
    table = measure(wave, start_sec=-1.0, duration_sec=1.0)
    assert table["audio_rms"].to_list() == pytest.approx([0.1, 0.1], rel=1e-4)


def test_a_gap_is_not_closed_up_and_an_overlap_not_heard_twice() -> None:
    signals = AudioSignals(WINDOW_SEC)
    signals.add(0.0, tone(500, 0.5, 0.1))
    signals.add(0.25, np.concatenate([tone(500, 0.25, 0.9), tone(500, 0.5, 0.2)]))  # the first 0.25 s is an overlap
    signals.add(1.5, tone(500, 0.5, 0.3))
    assert signals.finish(2.0)["audio_rms"].to_list() == [
        pytest.approx(0.1, rel=1e-4),
        pytest.approx(0.2, rel=1e-4),
        None,
        pytest.approx(0.3, rel=1e-4),
    ]


def test_the_size_of_the_pieces_and_timestamps_rounded_to_1_ms_change_nothing() -> None:
    wave = noise(3)
    whole = measure(wave, block=len(wave))
    signals = AudioSignals(WINDOW_SEC)
    for begin in range(0, len(wave), 371):
        signals.add(round(begin / RATE, 3), wave[begin : begin + 371])
    assert signals.finish(3.0).equals(whole)


def test_a_sample_that_is_no_number_costs_its_block_only() -> None:
    wave = tone(500, 2.0, 0.1)
    wave[RATE + 5] = np.nan
    assert measure(wave)["audio_rms"].to_list() == pytest.approx([0.1] * 4, rel=1e-4)
