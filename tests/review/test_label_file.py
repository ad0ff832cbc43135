"""Label files as people write them: what is read alike, and what is wrong with the rest."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorisk_dagster.errors import InputError
from autorisk_dagster.review.label_file import LABELS, clip_id_of, parse_labels, read_labels, write_labels
from autorisk_dagster.tables import SEVERITIES
from tests.review.example import clip, sha

FOLDERS = st.sampled_from(["", "clips/", "C:\\my clips\\", "/mnt/a b/", "..\\", "./x/y/"])
SUFFIX = st.sampled_from(["", ".mp4", ".MP4", ".Mkv"])
PADDING = st.sampled_from(["", " ", "\t"])


@st.composite
def written(draw: st.DrawFn, text: str) -> str:
    """A text in any case."""
    return "".join(draw(st.sampled_from([each.lower(), each.upper()])) for each in text)


@settings(deadline=None)  # the first example imports Pandera
@given(
    st.data(),
    st.lists(st.tuples(st.integers(1, 60), st.sampled_from(SEVERITIES)), min_size=1, unique_by=lambda pair: pair[0]),
    st.sampled_from([",", ";"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["clip", "Clip_ID", "FILE", "Path"]),
    st.booleans(),
)
def test_folders_case_padding_and_dialect_change_nothing(
    data: st.DataObject,
    labels: list[tuple[int, str]],
    delimiter: str,
    line_break: str,
    column: str,
    with_mark: bool,
) -> None:
    lines = [f"Severity{delimiter}{column}"]
    for number, severity in labels:
        name = data.draw(FOLDERS) + data.draw(written(clip(number))) + data.draw(SUFFIX)
        # A lone tab beside the delimiter would be taken for one; it stays inside the name's cell.
        lines.append(f"{data.draw(written(severity))}{delimiter} {name}{data.draw(PADDING)}")
    content = (b"\xef\xbb\xbf" if with_mark else b"") + line_break.join(lines).encode()
    table = parse_labels(content, "labels.csv")
    assert table.select("clip_id", "severity").rows() == [(clip(number), severity) for number, severity in labels]
    assert table.schema == pl.Schema(LABELS)
    assert table["line"].to_list() == list(range(2, len(labels) + 2))


HASH = sha(clip(1))
FAULTS = {
    "severity": (f"clip,severity\n{clip(1)},critical\n", r"line 2: severity is 'critical'\. Write one of NONE, LOW"),
    "no severity": (f"clip,severity\n\n{clip(1)},\n", r"line 3: severity is nothing"),
    "twice": (f"clip,severity\n{clip(1)},LOW\na/{clip(1)}.mp4,LOW\n", r"line 3: .*-c01 is labelled in line 2 already"),
    "no clip": ("clip,severity\n ,LOW\n", r"line 2: names no clip"),
    "strange clip": ("clip,severity\n<b>,LOW\n", r"line 2: clip_id '<b>' is no clip id"),
    "hash": (f"clip,severity,clip_sha256\n{clip(1)},LOW,12\n", r"line 2: clip_sha256 '12' is no SHA-256"),
    "time": (f"clip,severity,labelled_at\n{clip(1)},LOW,yesterday\n", r"line 2: labelled_at is 'yesterday'. Write it"),
    "local time": (f"clip,severity,labelled_at\n{clip(1)},LOW,2026-03-01T12:00:00\n", r"line 2: labelled_at is '2026"),
    "misspelt column": (f"clip,severity,labeler\n{clip(1)},LOW,anna\n", r"line 1: unknown column 'labeler'"),
    "no clip column": ("severity\nLOW\n", r"line 1: 0 columns name the clip"),
    "two clip columns": ("clip,path,severity\na,b,LOW\n", r"line 1: 2 columns name the clip"),
    "no severity column": ("clip\na\n", r"line 1: one column must be severity"),
    "more values": (f"clip,severity,note\n{clip(1)},LOW,near, very\n", r"line 2: 4 values under 3 columns"),
    "open quote": (f'clip,severity,note\n{clip(1)},LOW,"near\n', r"line 2: unexpected end of data"),
    "empty": ("\n\n", r"is empty"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_each_fault_is_told_with_file_and_line(fault: str) -> None:
    content, expected = FAULTS[fault]
    with pytest.raises(InputError, match=f"^mine.csv.*{expected}"):
        parse_labels(content.encode(), "mine.csv")


def test_text_in_another_encoding_is_told_with_its_line() -> None:
    with pytest.raises(InputError, match="line 2: not UTF-8"):
        parse_labels("clip,severity\nfußgänger,LOW\n".encode("latin-1"), "mine.csv")


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InputError, match=r"line 2: .*line 3: .*line 3: .*line 4: .*line 4: .*; and 2 more"):
        parse_labels(("clip,severity\n" + "x,bad\n" * 4).encode(), "mine.csv")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_content_ends_in_another_error(content: bytes) -> None:
    try:
        parse_labels(content, "any.csv")
    except InputError as error:
        assert str(error).startswith("any.csv")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "anna.csv"
    text = f'clip,severity,labelled_at,note,clip_sha256\n{clip(1)},LOW,2026-03-01T13:00:00+01:00,"a, ""b""\nc",{HASH}\n'
    table = parse_labels(text.encode(), "x")
    write_labels(path, table)
    assert read_labels(path).equals(table)
    assert table.item(0, "labelled_at").isoformat() == "2026-03-01T12:00:00+00:00"


def test_a_path_of_windows_is_a_clip() -> None:
    assert clip_id_of(r"D:\AutoRisk\media\Drive\clips\Drive-1-0A1B2C3D-C07.MP4") == clip(7)
