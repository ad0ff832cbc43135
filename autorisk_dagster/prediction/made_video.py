"""One video from a clip's judgement to a row of the tables: ordered, made, written, measured on what was written."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.perception.detections import Detector
from autorisk_dagster.prediction import quality, video_file
from autorisk_dagster.prediction.moment import Moment
from autorisk_dagster.prediction.picture import LABELS, letterbox, letterboxed
from autorisk_dagster.prediction.prompts import compose
from autorisk_dagster.prediction.quality import Actor
from autorisk_dagster.prediction.world_model import Generated, Order, WorldModel
from autorisk_dagster.profile import PredictionSettings

_TRACK = re.compile(r"#(\d+)\b")
_PEDESTRIANS: Final = ("pedestrian",)

Row = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """One video of one clip.

    Attributes:
        clip: row of tables.MINED_CLIPS
        judgement: row of tables.REASON_OUTPUTS
        severity: the corrected one
        scenario: one of SCENARIOS
        hidden_by: what hid faces and plates in the moment's frame; None: nothing is hidden
    """

    clip: Mapping[str, Any]
    judgement: Mapping[str, Any]
    severity: str | None
    scenario: str
    hidden_by: str | None = None


def order_of(wanted: Wanted, moment: Moment, settings: PredictionSettings) -> Order:
    """What the world model is asked for."""
    seeds = {"predict": settings.seed, "danger": settings.danger_seed, "safe": settings.safe_seed}
    return Order(wanted.scenario, compose(wanted.judgement, wanted.scenario), seeds[wanted.scenario], moment)


def finished_key(wanted: Wanted, order: Order, model: WorldModel) -> str:
    """64 hex digits of all that the video depends on: where a video is kept under it, it need not be made again."""
    moment_sec = round(order.moment.condition.at_sec - wanted.clip["start_sec"], 4)
    what = [
        model.name,
        model.model_id,
        model.model_revision,
        model.settings_hash,
        wanted.clip["clip_sha256"],
        moment_sec,
        wanted.scenario,
        order.prompt.hash,
        order.seed,
    ]
    if wanted.hidden_by is not None:  # what is hidden follows the road users that were found
        what += [wanted.hidden_by, hashlib.sha256(order.moment.condition.frame_bgr.tobytes()).hexdigest()]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def not_asked(wanted: Wanted, why: str) -> Row:
    """The row of a clip that no video is made of."""
    return dict.fromkeys(tables.PREDICT_VIDEOS) | {
        "clip_id": wanted.clip["clip_id"],
        "clip_sha256": wanted.clip["clip_sha256"],
        "scenario": wanted.scenario,
        "severity": wanted.severity,
        "outcome": "not_asked",
        "error": why,
    }


def made_row(wanted: Wanted, order: Order, model: WorldModel, made: Generated) -> Row:
    """The row of what became of an order, before anything is written."""
    contact = made.contact
    high = None if contact is None else contact.high_sec
    return not_asked(wanted, "") | {
        "outcome": made.outcome,
        "error": made.error,
        "world_model": model.name,
        "model_id": model.model_id,
        "model_revision": model.model_revision,
        "hazard": order.prompt.hazard,
        "prompt": order.prompt.text,
        "prompt_hash": order.prompt.hash,
        "seed": made.seed,
        "settings_hash": model.settings_hash,
        "condition_sec": order.moment.condition.at_sec,
        "hidden_by": wanted.hidden_by,
        "attempts": made.attempts,
        "seconds": made.seconds,
        "peak_memory_mb": made.peak_memory_mb,
        "contact_sec": None if contact is None else contact.sec,
        "contact_low_sec": None if contact is None else contact.low_sec,
        "contact_high_sec": high,
        "contact_between": None if contact is None else contact.between,
    }


def write(made: Generated, row: Row, settings: PredictionSettings, target: Path) -> Row:
    """Write the pictures to `target`; returns what the row says of the file but its path and hash."""
    told = ("clip_id", "clip_sha256", "scenario", "model_id", "model_revision", "prompt", "prompt_hash", "seed",
            "settings_hash", "condition_sec", "hidden_by")  # fmt: skip
    video_file.write(
        made.pictures,
        settings.fps,
        target,
        {"label": LABELS[row["world_model"]], **{name: row[name] for name in told}},
    )
    return {"frame_count": len(made.pictures), "fps": settings.fps}


def measured(path: Path, wanted: Wanted, moment: Moment, settings: PredictionSettings, detector: Detector) -> Row:
    """The quality of the video at `path`."""
    pictures = video_file.read(path)
    actors = hazard_actors(wanted.judgement, moment, (settings.width_px, settings.height_px))
    condition = letterboxed(moment.condition.frame_bgr, (settings.width_px, settings.height_px))
    return {
        "first_frame_ssim": quality.first_frame_ssim(pictures, condition),
        "lowest_neighbour_ssim": quality.lowest_neighbour_ssim(pictures),
        "actors_wanted": len(actors),
        "actors_found": quality.actors_found(pictures, actors, detector),
    }


def hazard_actors(judgement: Mapping[str, Any], moment: Moment, picture_size: tuple[int, int]) -> list[Actor]:
    """The hazard's road users that are in view: those that it names by number, or, where it names none by number, the
    largest of its kind."""
    users = moment.road_users()
    named = {
        int(number)
        for hazard in judgement["hazards"] or []
        for actor in hazard["actors"] or []
        for number in _TRACK.findall(actor)
    }
    if named:
        chosen = users.filter(pl.col("track_id").is_in(list(named)))
    else:
        kind = "pedestrian" if compose(judgement, "predict").hazard in _PEDESTRIANS else "vehicle"
        area = (pl.col("x2_px") - pl.col("x1_px")) * (pl.col("y2_px") - pl.col("y1_px"))
        chosen = users.filter(pl.col("road_user") == kind).sort(area, descending=True).head(1)
    place = letterbox(moment.frame_size, picture_size)
    boxes = place.boxes(chosen.select("x1_px", "y1_px", "x2_px", "y2_px").to_numpy())
    return [Actor(box, kind) for box, kind in zip(boxes, chosen["road_user"].cast(pl.String), strict=True)]
