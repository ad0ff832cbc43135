"""Copies on this disk: how many stay, and which."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autorisk_dagster.errors import InputError
from autorisk_dagster.storage import open_storage
from autorisk_dagster.storage.copies import Copies


def put(copies: Copies, name: str, size: int, used_at: float | None = None, version: str = "1") -> Path:
    def make(target: Path) -> str:
        target.write_bytes(b"x" * size)
        return version

    path = copies.take(name, make)
    if used_at is not None:
        os.utime(path.parents[name.count("/")] / ".versions" / f"{name}.json", (used_at, used_at))
    return path


def test_over_the_limit_the_longest_unused_go_until_a_fifth_is_free(tmp_path: Path) -> None:
    copies = Copies(tmp_path, limit_bytes=1000)
    old = [put(copies, f"v/{n}.mp4", 300, used_at=1000.0 + n) for n in range(3)]
    assert all(path.exists() for path in old)  # 900 bytes
    new = put(copies, "w/new.mp4", 300)  # 1200: to 800 and less the two oldest must go
    assert [path.exists() for path in (*old, new)] == [False, False, True, True]
    assert copies.current("v/2.mp4", "1") and not copies.current("v/0.mp4", "1")
    assert not list(tmp_path.rglob("0.mp4*"))  # nothing is left of it, its record neither


def test_what_was_just_asked_for_or_is_held_stays_over_the_limit(tmp_path: Path) -> None:
    copies, other_process = Copies(tmp_path, 1000), Copies(tmp_path, 1000)
    held = put(copies, "drive.mp4", 600, used_at=1.0)
    with other_process.held("drive.mp4"):
        fresh = [put(copies, f"{n}.mp4", 600) for n in range(3)]
        assert held.exists() and all(path.exists() for path in fresh)
    put(copies, "more.mp4", 1)
    assert not held.exists() and all(path.exists() for path in fresh)


def test_asking_for_a_copy_makes_it_young(tmp_path: Path) -> None:
    copies = Copies(tmp_path, 1000)
    first, second = put(copies, "a", 450, used_at=1.0), put(copies, "b", 450, used_at=2.0)
    assert copies.current("a", "1")
    put(copies, "c", 450)
    assert first.exists() and not second.exists()


def test_another_version_or_a_change_on_the_disk_is_not_current(tmp_path: Path) -> None:
    copies = Copies(tmp_path, 1000)
    path = put(copies, "a", 10, version="1")
    assert copies.current("a", "1") and not copies.current("a", "2")
    path.write_bytes(b"y" * 10)
    assert not copies.current("a", "1")


def test_a_copy_that_cannot_be_made_leaves_the_one_there_is(tmp_path: Path) -> None:
    copies = Copies(tmp_path, 1000)
    path = put(copies, "a", 10)

    def broken(target: Path) -> str:
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copies.take("a", broken)
    assert path.read_bytes() == b"x" * 10 and [each.name for each in tmp_path.iterdir() if each.is_file()] == ["a"]


def test_a_limit_that_is_no_number_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORISK_LOCAL_GB", "plenty")
    with pytest.raises(InputError, match="AUTORISK_LOCAL_GB is 'plenty'; expected a number of gigabytes"):
        open_storage(bucket).path("a")
