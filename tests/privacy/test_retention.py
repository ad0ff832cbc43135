"""Retention: what is deleted, what is kept and why, and that a hash is left of everything."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path

import pytest

from autorisk_dagster.errors import InputError
from autorisk_dagster.privacy.retention import RECORD, Hold, Holds, media_files, sweep, swept_files, why_kept
from autorisk_dagster.storage.folder import Folder

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
KEY = "drive-0badcafe"


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """Two files of one video, one of another, and a link out of the folder."""
    folder = tmp_path / "media"
    for name, text in (
        (f"{KEY}/clips/01.mp4", "clip"),
        (f"{KEY}/report.html", "report"),
        ("other-1/clips/01.mp4", "x"),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    outside = tmp_path / "footage.mp4"
    outside.write_text("the original")
    (folder / KEY / "link.mp4").symlink_to(outside)
    return folder


def test_a_sweep_deletes_the_media_of_one_video_and_keeps_their_hashes(media: Path, tmp_path: Path) -> None:
    swept = sweep(Folder(media), KEY, NOW, "older than 30 days")
    assert {entry.path: entry.sha256 for entry in swept} == {
        f"{KEY}/clips/01.mp4": hashlib.sha256(b"clip").hexdigest(),
        f"{KEY}/report.html": hashlib.sha256(b"report").hexdigest(),
    }
    assert media_files(Folder(media), KEY) == {}
    assert swept_files(Folder(media), KEY) == swept
    assert (media / "other-1/clips/01.mp4").exists()
    assert (tmp_path / "footage.mp4").read_text() == "the original"
    assert sweep(Folder(media), KEY, NOW, "again") == []
    assert swept_files(Folder(media), KEY) == swept


def test_what_a_killed_sweep_left_is_found_by_the_next(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deleted = []

    def killed_after_one(self: Folder, relative: str) -> None:
        if deleted:
            raise KeyboardInterrupt
        deleted.append(relative)
        self.path(relative).unlink()

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "remove", killed_after_one)
        with pytest.raises(KeyboardInterrupt):
            sweep(Folder(media), KEY, NOW, "older than 30 days")
    assert len(media_files(Folder(media), KEY)) == 1
    assert {entry.path for entry in swept_files(Folder(media), KEY)} == {f"{KEY}/clips/01.mp4", f"{KEY}/report.html"}
    sweep(Folder(media), KEY, NOW, "older than 30 days")
    assert media_files(Folder(media), KEY) == {}


def test_made_again_and_swept_again_is_written_down_twice(media: Path) -> None:
    sweep(Folder(media), KEY, NOW, "first")
    (media / KEY / "report.html").write_text("another report")
    sweep(Folder(media), KEY, NOW, "second")
    assert [entry.because for entry in swept_files(Folder(media), KEY)] == ["first", "first", "second"]


def test_a_damaged_record_stops_the_sweep_before_anything_is_deleted(media: Path) -> None:
    (media / KEY / RECORD).write_text("[{")
    with pytest.raises(InputError, match="restore it"):
        sweep(Folder(media), KEY, NOW, "older than 30 days")
    assert len(media_files(Folder(media), KEY)) == 2


def kept(**changes) -> str | None:
    given = {"hold": None, "busy": False, "open_reviews": []} | changes
    days = given.pop("keep_days", 30)
    registered = given.pop("registered_at", "2026-01-01T00:00:00+00:00")
    return why_kept(registered, days, NOW, **given)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({}, None, id="its time is over"),
        pytest.param({"keep_days": None}, "for ever", id="no limit"),
        pytest.param({"registered_at": "2026-02-10T00:00:00+00:00"}, "not yet 30 days", id="young"),
        pytest.param({"registered_at": "2026-01-30T14:00:00+02:00"}, "not yet 30 days", id="30 days to the second"),
        pytest.param({"hold": Hold(KEY, "accident", "")}, "held: accident", id="held"),
        pytest.param({"busy": True}, "a run", id="busy"),
        pytest.param(
            {"open_reviews": ["c01", "c02"]}, "clips wait for review: c01, c02 (2 in all)", id="to be reviewed"
        ),
    ],
)
def test_why_media_is_kept(changes: dict, said: str | None) -> None:
    found = kept(**changes)
    assert found is None if said is None else said in (found or "")


def test_a_hold_stays_until_it_is_released_and_a_doubt_holds(tmp_path: Path) -> None:
    holds = Holds(Folder(tmp_path / "holds"))
    assert holds.get(KEY) is None
    holds.hold(KEY, " lawsuit 12 ", NOW)
    assert Holds(Folder(tmp_path / "holds")).get(KEY) == Hold(KEY, "lawsuit 12", "2026-03-01T12:00:00+00:00")
    holds.release(KEY)
    holds.release(KEY)
    assert holds.get(KEY) is None
    (tmp_path / "holds" / f"{KEY}.json").write_text(json.dumps({"strange": 1}))
    held = holds.get(KEY)
    assert held is not None and "cannot be read" in held.reason
    with pytest.raises(InputError, match="needs a reason"):
        holds.hold(KEY, "  ", NOW)
