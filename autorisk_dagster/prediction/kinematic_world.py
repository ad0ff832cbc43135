"""The kinematic world model: what follows if everyone goes on as measured, drawn; no model, and never called one.

    predict, danger   nobody reacts
    safe              the own car brakes by a stated deceleration after a stated reaction time

The own speed is the measured one (`tables.CONFLICT_MEASURES`), 0 where the background stands still
(`kinematics.own_motion`), else taken as the largest closing speed of the road users in view, as if the fastest of them
stood.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from typing import Final

import numpy as np
import polars as pl

from autorisk_dagster.kinematics.near_miss_v2 import OWN_VEHICLE
from autorisk_dagster.kinematics.own_motion import stands_at
from autorisk_dagster.prediction import animation, contact, forecast
from autorisk_dagster.prediction.animation import Scene, animate
from autorisk_dagster.prediction.contact import Contact, predicted_contacts
from autorisk_dagster.prediction.forecast import NO_REACTION, Braking, carried_forward
from autorisk_dagster.prediction.moment import Moment
from autorisk_dagster.prediction.picture import LABELS, with_strip
from autorisk_dagster.prediction.world_model import Generated, Order
from autorisk_dagster.profile import PredictionSettings

READS: Final = ("width_px", "height_px", "frames", "fps", "braking_mps2", "reaction_sec")


class KinematicWorld:
    """Carries road users forward by `prediction.forecast`."""

    name = "kinematic"
    model_id = "kinematic-forecast-2"
    keeps = False  # made faster than it is looked up, and from more than a key would hold

    def __init__(self, settings: PredictionSettings) -> None:
        self._settings = settings
        self.settings_hash = settings.digest(READS)
        self.model_revision = _revision()

    def generate(self, order: Order) -> Generated:
        """The animation of `order`, and the earliest contact in it."""
        started = time.monotonic()
        settings, moment, seen = self._settings, order.moment, order.moment.seen
        at_sec, size = moment.condition.at_sec, moment.frame_size
        times = np.arange(settings.frames) / settings.fps
        braking = NO_REACTION
        if order.scenario == "safe":
            braking = Braking(settings.braking_mps2, settings.reaction_sec, own_speed_mps(moment))
        contacts = predicted_contacts(seen.tracks, seen.conflict_measures, size, at_sec, float(times[-1]), braking)
        users = carried_forward(seen.tracks, seen.conflict_measures, seen.ego_motion, size, at_sec)
        picture_size = settings.width_px, settings.height_px
        drawn = animate(Scene(moment.condition.frame_bgr, users, contacts, braking, picture_size), times)
        first = contacts[0] if contacts else None
        told = f"{_reaction_in_words(order.scenario, braking)}   {_contact_in_words(first)}"
        pictures = tuple(
            with_strip(picture, LABELS[self.name], f"t +{time_sec:.2f} s   {told}")
            for picture, time_sec in zip(drawn, times, strict=True)
        )
        return Generated("generated", pictures, seconds=time.monotonic() - started, contact=first)


def own_speed_mps(moment: Moment) -> float:
    """The own car's speed at the moment; NaN where nothing in view tells it."""
    at_sec = moment.condition.at_sec
    if stands_at(moment.seen.ego_motion, at_sec):
        return 0.0
    now = moment.seen.conflict_measures.filter((pl.col("timestamp_sec") - at_sec).abs() < 1e-6)
    measured = now["own_speed_mps"].drop_nulls()
    if not measured.is_empty():
        return float(measured[0])
    closing = now["closing_mps"].drop_nulls()
    closing = closing.filter(closing > 0)
    return float(str(closing.max())) if not closing.is_empty() else math.nan


def _revision() -> str:
    """16 hex digits that change when a number behind the forecast changes."""
    numbers = {
        f"{module.__name__}.{name}": value
        for module in (animation, contact, forecast)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, int | float | tuple)
    }
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()[:16]


def _reaction_in_words(scenario: str, braking: Braking) -> str:
    if scenario != "safe":
        return "no reaction"
    if braking.own_speed_mps == 0:
        return "own car stands"
    if not braking.has_effect:
        return "own speed unknown, not braked"
    return f"brakes {braking.deceleration_mps2:g} m/s2 after {braking.reaction_sec:g} s"


def _contact_in_words(found: Contact | None) -> str:
    if found is None:
        return "no contact predicted"
    between = found.between.replace(f"{OWN_VEHICLE} and", "with")
    high = f"{found.high_sec:.1f}" if math.isfinite(found.high_sec) else "never"
    return f"contact {between} in {found.sec:.1f} s ({found.low_sec:.1f}-{high})"
