"""The picture of the times to contact that a reviewer sees."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from autorisk_dagster.profile import load_profile
from autorisk_dagster.reporting.clip_view import ClipView, clip_views
from autorisk_dagster.reporting.desk.evidence import ttc_png
from tests.reporting.example import report_data, ttc_sample

CONFIGS = Path(__file__).parents[2] / "configs"


def coloured_columns(view: ClipView) -> int:
    """How many columns of the picture hold a curve's colour at its line's height."""
    png = ttc_png(view)
    assert png is not None
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).astype(int)
    coloured = picture.max(axis=2) - picture.min(axis=2) > 100  # grid, axes and text are grey; bands are pale
    return int(coloured.any(axis=0).sum())


def test_samples_far_apart_are_not_joined_and_what_does_not_approach_is_no_curve(tmp_path: Path) -> None:
    data = report_data(tmp_path, load_profile("default", CONFIGS))
    approaching, receding = clip_views(data)
    assert ttc_png(receding) is None

    def seen(*times: float) -> ClipView:
        timeline = [ttc_sample(time, 2.0, 1.5, 2.5) for time in times]
        return replace(approaching, ttc={**approaching.ttc, "timeline": timeline})

    near = [1.2 + 0.3 * n for n in range(9)]  # 1.2 to 3.6 s, joined
    far = [1.2, 1.5, 3.3, 3.6]  # the same span, with 1.8 s that nothing is known of
    assert coloured_columns(seen(*far)) < 0.6 * coloured_columns(seen(*near))
    assert ttc_png(seen(*near)) is not None
    infinite = replace(approaching, ttc={**approaching.ttc, "timeline": [ttc_sample(1.5, math.inf, 4.0, math.inf)]})
    assert ttc_png(infinite) is None
