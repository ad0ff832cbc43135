"""The inbox: what a look means (pure), and ticks of the sensor on a real instance and real files."""

from __future__ import annotations

import builtins
import hashlib
import io
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from autorisk_dagster.definitions import defs
from autorisk_dagster.errors import VideoError
from autorisk_dagster.intake.discovery import (
    SETTLED_SEC,
    Action,
    Listed,
    Reading,
    Registered,
    Seen,
    decide,
    files_to_read,
)
from autorisk_dagster.intake.inbox import InboxLedger
from autorisk_dagster.intake.inbox_places import open_inbox
from autorisk_dagster.intake.sources import SourceLedger
from autorisk_dagster.sensors import inbox
from autorisk_dagster.storage.folder import Folder
from resources.media_store import MediaStore

OLD = 1000  # s, how long ago a settled file of these tests was changed
NOW = 10_000.0
ONE = "00000001" + 56 * "a"  # fingerprints that share their first 8 digits
OTHER = "00000001" + 56 * "b"


def listed(size: int = 5, modified_sec: float = NOW - OLD, sidecar: str = "") -> Listed:
    return Listed(size, int(modified_sec * 1e9), int(modified_sec * 1e9), sidecar)


@pytest.mark.parametrize(
    ("now", "row", "reads"),
    [
        (listed(), None, True),  # old enough at first sight
        (listed(modified_sec=NOW - 1), None, False),  # just written
        (listed(modified_sec=NOW + 3600), None, False),  # a clock in the future proves nothing
        (listed(modified_sec=NOW + 3600), Seen(listed(modified_sec=NOW + 3600), NOW - SETTLED_SEC), True),  # watched
        (listed(6, NOW - 1), Seen(listed(5, NOW - 2), NOW - SETTLED_SEC), False),  # watched, and it grew
        (listed(size=0), None, False),  # made, nothing in it yet
        (listed(), Seen(listed(), 0, video_id="a-00000001", fingerprint=ONE), False),  # known
        (listed(), Seen(listed(), 0, video_id="a-00000001"), True),  # seen when the fingerprint was not kept yet
        (listed(sidecar="1:2:3"), Seen(listed(), 0, video_id="a-00000001", fingerprint=ONE), True),  # a profile
        (listed(), Seen(listed(), 0, problem="cannot be read"), False),  # told once
        (Listed(5, listed().modified_ns, 1), Seen(listed(), 0, problem="cannot be read"), True),  # chmod
    ],
)
def test_what_is_read_is_settled_and_not_known(now: Listed, row: Seen | None, reads: bool) -> None:
    found, _ = files_to_read({"a.mp4": now}, {"a.mp4": row} if row else {}, NOW)
    assert found == (["a.mp4"] if reads else [])


def test_a_look_reads_so_many_files_and_says_how_many_are_left() -> None:
    now, later = files_to_read({f"{n:02}.mp4": listed() for n in range(10)}, {}, NOW, limit=4)
    assert now == ["00.mp4", "01.mp4", "02.mp4", "03.mp4"] and len(later) == 6


def test_a_video_registered_from_elsewhere_is_a_duplicate_and_one_whose_file_is_gone_follows() -> None:
    readings = {"in.mp4": Reading(ONE)}
    known = Registered("out-00000001", "/x/out.mp4", "default", is_there=True, fingerprint=ONE)
    there = decide({"in.mp4": listed()}, {}, readings, [known], NOW)
    assert there.actions == ()
    assert there.notes == ("in.mp4: the same content as /x/out.mp4, nothing to do",)
    moved = (Action("moved", "out-00000001", "in.mp4", None, run=False, fingerprint=ONE),)
    assert decide({"in.mp4": listed()}, {}, readings, [replace(known, is_there=False)], NOW).actions == moved
    # registered by a version of the project that did not keep the fingerprint: its digits are all there is
    old = replace(known, is_there=False, fingerprint="")
    assert decide({"in.mp4": listed()}, {}, readings, [old], NOW).actions == moved


@pytest.mark.parametrize(
    ("path", "key"), [("other.mp4", "other-00000001"), ("cam2/a.mp4", f"a-{OTHER[:16]}")], ids=["stem", "digits"]
)
@pytest.mark.parametrize("known_by", ["inbox", "ledger"])
def test_other_footage_with_the_same_digits_is_another_video(path: str, key: str, known_by: str) -> None:
    """32 bits: among 100,000 videos a pair is likely, and the second must not pass for a copy of the first."""
    first = Seen(listed(5), 0, video_id="a-00000001", is_source=True, fingerprint=ONE)
    record = Registered("a-00000001", "/x/a.mp4", "default", is_there=True, fingerprint=ONE)
    seen = {"a.mp4": first} if known_by == "inbox" else {}
    there = dict.fromkeys((*seen, path), listed(5))
    found = decide(there, seen, {path: Reading(OTHER)}, [record] if known_by == "ledger" else [], NOW)
    assert found.actions == (Action("new", key, path, None, run=True, fingerprint=OTHER),)
    assert found.notes == ()


def test_two_new_files_of_one_look_may_share_stem_and_digits() -> None:
    readings = {"cam1/a.mp4": Reading(ONE), "cam2/a.mp4": Reading(OTHER)}
    found = decide(dict.fromkeys(readings, listed(5)), {}, readings, [], NOW)
    assert sorted(action.video_id for action in found.actions) == ["a-00000001", f"a-{OTHER[:16]}"]


def test_files_in_a_folder_that_cannot_be_listed_are_not_gone() -> None:
    seen = {"cam/a.mp4": Seen(listed(), 0, video_id="a-00000001", is_source=True)}
    assert decide({}, seen, {}, [], NOW, ["cam"]).actions == ()
    assert [action.kind for action in decide({}, seen, {}, [], NOW, ["camera"]).actions] == ["missing"]


def test_a_renamed_file_that_is_not_read_yet_is_not_told_missing() -> None:
    seen = {"a.mp4": Seen(listed(), 0, video_id="a-00000001", is_source=True, fingerprint=ONE)}
    waiting = decide({"b.mp4": listed()}, seen, {}, [], NOW)
    assert waiting.actions == ()
    read = decide({"b.mp4": listed()}, waiting.seen, {"b.mp4": Reading(ONE)}, [], NOW)
    assert read.actions == (Action("moved", "a-00000001", "b.mp4", None, run=False, fingerprint=ONE),)


repository = cache(lambda: defs().get_repository_def())


class Desk:
    """An inbox with its sensor, ticked as Dagster's daemon does: partitions, then runs by run key, then the cursor."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.folder, self.data, self.instance = folder / "inbox", folder / "data", instance
        self.folder.mkdir()
        self.sources = SourceLedger(Folder(self.data / "sources"))
        self.cursor: str | None = None
        self.runs: dict[str, str] = {}
        self.reason = ""

    def put(self, name: str, content: bytes | str = b"footage", age_sec: float = OLD) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.utime(path, (time.time() - age_sec,) * 2)
        return path

    def tick(self, killed: bool = False) -> list[str]:
        """New runs, by partition. `killed`: after the sensor's function, before Dagster did anything with it."""
        with dg.SensorEvaluationContext(
            instance_ref=self.instance.get_ref(),
            instance=self.instance,
            cursor=self.cursor,
            repository_def=repository(),
        ) as context:
            found = inbox.evaluate_tick(context)
        if killed:
            return []
        for request in found.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        new = {str(r.run_key): str(r.partition_key) for r in found.run_requests or [] if r.run_key not in self.runs}
        self.runs |= new
        self.cursor, self.reason = found.cursor, found.skip_message or ""
        return sorted(new.values())

    def partitions(self) -> list[str]:
        return sorted(self.instance.get_dynamic_partitions("videos"))


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance) -> Iterator[Desk]:
    monkeypatch.setenv("AUTORISK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AUTORISK_INBOX", str(tmp_path / "inbox"))
    yield Desk(tmp_path, instance)
    instance.wipe()


def test_new_footage_is_registered_and_run_once_with_its_folder_s_profile(desk: Desk) -> None:
    desk.put("winter/van 7/Drive.mp4")
    desk.put("plain.mov", b"other")
    desk.put("notes.txt")
    desk.put(".plain.mov.x7F", b"rsync")
    keys = desk.tick()
    assert [key[:-9] for key in keys] == ["drive", "plain"] and desk.partitions() == keys
    assert [desk.sources.get(key).profile for key in keys] == ["winter", "default"]
    assert desk.sources.get(keys[0]).path == str((desk.folder / "winter/van 7/Drive.mp4").resolve())
    assert set(desk.runs) == {f"{keys[0]}/winter", f"{keys[1]}/default"}
    assert desk.tick() == [] and desk.reason == "nothing new; 0 files still to be read"


def test_two_cars_whose_footage_shares_stem_and_digits_are_two_videos(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cameras call every file alike; what 100,000 videos make likely is made here by cutting SHA-256 to its tail."""

    class SameHead:
        def __init__(self, data: bytes = b"") -> None:
            self._real = hashlib.sha256(data)
            self.update = self._real.update

        def hexdigest(self) -> str:
            return "00000001" + self._real.hexdigest()[8:]

    monkeypatch.setattr("autorisk_dagster.intake.sources.hashlib", SimpleNamespace(sha256=SameHead))
    first = desk.put("car1/dashcam.mp4", b"one road")
    second = desk.put("car2/dashcam.mp4", b"elsewher")  # as long
    keys = desk.tick()
    assert [len(key) for key in keys] == [16, 24] and desk.partitions() == keys
    media = MediaStore(root=str(desk.data))
    assert {media.source(key).read_bytes() for key in keys} == {b"one road", b"elsewher"}
    # the same by hand, in either order, and each keeps its key under another name
    assert (
        desk.sources.register(second).video_id != SourceLedger(Folder(desk.data / "sources")).register(first).video_id
    )
    first.rename(desk.folder / "car1" / "renamed.mp4")
    assert desk.tick() == [] and desk.partitions() == keys
    # a file that is put where the other footage lay is never processed under its name
    of_second = next(key for key in keys if desk.sources.get(key).path.endswith("car2/dashcam.mp4"))
    second.write_bytes(b"one road")
    with pytest.raises(VideoError, match=f"no longer the file registered as {of_second}"):
        media.source(of_second)


def test_a_half_copied_file_waits_until_it_is_whole(desk: Desk) -> None:
    desk.put("a.mp4", b"half", age_sec=1)
    assert desk.tick() == [] and desk.reason == "nothing new; 1 files still to be read"
    desk.put("a.mp4", b"half and half", age_sec=1)
    assert desk.tick() == []
    desk.put("a.mp4", b"half and half")
    (key,) = desk.tick()
    assert len(desk.partitions()) == 1 and desk.sources.get(key).missing_since is None


def test_a_renamed_file_is_the_same_video_and_the_ledger_follows(desk: Desk) -> None:
    old = desk.put("a.mp4")
    (key,) = desk.tick()
    old.rename(desk.folder / "b.mp4")
    assert desk.tick() == [] and desk.partitions() == [key]
    record = desk.sources.get(key)
    assert record.path.endswith("b.mp4") and record.missing_since is None


def test_a_move_into_another_profile_s_folder_is_run_with_it(desk: Desk) -> None:
    old = desk.put("a.mp4")
    (key,) = desk.tick()
    (desk.folder / "japan").mkdir()
    old.rename(desk.folder / "japan" / "a.mp4")
    assert desk.tick() == [key] and desk.sources.get(key).profile == "japan"
    assert set(desk.runs) == {f"{key}/default", f"{key}/japan"}


def test_a_duplicate_is_noted_once_and_takes_over_when_its_original_goes(
    desk: Desk, capfd: pytest.CaptureFixture[str]
) -> None:
    original = desk.put("a.mp4")
    desk.put("copies/b.mp4")
    (key,) = desk.tick()
    note = "copies/b.mp4: the same content as a.mp4"
    assert capfd.readouterr().err.count(note) == 1
    desk.tick()
    assert note not in capfd.readouterr().err
    original.unlink()
    assert desk.tick() == [] and desk.sources.get(key).path.endswith("copies/b.mp4")


def test_a_deleted_source_is_marked_stays_registered_and_comes_back(desk: Desk) -> None:
    path = desk.put("a.mp4")
    (key,) = desk.tick()
    away = path.rename(desk.folder.parent / "away.mp4")
    desk.tick()
    assert desk.sources.get(key).missing_since is not None and desk.partitions() == [key]
    away.rename(path)
    assert desk.tick() == [] and desk.sources.get(key).missing_since is None


def test_an_inbox_that_is_not_mounted_marks_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.put("a.mp4")
    (key,) = desk.tick()
    desk.folder.rename(desk.folder.with_name("unmounted"))
    assert desk.tick() == [] and "cannot be listed (No such file or directory)" in desk.reason
    assert desk.sources.get(key).missing_since is None
    monkeypatch.delenv("AUTORISK_INBOX")
    desk.tick()
    assert desk.reason.startswith("AUTORISK_INBOX is not set")


@pytest.mark.parametrize(
    ("sidecar", "said"),
    [
        ("profile: wintr\n", "names profile 'wintr'; known: default, japan"),
        ("profile: [winter\n", "is not YAML"),
        ("winter\n", "does not name a profile alone"),
        ("profile: winter\nprofiel: x\n", "does not name a profile alone"),
        ("profile: ../../etc/passwd\n", "names profile '../../etc/passwd'"),
    ],
)
def test_a_bad_sidecar_is_told_once_and_the_video_waits_for_a_good_one(
    desk: Desk, capfd: pytest.CaptureFixture[str], sidecar: str, said: str
) -> None:
    desk.put("a.mp4")
    desk.put("a.yaml", sidecar)
    assert desk.tick() == [] and desk.tick() == []
    assert capfd.readouterr().err.count(said) == 1
    desk.put("a.yaml", "profile: winter\n", age_sec=5)
    (key,) = desk.tick()
    assert desk.sources.get(key).profile == "winter"


def test_an_unreadable_file_is_named_once_and_read_when_it_changes(
    desk: Desk, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = desk.put("a.mp4")
    desk.put("b.mp4", b"other")
    real = Path.open

    def refused(self: Path, *arguments: Any, **named: Any) -> Any:  # root may read what mode 000 forbids
        if self.name == "a.mp4":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", refused)
    assert len(desk.tick()) == 1 and desk.tick() == []
    assert capfd.readouterr().err.count("a.mp4: cannot be read (Permission denied)") == 1
    monkeypatch.setattr(Path, "open", real)
    assert desk.tick() == []
    path.chmod(0o600 if path.stat().st_mode & 0o077 else 0o644)
    assert len(desk.tick()) == 1


def test_a_link_is_not_followed_out_of_the_inbox(desk: Desk) -> None:
    outside = desk.folder.parent / "secret.mp4"
    outside.write_bytes(b"secret")
    (desk.folder / "a.mp4").symlink_to(outside)
    assert open_inbox(str(desk.folder)).look().links == ("a.mp4",)
    assert desk.tick() == [] and desk.sources.all() == []


def test_what_a_killed_tick_decided_is_handed_out_again(desk: Desk) -> None:
    desk.put("a.mp4")
    assert desk.tick(killed=True) == []
    (key,) = desk.tick()
    assert desk.partitions() == [key] and desk.tick() == []


def test_a_reset_cursor_requests_no_run_twice(desk: Desk) -> None:
    desk.put("a.mp4")
    assert len(desk.tick()) == 1
    desk.cursor = None
    assert desk.tick() == []


def test_three_thousand_files_are_opened_once_in_bounded_looks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3000):
        desk.put(f"cam{number % 7}/{number}.mp4", f"footage {number:04}")
    opened: list[str] = []
    real = io.open

    def counting(file: Any, *arguments: Any, **named: Any) -> Any:
        if str(file).endswith(".mp4"):
            opened.append(str(file))
        return real(file, *arguments, **named)

    monkeypatch.setattr(io, "open", counting)
    monkeypatch.setattr(builtins, "open", counting)
    assert [len(desk.tick()) for _ in range(3)] == [100, 100, 100]
    assert len(opened) == len(set(opened)) == 300
    monkeypatch.setattr("autorisk_dagster.sensors.files_to_read", lambda *known: files_to_read(*known, limit=3000))
    monkeypatch.setattr("autorisk_dagster.sensors.MAX_ACTIONS", 3000)
    assert len(desk.tick()) == 2700 and len(desk.partitions()) == 3000
    opened.clear()
    assert desk.tick() == [] and opened == []
    assert len(desk.cursor or "") == 4
    assert len(InboxLedger(desk.data / "inbox" / "seen.sqlite").seen()) == 3000
