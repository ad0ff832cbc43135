"""S3 that is busy, breaks off or is silent, and a full disk: nothing is half, and the next run goes on."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from autorisk_dagster import tables
from autorisk_dagster.definitions import defs
from autorisk_dagster.doctor.machine import data_bucket_is_usable
from autorisk_dagster.errors import BucketUnavailableError, StorageError
from autorisk_dagster.intake.sources import source_ledger
from autorisk_dagster.io import FrameStore, stored_table
from autorisk_dagster.jobs import PER_VIDEO
from autorisk_dagster.storage import data_storage, open_storage
from autorisk_dagster.storage.bucket import _files_of
from resources.answers import AnswerStore
from tests.assets.test_graph import ColourDetectors
from tests.blob_world import film_crossing
from tests.storage.faulty_s3 import FaultyS3, faulty_s3
from tests.storage.s3 import machine, new_bucket

READER = """
import hashlib, json, sys
from autorisk_dagster.io import stored_table
from autorisk_dagster.storage import data_storage
media = data_storage().at("media")
paths = stored_table("mined_clips", sys.argv[1])["clip_path"]
print(json.dumps({path: hashlib.sha256(media.path(path).read_bytes()).hexdigest() for path in paths}))
"""

OLD, NEW = b"old" * 100_000, b"new" * 100_000


@pytest.fixture
def way(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    monkeypatch.setattr("random.random", lambda: 0.0)  # botocore waits so much, times two to the number of tries
    monkeypatch.setattr("autorisk_dagster.storage.bucket.READ_TIMEOUT_SEC", 0.3)
    with faulty_s3(s3_address) as made:
        yield made
    _files_of.cache_clear()


@pytest.fixture
def url(way: FaultyS3, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prefix of a bucket that is reached through the faulty way."""
    found = f"s3://{new_bucket(s3_address)}/data"
    machine(monkeypatch, way.address, tmp_path / "local", found)
    return found


def written(folder: Path) -> list[str]:
    """Names of all files but the records of copies."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and ".versions" not in path.parts)


@pytest.mark.parametrize("kind", ["busy", "cut request", "silent"])
def test_an_upload_that_fails_once_is_tried_again(way: FaultyS3, url: str, kind: str) -> None:
    fault = way.fails("^PUT .*clip", kind, times=1)  # type: ignore[arg-type]
    storage = open_storage(url)
    with storage.writing("clip.mp4") as temporary:
        temporary.write_bytes(NEW)
    assert len(fault.met) == 1 and sum(request.startswith("PUT") for request in way.asked) == 2
    assert storage.read("clip.mp4") == NEW and storage.path("clip.mp4").read_bytes() == NEW


@pytest.mark.parametrize("kind", ["busy", "cut request", "silent"])
def test_an_upload_that_keeps_failing_leaves_the_old_object_and_says_so(
    way: FaultyS3, url: str, kind: str, tmp_path: Path
) -> None:
    storage = open_storage(url)
    storage.write("clip.mp4", OLD)
    fault = way.fails("^PUT .*clip", kind)  # type: ignore[arg-type]
    with (
        pytest.raises(BucketUnavailableError, match=r"s3://.*/data/clip\.mp4: the storage does not answer.*run again"),
        storage.writing("clip.mp4") as temporary,
    ):
        temporary.write_bytes(NEW)
    assert len(fault.met) >= 2
    assert written(tmp_path) == []
    assert storage.read("clip.mp4") == OLD and storage.names() == ["clip.mp4"]
    way.faults.clear()
    with storage.writing("clip.mp4") as temporary:
        temporary.write_bytes(NEW)
    assert storage.read("clip.mp4") == NEW


def test_a_download_that_breaks_off_goes_on_where_it_was(way: FaultyS3, url: str) -> None:
    storage = open_storage(url)
    storage.write("clip.mp4", OLD)
    fault = way.fails("^GET .*clip", "cut answer", times=1)
    assert storage.path("clip.mp4").read_bytes() == OLD and len(fault.met) == 1


@pytest.mark.parametrize("kind", ["busy", "cut answer", "silent"])
def test_a_download_that_keeps_failing_leaves_no_copy(way: FaultyS3, url: str, kind: str, tmp_path: Path) -> None:
    storage = open_storage(url)
    storage.write("clip.mp4", OLD)
    way.fails("^GET .*clip", kind)  # type: ignore[arg-type]
    with pytest.raises(BucketUnavailableError, match="does not answer"):
        storage.path("clip.mp4")
    assert written(tmp_path) == []
    way.faults.clear()
    assert storage.path("clip.mp4").read_bytes() == OLD


def test_a_full_disk_of_copies_is_named_and_leaves_none(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(url)
    storage.write("clip.mp4", OLD)
    with monkeypatch.context() as patch:
        patch.setattr("s3fs.core.open", lambda _, mode: Path("/dev/full").open(mode), raising=False)  # noqa: SIM115
        with pytest.raises(StorageError, match=r"no space left to write it. Free space there and run again"):
            storage.path("clip.mp4")
    assert written(tmp_path) == []
    assert storage.path("clip.mp4").read_bytes() == OLD


def test_no_secret_is_in_what_is_raised_or_planned(way: FaultyS3, url: str) -> None:
    store = FrameStore(base_dir=f"{url}/tables").create_io_manager(dg.build_init_resource_context())
    store.write("severity_ranking", "a", tables.empty(tables.SEVERITY_RANKING))
    rows = store.read_fleet("severity_ranking", ["a"]).rows
    assert rows.collect().columns[0] == "video_id"
    way.fails("GET|HEAD", "busy")
    with pytest.raises(BucketUnavailableError) as error:
        open_storage(url).read("a")
    told = f"{error.value} {rows.explain()} {open_storage(url)!r} {store!r}"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in told and os.environ["AWS_ACCESS_KEY_ID"] not in told


def test_answers_are_kept_in_the_bucket(url: str) -> None:
    answers = AnswerStore(root=f"{url}/answers")
    answers.put("drive-1", "abc", {"severity": "HIGH"})
    assert AnswerStore(root=f"{url}/answers").get("drive-1", "abc") == {"severity": "HIGH"}
    assert answers.get("drive-1", "none") is None


def test_a_run_that_meets_a_busy_bucket_fails_clearly_and_another_machine_goes_on(
    way: FaultyS3, url: str, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autorisk_dagster.storage.bucket.READ_TIMEOUT_SEC", 60)
    footage = film_crossing(tmp_path / "crossing.mp4", seconds=3.0)
    data_storage().write("footage/crossing.mp4", footage.read_bytes())
    ledger = source_ledger()
    key = ledger.register(footage).video_id
    ledger.place(key, f"{url}/footage/crossing.mp4", ledger.get(key).fingerprint)
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("videos", [key])

        def run(assets: list[str]) -> dg.ExecuteInProcessResult:
            base = defs()
            found = dg.Definitions(
                assets=base.assets,
                jobs=base.jobs,
                resources={**(base.resources or {}), "detectors": ColourDetectors()},
                executor=dg.in_process_executor,
            )
            return found.resolve_job_def("process_video").execute_in_process(
                instance=instance,
                partition_key=key,
                asset_selection=[dg.AssetKey(name) for name in assets],
                raise_on_error=False,
            )

        def made() -> set[str]:
            return {name for name in PER_VIDEO if key in instance.get_materialized_partitions(dg.AssetKey(name))}

        way.fails("^PUT .*/tables/corrected_severities/", "busy")
        failed = run(list(PER_VIDEO))
        steps = [event for event in failed.all_events if event.is_step_failure]
        assert [event.step_key for event in steps] == ["corrected_severities"]
        told = steps[0].step_failure_data.user_failure_data.description
        assert f"{url}/tables/corrected_severities/{key}.parquet: the storage does not answer" in told
        before = made()
        assert {"mined_clips", "reason_outputs"} <= before and "corrected_severities" not in before
        assert stored_table("corrected_severities", key) is None
        way.faults.clear()
        machine(monkeypatch, s3_address, tmp_path / "other machine", url)
        assert run([name for name in PER_VIDEO if name not in before]).success
        assert made() == set(PER_VIDEO)
    clips = stored_table("mined_clips", key)
    assert clips is not None and clips.height
    third = {**os.environ, "AUTORISK_LOCAL": str(tmp_path / "third")}
    done = subprocess.run([sys.executable, "-c", READER, key], env=third, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {row["clip_path"]: row["clip_sha256"] for row in clips.iter_rows(named=True)}
    data = data_storage()
    source = stored_table("source_video", key)
    assert source is not None
    assert source.item(0, "footage_url") == f"{url}/footage/crossing.mp4"
    assert source.item(0, "sha256") == hashlib.sha256(footage.read_bytes()).hexdigest()
    assert not [name for name in data.sizes() if ".tmp" in name or name.rpartition("/")[2].startswith(".")]
    assert data.exists(f"media/{key}/report.html")


def test_the_doctor_names_the_right_that_is_refused(way: FaultyS3, url: str) -> None:
    storage = open_storage(url)
    (fine,) = data_bucket_is_usable(storage)
    assert (fine.state, fine.found) == ("ok", f"{url}: a small object was written, read and deleted")
    assert storage.names() == []
    for request, said in (
        ("^GET .*list-type", "cannot be listed (s3://"),
        ("^PUT", "cannot be written to (s3://"),
        ("^GET .*doctor-", "cannot be read (s3://"),
        ("^DELETE", "stays there (s3://"),
    ):
        way.fails(request, "refused")
        (found,) = data_bucket_is_usable(storage)
        assert found.state == "broken" and said in found.found and "access is refused (AccessDenied)" in found.found
        way.faults.clear()
        assert [name for name in storage.names() if name in found.found] == storage.names()  # what it leaves it names
