"""Answers as models give them, and what each of them says: (text, severity or None, layer or part of the error)."""

from __future__ import annotations

import json

FULL = {
    "severity": "HIGH",
    "hazards": [
        {"type": "Pedestrian", "actors": ["Person in blue"], "spatial_relation": "crossing lane"},
        {"type": "Occlusion", "actors": ["parked van", "open door"], "spatial_relation": "right, 3 m ahead"},
    ],
    "causal_reasoning": "A pedestrian steps out; the door says \"no\" {half} and hides: severity 'LOW' before.",
    "short_term_prediction": "Contact within 2 s.",
    "recommended_action": "Emergency braking.",
}
COMPACT = json.dumps(FULL)
PRETTY = json.dumps(FULL, indent=2)
TEMPLATE = '{"severity": "NONE | LOW | MEDIUM | HIGH", "hazards": [], "causal_reasoning": "..."}'
DEEP = '{"severity": "HIGH", "hazards": ' + "[" * 400 + "]" * 400 + "}"
BOMB = '{"a":' * 50_000

Case = tuple[str, str | None, str]

READ: list[Case] = [
    # 1: the text is the answer
    (COMPACT, "HIGH", "direct_json"),
    (PRETTY, "HIGH", "direct_json"),
    ('  {"severity": "NONE"}\n', "NONE", "direct_json"),
    ('{"severity": "medium"}', "MEDIUM", "direct_json"),
    ('{"Severity": " Low "}', "LOW", "direct_json"),
    (f"[{COMPACT}]", "HIGH", "direct_json"),
    ('{"assessment": {"severity": "LOW"}}', "LOW", "direct_json"),
    ('{"version": "1", "results": [{"severity": "LOW"}]}', "LOW", "direct_json"),
    ('{"severity": "HIGH", "severity": "high"}', "HIGH", "direct_json"),
    ('{"severity": "LOW", "causal_reasoning": "</think> <think> ```"}', "LOW", "direct_json"),
    ('{"severity": "LOW", "causal_reasoning": "\\ud800 \\ud83d\\ude00"}', "LOW", "direct_json"),
    (f"<think>\nMaybe {TEMPLATE}\n</think>\n\n{PRETTY}", "HIGH", "direct_json"),
    (f'<think>{{"severity": "LOW"}}</think>{COMPACT}', "HIGH", "direct_json"),
    (f'So, {{"severity": "LOW"}}, no.</think>\n{COMPACT}', "HIGH", "direct_json"),
    (f'<think>a <think>b</think> {{"severity": "LOW"}} </think> {COMPACT}', "HIGH", "direct_json"),
    (f"<think>\n<think>\nHm.</think>{COMPACT}", "HIGH", "direct_json"),
    # 2: in a fence
    (f"```json\n{PRETTY}\n```", "HIGH", "markdown_fence"),
    (f"Here is the answer:\n\n```JSON\n{COMPACT}\n```\nStay safe!", "HIGH", "markdown_fence"),
    (f"~~~\n{COMPACT}\n~~~", "HIGH", "markdown_fence"),
    (f"````Json\n[{PRETTY}]\n````", "HIGH", "markdown_fence"),
    (f"```json {COMPACT} ```", "HIGH", "markdown_fence"),
    (f"<think>Hm.</think>\n```json\n{PRETTY}\n```", "HIGH", "markdown_fence"),
    (f"```json\n{PRETTY}\n", "HIGH", "markdown_fence"),
    (f"```json\n{COMPACT}\n```\nor\n```json\n{COMPACT}\n```", "HIGH", "markdown_fence"),
    # 3: cut
    (PRETTY[:-2], "HIGH", "truncation_repair"),
    (PRETTY[:60], "HIGH", "truncation_repair"),
    ('{"severity": "MEDIUM"', "MEDIUM", "truncation_repair"),
    ('{"severity": "MEDIUM", "hazards": [], "confidence": 0.', "MEDIUM", "truncation_repair"),
    ('```json\n{"severity": "LOW", "hazards": [\n```', "LOW", "truncation_repair"),
    # 4: in prose
    (f"The clip is dangerous. {COMPACT} I hope this helps.", "HIGH", "brace_extraction"),
    (f"<answer>{COMPACT}</answer>", "HIGH", "brace_extraction"),
    (f"{COMPACT}\n{COMPACT}", "HIGH", "brace_extraction"),
    (f"[{COMPACT}, {COMPACT}]", "HIGH", "brace_extraction"),
    (f'{{"note": 1}} {COMPACT}', "HIGH", "brace_extraction"),
    (f"\\text{{HIGH}} in {{a, b}}: {COMPACT}", "HIGH", "brace_extraction"),
    (f"{COMPACT}\n\nSeverity: HIGH because of the pedestrian.", "HIGH", "brace_extraction"),
    (f"{COMPACT}<|im_end|>", "HIGH", "brace_extraction"),
    # 5: a comma is missing
    (PRETTY.replace('",\n  "short', '"\n  "short'), "HIGH", "missing_comma"),
    (COMPACT.replace("}, {", "} {"), "HIGH", "missing_comma"),
    ('{"severity": "LOW" "hazards": [', "LOW", "missing_comma"),
    # 6: trailing keys and foreign notation
    ('{"severity": "HIGH", "hazards": [],}', "HIGH", "trailing_key"),
    ('{"severity": "HIGH", "recommended_action"}', "HIGH", "trailing_key"),
    ('{"severity": "HIGH", "recommended_action": }', "HIGH", "trailing_key"),
    ('{"severity": "HIGH", "recommended_act', "HIGH", "trailing_key"),
    ('{"severity": "HIGH", "recommended_action":', "HIGH", "trailing_key"),
    (str(FULL), "HIGH", "trailing_key"),
    ("{'severity': 'LOW', 'causal_reasoning': 'the driver's side', 'hazards': None}", "LOW", "trailing_key"),
    ('{severity: "LOW", hazards: []}', "LOW", "trailing_key"),
    ("{“severity”: “LOW”, “recommended_action”: “Don’t brake”}", "LOW", "trailing_key"),
    ('{"severity": "LOW", // not MEDIUM\n "hazards": [] /* none */}', "LOW", "trailing_key"),
    ('{"severity": "LOW", "confidence": NaN}', "LOW", "trailing_key"),
    ('{"severity": "LOW", "confidence": -Infinity}', "LOW", "trailing_key"),
    ('{"severity": "LOW", "causal_reasoning": "one\ntwo"}', "LOW", "trailing_key"),
    ('{"severity": "LOW", "causal_reasoning": "a sign \\q \'"}', "LOW", "trailing_key"),
    ('{"severity": "HIGH", "causal_reasoning": "a "STOP" sign", "hazards": []}', "HIGH", "trailing_key"),
    # 7: Markdown
    ("**Severity:** HIGH\n\n**Causal reasoning:** A car\nbrakes.\n", "HIGH", "markdown_field"),
    ("- **Severity**: Medium.\n- **Recommended action**: Yield.\n", "MEDIUM", "markdown_field"),
    ("## Severity\n\nLOW\n\n## Recommended Action\n\nKeep going.\n\n## Notes\nnone\n", "LOW", "markdown_field"),
    ("Severity: NONE", "NONE", "markdown_field"),
    (
        "<think>Severity: LOW</think>\n1. Severity: `HIGH`\n2. Short-term prediction: contact\n",
        "HIGH",
        "markdown_field",
    ),
]
REFUSED: list[Case] = [
    ("", None, "no severity"),
    ("null", None, "no severity"),
    ("{}", None, "no severity"),
    ("[]", None, "no severity"),
    ("HIGH", None, "no severity"),
    ("The severity is HIGH.", None, "no severity"),
    ('{"hazards": [{"type": "Car", "severity": "HIGH"}], "causal_reasoning": "x"}', None, "no severity"),
    ('"hazards": [{"type": "Car", "severity": "LOW"}], "severity": "HIGH"}', None, "no severity"),
    ('{"hazards": [{"type": "Car", "severity": "LOW"}', None, "no severity"),
    ('{"assessment": {"severity": "LOW"}', None, "no severity"),  # its own severity may follow
    ('{"severity_level": "HIGH"}', None, "no severity"),
    ('"{\\"severity\\": \\"HIGH\\"}"', None, "no severity"),
    ('{"causal_reasoning": "one\nSeverity: LOW\n', None, "no severity"),
    ('{"severity": "CRITICAL"}', None, "'CRITICAL' is not one"),
    ('{"severity": "HIGH or LOW"}', None, "is not one"),
    ('{"severity": ""}', None, "is not one"),
    ('{"severity": null}', None, "is not one"),
    ("{'severity': None}", None, "is not one"),
    ('{"severity": 3}', None, "is not one"),
    ('{"severity": true}', None, "is not one"),
    ('{"severity": ["HIGH"]}', None, "is not one"),
    ('{"severity": {"level": "HIGH"}}', None, "is not one"),
    ('{"severity": "hıgh"}', None, "is not one"),  # a dotless i: its capital is I
    (TEMPLATE, None, "is not one"),
    (f"{TEMPLATE}\n{COMPACT}", None, "is not one"),
    ('{"severity": "LOW|MEDIUM|HIGH"}', None, "is not one"),
    ('{"severity": "HI', None, "is cut"),
    ('{"severity": "HIGH', None, "is cut"),
    ('{"severity": HIGH', None, "is cut"),
    ('{"severity":', None, "is cut"),
    ('{"severity"}', None, "is cut"),
    ("{severity: HIGH}", None, "cannot be read where it names a severity"),
    ('{"causal_reasoning": "said "x" y", "severity": "LOW"}', None, "cannot be read where it names a severity"),
    ('{"severity": "LOW", "x": "a "b" c", "severity": "HIGH"}', None, "cannot be read where it names a severity"),
    ('{"severity": "LOW", "severity": "HIGH"}', None, "severity is there twice"),
    ('{"severity": "LOW", "Severity": "HIGH"}', None, "severity is there twice"),
    ('{"severity": "LOW", "causal_reasoning": "a", "causal_reasoning": "b"}', None, "causal_reasoning is there twice"),
    ('{"severity": "LOW"} {"severity": "HIGH"}', None, "disagree: LOW, HIGH"),
    ('[{"severity": "LOW"}, {"severity": "HIGH"}]', None, "disagree"),
    ('```json\n{"severity": "LOW"}\n```\nNo:\n```json\n{"severity": "HIGH"}\n```', None, "disagree"),
    ('{"draft": {"severity": "LOW"}, "final": {"severity": "HIGH"}}', None, "disagree"),
    ('{"severity": "LOW", "final": {"severity": "HIGH"}}', None, "disagree"),
    ('{"severity": "LOW"}<think>No.</think>{"severity": "HIGH"}', None, "disagree"),
    ('Severity: LOW\n\n{"severity": "HIGH"}', None, "disagree: HIGH and LOW"),
    ("Severity: LOW\nSeverity: HIGH\n", None, "severity is there twice"),
    ("Severity: HIGH or LOW", None, "is not one"),
    ("Severity: LOW-MEDIUM\n", None, "is not one"),
    ("**Severity:**\n", None, "is not one"),
    (f"<think>{COMPACT}", None, "inside its reasoning"),
    (f"{COMPACT} <think>", None, "inside its reasoning"),
    ("<think>Hm. Severity: HIGH</thin", None, "inside its reasoning"),
    (DEEP, None, "too deep"),
    (BOMB, None, "too deep"),
    ("\x00\xff\ufeff{{{{[[\udc80", None, "no severity"),
]
