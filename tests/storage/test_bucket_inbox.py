"""The inbox sensor over a bucket, and footage that is copied from one for a run."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from autorisk_dagster.cli import main
from autorisk_dagster.errors import VideoError
from autorisk_dagster.intake.footage import footage, videos_at
from autorisk_dagster.intake.sources import fingerprint, source_ledger
from autorisk_dagster.storage.bucket import Bucket
from resources.media_store import MediaStore
from tests.intake.test_discovery import OLD, Desk

BIG = bytes(range(256)) * 4096 * 3  # three mebibytes: the middle one is never read


class BucketDesk(Desk):
    """The sensor's desk, over the prefix `inbox/` of a bucket; objects settle because its clock goes before."""

    def __init__(self, bucket: Bucket, folder: Path, instance: dg.DagsterInstance) -> None:
        super().__init__(folder, instance)
        self.bucket = bucket
        self.sources = source_ledger()

    def put(self, name: str, content: bytes | str = b"footage", age_sec: float = OLD) -> Path:  # noqa: ARG002
        self.bucket.write(name, content if isinstance(content, bytes) else content.encode())
        return Path(name)

    def gone(self, name: str) -> None:
        self.bucket.remove(name)


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def desk(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> Iterator[BucketDesk]:
    monkeypatch.setenv("AUTORISK_INBOX", f"{bucket}/inbox")
    now = time.time
    monkeypatch.setattr("autorisk_dagster.sensors.time.time", lambda: now() + OLD)
    yield BucketDesk(Bucket(f"{bucket}/inbox", tmp_path / "local"), tmp_path, instance)
    instance.wipe()


def test_objects_are_registered_once_with_their_folder_s_or_sidecar_s_profile(desk: BucketDesk, bucket: str) -> None:
    desk.put("cam/a.mp4", b"one")
    desk.put("winter/b.MP4", b"two")
    desk.put("cam/c.mp4", b"three")
    desk.put("cam/c.yaml", "profile: japan\n")
    for other in (".hidden/d.mp4", "cam/.e.mp4", "notes.txt", "cam/empty.mp4"):
        desk.put(other, b"" if "empty" in other else b"x")
    keys = desk.tick()
    assert [key.rpartition("-")[0] for key in keys] == ["a", "b", "c"] and desk.partitions() == keys
    assert [desk.sources.get(key).profile for key in keys] == ["default", "winter", "japan"]
    assert desk.sources.get(keys[0]).path == f"{bucket}/inbox/cam/a.mp4"
    assert desk.tick() == []


def test_new_renamed_doubled_and_deleted_objects(desk: BucketDesk, capfd: pytest.CaptureFixture[str]) -> None:
    desk.put("a.mp4")
    (key,) = desk.tick()
    desk.put("copy.mp4")
    assert desk.tick() == [] and "copy.mp4: the same content as a.mp4" in capfd.readouterr().err
    desk.gone("a.mp4")
    assert desk.tick() == [] and desk.sources.get(key).path.endswith("/inbox/copy.mp4")
    desk.gone("copy.mp4")
    assert desk.tick() == [] and desk.sources.missing() == [key]
    desk.put("back.mp4")
    assert desk.tick() == [] and desk.sources.missing() == []


def test_an_object_that_is_written_anew_in_the_same_second_is_other_footage(desk: BucketDesk) -> None:
    desk.put("a.mp4", b"first!")
    (first,) = desk.tick()
    desk.put("a.mp4", b"second")
    (second,) = desk.tick()
    assert second != first


def test_of_a_large_object_head_and_tail_are_read_by_range(
    desk: BucketDesk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[int, int]] = []
    real = Bucket.read_range

    def counting(self: Bucket, relative: str, start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return real(self, relative, start, stop)

    monkeypatch.setattr(Bucket, "read_range", counting)
    desk.put("long.mp4", BIG)
    (key,) = desk.tick()
    assert asked == [(0, 1 << 20), (2 << 20, 3 << 20)]
    (tmp_path / "long.mp4").write_bytes(BIG)
    assert desk.sources.get(key).fingerprint == fingerprint(tmp_path / "long.mp4")  # as of a file: it is one video
    assert not list((tmp_path / "local").rglob("*.mp4"))


def test_a_bucket_that_does_not_answer_marks_nothing(desk: BucketDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.put("a.mp4")
    (key,) = desk.tick()
    monkeypatch.setenv("AUTORISK_INBOX", "s3://no-such-bucket/inbox")
    assert desk.tick() == [] and "there is no such bucket" in desk.reason
    assert desk.sources.get(key).missing_since is None


def test_footage_is_copied_once_with_what_lies_beside_it_and_held_while_it_is_used(desk: BucketDesk) -> None:
    desk.put("drive.mp4", BIG)
    for beside in ("drive.WAV", "drive.gpx", "drive-2.wav", "drive.txt"):
        desk.put(beside, b"x")
    (key,) = [key for key in desk.tick() if key.startswith("drive-")]
    media = MediaStore(root=desk.sources.get(key).path.rpartition("/inbox/")[0])
    path = media.source(key)
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(BIG).digest()
    assert sorted(each.name for each in path.parent.iterdir()) == ["drive.WAV", "drive.gpx", "drive.mp4"]
    before = path.stat().st_mtime_ns
    assert media.source(key).stat().st_mtime_ns == before
    desk.put("drive.mp4", BIG[:-1] + b"!")
    with pytest.raises(VideoError, match="is no longer the file registered as drive-"):
        MediaStore(root=media.root).source(key)
    desk.gone("drive.mp4")
    with pytest.raises(VideoError, match=r"drive\.mp4: is no longer at s3://"), footage(desk.sources.get(key).path):
        pass


def test_the_videos_of_a_prefix_and_of_one_object(desk: BucketDesk, bucket: str) -> None:
    for name in ("a/1.mp4", "a/b/2.mkv", "a/.x/3.mp4", "a/4.txt"):
        desk.put(name)
    assert videos_at(f"{bucket}/inbox/a") == [f"{bucket}/inbox/a/1.mp4", f"{bucket}/inbox/a/b/2.mkv"]
    assert videos_at(f"{bucket}/inbox/a/1.mp4") == [f"{bucket}/inbox/a/1.mp4"]
    assert videos_at(f"{bucket}/inbox/none") == []


def test_objects_are_registered_by_command_and_a_web_address_is_not_run(
    desk: BucketDesk, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    for name in ("night/a.mp4", "night/b.mp4", "day/c.mp4"):
        desk.put(name, name)
    done = CliRunner().invoke(main, ["ingest", f"{bucket}/inbox/night", "--profile", "winter"])
    assert done.exit_code == 0, done.output
    records = desk.sources.all()
    assert [record.path for record in records] == [f"{bucket}/inbox/night/{name}.mp4" for name in "ab"]
    assert {record.profile for record in records} == {"winter"}
    refused = CliRunner().invoke(main, ["run", "https://a.example/v.mp4?token=abc"])
    assert refused.exit_code == 1 and "fetch it first: autorisk ingest ADDRESS" in refused.output
    assert "abc" not in refused.output
