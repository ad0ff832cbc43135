"""Which files are videos, and what each is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster.errors import InputError, VideoError
from autorisk_dagster.sources import SourceLedger, discover, video_key


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
    ledger = SourceLedger(tmp_path / "sources")
    first = ledger.register(write(tmp_path / "drive one.mp4"), "japan")
    again = ledger.register(write(tmp_path / "elsewhere" / "renamed.mp4"))
    assert again.video_id == first.video_id == f"drive-one-{video_key(tmp_path / 'drive one.mp4')[-8:]}"
    assert again.profile == "japan"
    assert again.path.endswith("renamed.mp4")
    assert ledger.all() == [again]


def test_other_content_under_the_same_name_is_another_video(tmp_path: Path) -> None:
    ledger = SourceLedger(tmp_path / "sources")
    first = ledger.register(write(tmp_path / "drive.mp4"))
    second = ledger.register(write(tmp_path / "drive.mp4", b"other footage"))
    assert first.video_id != second.video_id
    assert len(ledger.all()) == 2


def test_the_fingerprint_sees_the_tail_of_a_large_file(tmp_path: Path) -> None:
    body = bytes(3 << 20)
    assert video_key(write(tmp_path / "a.mp4", body + b"a")) != video_key(write(tmp_path / "a.mp4", body + b"b"))


@pytest.mark.parametrize("key", ["../../etc/passwd", "a/b-12345678", "", "A-12345678", "x-1234567", "-12345678"])
def test_a_malformed_key_never_becomes_a_path(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match="is no video key"):
        SourceLedger(tmp_path).get(key)


def test_an_unknown_video_says_how_to_register_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="autorisk ingest"):
        SourceLedger(tmp_path).get("drive-12345678")


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"gone\.mp4: cannot be read"):
        video_key(tmp_path / "gone.mp4")


@given(stem=st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=40))
def test_any_file_name_gives_a_key_that_the_ledger_accepts(stem: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("names")
    try:
        path = write(folder / f"{stem}.mp4")
    except OSError:  # a name that this file system cannot hold
        return
    ledger = SourceLedger(folder / "sources")
    assert ledger.get(ledger.register(path).video_id).path == str(path.resolve())
