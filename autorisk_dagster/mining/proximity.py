"""How near road users look, window by window, from the boxes of the tracks table.

Seed 000, stage 1: box area and distance from the frame's centre, without a formula. Here a road user's proximity is

    sqrt(area share) * (1 - center distance / 2)

The root of the area share goes with 1 / distance to the road user, as the area itself does not. The centre distance is
in half diagonals (0 centre, 1 corner) and takes half of the value at most: a car beside us matters less than one ahead,
but a merge or a cyclist's overtake happens at the edge. Boxes that never move (own bonnet, overlays) must be taken out
first. Boxes over half of the picture are taken out here: now and then the detector takes the whole view over the
dashboard for one car (0.56 to 0.92 of the picture in driving footage, where real road users stay under 0.2), and a real
lorry has passed full scale long before.
Not covered: metres; a lorry looks nearer than a motorcycle at the same distance.
"""

from __future__ import annotations

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError

LARGEST_AREA_SHARE = 0.5

_COLUMNS = ("detections", "nearest_area_share", "nearest_center_distance", "proximity")


def proximity_windows(
    tracks: pl.DataFrame, frame_size: tuple[int, int], n_windows: int, window_sec: float
) -> pl.DataFrame:
    """One row a window: `detections`, `nearest_area_share`, `nearest_center_distance`, `proximity`.

    Args:
        tracks: `tables.TRACKS` rows without the still ones, in any order; a road user need not be followed
        frame_size: (width, height) px, the frame the boxes are in
        n_windows: windows of the video; rows after the last one count in it

    Returns:
        `proximity` is the largest of any road user in any frame of the window, 0 where none was seen; the nearest one
        is the one with the largest area, its columns are null where none was seen.

    Raises:
        InputError: the frame size is not positive, or a still row is among the tracks.
    """
    width, height = frame_size
    if width <= 0 or height <= 0:
        raise InputError(f"frame size must be positive (width, height) px, got {frame_size}")
    if tracks["still"].any():
        raise InputError("tracks hold still boxes (own bonnet, overlays); filter them out before proximity is measured")
    objects = (
        tracks.lazy()
        .select(
            # the rounding guard of windows.window_of
            window_index=(pl.col("timestamp_sec") / window_sec + 1e-6).floor().cast(pl.Int64).clip(0, n_windows - 1),
            **_geometry(width, height),
        )
        .filter(pl.col("area_share") <= LARGEST_AREA_SHARE)
        .with_columns(proximity=pl.col("area_share").sqrt() * (1.0 - pl.col("center_distance") / 2.0))
    )
    nearest = pl.col("area_share").arg_max()
    measured = objects.group_by("window_index").agg(
        detections=pl.len().cast(pl.Int64),
        nearest_area_share=pl.col("area_share").get(nearest),
        nearest_center_distance=pl.col("center_distance").get(nearest),
        proximity=pl.col("proximity").max(),
    )
    windows = pl.LazyFrame({"window_index": range(n_windows)}, schema={"window_index": pl.Int64})
    return (
        windows.join(measured, on="window_index", how="left", maintain_order="left")
        .with_columns(pl.col("detections", "proximity").fill_null(0))
        .select(pl.col(name).cast(tables.FRAME_SIGNALS[name]) for name in _COLUMNS)
        .collect()
    )


def _geometry(width: int, height: int) -> dict[str, pl.Expr]:
    """Area share (0..1) and centre distance (0..1) of the part of each box that is in the frame."""
    x1, x2 = (pl.col(name).clip(0, width) for name in ("x1_px", "x2_px"))
    y1, y2 = (pl.col(name).clip(0, height) for name in ("y1_px", "y2_px"))
    area = (x2 - x1).clip(lower_bound=0) * (y2 - y1).clip(lower_bound=0)
    across, down = (x1 + x2 - width) / 2, (y1 + y2 - height) / 2
    return {
        "area_share": area / (width * height),
        "center_distance": (across**2 + down**2).sqrt() / ((width**2 + height**2) ** 0.5 / 2),
    }
