"""Text that goes inside a page's script and style elements, made unable to leave them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

_CLOSING_TAG = re.compile(r"</(script|style)", re.IGNORECASE)


def safe_in_tag(text: str) -> str:
    """Our own and Plotly's code, checked: a closing tag inside would end the element early, a CR would be rewritten."""
    if _CLOSING_TAG.search(text) or "<!--" in text or "\r" in text:
        raise ValueError("embedded code must not contain a closing script or style tag, '<!--' or a carriage return")
    return text


def json_in_html(figure: go.Figure) -> str:
    """Figure JSON that cannot leave its script element, whatever text is in it."""
    text = json.dumps(figure.to_plotly_json(), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
