"""The site's files: named by their content, written whole, and free of anything that text in the data could do.

A chunk of data is a script that hands one JSON value to the page: `autorisk("<name>", ...)`. Its name is the hash of
its content, so that no name comes from the data, a browser may keep it for ever, and pages that are open while the site
is made again still find what they name until the old files are swept.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from autorisk_dagster.reporting.dashboard.fleet_data import Writing

ROOT = "fleet/dashboard"
STATIC = f"{ROOT}/static"
DATA = f"{ROOT}/data"
CLIPS = f"{ROOT}/clips"
FOLDERS = (ROOT, STATIC, DATA, CLIPS)


class SiteFiles:
    """Writes files of the site and remembers them."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self.written: set[str] = set()
        self.size_bytes = 0

    def write(self, relative: str, content: bytes) -> None:
        """Write one file, whole or not at all."""
        if relative not in self.written:
            with self._writing(relative) as target:
                target.write_bytes(content)
            self.written.add(relative)
            self.size_bytes += len(content)

    def table(self, relative: str, table: pl.DataFrame) -> None:
        """Write a table as Parquet."""
        buffer = io.BytesIO()
        table.write_parquet(buffer)
        self.write(relative, buffer.getvalue())

    def static(self, stem: str, suffix: str, text: str) -> str:
        """Write a file of the site's own; return its address from a page."""
        name = f"{stem}.{_digest(text)}.{suffix}"
        self.write(f"{STATIC}/{name}", text.encode())
        return f"static/{name}"

    def chunk(self, value: Any, folder: str = DATA) -> str:
        """Write a chunk of data; return its name, under which the page loads it."""
        text = to_json(value)
        name = _digest(text)
        self.write(f"{folder}/{name}.js", f'autorisk("{name}",{text});\n'.encode())
        return name


def to_json(value: Any) -> str:
    """Strict JSON that is also safe inside HTML: infinity is "inf", NaN is null, `<`, `>`, `&` are escaped."""
    try:
        text = _strict(value)
    except ValueError:  # an infinity or NaN is somewhere in it; most chunks have none, and looking costs more than this
        text = _strict(_plain(value))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _strict(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
