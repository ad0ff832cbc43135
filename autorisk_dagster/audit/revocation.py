"""What is no longer to be trusted: a text file that an auditor keeps, one key or pack a line.

    # why, when, who
    key  4f1c...e2   the laptop was stolen on 2026-03-01
    pack 9a77...01   the profile was wrong; replaced by the pack of 2026-03-04

`key` takes the 64 hex digits of a key id, `pack` those of a pack digest (the SHA-256 of its manifest, which `autorisk
audit verify` prints); the rest of the line is the reason. A line that says neither is an error: a revocation that is
not understood must not be passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from autorisk_dagster.errors import InputError

_LINE = re.compile(r"(key|pack)\s+([0-9a-fA-F]{64})(?:\s+(.*))?")


@dataclass(frozen=True)
class Revocations:
    """Revoked key ids and pack digests, each with its reason."""

    keys: dict[str, str] = field(default_factory=dict)
    packs: dict[str, str] = field(default_factory=dict)


def read_revocations(path: Path) -> Revocations:
    """The revocations in a file.

    Raises:
        InputError: the file cannot be read, or a line is none of the above.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"revocation list {path} cannot be read: {error}") from error
    found = Revocations()
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise InputError(
                f"{path.name}, line {number}: {text[:80]!r} is no revocation; write 'key ID why' or 'pack DIGEST why'"
            )
        kind, value, reason = match.groups()
        (found.keys if kind == "key" else found.packs)[value.lower()] = reason or "no reason given"
    return found
