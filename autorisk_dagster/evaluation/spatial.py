"""Whether a spatial relation that was said holds of the road users that were followed.

A relation is refused only where every road user it may be about was seen elsewhere in all samples; what lies between
is "cannot be checked". Positions are the middle of the box right of the frame's middle, in shares of the frame's width.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from autorisk_dagster.evaluation.clip_facts import SeenTrack
from autorisk_dagster.evaluation.lexicon import Concept, events, named

CLEARLY_ASIDE: Final = 0.05  # a box whose middle is this far from the frame's is clearly left or right
NOT_AHEAD: Final = 0.3  # one further out all the time is beside, not ahead: 25 degrees of a view 75 across
CROSSES: Final = 0.2  # of the frame's width: nothing that keeps its side travels so far

_TURNING: Final = re.compile(
    r"\b(?:turn|swerv|veer|steer|merg|mov|drift|chang|pull|head|cut)(?:e|s|es|ed|ing)?(?: \w+){0,2} (?:left|right)\b"
    r"|\b(?:has|have|had|having|just) left\b|\bright away\b|\bleft the\b"
)
RELATIONS: Final[dict[str, Concept]] = {
    "left": events("", "left leftmost"),
    "right": events("", "right rightmost"),
    "in the own path": events("", "ownpath ownlane"),
    "ahead": events("", "ahead front"),
    "behind": events("", "behind rear"),
    "crossing": events("cross traverse"),
}


@dataclass(frozen=True)
class Finding:
    """Whether something said holds; None: cannot be checked. `evidence`: in words."""

    holds: bool | None
    evidence: str


def said_relations(text: str) -> set[str]:
    """The relations that a text affirms; where a road user turns or moves to is not where it is."""
    return named(_TURNING.sub(" ", text.lower()), RELATIONS)


def relation_holds(relation: str, tracks: tuple[SeenTrack, ...]) -> Finding:
    """Whether `relation`, a key of `RELATIONS`, holds of at least one of `tracks`, of which there is one or more."""
    if relation == "behind":
        return Finding(None, "behind is out of a forward camera's view")
    answers = [(_of_one(relation, track), track) for track in tracks]
    for holds, track in answers:
        if holds:
            return Finding(True, f"{relation}: {track.name} {_places(track)}")
    shown = "; ".join(f"{track.name} {_places(track)}" for _, track in answers[:3])
    if all(holds is False for holds, _ in answers):
        return Finding(False, f"{relation}: not so of any; {shown}")
    return Finding(None, f"{relation}: cannot be told; {shown}")


def _of_one(relation: str, track: SeenTrack) -> bool | None:
    low, high = min(track.offsets), max(track.offsets)
    if relation in ("left", "right"):
        near, far = (low, high) if relation == "left" else (-high, -low)
        return True if near < -CLEARLY_ASIDE else (False if near > CLEARLY_ASIDE and far > CLEARLY_ASIDE else None)
    if relation == "in the own path":
        return track.in_own_path
    if relation == "ahead":
        return bool(track.in_own_path or min(abs(low), abs(high)) < NOT_AHEAD or low < 0 < high)
    crosses = low < -CLEARLY_ASIDE and high > CLEARLY_ASIDE
    if crosses or high - low > CROSSES or track.moves_in:
        return True
    return False if high - low < CLEARLY_ASIDE and track.moves_in is False else None


def _places(track: SeenTrack) -> str:
    def place(offset: float) -> str:
        if abs(offset) < 0.005:
            return "in the middle"
        return f"{100 * abs(offset):.0f} % {'right' if offset > 0 else 'left'} of it"

    low, high = min(track.offsets), max(track.offsets)
    span = f"{place(low)} to {place(high)}" if high - low > 0.02 else place((low + high) / 2)
    path = {True: ", in the own path", False: ", never in the own path", None: ""}[track.in_own_path]
    return f"was {span}{path}"
