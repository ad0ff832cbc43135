"""Is a near miss that was computed from boxes a real one? A contract in the manner of seed 001.

Boxes know nothing of lanes, depth or purpose (seed 002, "Known Limitations"): cars in parallel lanes touch in the
picture, a pedestrian behind a parked car walks into it, a detector sees one lorry twice. The reasons for a rejection
are these cases. A confirmation needs the one reason "genuine_conflict"; every failure rejects, with reason "unknown",
and a failure says nothing about the event: whoever counts false alarms counts only verdicts of source "model".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from autorisk_dagster.kinematics.near_miss_v2 import OWN_VEHICLE
from autorisk_dagster.verification.contract import Contract, Proposal, Verdict, load_schema, read

SYSTEM_PROMPT: Final = """\
You are a strict verifier of near misses for a fleet-safety team that reviews dashcam footage.

You are given:
- A sequence of video frames, evenly spread over about one second around the moment in question, in order of time
- A near miss that was computed from bounding boxes: the two that take part, where each is in the picture (left, top, \
right, bottom, each from 0 to 1000 of the picture's width or height) and what was measured

Your task is to determine whether the two were in a GENUINE CONFLICT: on courses that would have led to contact within \
moments unless one of them braked or swerved, or with contact. "own vehicle" is the vehicle that carries the camera.

Key distinction: boxes that come close in a picture often belong to road users that are far apart on the road, or that \
pass each other as traffic does. You must use the full visual context - lanes, depth, what hides what, who moves and \
who stands, brake lights, evasive movement - to decide.

Reasons for a rejection:
- parallel_lanes: they drive beside each other, each in a lane of its own
- same_direction_flow: one follows the other at a distance that both keep
- parked_vehicle: one of them is parked and the other passes it as usual
- stopped_traffic: both stand or creep, as at a light or in a queue
- occlusion: one is seen behind the other and they do not meet on the road
- perspective_overlap: they are close in the picture only, at different distances from the camera
- ample_margin: they cross or meet with time and room to spare
- detector_error: a box is on no road user, or two boxes are on one
- tracking_error: a box jumped from one road user to another

Output rules:
- Output ONLY a JSON object, no other text, with exactly these keys: version, event_id, confirmed, confidence, \
reason_category, rationale
- "version" must be "1.0"
- "event_id" must be the event_id from the input
- "confirmed" is true only for a genuine conflict
- "confidence" must be between 0 and 1
- "reason_category" must be genuine_conflict if confirmed, and otherwise one of: parallel_lanes, same_direction_flow, \
parked_vehicle, stopped_traffic, occlusion, perspective_overlap, ample_margin, detector_error, tracking_error, unknown
- "rationale" should be one concise sentence explaining the decision
- When uncertain, set confirmed to false and reason_category to unknown"""

VERDICT_SCHEMA: Final = load_schema("near_miss_verdict")
_MEASURED: Final = ("ttc_sec", "gap_m", "closing_mps", "distance_px")

Box = tuple[float, float, float, float]


def read_verdict(content: object, *, event_id: str) -> Verdict:
    """The verdict in a model's text, or the conservative reject. Never raises."""
    return read(CONTRACT, content, {"event_id": event_id}).verdict


def near_miss_proposal(
    video_id: str,
    event: Mapping[str, Any],
    boxes: Mapping[int, Box],
    frame_size: tuple[int, int],
    times_sec: Sequence[float],
) -> Proposal:
    """What the model is told about one row of tables.NEAR_MISS_EVENTS.

    Its risk score and level are not told: they would answer the question. They are logged as features.

    Args:
        video_id: goes into the log's event id: the row's own is counted in each video anew
        event: the row
        boxes: (left, top, right, bottom) in px by track id, at the event
        frame_size: (width, height) in px
        times_sec: when each frame that is shown was taken, seconds of the video
    """
    users = []
    for number in (1, 2):
        track_id = event[f"object_id_{number}"]
        if track_id is None:
            users.append({"name": OWN_VEHICLE})
            continue
        user: dict[str, Any] = {"name": f"{event[f'label_{number}']} {track_id}"}
        if track_id in boxes:
            user["box"] = _thousandths(boxes[track_id], frame_size)
        users.append(user)
    context = {
        "event_id": event["event_id"],
        "road_users": users,
        "measured": {name: round(event[name], 2) for name in _MEASURED if event[name] is not None},
        "frame_times_sec": [round(time_sec - event["timestamp_sec"], 2) for time_sec in times_sec],
    }
    features = {name: event[name] for name in ("version", "risk_score", "risk_level", *_MEASURED)}
    return Proposal(f"{video_id}:{event['event_id']}", context, features)


def _thousandths(box: Box, frame_size: tuple[int, int]) -> list[int]:
    """A box in thousandths of the frame, the coordinates in which Qwen3-VL and its kin are trained."""
    edges = zip(box, (*frame_size, *frame_size), strict=True)
    return [round(1000 * min(max(edge / size, 0.0), 1.0)) for edge, size in edges]


def _contradiction(verdict: Verdict, context: Mapping[str, Any]) -> str | None:
    if verdict["event_id"] != context["event_id"]:
        return "event_id is not that of the proposal"
    if verdict["confirmed"] != (verdict["reason_category"] == "genuine_conflict"):
        return f"confirmed is {str(verdict['confirmed']).lower()} for reason {verdict['reason_category']}"
    return None


def _reject(context: Mapping[str, Any], rationale: str) -> Verdict:
    return {
        "version": "1.0",
        "event_id": context["event_id"],
        "confirmed": False,
        "confidence": 0.0,
        "reason_category": "unknown",
        "rationale": rationale,
    }


CONTRACT: Final = Contract(
    name="near_miss",
    system_prompt=SYSTEM_PROMPT,
    schema=VERDICT_SCHEMA,
    contradiction=_contradiction,
    reject=_reject,
    confirms=lambda verdict: bool(verdict["confirmed"]),
)
