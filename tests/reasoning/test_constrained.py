"""Bounds that make an answer finite, and what its longest form takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="constrained decoding needs the extra `models`")

from autorisk_dagster.reasoning.constrained import bounded, longest_chars

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "severity": {"enum": ["NONE", "HIGH"]},
        "hazards": {"type": "array", "items": {"$ref": "#/$defs/Hazard"}},
        "why": {"type": "string"},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["severity", "hazards", "why", "maybe"],
    "additionalProperties": False,
    "$defs": {"Hazard": {"type": "object", "properties": {"type": {"type": "string", "maxLength": 5}}}},
}


def test_every_string_and_list_gets_a_bound_and_what_has_one_keeps_it() -> None:
    found = bounded(SCHEMA, max_text_chars=7, max_items=3)
    assert found["properties"]["why"] == {"type": "string", "maxLength": 7}
    assert found["properties"]["hazards"]["maxItems"] == 3
    assert found["properties"]["maybe"]["anyOf"][0]["maxLength"] == 7
    assert found["$defs"]["Hazard"]["properties"]["type"]["maxLength"] == 5
    assert "maxLength" not in found["properties"]["severity"]
    assert SCHEMA["properties"]["why"] == {"type": "string"}  # the given one is left as it is


@given(
    st.text(max_size=7),
    st.one_of(st.none(), st.text(max_size=7)),
    st.lists(st.text(max_size=5), max_size=3),
)
def test_nothing_that_holds_the_schema_is_longer(why: str, maybe: str | None, hazards: list[str]) -> None:
    answer = {"severity": "NONE", "hazards": [{"type": kind} for kind in hazards], "why": why, "maybe": maybe}
    limit = longest_chars(bounded(SCHEMA, max_text_chars=7, max_items=3))
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    assert len(text.encode("utf-8", "surrogatepass")) <= limit
