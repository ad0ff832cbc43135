"""Freezing: once, at one time, bound to the clips; what is changed afterwards does not pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autorisk_dagster.errors import InputError
from autorisk_dagster.review.label_sets import freeze, freezings, read_set, sidecar
from autorisk_dagster.review.log import ReviewLog
from tests.review.example import at, clip, sha

CLIPS = {clip(number): sha(clip(number)) for number in range(1, 4)}


@pytest.fixture
def log(tmp_path: Path) -> ReviewLog:
    return ReviewLog(tmp_path / "review" / "verdicts.jsonl")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "anna.csv"
    path.write_text(f"clip,severity\n{clip(1)},low\n{clip(2)},HIGH\n", encoding="utf-8")
    return path


def test_an_open_set_is_read_as_open(path: Path) -> None:
    assert read_set(path).freezing is None


def test_a_frozen_set_says_when_and_which_files_were_watched(path: Path, log: ReviewLog) -> None:
    frozen = freeze(path, CLIPS, log, at(0))
    assert read_set(path).freezing == frozen
    assert frozen.clips == {clip(1): sha(clip(1)), clip(2): sha(clip(2))}
    assert frozen.time == at(0)
    assert freezings(log.records()) == {"anna": frozen}
    assert not path.stat().st_mode & 0o222


def test_a_frozen_file_that_was_changed_is_an_error(path: Path, log: ReviewLog) -> None:
    freeze(path, CLIPS, log, at(0))
    path.chmod(0o644)
    path.write_text(path.read_text(encoding="utf-8").replace("HIGH", "LOW"), encoding="utf-8")
    with pytest.raises(InputError, match=r"anna\.csv: was changed after it was frozen on 2026-03-01 12:00 UTC"):
        read_set(path)


def test_a_set_is_frozen_once(path: Path, log: ReviewLog) -> None:
    freeze(path, CLIPS, log, at(0))
    with pytest.raises(InputError, match="is frozen since 2026-03-01 12:00 UTC"):
        freeze(path, CLIPS, log, at(5))
    sidecar(path).unlink()  # a change, and a new freezing as if there had been none
    path.chmod(0o644)
    path.write_text(f"clip,severity\n{clip(1)},HIGH\n", encoding="utf-8")
    with pytest.raises(InputError, match="is frozen since 2026-03-01 12:00 UTC"):
        freeze(path, CLIPS, log, at(5))


def test_a_freezing_that_was_killed_is_finished_at_its_first_time(path: Path, log: ReviewLog) -> None:
    first = freeze(path, CLIPS, log, at(0))
    sidecar(path).unlink()
    assert freeze(path, CLIPS, log, at(5)) == first
    assert len(log.records()) == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "holds no label"),
        (f"{clip(9)},LOW,", r"line 2: no clip is called .*-c09\. Mine its video first"),
        (f"{clip(1)},LOW,{'0' * 64}", r"line 2: the clip .*-c01 was cut anew since it was watched"),
    ],
    ids=["no label", "unknown clip", "other file"],
)
def test_what_cannot_judge_is_not_frozen(path: Path, log: ReviewLog, line: str, expected: str) -> None:
    path.write_text(f"clip,severity,clip_sha256\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=expected):
        freeze(path, CLIPS, log, at(0))
    assert not sidecar(path).exists() and log.records() == []


def test_a_sidecar_that_is_none_is_an_error(path: Path, log: ReviewLog) -> None:
    freeze(path, CLIPS, log, at(0))
    values = json.loads(sidecar(path).read_bytes())
    for broken in (
        "{",
        "[]",
        json.dumps(values | {"frozen_at": "2026-03-01"}),
        json.dumps(values | {"label_set": "b"}),
    ):
        sidecar(path).write_text(broken, encoding="utf-8")
        with pytest.raises(InputError, match=r"anna\.json: is no freezing of anna\.csv"):
            read_set(path)


def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Anna B.csv"
    path.write_text("clip,severity\n", encoding="utf-8")
    with pytest.raises(InputError, match="Rename it"):
        read_set(path)
