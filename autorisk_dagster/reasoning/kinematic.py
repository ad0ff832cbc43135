"""The kinematic reasoner: an assessment from measurements alone, always labelled as such, never as a language model.

It applies `reasoning.rules` and puts the findings into words; every sentence names the road user, figure and time it
rests on. Where nothing could be measured it abstains: an empty road that was looked at is NONE, a clip that could not
be looked at is not. It reports no confidence, because none was measured.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Final

from autorisk_dagster import tables
from autorisk_dagster.kinematics import camera, conflict_measures, flanks, own_motion, own_path, sizes
from autorisk_dagster.reasoning import encounters, rules
from autorisk_dagster.reasoning.evidence import Actor, ActorSample, ClipEvidence
from autorisk_dagster.reasoning.rules import Finding
from autorisk_dagster.reasoning.schema import Assessment, Hazard

STILL_FLOW_PX: Final = 0.05  # mean flow (px of a frame 240 px high, per 0.1 s) of a black or frozen picture
TOLD: Final = 6  # at most so many findings are put into words; all of them decide


class KinematicReasoner:
    """Judges clips by `reasoning.rules`."""

    name: Final = "kinematic"
    model_id: Final = "kinematic-1"

    @property
    def model_revision(self) -> str:
        """16 hex digits that change when a rule, a source or a number behind the rules changes."""
        table = [(rule.name, rule.severity, rule.meaning, rule.source) for rule in rules.RULES]
        numbers = {
            f"{module.__name__}.{name}": value
            for module in (camera, conflict_measures, encounters, flanks, own_motion, own_path, rules, sizes)
            for name, value in vars(module).items()
            if name.isupper() and isinstance(value, int | float | dict)
        }
        return hashlib.sha256(json.dumps([table, numbers], sort_keys=True).encode()).hexdigest()[:16]

    def why_abstain(self, evidence: ClipEvidence) -> str | None:
        """Why the clip cannot be judged; None when it can."""
        followed = len(evidence.actors)
        if evidence.unmeasured:
            return f"{evidence.unmeasured} road users were followed whose course was not measured"
        if any(_placed(actor) for actor in evidence.actors):
            return None
        if followed or evidence.near_unfollowed:
            return (
                f"road users were seen, but none could be placed: {followed} followed without a whole box in view, "
                f"{evidence.near_unfollowed} near boxes not followed"
            )
        if evidence.detections is None:
            return "no detector looked at the clip"
        if evidence.detections == 0 and max(evidence.flow_px, default=0.0) < STILL_FLOW_PX:
            return "no road user was detected and no motion was seen: the picture may be dark, covered or frozen"
        return None

    def assess(self, evidence: ClipEvidence) -> Assessment:
        """The severity of the worst finding, NONE without one, and the reasons.

        Raises:
            ValueError: the clip cannot be judged (`why_abstain`); `judge` turns that into an outcome.
        """
        reason = self.why_abstain(evidence)
        if reason is not None:
            raise ValueError(f"clip {evidence.clip_id} cannot be judged: {reason}")
        found = rules.findings(evidence)
        if not found:
            return Assessment(
                severity="NONE",
                hazards=[],
                causal_reasoning=_nothing(evidence),
                short_term_prediction="No measured motion leads to contact.",
                recommended_action="Drive on as before.",
                evidence=_background(evidence),
            )
        worst = found[0]
        told = found[:TOLD]
        return Assessment(
            severity=worst.severity,
            hazards=[_hazard(finding) for finding in _one_per_actor(told)],
            causal_reasoning=" ".join(_sentence(finding) for finding in _one_per_actor(told)),
            short_term_prediction=_prediction(worst),
            recommended_action=_action(worst),
            evidence=[f"{finding.rule}: {finding.meaning}; {_sentence(finding)}" for finding in told]
            + _background(evidence),
        )

    def judge(self, evidence: ClipEvidence, settings_hash: str) -> dict[str, Any]:
        """A row of tables.REASON_OUTPUTS: outcome "severity", or "abstained" with the reason in `error`."""
        reason = self.why_abstain(evidence)
        assessment = None if reason is not None else self.assess(evidence)
        answer: dict[str, Any] = (
            dict.fromkeys(Assessment.model_fields) if assessment is None else assessment.model_dump()
        )
        return {
            **dict.fromkeys(tables.REASON_OUTPUTS),
            "clip_id": evidence.clip_id,
            "outcome": "abstained" if assessment is None else "severity",
            **answer,
            "reasoner": self.name,
            "model_id": self.model_id,
            "model_revision": self.model_revision,
            "settings_hash": settings_hash,
            "raw_text": None if assessment is None else assessment.model_dump_json(),
            "error": reason,
        }


def _placed(actor: Actor) -> bool:
    return any(not math.isnan(sample.gap_m) or not math.isnan(sample.ttc_sec) for sample in actor.samples)


def _one_per_actor(found: list[Finding]) -> list[Finding]:
    """The worst finding of each road user (pair), in order."""
    seen: dict[object, Finding] = {}
    for finding in found:
        who: object = finding.encounter.track_ids if finding.encounter else finding.rule
        seen.setdefault(finding.actor.track_id if finding.actor else who, finding)
    return list(seen.values())


def _hazard(finding: Finding) -> Hazard:
    if finding.encounter:
        pair = zip(finding.encounter.labels, finding.encounter.track_ids, strict=True)
        names = [f"{label} #{track}" for label, track in pair]
        return Hazard(type=_type(finding), actors=names, spatial_relation="with each other, in view")
    if finding.actor is None or finding.sample is None:
        return Hazard(type=_type(finding), actors=[], spatial_relation="not seen")
    return Hazard(type=_type(finding), actors=[finding.actor.name], spatial_relation=_where(finding.sample))


def _type(finding: Finding) -> str:
    actor = finding.actor
    if finding.encounter:
        return "Intersection"
    if actor is None:
        return "Unexplained"
    if actor.label == "person":
        return "Pedestrian"
    if actor.label in ("bicycle", "motorcycle"):
        return "Cyclist" if actor.label == "bicycle" else "Motorcyclist"
    if finding.rule == "side-contact":
        return "Side-swipe"
    if finding.rule in ("lane-intrusion", "moving-in") or actor.entered_from_side:
        return "Cut-in"
    return "Rear-end" if finding.sample is not None and finding.sample.contact_gap_m == 0 else "Side-swipe"


def _where(sample: ActorSample) -> str:
    parts = ["ahead in the own path" if sample.gap_m == 0 else sample.side]
    if math.isfinite(sample.distance_m):
        parts.append(f"about {sample.distance_m:.0f} m away")
    if sample.gap_m > 0:
        parts.append(f"{sample.gap_m:.1f} m beside the own flank")
    return ", ".join(parts)


def _sentence(finding: Finding) -> str:
    """The facts of one finding."""
    if finding.encounter:
        met = finding.encounter
        return (
            f"{_pair(met.labels, met.track_ids)} met at {met.contact_sec:.1f} s, "
            f"closing at {met.closing_mps:.1f} m/s, of which {_percent(met.speed_left)} was left after; "
            f"their own speeds changed by {met.speed_change_mps[0]:.1f} and {met.speed_change_mps[1]:.1f} m/s."
        )
    heard = ""
    if finding.sound:
        sound = finding.sound
        what = "A horn" if finding.rule == "horn" else "A bang"
        heard = f"{what} {sound.loudness_db:.0f} dB over the noise at {sound.start_sec:.1f} s"
    if finding.actor is None or finding.sample is None:
        return f"{heard} came with a burst of motion at {finding.at_sec:.1f} s."
    actor, sample = finding.actor, finding.sample
    text = f"{actor.name} {_where(sample)}"
    if math.isfinite(sample.high_sec):
        text += f", TTC {sample.ttc_sec:.1f} s ({sample.low_sec:.1f}-{sample.high_sec:.1f})"
    if finding.rule in ("side-contact", "moving-in"):
        text += f", moving in at {sample.inward_mps:.1f} m/s"
    if actor.entered_from_side:
        text += ", came in from the side"
    text += f" at {sample.timestamp_sec:.1f} s."
    return f"{heard}; {text}" if heard else text


def _pair(labels: tuple[str, str], track_ids: tuple[int, int]) -> str:
    return f"{labels[0]} #{track_ids[0]} and {labels[1]} #{track_ids[1]}"


def _percent(share: float) -> str:
    return "an unknown part" if math.isnan(share) else f"{100 * max(share, 0.0):.0f} %"


def _prediction(worst: Finding) -> str:
    if worst.encounter:
        return "The road users involved may stop, spin or throw debris into the own path."
    if worst.actor is None or worst.sample is None:
        return "Cannot say: no road user was measured with it."
    who, sample = worst.actor.name, worst.sample
    if worst.rule.startswith("approach-"):
        return (
            f"Unchanged, the own car meets {who} {sample.ttc_sec:.1f} s after {sample.timestamp_sec:.1f} s, with "
            f"{sample.contact_gap_m:.1f} m of room at the side."
        )
    if worst.rule in ("side-contact", "moving-in"):
        return f"Unchanged, {who} is at the own flank or in the own path in {sample.gap_m / sample.inward_mps:.1f} s."
    if sample.gap_m == 0:
        return f"The own car reaches {who} unless it slows down or {who} leaves the path."
    return f"With {sample.gap_m:.1f} m between, a move of {who} towards the own lane leads to contact."


def _action(worst: Finding) -> str:
    who = worst.actor.name if worst.actor else "what happened"
    if worst.encounter:
        collided = worst.severity == "HIGH"
        return "Brake, keep clear of the collision and be ready to stop." if collided else "Slow down until they part."
    if worst.actor is None:
        return "Look at the clip: the measurements do not explain it."
    if worst.severity == "HIGH":
        away = " and steer away" if worst.rule == "side-contact" else ""
        return f"Emergency braking{away} for {who}."
    if worst.severity == "MEDIUM":
        return f"Slow down and give way to {who}."
    return f"Watch {who} and keep the distance."


def _nothing(evidence: ClipEvidence) -> str:
    if not evidence.actors:
        return "No road user was detected while the picture moved; animals and obstacles are not looked for."
    near = max(evidence.actors, key=lambda actor: actor.closest.area_share)
    return (
        f"{_count(evidence)} followed; no measured motion brings any of them into the own path or up beside the own "
        f"car. The largest in view, {near.name}, is {_where(near.closest)} at "
        f"{near.closest.timestamp_sec:.1f} s."
    )


def _room(contact_gap_m: float) -> str:
    if math.isnan(contact_gap_m):
        return "course unknown"
    return f"course to pass at {contact_gap_m:.1f} m"


def _count(evidence: ClipEvidence) -> str:
    return f"{len(evidence.actors)} road user{'' if len(evidence.actors) == 1 else 's'}"


def _background(evidence: ClipEvidence) -> list[str]:
    """What else was measured in the clip, whether or not a rule used it."""
    told = [f"{_count(evidence)} followed, {evidence.near_unfollowed} near boxes not followed"]
    finite = [
        (sample.ttc_sec, sample, actor)
        for actor in evidence.actors
        for sample in actor.samples
        if math.isfinite(sample.ttc_sec)
    ]
    if finite:
        _, sample, actor = min(finite, key=lambda item: (item[1].high_sec, item[1].timestamp_sec))
        told.append(
            f"shortest TTC of any one sample {sample.ttc_sec:.1f} s ({sample.low_sec:.1f}-{sample.high_sec:.1f}), "
            f"{actor.name} at {sample.timestamp_sec:.1f} s, {_room(sample.contact_gap_m)}"
        )
    for event in sorted(evidence.near_misses, key=lambda event: -event.risk_score)[:2]:
        told.append(
            f"near miss v1.0 {event.risk_level} ({event.risk_score:.2f}) between "
            f"{_pair(event.labels, event.track_ids)} at {event.timestamp_sec:.1f} s"
        )
    if evidence.sounds:
        loud = max(evidence.sounds, key=lambda sound: sound.loudness_db)
        told.append(
            f"loudest sound {loud.loudness_db:.0f} dB over the noise at {loud.start_sec:.1f} s, "
            f"tonality {loud.tonality:.2f}"
        )
    else:
        told.append("no sound was measured")
    if evidence.flow_px:
        peak = max(zip(evidence.flow_px, evidence.flow_sec, strict=True))
        told.append(f"most motion {peak[0]:.1f} px per 0.1 s at {peak[1]:.1f} s")
    if evidence.scene_cut_sec:
        told.append("scene cuts at " + ", ".join(f"{at_sec:.1f} s" for at_sec in evidence.scene_cut_sec))
    return told
