"""What makes SUMO's careful drivers dangerous: hard braking, cut-ins, right of way ignored, eyes off the road."""

from __future__ import annotations

import cmath
import math
from random import Random
from typing import Any

from tests.benchmarks.sumo_roads import STEP_SEC


class Provocation:
    """What makes SUMO's careful drivers dangerous. The numbers are mean seconds between two tries at one camera car."""

    BRAKE_EVERY, CUT_IN_EVERY, RUN_EVERY = 8.0, 5.0, 1.0
    OBEY, LOOK_AWAY, BRAKE_HARD, IGNORE_WAY = 31, 0, 27, 39  # SUMO's speed modes, bits of the rules that hold

    def __init__(self, libsumo: Any, draw: Random, egos: list[str]) -> None:
        self._vehicle, self._person, self._draw, self._egos = libsumo.vehicle, libsumo.person, draw, egos
        self._restore: dict[str, float] = {}  # vehicle -> when it drives by itself again

    def step(self, now_sec: float) -> None:
        here = self._vehicle.getIDList()
        for name in [name for name, until in self._restore.items() if now_sec >= until]:
            del self._restore[name]
            if name in here:
                self._vehicle.setSpeed(name, -1)
                self._vehicle.setSpeedMode(name, self.OBEY)
                self._vehicle.setLaneChangeMode(name, 1621)
        crossing = [name for name in self._person.getIDList() if "_c" in self._person.getRoadID(name)]
        for ego in self._egos:
            if ego not in here or self._vehicle.getSpeed(ego) < 4.0:
                continue
            if self._due(self.BRAKE_EVERY):
                self._brake(ego, now_sec)
            if self._due(self.CUT_IN_EVERY):
                self._cut_in(ego, now_sec)
            if self._due(self.RUN_EVERY):
                self._ignore_right_of_way(ego, here, now_sec)
            self._overlook(ego, crossing, now_sec)

    def _due(self, every_sec: float) -> bool:
        return self._draw.random() < STEP_SEC / every_sec

    def _take(self, name: str, until_sec: float, speed_mode: int) -> bool:
        if name in self._restore:
            return False
        self._restore[name] = until_sec
        self._vehicle.setSpeedMode(name, speed_mode)
        return True

    def _look_away(self, ego: str, until_sec: float) -> None:
        if self._take(ego, until_sec, self.LOOK_AWAY):
            self._vehicle.setSpeed(ego, self._vehicle.getSpeed(ego))

    def _brake(self, ego: str, now_sec: float) -> None:
        """The leader brakes at 7 m/s2, and the camera car's driver reacts late."""
        leader = self._vehicle.getLeader(ego, 45.0)
        if not leader or leader[1] > 45.0 or self._vehicle.getSpeed(leader[0]) < 5.0:
            return
        speed = self._vehicle.getSpeed(leader[0])
        left = speed * self._draw.uniform(0.0, 0.5)
        braking_sec = (speed - left) / 7.0
        if self._take(leader[0], now_sec + braking_sec + 1.0, self.BRAKE_HARD):
            self._vehicle.slowDown(leader[0], left, braking_sec)
            self._look_away(ego, now_sec + self._draw.uniform(0.5, 1.5))

    def _cut_in(self, ego: str, now_sec: float) -> None:
        """A neighbour just before the camera car changes into its lane and is slower."""
        # bits of getNeighbors: 1 = right side, 2 = those before the own car
        beside = [(name, -1) for name, gap in self._vehicle.getNeighbors(ego, 2) if -1.0 < gap < 16.0]
        beside += [(name, 1) for name, gap in self._vehicle.getNeighbors(ego, 3) if -1.0 < gap < 16.0]
        if not beside:
            return
        name, side = self._draw.choice(beside)
        if self._take(name, now_sec + 4.0, self.BRAKE_HARD):
            self._vehicle.setLaneChangeMode(name, 1365)  # heeds nothing but an immediate collision
            self._vehicle.changeLaneRelative(name, side, 4.0)
            self._vehicle.slowDown(name, self._vehicle.getSpeed(ego) * self._draw.uniform(0.6, 0.95), 2.0)
            self._look_away(ego, now_sec + self._draw.uniform(0.5, 2.0))

    def _ignore_right_of_way(self, ego: str, here: tuple[str, ...], now_sec: float) -> None:
        """Whoever would come within 6 m of the camera car in the next seconds, unless it waits, does not wait."""
        place, speed = self._motion(ego)
        for name in here:
            other, its_speed = self._motion(name)
            apart, relative = other - place, its_speed - speed
            if name == ego or abs(apart) > 45.0 or abs(its_speed) < 3.0 or abs(relative) < 3.0:
                continue
            nearest_sec = -(apart * relative.conjugate()).real / abs(relative) ** 2
            if 1.0 < nearest_sec < 5.0 and abs(apart + relative * nearest_sec) < 6.0:
                self._take(name, now_sec + 5.0, self.IGNORE_WAY)
                self._take(ego, now_sec + nearest_sec - self._draw.uniform(0.0, 1.2), self.IGNORE_WAY)
                return

    def _overlook(self, ego: str, crossing: list[str], now_sec: float) -> None:
        """Somebody on a crossing not far from the camera car's course is seen late, one time in three."""
        place, speed = self._motion(ego)
        for name in crossing:
            apart = (complex(*self._person.getPosition(name)) - place) * speed.conjugate() / abs(speed)
            if 0 < apart.real < 3.0 * abs(speed) and abs(apart.imag) < 3.0 and self._due(3 * STEP_SEC):
                self._look_away(ego, now_sec + apart.real / abs(speed) - self._draw.uniform(0.6, 1.2))

    def _motion(self, name: str) -> tuple[complex, complex]:
        """Place (m) and velocity (m/s) as complex numbers."""
        heading = math.radians(90.0 - self._vehicle.getAngle(name))
        return complex(*self._vehicle.getPosition(name)), self._vehicle.getSpeed(name) * cmath.exp(1j * heading)
