"""Which files are videos, and what each is called."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster.errors import InputError, VideoError
from autorisk_dagster.intake.sources import SourceLedger, discover, fingerprint, video_key
from autorisk_dagster.storage.folder import Folder


def write(path: Path, content: bytes = b"some footage") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_folder_gives_its_videos_and_says_what_it_passed_over(tmp_path: Path) -> None:
    wanted = [write(tmp_path / "a" / "Front.MP4"), write(tmp_path / "b.ts")]
    write(tmp_path / "notes.txt")
    write(tmp_path / ".trash" / "old.mp4")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    found = discover([tmp_path])
    assert sorted(found.found) == sorted(wanted)
    assert {path.name: reason for path, reason in found.skipped} == {
        "notes.txt": "not a video suffix (.txt)",
        "old.mp4": "hidden",
        "gone.mp4": "a link that leads nowhere",
    }


def test_a_named_file_is_taken_whatever_it_is_called_and_a_missing_one_is_said(tmp_path: Path) -> None:
    odd = write(tmp_path / "footage.bin")
    found = discover([odd, tmp_path / "missing.mp4"])
    assert found.found == (odd,)
    assert found.skipped == ((tmp_path / "missing.mp4", "does not exist"),)


def test_a_renamed_or_copied_file_is_the_same_video(tmp_path: Path) -> None:
    ledger = SourceLedger(Folder(tmp_path / "sources"))
    first = ledger.register(write(tmp_path / "drive one.mp4"), "japan")
    again = ledger.register(write(tmp_path / "elsewhere" / "renamed.mp4"))
    assert again.video_id == first.video_id == f"drive-one-{fingerprint(tmp_path / 'drive one.mp4')[:8]}"
    assert again.profile == "japan"
    assert again.path.endswith("renamed.mp4")
    assert ledger.all() == [again]


def test_other_content_under_the_same_name_is_another_video(tmp_path: Path) -> None:
    ledger = SourceLedger(Folder(tmp_path / "sources"))
    first = ledger.register(write(tmp_path / "drive.mp4"))
    second = ledger.register(write(tmp_path / "drive.mp4", b"other footage"))
    assert first.video_id != second.video_id
    assert len(ledger.all()) == 2


def test_the_fingerprint_sees_the_tail_of_a_large_file(tmp_path: Path) -> None:
    body = bytes(3 << 20)
    assert fingerprint(write(tmp_path / "a.mp4", body + b"a")) != fingerprint(write(tmp_path / "a.mp4", body + b"b"))


def test_other_footage_is_never_recorded_under_a_known_key(tmp_path: Path) -> None:
    """Two fingerprints with the same 8 digits: before, the second took the first one's place in the ledger."""
    one, other = "0000abcd" + 56 * "1", "0000abcd" + 56 * "2"
    ledger = SourceLedger(Folder(tmp_path / "sources"))
    first = ledger.place(video_key("dashcam", one), str(write(tmp_path / "dashcam.mp4")), one)
    assert first.video_id == "dashcam-0000abcd"
    with pytest.raises(InputError, match="other footage than dashcam-0000abcd"):
        ledger.place(first.video_id, str(tmp_path / "dashcam.mp4"), other)
    assert video_key("dashcam", other, {first.video_id}) == "dashcam-0000abcd22222222"
    assert SourceLedger(Folder(tmp_path / "sources")).alike([other]) == [first] and not first.is_of(other)


def test_a_record_of_an_older_version_is_told_from_other_footage_by_its_file(tmp_path: Path) -> None:
    ledger = SourceLedger(Folder(tmp_path / "sources"))
    path = write(tmp_path / "a.mp4")
    record = ledger.register(path)
    kept = tmp_path / "sources" / f"{record.video_id}.json"
    kept.write_text(json.dumps({name: value for name, value in asdict(record).items() if name != "fingerprint"}))
    assert ledger.get(record.video_id).fingerprint == ""
    alike = ledger.alike([record.fingerprint[:8] + 56 * "0"])
    assert [found.fingerprint for found in alike] == [fingerprint(path)]
    assert ledger.register(path) == record and ledger.get(record.video_id) == record


@pytest.mark.parametrize("key", ["../../etc/passwd", "a/b-12345678", "", "A-12345678", "x-1234567", "-12345678"])
def test_a_malformed_key_never_becomes_a_path(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match="is no video key"):
        SourceLedger(Folder(tmp_path)).get(key)


def test_an_unknown_video_says_how_to_register_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="autorisk ingest"):
        SourceLedger(Folder(tmp_path)).get("drive-12345678")


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"gone\.mp4: cannot be read"):
        fingerprint(tmp_path / "gone.mp4")


@given(stem=st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=40))
def test_any_file_name_gives_a_key_that_the_ledger_accepts(stem: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("names")
    try:
        path = write(folder / f"{stem}.mp4")
    except OSError:  # a name that this file system cannot hold
        return
    ledger = SourceLedger(Folder(folder / "sources"))
    assert ledger.get(ledger.register(path).video_id).path == str(path.resolve())
