"""Is a hand gesture that a local tracker proposes a command to the computer? Seed 001, to the letter.

The prompt, the schema (`schemas/gesture_verdict.json`), the messages and the settings of the request are the seed's. A
gesture that was not confirmed is not carried out: every failure rejects it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from autorisk_dagster.verification.contract import Contract, Proposal, Verdict, load_schema, read

SYSTEM_PROMPT: Final = """\
You are a strict gesture verifier for a desktop control system that uses webcam hand tracking.

You are given:
- A proposed gesture intent detected by a local hand tracker
- A sequence of video frames showing the moment the gesture was detected
- Optionally, a hand landmark summary with trajectory and pose data

Your task is to determine whether the detected gesture was an INTENTIONAL USER COMMAND directed at the computer, or \
whether it was incidental human motion that happened to resemble a gesture.

Key distinction: Many normal human activities produce hand motions that are kinematically identical to gesture \
commands. Scratching your head looks like a swipe. Waving during conversation looks like a dismiss gesture. Reaching \
for a coffee cup looks like a directional motion. You must use the full visual context — body posture, gaze direction, \
scene context, motion purposefulness — to determine intent.

Hard negative priors (reject unless strong command evidence):
- Self-grooming: scratching head/face, rubbing eyes, adjusting glasses/hair
- Reaching: grabbing objects, wiping surfaces, catching/swatting
- Conversation: waving while talking, gesticulating, receiving items from others
- Accidental: repositioning hands, stretching, fidgeting

Output rules:
- Output ONLY a JSON object, no other text
- Must validate against the provided schema exactly
- "version" must be "1.0"
- "proposed_intent" must match the proposed intent from the input
- "final_intent" must be one of: OPEN_MENU, CLOSE_MENU, SWITCH_RIGHT, SWITCH_LEFT, NONE
- If not intentional, set final_intent to "NONE"
- "confidence" must be between 0 and 1
- "reason_category" must be one of: intentional_command, self_grooming, reaching_object, swatting_insect, \
conversation_gesture, accidental_motion, tracking_error, unknown
- "rationale" should be one concise sentence explaining the decision
- When uncertain, err on the side of rejection (set intentional to false)"""

VERDICT_SCHEMA: Final = load_schema("gesture_verdict")
REQUEST_SCHEMA: Final = load_schema("gesture_request")
INTENTS: Final[tuple[str, ...]] = tuple(VERDICT_SCHEMA["properties"]["proposed_intent"]["enum"])
_TOLD: Final = ("proposed_intent", "local_confidence", "landmark_summary")


def read_verdict(content: object, *, proposed_intent: str) -> Verdict:
    """The verdict in a model's text, or the conservative reject. Never raises.

    Args:
        content: the text of the model's message; anything else is rejected
        proposed_intent: one of `INTENTS`
    """
    return read(CONTRACT, content, {"proposed_intent": proposed_intent}).verdict


def gesture_proposal(request: Mapping[str, Any]) -> Proposal:
    """The proposal in a request that holds `REQUEST_SCHEMA`."""
    context = {name: request[name] for name in _TOLD if name in request}
    return Proposal(request["event_id"], context, request.get("features", {}))


def _contradiction(verdict: Verdict, context: Mapping[str, Any]) -> str | None:
    proposed, final = verdict["proposed_intent"], verdict["final_intent"]
    if proposed != context["proposed_intent"]:
        return f"proposed_intent is {proposed}, proposed was {context['proposed_intent']}"
    if verdict["intentional"] == (final == "NONE"):
        return f"intentional is {str(verdict['intentional']).lower()} and final_intent is {final}"
    if verdict["intentional"] and final != proposed:
        return f"final_intent is {final}, which was not proposed"
    if verdict["intentional"] != (verdict["reason_category"] == "intentional_command"):
        return f"intentional is {str(verdict['intentional']).lower()} for reason {verdict['reason_category']}"
    return None


def _reject(context: Mapping[str, Any], rationale: str) -> Verdict:
    return {
        "version": "1.0",
        "proposed_intent": context["proposed_intent"],
        "final_intent": "NONE",
        "intentional": False,
        "confidence": 0.0,
        "reason_category": "unknown",
        "rationale": rationale,
    }


CONTRACT: Final = Contract(
    name="gesture",
    system_prompt=SYSTEM_PROMPT,
    schema=VERDICT_SCHEMA,
    contradiction=_contradiction,
    reject=_reject,
    confirms=lambda verdict: bool(verdict["intentional"]),
)
