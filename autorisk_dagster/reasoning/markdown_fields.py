"""The fields of an assessment in a Markdown text: lines such as "**Severity:** HIGH" or a heading with text below.

Hazards are not read: a list in prose does not say who is an actor and who a place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_MARKERS = " \t>#*-+_0123456789.)|"
_LABEL = re.compile(
    r"(severity|hazards|causal[ _-]reasoning|short[ _-]term[ _-]prediction|recommended[ _-]action|evidence)"
    r"[ \t*_]*([:：]?)[ \t*_]*(.*)",
    re.IGNORECASE,
)
_DECORATION = " \t*_`."


def markdown_fields(text: str) -> list[tuple[str, str]]:
    """(name, value) of severity, reasoning, prediction and action, in order; [] where no line names a severity.

    Text runs until the next label or heading. The severity is what stands alone on its line.
    """
    fields: list[tuple[str, str]] = []
    for name, lines in _sections(text):
        said = [line.strip() for line in lines if line.strip()]
        if name == "severity":
            fields.append((name, said[0].strip(_DECORATION) if said else ""))
        elif name not in ("hazards", "evidence"):
            fields.append((name, " ".join(said).strip(_DECORATION[:-1])))
    return fields if any(name == "severity" for name, _ in fields) else []


def severity_lines(text: str) -> Iterator[str]:
    """What stands behind each label "Severity"."""
    for name, lines in _sections(text):
        said = [line.strip(_DECORATION) for line in lines if line.strip(_DECORATION)]
        if name == "severity" and said:
            yield said[0]


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each label with the lines that belong to it."""
    name: str | None = None
    lines: list[str] = []
    for line in text.splitlines():
        label = _LABEL.fullmatch(line.lstrip(_MARKERS))
        marked = line.lstrip().startswith(("#", "**", "__"))
        if label is not None and (label[2] or (marked and not label[3])):
            if name is not None:
                yield name, lines
            name, lines = re.sub(r"[ -]", "_", label[1].lower()), [label[3]]
        elif line.lstrip().startswith("#"):
            if name is not None:
                yield name, lines
            name = None
        else:
            lines.append(line)
    if name is not None:
        yield name, lines
