"""How good the measured quantities are: time to collision and needed deceleration of the own vehicle behind another,
against SUMO's own values of the same moments.

SUMO measures from bumper to bumper along the lane. A camera measures from the lens, 1.5 m behind the bumper, so that
its time to contact is longer by that way; both truths are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tests.benchmarks.sumo_dashcam import Camera, Drive, Footage
from tests.benchmarks.sumo_methods import Case
from tests.benchmarks.sumo_roads import STEP_SEC

Array = NDArray[np.float64]
LARGEST_TTC_SEC: Final = 5.0  # compared where the truth is a danger


@dataclass(frozen=True)
class Estimates:
    """A measured quantity at rows of the tracks table; NaN: cannot say."""

    quantity: str  # "ttc" or "drac"
    value: Array  # (rows of tracks,)


@dataclass(frozen=True)
class Comparison:
    """Measured values beside the true ones, arrays of one length."""

    measured: Array
    truth: Array
    from_lens: Array  # the truth as seen from the camera; NaN but of times

    @property
    def coverage(self) -> float:
        """Share of the moments with a finite measured value."""
        return float(np.isfinite(self.measured).mean()) if len(self.measured) else np.nan

    def median_error(self, truth: Array) -> float:
        """Median of |measured - truth| / truth, where measured."""
        usable = np.isfinite(self.measured)
        return float(np.median(np.abs(self.measured[usable] / truth[usable] - 1))) if usable.any() else np.nan

    def median_bias(self, truth: Array) -> float:
        """Median of measured / truth - 1."""
        usable = np.isfinite(self.measured)
        return float(np.median(self.measured[usable] / truth[usable] - 1)) if usable.any() else np.nan


def compare(drive: Drive, footage: Footage, estimates: Estimates) -> Comparison:
    """All moments at which the camera car truly closes in on the one before it under LARGEST_TTC_SEC, and the box of
    that one is followed."""
    frames = footage.tracks["frame_index"].to_numpy()
    followed = footage.tracks["track_id"].is_not_null().to_numpy()
    row_of = {
        (int(who), int(frame)): row
        for row, (who, frame, ok) in enumerate(zip(footage.who, frames, followed, strict=True))
        if ok
    }
    first = drive.sights[0].step
    measured, truth, from_lens = [], [], []
    for following in drive.world.following:
        if following.pair[0] != drive.ego:
            continue
        for at, ttc, drac in zip(following.times_sec, following.ttc_sec, following.drac_mps2, strict=True):
            # the device's clock: a step's values are logged with the step's begin, positions are taken at its end
            row = row_of.get((following.pair[1], round(at / STEP_SEC) - first))
            if row is None or not 0 < ttc < LARGEST_TTC_SEC or drac <= 0:
                continue
            closing_mps = 2 * drac * ttc  # gap / closing * 2 * closing^2 / (2 gap)
            measured.append(estimates.value[row])
            truth.append(ttc if estimates.quantity == "ttc" else drac)
            from_lens.append(ttc + Camera().behind_bumper_m / closing_mps if estimates.quantity == "ttc" else np.nan)
    return Comparison(np.array(measured), np.array(truth), np.array(from_lens))


def joined(parts: Sequence[Comparison]) -> Comparison:
    """All moments of several drives."""
    return Comparison(*(np.concatenate([getattr(one, name.name) for one in parts]) for name in fields(Comparison)))


def _column(quantity: str, column: str) -> Callable[[Case], Estimates]:
    """A column of the conflict measures at the rows of the tracks."""

    def estimates(case: Case) -> Estimates:
        values = case.conflicts.select("track_id", "frame_index", value=pl.col(column))
        rows = case.tracks.select("track_id", "frame_index")
        joined_rows = rows.join(values, on=["track_id", "frame_index"], how="left", maintain_order="left")
        return Estimates(quantity, joined_rows["value"].fill_null(np.nan).to_numpy())

    return estimates


MEASURES: Final[dict[str, Callable[[Case], Estimates]]] = {
    "time to contact, by expansion": _column("ttc", "ttc_sec"),
    "time to collision, distance / closing speed": _column("ttc", "ttc_space_sec"),
    "DRAC": _column("drac", "drac_mps2"),
}
