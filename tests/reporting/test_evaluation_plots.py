"""Pictures of the evaluation: there where something can be said, absent where nothing can."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from autorisk_dagster.evaluation.calibration import calibration
from autorisk_dagster.evaluation.metrics import eval_metrics
from autorisk_dagster.evaluation.signals import signal_metrics
from autorisk_dagster.reporting import evaluation_plots as plots
from tests.evaluation.fleets import published
from tests.evaluation.test_calibration import judged
from tests.evaluation.test_ranks import measured


def pixels(png: bytes | None) -> np.ndarray:
    assert png is not None
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def evaluated() -> pl.DataFrame:
    return eval_metrics(published())


def test_the_confusion_matrix_darkens_where_the_clips_are(evaluated: pl.DataFrame) -> None:
    """Before correction 6 of 9 LOW clips were said to be MEDIUM: the one darkest cell, in the left matrix, second of
    four rows and third of five columns."""
    drawn = pixels(plots.confusion_plot(evaluated))
    down, across = np.nonzero((drawn[..., 0] < 20) & (drawn[..., 2] > 120))
    height, width = drawn.shape[:2]
    assert 0.25 < np.median(down) / height < 0.5
    assert 0.2 < np.median(across) / width < 0.35
    assert np.ptp(across) < 0.12 * width
    true = published().with_columns(raw_severity="label", severity="label")
    assert not np.array_equal(pixels(plots.confusion_plot(eval_metrics(true))), drawn)


def test_every_picture_is_drawn_from_its_table(evaluated: pl.DataFrame) -> None:
    found = signal_metrics(measured())
    for png in (
        plots.intervals_plot(evaluated),
        plots.reliability_plot(calibration(judged(60))),
        plots.ttc_plot(measured()),
        plots.bars_plot(found, "spearman", "correlation", 0.0),
    ):
        drawn = pixels(png)
        assert drawn.std() > 5 and min(drawn.shape[:2]) > 150


def test_nothing_to_say_is_no_picture() -> None:
    nothing = eval_metrics(published().clear())
    assert plots.confusion_plot(nothing) is None
    assert plots.intervals_plot(nothing) is None
    assert plots.reliability_plot(calibration(judged(5).clear())) is None
    assert plots.ttc_plot(measured().clear()) is None
    assert plots.bars_plot(signal_metrics(measured().clear()), "spearman", "correlation") is None


def test_clips_that_nothing_approaches_break_no_picture() -> None:
    clips = measured().with_columns(min_ttc_sec=pl.lit(float("inf")))
    assert plots.ttc_plot(clips) is not None
    assert plots.ttc_plot(clips.with_columns(min_ttc_sec=pl.lit(None, pl.Float64))) is not None
