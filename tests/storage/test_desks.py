"""Labels and verdicts of a machine whose data lies in a bucket are there for every worker before they are told."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from autorisk_dagster import tables
from autorisk_dagster.cli.reviewing import label_desk
from autorisk_dagster.errors import BucketUnavailableError
from autorisk_dagster.intake.sources import source_ledger
from autorisk_dagster.io import FrameStoreIOManager
from autorisk_dagster.privacy.retention import Holds, media_files, sweep, swept_files
from autorisk_dagster.review.label_sets import freezings, read_set
from autorisk_dagster.review.log import review_log
from autorisk_dagster.storage import data_storage, open_storage
from tests.privacy.test_retention import NOW
from tests.reporting.example import clip_row
from tests.storage.faulty_s3 import faulty_s3
from tests.storage.s3 import machine


def with_one_clip() -> str:
    """A registered video with one mined clip in the bucket; its key."""
    data = data_storage()
    key = source_ledger().place("drive-00000001", "s3://footage/drive.mp4", "00000001" + 56 * "a").video_id
    data.write(f"media/{key}/clips/01.mp4", b"clip")
    digest = hashlib.sha256(b"clip").hexdigest()
    row = clip_row(1, 1.0, 4.0, 2.25, digest) | {"clip_id": f"{key}-c01", "clip_path": f"{key}/clips/01.mp4"}
    FrameStoreIOManager(data.at("tables")).write("mined_clips", key, tables.frame([row], tables.MINED_CLIPS))
    return key


def test_a_label_and_its_freezing_are_in_the_bucket_at_once(
    bucket: str, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = with_one_clip()
    data = data_storage()
    path = data.pull("labels", "review") / "labels" / "anna.csv"
    desk = label_desk(data, path, "anna")
    (clip,) = desk.clips
    desk.label(clip, "HIGH", "")
    desk.freeze()
    machine(monkeypatch, s3_address, tmp_path / "worker", bucket)
    folder = data_storage().pull("labels", "review")
    found = read_set(folder / "labels" / "anna.csv")
    assert found.table.select("clip_id", "severity").rows() == [(f"{key}-c01", "HIGH")]
    assert freezings(review_log(folder).records()) == {"anna": found.freezing}


def test_a_label_that_could_not_be_stored_is_not_acknowledged_and_is_stored_with_the_next(
    bucket: str, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_one_clip()
    monkeypatch.setattr("random.random", lambda: 0.0)
    with faulty_s3(s3_address) as way:
        machine(monkeypatch, way.address, tmp_path / "local", bucket)
        data = data_storage()
        desk = label_desk(data, data.pull("labels", "review") / "labels" / "anna.csv", "anna")
        (clip,) = desk.clips
        way.fails("^PUT", "busy")
        with pytest.raises(BucketUnavailableError):
            desk.label(clip, "HIGH", "")
        assert open_storage(bucket).read("labels/anna.csv") is None
        way.faults.clear()
        desk.label(clip, "LOW", "")
    assert b"LOW" in (data_storage().read("labels/anna.csv") or b"")


def test_a_sweep_of_a_bucket_keeps_the_hashes_and_what_is_held(bucket: str) -> None:
    key = with_one_clip()
    data = data_storage()
    Holds(data.at("holds")).hold(key, "lawsuit", NOW)
    assert Holds(open_storage(bucket).at("holds")).get(key) is not None
    Holds(data.at("holds")).release(key)
    assert Holds(data.at("holds")).get(key) is None
    assert media_files(data.at("media"), key) == {f"{key}/clips/01.mp4": 4}
    swept = sweep(data.at("media"), key, NOW, "old")
    assert [entry.path for entry in swept] == [f"{key}/clips/01.mp4"] and swept == swept_files(data.at("media"), key)
    assert media_files(data.at("media"), key) == {}
