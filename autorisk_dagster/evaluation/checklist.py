"""The five-item explanation checklist, as facts: what an answer says against what was measured in its clip.

Source of the items: seed 000 (stage 5). There a person or a model scored them and every clip had 5 of 5; here each is
true, false or cannot be checked, with the evidence in words. It is conservative: false needs a measurement that speaks
against what was said, and a missing measurement never does.

1. actors_exist: a road user of each named kind was detected in the clip; a track that is named by number is in it
2. relation_holds: left, right, ahead, in the own path, crossing: of a road user of the kind the hazard names
3. prediction_fits_ttc: contact predicted, or none, against the shortest time to contact and collision courses
4. action_fits_hazard: how urgent the advised action is against the severity said; no steering towards the hazard
5. cause_named: the reasoning names who or what, and what it does

Items 4 and 5 hold the answer against itself. Not covered: whether the cause is the true one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.evaluation.clip_facts import ClipFacts, SeenTrack, clip_facts
from autorisk_dagster.evaluation.lexicon import MAY_BE, ROAD_USERS, events, mentions, named, names, things
from autorisk_dagster.evaluation.spatial import Finding, relation_holds, said_relations
from autorisk_dagster.reasoning.rules import ATTENTION_TTC_SEC, CRITICAL_TTC_SEC, HOLD_SAMPLES

_TRACK: Final = re.compile(r"#(\d+)\b")
_SECONDS: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:s\b|sec|second)|\b(one|two|three|four|five|a few)\s+seconds?\b")
_NUMBER_WORDS: Final = {"one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0, "a few": 3.0}

CONTACT: Final = events(
    "collide hit crash impact strike meet ram", "struck collision collisions contact sideswipe accident accidents"
)
_AVOIDED: Final = re.compile(
    r"\b(?:avoid(?:s|ed|ing)?|prevent(?:s|ed|ing)?)\b[^.;]*?\b(?:collisions?|contact|impacts?|crash(?:es)?|accidents?)\b"
)
SAFE: Final = re.compile(
    r"\bno (?:\w+ ){0,4}(?:contact|collisions?|danger|hazards?|conflicts?|impacts?)\b"
    r"|\bnot (?:\w+ ){0,3}(?:collide|hit|lead to contact)\b"
    r"|\b(?:pass(?:es)?|continues?|proceeds?) (?:by )?safely\b|\bwithout (?:incident|contact|collision)\b"
    r"|\bremains? (?:safe|stable|clear)\b"
)

URGENCY: Final = (  # by the level of URGENCY_WORDS
    events("continue proceed drive cruise", "normally none"),
    events(
        "watch monitor observe anticipate keep maintain prepare",
        "caution cautious cautiously alert careful carefully aware attentive distance vigilant",
    ),
    events("brake slow decelerate yield stop reduce steer", "way"),
    events("swerve evade", "emergency immediately immediate evasive hard"),
)
ACCELERATE: Final = events("accelerate")
# What the severity says is warranted (seed 000, Ground Truth Protocol): LOW attention, MEDIUM to slow or give way, HIGH
# an emergency response. To brake for LOW is careful and fits; to brake for nothing does not.
FITTING: Final = {"NONE": (0, 1), "LOW": (1, 2), "MEDIUM": (2, 3), "HIGH": (2, 3)}
URGENCY_WORDS: Final = ("no change", "attention", "slowing or giving way", "an emergency response")

CAUSES: Final = things(
    "door obstacle debris animal dog deer pothole roadwork light signal junction intersection "
    "curve bend ice snow rain fog glare visibility occlusion horn bang object cone barrier sign"
)
HAPPENS: Final = events(
    "merge cross cut brake stop turn enter overtake approach close swerve drift park open block obstruct reverse pull "
    "step walk ride run encroach intrude move emerge slow change collide meet follow tailgate accelerate speed pass "
    "yield travel stand come sound",
    "came met ran stood ttc oncoming stationary because due caused",
)


def explanation_checklist(
    reason_outputs: pl.DataFrame,
    mined_clips: pl.DataFrame,
    tracks: pl.DataFrame,
    conflict_measures: pl.DataFrame,
    clip_ttc: pl.DataFrame,
    frame_width_px: float,
) -> pl.DataFrame:
    """The checklist of every clip that was given a severity; the others explain nothing.

    Returns:
        tables.EXPLANATION_CHECKLIST, five rows a clip, in the order of `reason_outputs`
    """
    clips = {row["clip_id"]: row for row in mined_clips.iter_rows(named=True)}
    ttc = {row["clip_id"]: row for row in clip_ttc.drop("timeline").iter_rows(named=True)}
    rows = []
    for answer in reason_outputs.filter(pl.col("outcome") == "severity").iter_rows(named=True):
        clip = clips.get(answer["clip_id"])
        if clip is None:
            continue
        facts = clip_facts(
            clip, tracks, conflict_measures, ttc.get(answer["clip_id"]), frame_width_px, CRITICAL_TTC_SEC
        )
        for item, check in CHECKS.items():
            found = check(answer, facts)
            rows.append(
                {
                    "clip_id": answer["clip_id"],
                    "item": item,
                    "holds": found.holds,
                    "evidence": found.evidence,
                    "clip_sha256": answer["clip_sha256"],
                }
            )
    return tables.frame(rows, tables.EXPLANATION_CHECKLIST)


def actors_exist(answer: Mapping[str, Any], facts: ClipFacts) -> Finding:
    """Item 1."""
    text = _who(answer)
    kinds = sorted({mention.concept for mention in mentions(text, ROAD_USERS) if mention.affirmed})
    numbers = sorted({int(number) for number in _TRACK.findall(text)})
    if not kinds and not numbers:
        return Finding(None, "names no road user")
    missing = sorted(set(numbers) - {track.track_id for track in facts.tracks})
    if missing:
        return Finding(False, f"names {_numbered(missing)}, not followed in the clip")
    if not facts.labels:
        return Finding(None, f"names {', '.join(kinds)}; the detector saw nothing in the clip")
    unseen = [kind for kind in kinds if not MAY_BE[kind] & facts.labels]
    said = f"names {', '.join(kinds) or _numbered(numbers)}; detected: {', '.join(sorted(facts.labels))}"
    return Finding(not unseen, said + (f"; no {', no '.join(unseen)}" if unseen else ""))


def relation_is_there(answer: Mapping[str, Any], facts: ClipFacts) -> Finding:
    """Item 2."""
    found: list[Finding] = []
    for hazard in answer["hazards"] or ():
        relations = sorted(said_relations(hazard["spatial_relation"] or ""))
        about = _tracks_of(hazard, facts)
        for relation in relations:
            if not about:
                found.append(Finding(None, f"{relation}: no road user of that kind was followed"))
            else:
                found.append(relation_holds(relation, about))
    if not found:
        return Finding(None, "says no relation of left, right, ahead, own path or crossing")
    return _all_of(found)


def prediction_fits_ttc(answer: Mapping[str, Any], facts: ClipFacts) -> Finding:
    """Item 3."""
    text = (answer["short_term_prediction"] or "").strip().lower()
    if not text:
        return Finding(None, "predicts nothing")
    contact = names(_AVOIDED.sub(" ", text), CONTACT)
    safe = not contact and bool(SAFE.search(text))
    if not contact and not safe:
        return Finding(None, "predicts neither contact nor that there is none")
    ttc, low, high = facts.ttc_sec, facts.ttc_low_sec, facts.ttc_high_sec
    if safe:
        if facts.critical_course >= HOLD_SAMPLES:
            return Finding(
                False,
                f"no contact predicted, but {facts.critical_course} samples on a collision course under "
                f"{CRITICAL_TTC_SEC:g} s",
            )
        if ttc is None:
            return Finding(None, "no contact predicted; no time to contact could be measured")
        return Finding(
            True, f"no contact predicted; {_ttc_words(ttc, low, high)}, nothing critical on a collision course"
        )
    if ttc is None:
        return Finding(None, "contact predicted; no time to contact could be measured")
    earliest = ttc if low is None else low
    within = _seconds(text)
    limit = max(ATTENTION_TTC_SEC, within or 0.0)
    said = f"contact predicted{f' within {within:g} s' if within else ''}; {_ttc_words(ttc, low, high)}"
    if math.isinf(ttc) or earliest > limit:
        return Finding(False, said)
    if within is not None and earliest > 2 * within:
        return Finding(False, said)
    return Finding(True, said)


def action_fits_hazard(answer: Mapping[str, Any], facts: ClipFacts) -> Finding:  # noqa: ARG001 - one signature for all
    """Item 4."""
    text = (answer["recommended_action"] or "").strip().lower()
    if not text:
        return Finding(None, "advises nothing")
    towards = _steers_towards(text, answer["hazards"] or ())
    if towards:
        return Finding(False, f"advises to go {towards}, where all hazards are")
    if answer["severity"] in ("MEDIUM", "HIGH") and names(text, ACCELERATE) and not names(text, URGENCY[2]):
        return Finding(False, f"advises to accelerate for {answer['severity']}")
    found = [level for level, concept in enumerate(URGENCY) if names(text, concept)]
    if not found:
        return Finding(None, "the action is in none of the words that are known")
    level = max(found)
    low, high = FITTING[answer["severity"]]
    said = f"advises {URGENCY_WORDS[level]} for {answer['severity']}"
    return Finding(low <= level <= high, said)


def cause_named(answer: Mapping[str, Any], facts: ClipFacts) -> Finding:  # noqa: ARG001
    """Item 5."""
    text = answer["causal_reasoning"] or ""
    if answer["severity"] == "NONE":
        return Finding(None, "NONE has no cause")
    who = named(text, ROAD_USERS) | ({"circumstance"} if names(text, CAUSES) else set())
    does = sorted({mention.word for mention in mentions(text, {"it": HAPPENS}) if mention.affirmed})
    if who and does:
        return Finding(True, f"names {', '.join(sorted(who))}: {', '.join(does[:4])}")
    lacks = "what happens" if who else "who or what it is about"
    return Finding(False, f"the reasoning does not name {lacks}" if text.strip() else "there is no reasoning")


Check = Callable[[Mapping[str, Any], ClipFacts], Finding]
CHECKS: Final[dict[str, Check]] = dict(
    zip(
        tables.CHECKLIST_ITEMS,
        (actors_exist, relation_is_there, prediction_fits_ttc, action_fits_hazard, cause_named),
        strict=True,
    )
)


def _who(answer: Mapping[str, Any]) -> str:
    hazards = answer["hazards"] or ()
    actors = [actor for hazard in hazards for actor in hazard["actors"] or ()]
    return ". ".join([*actors, *(hazard["type"] or "" for hazard in hazards), answer["causal_reasoning"] or ""])


def _tracks_of(hazard: Mapping[str, Any], facts: ClipFacts) -> tuple[SeenTrack, ...]:
    """The road users a hazard may be about: those named by number, else those of the named kinds."""
    text = ". ".join(hazard["actors"] or ())
    numbers = {int(number) for number in _TRACK.findall(text)}
    if numbers:
        return tuple(track for track in facts.tracks if track.track_id in numbers)
    kinds = named(text, ROAD_USERS) or named(hazard["type"] or "", ROAD_USERS)
    labels = frozenset[str]().union(*(MAY_BE[kind] for kind in kinds))
    return tuple(track for track in facts.tracks if track.label in labels)


def _all_of(found: list[Finding]) -> Finding:
    words = "; ".join(each.evidence for each in found[:4])
    if any(each.holds is False for each in found):
        return Finding(False, words)
    return Finding(True if any(each.holds for each in found) else None, words)


def _steers_towards(text: str, hazards: Any) -> str | None:
    """The side to steer to, where all hazards are on it."""
    relations = {each for hazard in hazards for each in said_relations(hazard["spatial_relation"] or "")}
    sides = relations & {"left", "right"}
    if len(sides) != 1 or relations & {"ahead", "in the own path", "crossing"}:
        return None
    (side,) = sides
    verb = r"\b(?:steer|swerve|move|pull|veer|merge|change lanes?)(?:ing)?\b"
    towards = rf"{verb}(?:(?!\b(?:away|from|not)\b)[^.;,])*?\b{side}\b"
    return side if re.search(towards, text) and not re.search(rf"\bnot\b[^.;,]*\b{side}\b", text) else None


def _seconds(text: str) -> float | None:
    """The first time in a text that is a span: "within 2 seconds", "in 1.5 s"."""
    for match in re.finditer(r"\b(?:within|in|under|less than|about|after)\s+(?:the next\s+|about\s+)?", text):
        found = _SECONDS.match(text, match.end())
        if found:
            return float(found[1]) if found[1] else _NUMBER_WORDS[found[2]]
    return None


def _ttc_words(ttc: float, low: float | None, high: float | None) -> str:
    if math.isinf(ttc):
        return "nothing was measured to approach"
    bounds = f" ({low:.1f} to {high:.1f})" if low is not None and high is not None else ""
    return f"shortest time to contact {ttc:.1f} s{bounds}"


def _numbered(numbers: list[int]) -> str:
    return ", ".join(f"track #{number}" for number in numbers)
