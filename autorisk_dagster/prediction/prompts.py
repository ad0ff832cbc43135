"""What the world model is asked to show: prompts composed from a clip's judgement. Seed 000, stages 4 and 4b.

    predict   causal reasoning + short-term prediction
    danger    causal reasoning + short-term prediction + "the driver does not react" + how that hazard ends in contact
    safe      recommended action + "evasive action" + how that hazard is resolved

The hazard's kind is read from the judgement's hazards by whole words, so that "careful" is no car and "no pedestrian"
no pedestrian: first from the types, in the order in which they were judged, then from actors and places. A prompt is
bounded, because the text encoder reads 512 tokens and drops the rest without a word. Numbers of tracks mean nothing to
a world model and are left out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from autorisk_dagster.errors import InputError
from autorisk_dagster.tables.vocabulary import SCENARIOS

VERSION: Final = "1"
MAX_FIELD_CHARS: Final = 320  # three fields and the fixed sentences stay under 512 T5 tokens, about 4 characters each
MAX_HAZARDS: Final = 3

NEGATIVE: Final = (
    "low quality, blurry, flickering, jump cut, static camera freeze, warped vehicles, melting shapes, duplicated road "
    "users, text, captions, watermark, unnatural colours, distorted lane markings"
)

_DANGER: Final = {
    "pedestrian": "The pedestrian steps further into the path and the car hits the pedestrian.",
    "cyclist": "The cyclist stays in the path and the car hits the bicycle.",
    "cut-in": "The vehicle cuts in fully and the front of the car runs into its rear corner.",
    "rear-end": "The gap closes and the car runs into the rear of the vehicle ahead.",
    "side-swipe": "The vehicle beside drifts over and the two scrape along each other's sides.",
    "oncoming": "The oncoming vehicle stays on the car's side of the road and the two collide head-on.",
    "intersection": "Neither gives way at the intersection and the vehicles collide broadside.",
    "default": "The distance runs out and the car collides with what is in its path.",
}
_SAFE: Final = {
    "pedestrian": "The car stops in time and the pedestrian reaches the other side unharmed.",
    "cyclist": "The car slows down, leaves wide room and the cyclist rides on unharmed.",
    "cut-in": "The car eases off and the vehicle merges ahead with a safe gap.",
    "rear-end": "The car brakes early and stops with a clear gap behind the vehicle ahead.",
    "side-swipe": "The car holds its lane, makes room and the vehicle beside moves back without contact.",
    "oncoming": "The car slows and keeps right while the oncoming vehicle returns to its own side.",
    "intersection": "The car stops before the intersection and the crossing traffic clears it without contact.",
    "default": "The car slows down and passes with a safe distance.",
}

_CAR = r"(?:car|vehicle|van|truck|lorry|bus|suv|sedan|motorist)"
# In the order of looking: who is hurt most first, then what says more.
_WORDS: Final = {
    "pedestrian": r"pedestrians?|persons?|people|walkers?|child(?:ren)?|jaywalk(?:er|ers|ing)|toddlers?",
    "cyclist": r"cyclists?|bicycl(?:e|es|ist|ists)|bikes?|bikers?|motorcycl(?:e|es|ist|ists)|motorbikes?|scooters?",
    "oncoming": rf"oncoming|on-coming|head[- ]on|wrong[- ]way|(?:opposing|opposite)[- ](?:direction|lane|{_CAR})",
    "cut-in": r"cut(?:s|ting)?[- ]in|cut(?:s|ting)? (?:off|across)|merg(?:e|es|ing)|lane[- ]chang(?:e|es|ing)",
    "side-swipe": r"side[- ]?swip(?:e|es|ing)|side[- ]contact|lateral (?:drift|contact|conflict)|drift(?:s|ing)",
    "rear-end": r"rear[- ]end(?:ed|ing)?|tail[- ]?gat(?:e|es|ing)|(?:lead|leading|stopped|slowing|braking) "
    + _CAR
    + r"|(?:sudden|hard|abrupt) (?:braking|stop)|following (?:distance|too close(?:ly)?)",
    "intersection": r"intersections?|junctions?|cross[- ]?roads?|roundabouts?|cross(?:ing)? traffic|red[- ]light"
    rf"|t-bone|turning (?:left |right )?{_CAR}|{_CAR} turning",
}
_PATTERNS: Final = {
    kind: re.compile(rf"(?<!\bno )(?<!\bwithout )(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE)
    for kind, words in _WORDS.items()
}
_TRACK_NUMBER = re.compile(r"\s*#\d+\b")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")


@dataclass(frozen=True)
class Prompt:
    """What a world model is asked.

    Attributes:
        text, negative: the words
        hazard: one of HAZARD_KINDS
        hash: 16 hex digits of version and words
    """

    text: str
    negative: str
    hazard: str
    hash: str


def compose(judgement: Mapping[str, Any], scenario: str) -> Prompt:
    """The prompt for one clip.

    Args:
        judgement: a row of tables.REASON_OUTPUTS with a severity
        scenario: one of SCENARIOS

    Raises:
        InputError: an unknown scenario.
    """
    if scenario not in SCENARIOS:
        raise InputError(f"scenario {scenario!r} is not known; known: {', '.join(SCENARIOS)}")
    hazard = hazard_kind(judgement)
    parts = ["Realistic dashcam video, seen through the windscreen of a car on the road."]
    named = _hazards_named(judgement)
    if named:
        parts.append(f"Hazards in view: {named}.")
    if scenario == "safe":
        parts += [
            _sentences(judgement.get("recommended_action")),
            "The driver reacts at once and takes evasive action in time.",
            _SAFE[hazard],
        ]
    else:
        parts += [_sentences(judgement.get("causal_reasoning")), _sentences(judgement.get("short_term_prediction"))]
    if scenario == "danger":
        parts += ["The driver does not react.", _DANGER[hazard]]
    parts.append("Consistent lighting and motion, steady forward-facing camera.")
    text = " ".join(part for part in parts if part)
    digest = hashlib.sha256(json.dumps([VERSION, text, NEGATIVE]).encode()).hexdigest()[:16]
    return Prompt(text, NEGATIVE, hazard, digest)


def hazard_kind(judgement: Mapping[str, Any]) -> str:
    """Which of HAZARD_KINDS a judgement's hazards are; "default" where none is named or known."""
    hazards = judgement.get("hazards") or []
    types = [_plain(hazard["type"]) for hazard in hazards]
    places = [" ; ".join(map(_plain, [*(hazard["actors"] or []), hazard["spatial_relation"]])) for hazard in hazards]
    for text in (*types, *places):
        for kind, pattern in _PATTERNS.items():
            if pattern.search(text):
                return kind
    return "default"


def _hazards_named(judgement: Mapping[str, Any]) -> str:
    named = []
    for hazard in (judgement.get("hazards") or [])[:MAX_HAZARDS]:
        actors = ", ".join(filter(None, map(_plain, hazard["actors"] or [])))
        words = [_plain(hazard["type"]).lower(), actors, _plain(hazard["spatial_relation"])]
        named.append(", ".join(word for word in words if word))
    return _shortened("; ".join(named))


def _sentences(text: str | None) -> str:
    """A field as whole sentences; empty where there is none."""
    plain = _shortened(_plain(text))
    return plain if not plain or plain[-1] in ".!?" else f"{plain}."


def _plain(text: str | None) -> str:
    return " ".join(_TRACK_NUMBER.sub("", _CONTROL.sub(" ", text or "")).split())


def _shortened(text: str) -> str:
    """At most MAX_FIELD_CHARS, cut at a sentence's end if there is one, else at a word's."""
    if len(text) <= MAX_FIELD_CHARS:
        return text
    cut = text[: MAX_FIELD_CHARS + 1]
    end = max(cut.rfind(mark) for mark in (". ", "! ", "? "))
    return cut[: end + 1] if end > 0 else cut.rsplit(" ", 1)[0][:MAX_FIELD_CHARS]
