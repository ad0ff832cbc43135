"""The gesture contract: what a gate lets pass, and that everything else is one conservative reject."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autorisk_dagster.verification.endpoint import DEFAULT_MODEL, URL_VARIABLE
from autorisk_dagster.verification.gesture import (
    CONTRACT,
    INTENTS,
    SYSTEM_PROMPT,
    VERDICT_SCHEMA,
    gesture_proposal,
    read_verdict,
)
from autorisk_dagster.verification.verifier import MAX_TOKENS, TEMPERATURE, messages
from tests.verification.servers import APPROVAL, GOOD, REJECTION

ACCEPTED = {
    "whole JSON": GOOD,
    "with white space": f"\n  {json.dumps(APPROVAL, indent=2)}\r\n",
    "one fence": f"```json\n{GOOD}\n```",
    "fence without language": f"```\n{GOOD}\n```",
    "other fence": f"~~~JSON\n{GOOD}\n~~~",
    "think, then JSON": f"<think>\nThey look at the screen {{}}.\n</think>\n\n{GOOD}",
    "confidence 1": GOOD.replace("0.87", "1"),
}
REFUSED = {  # content: part of the rationale
    "": "the content is empty",
    " \n": "the content is empty",
    "null": "not a JSON object but NoneType",
    "[]": "not a JSON object but list",
    f"[{GOOD}]": "not a JSON object but list",
    "{}": "does not hold the schema: 'version' is a required property",
    f"Sure! {GOOD}": "not JSON",
    f"{GOOD} Done.": "not JSON: Extra data",
    f"{GOOD}\n{GOOD}": "not JSON: Extra data",
    f"```json\n{GOOD}\n```\nDone.": "not JSON",
    f"```json\n{GOOD}\n```\n```json\n{GOOD}\n```": "not JSON",
    f"```python\n{GOOD}\n```": "not JSON",
    f"<think>a</think>\n```json\n{GOOD}\n```": "not JSON",
    f"<think>a</think><think>b</think>{GOOD}": "not exactly one beginning and one end",
    f"<think>{GOOD}": "not exactly one beginning and one end",
    f"a</think>{GOOD}": "not JSON",
    f"\ufeff{GOOD}": "not JSON",
    f"\xa0{GOOD}": "not JSON",
    GOOD[:-1]: "not JSON",
    GOOD.replace('"', "'"): "not JSON",
    GOOD.replace("}", ",}"): "not JSON",
    GOOD.replace("0.87", "NaN"): "NaN is not JSON",
    GOOD.replace("0.87", "Infinity"): "Infinity is not JSON",
    GOOD.replace("0.87", "1e999"): "too large",
    GOOD.replace("0.87", "1" * 5000): "not JSON",
    GOOD.replace("0.87", "1.01"): "at confidence: 1.01 is greater than the maximum of 1",
    GOOD.replace("0.87", "-0.1"): "at confidence",
    GOOD.replace("0.87", "true"): "at confidence: True is not of type 'number'",
    GOOD.replace("0.87", '"0.87"'): "at confidence",
    GOOD.replace("true", "1"): "at intentional",
    GOOD.replace("true", '"true"'): "at intentional",
    GOOD.replace('"1.0"', "1.0"): "at version",
    GOOD.replace('"1.0"', '"1.1"'): "at version",
    GOOD.replace("intentional_command", "because"): "at reason_category",
    GOOD.replace("}", ', "note": 1}'): "Additional properties are not allowed",
    GOOD.replace('"intentional": true', '"intentional": true, "intentional": true'): "'intentional' stands twice",
    GOOD.replace("deliberate", "\\ud800"): "not UTF-8",
    GOOD.replace("deliberate", "\n"): "not JSON: Invalid control character",
    "[" * 50_000: "nested too deep",
    '{"version":' * 5_000: "nested too deep",
    f"{GOOD}{' ' * 70_000}": "65536",
    # of valid form, and contradicting
    GOOD.replace("SWITCH_RIGHT", "SWITCH_LEFT"): "proposed_intent is SWITCH_LEFT, proposed was SWITCH_RIGHT",
    json.dumps(APPROVAL | {"final_intent": "SWITCH_LEFT"}): "final_intent is SWITCH_LEFT, which was not proposed",
    json.dumps(APPROVAL | {"final_intent": "NONE"}): "intentional is true and final_intent is NONE",
    json.dumps(APPROVAL | {"intentional": False}): "intentional is false and final_intent is SWITCH_RIGHT",
    json.dumps(APPROVAL | {"reason_category": "unknown"}): "intentional is true for reason unknown",
    json.dumps(REJECTION | {"reason_category": "intentional_command"}): "intentional is false for reason intentional",
}


def is_reject(verdict: dict[str, Any], proposed_intent: str) -> bool:
    fixed = {"version": "1.0", "final_intent": "NONE", "intentional": False, "confidence": 0.0}
    fixed |= {"reason_category": "unknown", "proposed_intent": proposed_intent, "rationale": verdict["rationale"]}
    return verdict == fixed and verdict["rationale"].startswith("rejected: ")


@pytest.mark.parametrize("content", ACCEPTED.values(), ids=ACCEPTED)
def test_the_three_forms_are_accepted_as_they_are(content: str) -> None:
    confidence = 1 if "0.87" not in content else 0.87
    assert read_verdict(content, proposed_intent="SWITCH_RIGHT") == APPROVAL | {"confidence": confidence}


def test_a_consistent_rejection_is_the_models_own() -> None:
    assert read_verdict(json.dumps(REJECTION), proposed_intent="SWITCH_RIGHT") == REJECTION


@pytest.mark.parametrize(("content", "named"), REFUSED.items(), ids=[key[:30] for key in REFUSED])
def test_everything_else_is_rejected_and_the_failure_named(content: str, named: str) -> None:
    verdict = read_verdict(content, proposed_intent="SWITCH_RIGHT")
    assert is_reject(verdict, "SWITCH_RIGHT")
    assert named in verdict["rationale"]
    jsonschema.validate(verdict, VERDICT_SCHEMA)


@pytest.mark.parametrize("content", [None, b"{}", 3, {"version": "1.0"}, [{"type": "text"}]])
def test_what_is_no_text_is_rejected(content: object) -> None:
    verdict = read_verdict(content, proposed_intent="OPEN_MENU")
    assert is_reject(verdict, "OPEN_MENU")


def test_every_cut_of_a_good_answer_is_rejected() -> None:
    for text in (GOOD, ACCEPTED["one fence"], ACCEPTED["think, then JSON"]):
        for end in range(len(text)):
            assert is_reject(read_verdict(text[:end], proposed_intent="SWITCH_RIGHT"), "SWITCH_RIGHT")


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
CHANGED = st.builds(
    lambda verdict, change, gone: {key: value for key, value in {**verdict, **change}.items() if key not in gone},
    st.sampled_from([APPROVAL, REJECTION]),
    st.dictionaries(
        st.sampled_from([*APPROVAL, "note"]),
        VALUES | st.sampled_from([*INTENTS, "NONE", "unknown", "tracking_error"]) | st.floats(0, 1),
        max_size=3,
    ),
    st.sets(st.sampled_from([*APPROVAL]), max_size=1),
)


@given(st.one_of(st.text(), CHANGED.map(json.dumps), VALUES.map(json.dumps)), st.sampled_from(INTENTS))
@example('{"version": "1.0", "\\ud800": 1}', "OPEN_MENU")
def test_every_verdict_holds_the_schema_and_an_approval_is_the_models(content: str, proposed: str) -> None:
    verdict = read_verdict(content, proposed_intent=proposed)
    jsonschema.validate(verdict, VERDICT_SCHEMA)
    json.dumps(verdict, ensure_ascii=False).encode()
    assert verdict["proposed_intent"] == proposed
    if verdict["intentional"]:
        assert verdict == json.loads(content)
        assert verdict["final_intent"] == proposed
    else:
        assert verdict["final_intent"] == "NONE"


def test_the_schema_and_the_prompt_are_the_documents() -> None:
    jsonschema.Draft202012Validator.check_schema(VERDICT_SCHEMA)
    assert INTENTS == ("OPEN_MENU", "CLOSE_MENU", "SWITCH_RIGHT", "SWITCH_LEFT")
    assert VERDICT_SCHEMA["required"] == list(APPROVAL) == list(VERDICT_SCHEMA["properties"])
    assert VERDICT_SCHEMA["additionalProperties"] is False
    assert SYSTEM_PROMPT.splitlines()[0].endswith("desktop control system that uses webcam hand tracking.")
    for reason in VERDICT_SCHEMA["properties"]["reason_category"]["enum"]:
        assert reason in SYSTEM_PROMPT


SEED = Path(__file__).parents[3] / "shared" / "seeds" / "001_e26a41ec948b372f.txt"


@pytest.mark.skipif(not SEED.exists(), reason="needs the document in ../shared/seeds")
def test_schema_prompt_and_request_are_the_documents_to_the_letter() -> None:
    document = SEED.read_text(encoding="utf-8")
    schema, prompt, request, _ = re.findall(r"```\w*\n(.*?)\n```", document, re.DOTALL)
    assert json.loads(schema) == VERDICT_SCHEMA
    assert prompt == SYSTEM_PROMPT
    assert f'"max_tokens": {MAX_TOKENS}' in request and f'"temperature": {TEMPERATURE}' in request
    assert f'"model": "{DEFAULT_MODEL}"' in request and URL_VARIABLE in request


def test_the_messages_are_prompt_frames_in_order_and_context() -> None:
    request = {
        "event_id": "e1",
        "proposed_intent": "SWITCH_RIGHT",
        "frames": ["..."],
        "local_confidence": 0.73,
        "landmark_summary": {"handedness": "Right"},
        "features": {"peak_velocity": 0.08},
    }
    system, user = messages(CONTRACT, gesture_proposal(request), [b"one", b"two"])
    assert system == {"role": "system", "content": SYSTEM_PROMPT}
    assert [part["type"] for part in user["content"]] == ["image_url", "image_url", "text"]
    assert user["content"][0]["image_url"]["url"] == "data:image/jpeg;base64,b25l"
    assert json.loads(user["content"][2]["text"]) == {
        "proposed_intent": "SWITCH_RIGHT",
        "local_confidence": 0.73,
        "landmark_summary": {"handedness": "Right"},
    }
