"""The rules of the kinematic reasoner: from what was measured to a severity, one table, nothing else decides.

Severities follow the definitions of seed 000 (Ground Truth Protocol): LOW, attention needed but margin exists;
MEDIUM, evasive action warranted; HIGH, collision risk, emergency response needed. The thresholds of time are from the
literature on surrogate safety measures, those of room and speed from geometry, each with its source in `RULES`.

A rule about a road user must hold at `HOLD_SAMPLES` samples running, never at a single one; a time to contact counts
by the upper bound of its interval; a closing road user counts only if its measured motion brings it into the own path
by the time of contact, because cars in the next lane grow just as fast.

Not covered: the own speed (headway in seconds), signals, right of way, what no detector names (animals, kerbs), and
road users that a detector does not find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from autorisk_dagster.kinematics.conflict_measures import COURSE_GAP_M
from autorisk_dagster.kinematics.flanks import OWN_HALF_WIDTH_M
from autorisk_dagster.reasoning.encounters import Encounter
from autorisk_dagster.reasoning.evidence import Actor, ActorSample, ClipEvidence, Sound

HOLD_SAMPLES: Final = 3
LANE_HALF_WIDTH_M: Final = 1.75
HOLD_SEC: Final = 0.19  # three samples at 10 Hz, less the rounding of timestamps
LONGEST_STEP_SEC: Final = 0.6  # samples further apart than this do not hold one rule together

CRITICAL_TTC_SEC: Final = 1.5
WARNING_TTC_SEC: Final = 2.4
ATTENTION_TTC_SEC: Final = 4.0
PASSING_GAP_M: Final = 0.7  # less than this is passing within arm's length
INTRUSION_GAP_M: Final = 0.5
LANE_GAP_M: Final = LANE_HALF_WIDTH_M - OWN_HALF_WIDTH_M  # room between the own flank and the lane's edge
ALONGSIDE_GAP_M: Final = 1.5
BESIDE_M: Final = 4.0  # nearer than a car's length: there is no time to contact ahead any more, only beside
NEAR_M: Final = 8.0
ENTRY_M: Final = 15.0
KEEPING_TTC_SEC: Final = 10.0
AWAY_MPS: Final = 2.0  # who draws away faster gives back the room soon
SIDE_TTC_SEC: Final = 1.0
MIN_INWARD_MPS: Final = 0.3
CRASH_CLOSING_MPS: Final = 3.0
CRASH_CHANGE_MPS: Final = 1.0
CRASH_SPEED_LEFT: Final = 0.3
EVADED_SPEED_LEFT: Final = 0.5
SIGNIFICANT: Final = 3.0  # times its standard error
HORN_DB: Final = 6.0
HORN_TONALITY: Final = 0.2
HORN_NEAR_SEC: Final = 2.0
LOUD_DB: Final = 15.0
BURST_RATIO: Final = 3.0
BURST_FLOW_PX: Final = 5.0


@dataclass(frozen=True)
class ActorRule:
    """A rule about one road user: it fires when `holds` is true of HOLD_SAMPLES samples running."""

    name: str
    severity: str
    meaning: str
    source: str
    holds: Callable[[Actor, ActorSample], bool]


@dataclass(frozen=True)
class Finding:
    """A rule that fired. `actor` and `sample` (the most pressing) for a road user, `encounter` for two others."""

    rule: str
    severity: str
    meaning: str
    at_sec: float
    actor: Actor | None = None
    sample: ActorSample | None = None
    encounter: Encounter | None = None
    sound: Sound | None = None


def _on_course(sample: ActorSample, ttc_sec: float, gap_m: float = COURSE_GAP_M) -> bool:
    return sample.high_sec < ttc_sec and sample.contact_gap_m <= gap_m


def _moving_in(sample: ActorSample) -> bool:
    return sample.inward_mps >= MIN_INWARD_MPS and sample.inward_mps >= SIGNIFICANT * sample.inward_error_mps


def _beside(sample: ActorSample, gap_m: float, distance_m: float) -> bool:
    return sample.distance_m <= distance_m and sample.gap_m <= gap_m


def _unprotected(actor: Actor) -> bool:
    return actor.label in ("person", "bicycle", "motorcycle")


def _came_in(actor: Actor, sample: ActorSample) -> bool:
    """Entered at the side and was seen further out before: a track that jumps onto something else was not."""
    before = [other.gap_m for other in actor.samples if other.timestamp_sec < sample.timestamp_sec]
    return actor.entered_from_side and any(gap_m > INTRUSION_GAP_M for gap_m in before)


RULES: Final = (
    ActorRule(
        "approach-critical",
        "HIGH",
        f"on a collision course, time to contact under {CRITICAL_TTC_SEC} s",
        "under 1.5 s drivers no longer resolve a conflict calmly: van der Horst 1990; scale of Hayward 1972",
        lambda _, sample: _on_course(sample, CRITICAL_TTC_SEC),
    ),
    ActorRule(
        "side-contact",
        "HIGH",
        f"beside the own car and moving in, contact within {SIDE_TTC_SEC} s",
        "a second is a driver's brake reaction time (Green 2000: 0.7-1.5 s): no margin is left",
        lambda _, sample: (
            _beside(sample, INTRUSION_GAP_M, BESIDE_M)
            and _moving_in(sample)
            and sample.gap_m <= SIDE_TTC_SEC * sample.inward_mps
        ),
    ),
    ActorRule(
        "approach-warning",
        "MEDIUM",
        f"on a collision course, time to contact under {WARNING_TTC_SEC} s",
        "where forward collision warning must have sounded: NHTSA, FCW confirmation test (NCAP), 2.0-2.4 s",
        lambda _, sample: _on_course(sample, WARNING_TTC_SEC),
    ),
    ActorRule(
        "lane-intrusion",
        "MEDIUM",
        f"came in from the side to under {INTRUSION_GAP_M} m of the own flank and stays under {NEAR_M:.0f} m ahead",
        f"geometry: the lane's edge is {LANE_GAP_M:.2f} m from the flank, so it is in the own lane",
        lambda actor, sample: (
            actor.road_user == "vehicle"
            and _came_in(actor, sample)
            and _beside(sample, INTRUSION_GAP_M, NEAR_M)
            and not sample.closing_mps < -AWAY_MPS
        ),
    ),
    ActorRule(
        "person-in-path",
        "MEDIUM",
        f"a person or cyclist in the own path under {NEAR_M:.0f} m ahead, the distance not kept",
        "geometry: stopping from 30 km/h takes over 13 m",
        # `not >`, because NaN is no proof that the distance is kept.
        lambda actor, sample: (
            _unprotected(actor) and _beside(sample, 0.0, NEAR_M) and not sample.low_sec > KEEPING_TTC_SEC
        ),
    ),
    ActorRule(
        "approach-attention",
        "LOW",
        f"closing and passing within {PASSING_GAP_M} m, time to contact under {ATTENTION_TTC_SEC:.0f} s",
        "4 s separates drivers in unintended danger from those in control: van der Horst and Hogema 1993",
        lambda _, sample: _on_course(sample, ATTENTION_TTC_SEC, PASSING_GAP_M),
    ),
    ActorRule(
        "alongside",
        "LOW",
        f"came up beside the own car to under {ALONGSIDE_GAP_M} m",
        "geometry: two cars in the middle of 3.6 m lanes (FHWA) leave 1.8 m, less the error of 0.3 m",
        lambda actor, sample: (
            actor.road_user == "vehicle"
            and actor.entered_from_side
            and _beside(sample, ALONGSIDE_GAP_M, NEAR_M)
            and sample.gap_m > 0
        ),
    ),
    ActorRule(
        "moving-in",
        "LOW",
        f"moving into the own lane under {ENTRY_M:.0f} m ahead",
        "geometry: it reaches the own lane while near",
        lambda _, sample: _beside(sample, LANE_GAP_M, ENTRY_M) and _moving_in(sample),
    ),
    ActorRule(
        "person-near-path",
        "LOW",
        f"a person or cyclist within {LANE_GAP_M:.2f} m of the own path under {ENTRY_M:.0f} m ahead",
        "geometry: one step from the path",
        lambda actor, sample: _unprotected(actor) and _beside(sample, LANE_GAP_M, ENTRY_M),
    ),
)


def findings(evidence: ClipEvidence) -> list[Finding]:
    """Every rule that fired, one finding a rule and road user at most, worst and earliest first."""
    found = [finding for actor in evidence.actors for finding in _about(actor)]
    found += [finding for encounter in evidence.encounters for finding in _between(encounter, evidence)]
    found += _horn(evidence, found)
    if not found:
        found += _unexplained(evidence)
    order = {"HIGH": 0, "MEDIUM": 1, "LOW": 2}
    return sorted(found, key=lambda finding: (order[finding.severity], finding.at_sec, finding.rule))


def _about(actor: Actor) -> Iterator[Finding]:
    """The rules that one road user meets; of the approach rules only the worst."""
    approaching = False
    for rule in RULES:
        approach = rule.name.startswith("approach-")
        if approach and approaching:
            continue
        held = longest_hold(actor, rule)
        if held:
            approaching = approaching or approach
            worst = min(held, key=lambda sample: (sample.high_sec if approach else sample.gap_m, sample.timestamp_sec))
            yield Finding(rule.name, rule.severity, rule.meaning, worst.timestamp_sec, actor, worst)


def longest_hold(actor: Actor, rule: ActorRule) -> list[ActorSample]:
    """The longest run of samples of which the rule holds; empty when it is under HOLD_SAMPLES or HOLD_SEC."""
    best: list[ActorSample] = []
    run: list[ActorSample] = []
    for sample in actor.samples:
        if run and sample.timestamp_sec - run[-1].timestamp_sec > LONGEST_STEP_SEC:
            run = []
        run = [*run, sample] if rule.holds(actor, sample) else []
        best = max(best, run, key=len)
    held = len(best) >= HOLD_SAMPLES and best[-1].timestamp_sec - best[0].timestamp_sec >= HOLD_SEC
    return best if held else []


def _between(encounter: Encounter, evidence: ClipEvidence) -> Iterator[Finding]:
    """Two other road users that come together: a possible collision, or a near miss that version 1.0 saw too."""
    significant = encounter.closing_mps >= SIGNIFICANT * encounter.closing_error_mps
    if encounter.closing_mps < CRASH_CLOSING_MPS or not significant:
        return
    stopped = encounter.speed_left <= CRASH_SPEED_LEFT and min(encounter.speed_change_mps) >= CRASH_CHANGE_MPS
    if stopped:
        yield Finding(
            "collision-of-others",
            "HIGH",
            f"two road users met at over {CRASH_CLOSING_MPS:.0f} m/s and both changed speed abruptly",
            encounter.contact_sec,
            encounter=encounter,
        )
    elif encounter.speed_left <= EVADED_SPEED_LEFT and any(
        event.track_ids == encounter.track_ids and event.risk_level != "Low" for event in evidence.near_misses
    ):
        yield Finding(
            "near-miss-of-others",
            "MEDIUM",
            f"two road users met at over {CRASH_CLOSING_MPS:.0f} m/s and braked or swerved; near miss v1.0 saw it too",
            encounter.contact_sec,
            encounter=encounter,
        )


def _horn(evidence: ClipEvidence, found: list[Finding]) -> Iterator[Finding]:
    """A horn is no danger by itself: it makes MEDIUM of a LOW about a road user that was close when it sounded."""
    if any(finding.severity != "LOW" for finding in found):
        return
    horns = [sound for sound in evidence.sounds if sound.loudness_db >= HORN_DB and sound.tonality >= HORN_TONALITY]
    for finding in found:
        if finding.sample is None or not finding.sample.distance_m <= ENTRY_M:
            continue
        for horn in horns:
            if max(horn.start_sec - finding.at_sec, finding.at_sec - horn.end_sec) <= HORN_NEAR_SEC:
                meaning = f"a horn sounded within {HORN_NEAR_SEC:.0f} s of a road user under {ENTRY_M:.0f} m ahead"
                yield Finding("horn", "MEDIUM", meaning, horn.start_sec, finding.actor, finding.sample, sound=horn)
                return


def _unexplained(evidence: ClipEvidence) -> Iterator[Finding]:
    """A burst of motion together with a bang, and no cut in the film: something happened that no road user explains."""
    if not evidence.flow_px:
        return
    ordered = sorted(evidence.flow_px)
    usual = ordered[len(ordered) // 2]
    for at_sec, flow_px in zip(evidence.flow_sec, evidence.flow_px, strict=True):
        burst = flow_px >= BURST_FLOW_PX and flow_px >= BURST_RATIO * usual
        cut = any(abs(cut_sec - at_sec) <= 1.0 for cut_sec in evidence.scene_cut_sec)
        bang = [
            sound
            for sound in evidence.sounds
            if sound.loudness_db >= LOUD_DB
            and sound.tonality < HORN_TONALITY
            and sound.start_sec - 1.0 <= at_sec <= sound.end_sec + 1.0
        ]
        if burst and bang and not cut:
            yield Finding("burst", "LOW", "a burst of motion and a bang at once", at_sec, sound=bang[0])
            return
