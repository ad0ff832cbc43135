"""People of real dashcam clips (JAAD 2.0) against the car's own action: who comes nearer when, and who is in the path.

    python -m tests.benchmarks.jaad_people     # prints the tables that docs/ttc.md holds

JAAD labels boxes of people, whether each crosses before the car, and what the car does, frame by frame, at 30 Hz.
There are no distances, so that no error of a time can be told, but its sense can: nobody's time to contact is finite
and significant before a car that stands, people come nearer while it drives, and it is those who cross that are in its
path. There is no picture either, hence no own turning. Read from `../shared/data/jaad`, MIT, and not copied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.kinematics.clip_ttc import APPROACH_SEC, lasting
from autorisk_dagster.kinematics.conflict_measures import conflict_measures
from autorisk_dagster.profile import CameraSettings

FOLDER: Final = Path(__file__).parents[2].parent / "shared" / "data" / "jaad"
FRAME_SIZE: Final = (1920, 1080)
VIDEO_HZ, EVERY = 30, 3  # 10 samples a second, as the detector looks
ACTIONS: Final = ("stopped", "decelerating", "accelerating", "moving_slow", "moving_fast")


def people(path: Path) -> pl.DataFrame:
    """tables.TRACKS of an annotation file with `crosses` (ever, before the car; null: not told) and the car's `action`.

    Groups of people under one box, and boxes that are mostly hidden, are left out.
    """
    vehicle = ElementTree.parse(path.with_name(f"{path.stem}_vehicle.xml")).getroot()
    action = {int(frame.get("id", "-1")): frame.get("action") for frame in vehicle.iter("frame")}
    rows = []
    for number, track in enumerate(ElementTree.parse(path).getroot().iter("track"), start=1):
        if track.get("label") == "people":
            continue
        boxes = [box for box in track.iter("box") if box.get("outside") == "0"]
        told = [mark.text for box in boxes for mark in box.iter("attribute") if mark.get("name") == "cross"]
        crosses = ("crossing" in told) if told else None
        for box in boxes:
            frame = int(box.get("frame", "-1"))
            hidden = any(mark.text == "full" for mark in box.iter("attribute") if mark.get("name") == "occlusion")
            if frame % EVERY or hidden:
                continue
            edges = {f"{name}_px": float(box.get(edge, "nan")) for name, edge in EDGES.items()}
            rows.append({**FIXED, **edges, "frame_index": frame // EVERY, "source_frame": frame,
                         "timestamp_sec": frame / VIDEO_HZ, "track_id": number,
                         "crosses": crosses, "action": action.get(frame)})  # fmt: skip
    schema = {**tables.TRACKS, "crosses": pl.Boolean, "action": pl.String}
    return pl.DataFrame(rows, schema=schema).sort("frame_index", "track_id")


EDGES: Final = {"x1": "xtl", "y1": "ytl", "x2": "xbr", "y2": "ybr"}
FIXED: Final = {"scene_index": 0, "road_user": "pedestrian", "label": "person", "confidence": 0.9, "still": False}


def measured(path: Path) -> pl.DataFrame:
    """Conflict measures of one clip with `crosses`, `action` and `approaches` (significantly, for 0.4 s)."""
    seen = people(path)
    tracks = seen.select(list(tables.TRACKS))
    found = conflict_measures(tracks, tables.empty(tables.EGO_MOTION), FRAME_SIZE, CameraSettings())
    parts = []
    for _, part in found.sort("track_id", "timestamp_sec").group_by("track_id", maintain_order=True):
        high = part["ttc_high_sec"].fill_null(np.inf).to_numpy()
        runs = lasting(part["timestamp_sec"].to_numpy(), high < APPROACH_SEC)
        parts.append(part.with_columns(approaches=pl.Series(runs)))
    rows = pl.concat(parts) if parts else found.with_columns(approaches=pl.lit(False))
    return rows.join(seen.select("frame_index", "track_id", "crosses", "action"), on=["frame_index", "track_id"])


def read(folder: Path = FOLDER) -> pl.DataFrame:
    """All clips; `clip` names the file."""
    return pl.concat(
        measured(path).with_columns(clip=pl.lit(path.stem)) for path in sorted(folder.glob("video_????.xml"))
    )


def by_action(rows: pl.DataFrame) -> pl.DataFrame:
    """What the car does: measured samples of people, share that approaches, median TTC of those."""
    known = rows.filter(pl.col("ttc_sec").is_not_null())
    table = known.group_by("action").agg(
        samples=pl.len(),
        approaching=pl.col("approaches").mean(),
        median_ttc_sec=pl.col("ttc_sec").filter(pl.col("approaches")).median(),
    )
    order = {action: place for place, action in enumerate(ACTIONS)}
    return table.filter(pl.col("action").is_in(ACTIONS)).sort(
        pl.col("action").replace_strict(order, return_dtype=pl.Int64)
    )


def by_crossing(rows: pl.DataFrame) -> pl.DataFrame:
    """People who cross before the car, and who do not: ever in the own path, ever on a collision course with it."""
    each = (
        rows.filter(pl.col("crosses").is_not_null())
        .group_by("clip", "track_id", "crosses")
        .agg(pl.col("in_own_path", "on_collision_course", "approaches").any())
    )
    return (
        each.group_by("crosses")
        .agg(
            people=pl.len(),
            **{name: pl.col(name).sum() for name in ("approaches", "in_own_path", "on_collision_course")},
        )
        .sort("crosses", descending=True)
    )


def main() -> None:
    rows = read()
    for table in (by_action(rows), by_crossing(rows)):
        with pl.Config(float_precision=3, tbl_hide_dataframe_shape=True, tbl_formatting="MARKDOWN"):
            print(table, "\n")


if __name__ == "__main__":
    main()
