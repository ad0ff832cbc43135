"""A label file: one severity a clip, as a person writes it, and what is wrong with it.

CSV (comma, semicolon or tab) with a header. Needed: a column for the clip (`clip`, `clip_id`, `file` or `path`: an id,
or a path to the clip with folders, backslashes and suffix) and `severity` (NONE, LOW, MEDIUM, HIGH, in any case). Known
beside them: `labeller`, `labelled_at` (ISO 8601), `drive`, `clip_sha256`, `note`. Others are an error, so that a
misspelt one is not lost.
"""

from __future__ import annotations

import csv
import io
import os
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

import polars as pl

from autorisk_dagster.errors import InputError
from autorisk_dagster.intake.sources import VIDEO_SUFFIXES
from autorisk_dagster.tables import SEVERITIES, SEVERITY, Schema

CLIP_COLUMNS: Final = ("clip", "clip_id", "file", "path")
OPTIONAL_COLUMNS: Final = ("labeller", "labelled_at", "drive", "clip_sha256", "note")
LABELS: Schema = {
    "line": pl.Int64,  # where it begins in the file, from 1
    "clip_id": pl.String,
    "severity": SEVERITY,
    "labeller": pl.String,
    "labelled_at": pl.Datetime("us", "UTC"),
    "drive": pl.String,
    "clip_sha256": pl.String,
    "note": pl.String,
}


def clip_id_of(text: str) -> str:
    r"""The clip id in what a person wrote for a clip.

    >>> clip_id_of(r"C:\clips\Drive-1-0A1B2C3D-C01.MP4"), clip_id_of(" drive-1-0a1b2c3d-c01 ")
    ('drive-1-0a1b2c3d-c01', 'drive-1-0a1b2c3d-c01')
    """
    name = PurePosixPath(text.strip().strip("\"'").replace("\\", "/")).name.lower()
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix in VIDEO_SUFFIXES else name


def read_labels(path: Path) -> pl.DataFrame:
    """The labels of a file, in LABELS.

    Raises:
        InputError: what is wrong, with file, line and what to write instead; up to five faults at once.
    """
    try:
        return parse_labels(path.read_bytes(), path.name)
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror}). Check the path") from error


def parse_labels(content: bytes, name: str) -> pl.DataFrame:
    """The labels in a file's bytes; `name` is for the messages. Raises as `read_labels`."""
    rows = _rows(content, name)
    faults = [fault for row in rows for fault in _faults(row)]
    table = pl.DataFrame(
        {column: [_value(row, column) for row in rows] for column in LABELS},
        schema={**LABELS, "severity": pl.String},
    )
    faults += _schema_faults(table)
    first: dict[str, int] = {}
    for row in rows:
        if row["clip_id"] and first.setdefault(row["clip_id"], row["line"]) != row["line"]:
            faults.append(
                (row["line"], f"{row['clip_id']} is labelled in line {first[row['clip_id']]} already. Keep one")
            )
    if faults:
        told = sorted(set(faults))
        more = f"; and {len(told) - 5} more" if len(told) > 5 else ""
        raise InputError("; ".join(f"{name}, line {line}: {text}" for line, text in told[:5]) + more)
    return table.with_columns(pl.col("severity").cast(SEVERITY))


def _rows(content: bytes, name: str) -> list[dict[str, Any]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{name}, line {line}: not UTF-8 text. Save the file as CSV UTF-8") from error
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        begun, given = 1, []
        for cells in reader:
            given.append((begun, [cell.strip() for cell in cells]))
            begun = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{name}, line {reader.line_num}: {error}. Close the quote, or save it as CSV again"
        ) from error
    filled = [(line, cells) for line, cells in given if any(cells)]
    if not filled:
        raise InputError(f"{name}: is empty. Write a header (clip,severity) and a line a clip")
    (line, header), *body = filled
    columns = _header([cell.lower() for cell in header], f"{name}, line {line}")
    rows: list[dict[str, Any]] = []
    for line, cells in body:
        if len(cells) != len(columns):
            raise InputError(
                f"{name}, line {line}: {len(cells)} values under {len(columns)} columns. "
                f"Quote values that hold {delimiter!r}"
            )
        row = dict(zip(columns, cells, strict=True))
        rows.append({**row, "line": line, "written": row["clip"], "clip_id": clip_id_of(row["clip"])})
    return rows


def _header(header: list[str], where: str) -> list[str]:
    clips = [column for column in header if column in CLIP_COLUMNS]
    unknown = [column for column in header if column not in (*CLIP_COLUMNS, *OPTIONAL_COLUMNS, "severity")]
    known = f"clip, severity, {', '.join(OPTIONAL_COLUMNS)}"
    if unknown:
        raise InputError(f"{where}: unknown column {', '.join(map(repr, unknown))}. Known are {known}")
    if len(clips) != 1:
        raise InputError(f"{where}: {len(clips)} columns name the clip, one must. Known are {known}")
    if header.count("severity") != 1 or len(set(header)) != len(header):
        raise InputError(f"{where}: one column must be severity, and none may stand twice. Known are {known}")
    return ["clip" if column in CLIP_COLUMNS else column for column in header]


def _value(row: Mapping[str, Any], column: str) -> Any:
    if column == "severity":
        return row["severity"].upper()
    if column == "labelled_at":
        return _time(row.get(column, ""))
    if column == "clip_sha256":
        return row.get(column, "").lower() or None
    return row.get(column) or None


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return time.astimezone(UTC) if time is not None and time.tzinfo is not None else None


def _faults(row: Mapping[str, Any]) -> list[tuple[int, str]]:
    """What a schema cannot say of a row as it was written."""
    found = []
    if not row["clip_id"]:
        found.append((row["line"], "names no clip. Write its id, or remove the line"))
    if row["severity"].upper() not in SEVERITIES:
        given = repr(row["severity"]) if row["severity"] else "nothing"
        found.append((row["line"], f"severity is {given}. Write one of {', '.join(SEVERITIES)}"))
    if row.get("labelled_at") and _time(row["labelled_at"]) is None:
        found.append((row["line"], f"labelled_at is {row['labelled_at']!r}. Write it like 2026-03-01T12:00:00+00:00"))
    return found


def _schema_faults(table: pl.DataFrame) -> list[tuple[int, str]]:
    """What Pandera finds, by line: the last word on what may flow on."""
    import pandera.errors
    import pandera.polars as pa

    schema = pa.DataFrameSchema(
        {
            "line": pa.Column(pl.Int64, pa.Check.ge(1)),
            "clip_id": pa.Column(pl.String, pa.Check.str_matches(r"^[a-z0-9][a-z0-9._-]*$"), nullable=True),
            "severity": pa.Column(pl.String),
            "labeller": pa.Column(pl.String, nullable=True),
            "labelled_at": pa.Column(LABELS["labelled_at"], nullable=True),
            "drive": pa.Column(pl.String, nullable=True),
            "clip_sha256": pa.Column(pl.String, pa.Check.str_matches(r"^[0-9a-f]{64}$"), nullable=True),
            "note": pa.Column(pl.String, nullable=True),
        },
        strict=True,
        ordered=True,
    )
    fixes = {
        "clip_id": "is no clip id. Write it as the file of the clip is called",
        "clip_sha256": "is no SHA-256. Write 64 hexadecimal digits, or leave the column out",
    }
    try:
        schema.validate(table, lazy=True)
    except pandera.errors.SchemaErrors as error:
        found = []
        for case in error.failure_cases.to_dicts():
            line = table["line"][case["index"]] if case["index"] is not None else 1
            found.append(
                (line, f"{case['column']} {case['failure_case']!r} {fixes.get(case['column'], case['check'])}")
            )
        return found
    return []


def write_labels(path: Path, table: pl.DataFrame) -> None:
    """Write a label file (LABELS; `line` is not in it), whole or not at all; it is on the disk when this returns."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    columns = [name for name in LABELS if name != "line"]
    writer.writerow(columns)
    for row in table.select(columns).iter_rows(named=True):
        time = row["labelled_at"]
        writer.writerow([time.isoformat() if name == "labelled_at" and time else row[name] for name in columns])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.getvalue().encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is on the disk, whole, when this returns."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)
