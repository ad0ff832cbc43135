"""True conflicts, from the XML that SUMO's SSM device writes.

The device measures each encounter of two vehicles along their lanes, at every step: time to collision (TTC), needed
deceleration (DRAC) and post-encroachment time (PET), by the encounter's kind. What it does not count: vehicles side by
side in neighbouring lanes, and a car that cuts in closely but is not slower.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

# A conflict: TTC under 1.5 s (Hayward 1972; van der Horst 1990), DRAC over 3.4 m/s2 (AASHTO's comfortable deceleration;
# Archer 2005), or PET under 1 s where ways cross (Peesapati et al. 2013). SUMO's own defaults, 3 s, 3 m/s2 and 2 s,
# bound the encounter in time, and tell a mild encounter from none at all.
CONFLICT_TTC_SEC, CONFLICT_DRAC_MPS2, CONFLICT_PET_SEC = 1.5, 3.4, 1.0
MILD_TTC_SEC, MILD_DRAC_MPS2, MILD_PET_SEC = 3.0, 3.0, 2.0
BRIDGE_SEC: Final = 1.0  # two runs less than this apart are one encounter
BEFORE_CROSSING_SEC: Final = 2.0  # an encounter known by its PET alone begins so long before
FOLLOWING: Final = 2  # SSM's code where the equipped vehicle follows the other
MERGING: Final = (6, 7, 8, 19)

Array = NDArray[np.float64]
Grade = Literal["conflict", "mild", "cut-in"]


@dataclass(frozen=True)
class Conflict:
    """Two road users in danger of each other.

    `grade`: "conflict"; "mild", only over SUMO's default thresholds; "cut-in", a close cut-in by the true positions,
    which SUMO does not count and a person might.
    """

    pair: tuple[int, int]  # positions in `World.road_users`, smaller first
    start_sec: float
    end_sec: float
    peak_sec: float  # of the least TTC; without one, of the largest DRAC, else of the PET
    min_ttc_sec: float  # inf: never on course
    max_drac_mps2: float
    pet_sec: float  # NaN: no common area was passed one after the other
    grade: Grade


@dataclass(frozen=True)
class Following:
    """SUMO's true values while the first of `pair` follows the second: arrays of one length."""

    pair: tuple[int, int]
    times_sec: Array
    ttc_sec: Array  # inf: not closing
    drac_mps2: Array  # 0: not closing


def read_log(log: Path, number: dict[str, int]) -> tuple[list[Conflict], tuple[Following, ...]]:
    """Conflicts and true following values from the device's XML. Both vehicles log an encounter: it is counted once."""
    found: dict[tuple[int, int], list[Conflict]] = defaultdict(list)
    following = []
    for _, element in ElementTree.iterparse(log, events=("end",)):
        if element.tag != "conflict":
            continue
        one, other = (number.get(element.attrib[name]) for name in ("ego", "foe"))
        if one is None or other is None:  # never inside the network at a step's end
            continue
        times, ttc, drac = _span(element, "timeSpan"), _span(element, "TTCSpan"), _span(element, "DRACSpan")
        kinds = _span(element, "typeSpan")
        ttc, drac = np.where(np.isnan(ttc), np.inf, ttc), np.nan_to_num(drac)
        pair = (min(one, other), max(one, other))
        found[pair] += encounters(pair, times, ttc, drac, _pet(element))
        behind = kinds == FOLLOWING
        if behind.any():
            following.append(Following((one, other), times[behind], ttc[behind], drac[behind]))
        element.clear()
    return [one for each in found.values() for one in _merged(each)], tuple(following)


def _span(element: ElementTree.Element, name: str) -> Array:
    child = element.find(name)
    assert child is not None
    return np.array([math.nan if text == "NA" else float(text) for text in child.attrib["values"].split()])


def _pet(element: ElementTree.Element) -> tuple[float, float] | None:
    """(time, value) of an encounter whose ways cross."""
    child = element.find("PET")
    if child is None or child.attrib["value"] == "NA" or int(child.attrib["type"]) in MERGING:
        return None
    return float(child.attrib["time"]), float(child.attrib["value"])


def encounters(
    pair: tuple[int, int], times: Array, ttc: Array, drac: Array, pet: tuple[float, float] | None
) -> Iterator[Conflict]:
    """Each run of a log over SUMO's thresholds, as a conflict or a mild encounter."""
    critical = np.flatnonzero((ttc < MILD_TTC_SEC) | (drac > MILD_DRAC_MPS2))
    runs = np.split(critical, np.flatnonzero(np.diff(times[critical]) > BRIDGE_SEC) + 1) if len(critical) else []
    for run in runs:
        start, end, least, most = times[run[0]], times[run[-1]], ttc[run].min(), drac[run].max()
        peak = times[run[np.argmin(ttc[run])]] if np.isfinite(least) else times[run[np.argmax(drac[run])]]
        serious = least < CONFLICT_TTC_SEC or most > CONFLICT_DRAC_MPS2
        grade: Grade = "conflict" if serious else "mild"
        yield Conflict(pair, float(start), float(end), float(peak), float(least), float(most), math.nan, grade)
    if pet is not None and pet[1] < MILD_PET_SEC:
        at, value = pet
        yield Conflict(
            pair,
            at - BEFORE_CROSSING_SEC,
            at,
            at,
            math.inf,
            0.0,
            value,
            "conflict" if value < CONFLICT_PET_SEC else "mild",
        )


def _merged(found: list[Conflict]) -> list[Conflict]:
    """Encounters of one pair that overlap (both vehicles' logs, a TTC and a PET of one crossing), as one."""
    merged: list[Conflict] = []
    for one in sorted(found, key=lambda one: one.start_sec):
        last = merged[-1] if merged else None
        if last is None or one.start_sec > last.end_sec + BRIDGE_SEC:
            merged.append(one)
            continue
        worse = min(last, one, key=lambda each: (each.grade == "mild", each.min_ttc_sec, -each.max_drac_mps2))
        merged[-1] = Conflict(
            pair=one.pair,
            start_sec=last.start_sec,
            end_sec=max(last.end_sec, one.end_sec),
            peak_sec=worse.peak_sec,
            min_ttc_sec=min(last.min_ttc_sec, one.min_ttc_sec),
            max_drac_mps2=max(last.max_drac_mps2, one.max_drac_mps2),
            pet_sec=float(np.fmin(last.pet_sec, one.pet_sec)),
            grade="conflict" if "conflict" in (last.grade, one.grade) else "mild",
        )
    return merged
