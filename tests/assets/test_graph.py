"""The whole graph on a small world whose truth is known, one partition going wrong while others go on."""

from __future__ import annotations

import errno
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.definitions import defs
from autorisk_dagster.intake.sources import SourceLedger
from autorisk_dagster.jobs import PER_VIDEO
from autorisk_dagster.profile import Profile
from autorisk_dagster.storage.folder import Folder
from autorisk_dagster.video.reader import VideoReader
from resources.detectors import Detectors
from resources.media_store import sha256_of
from tests.blob_world import ColourDetector, film_crossing


class ColourDetectors(Detectors):
    """Injects the test double in the place of NanoDet."""

    def get(self, profile: Profile) -> ColourDetector:  # type: ignore[override]  # noqa: ARG002
        return ColourDetector()


class Fleet:
    """A project folder of its own, with its own Dagster instance."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AUTORISK_DATA", str(folder))
        self.folder = folder
        self.instance = instance
        base = defs()
        self.definitions = dg.Definitions(
            assets=base.assets,
            jobs=base.jobs,
            resources={**(base.resources or {}), "detectors": ColourDetectors()},
            executor=dg.in_process_executor,
        )

    def add(self, path: Path) -> str:
        record = SourceLedger(Folder(self.folder / "sources")).register(path)
        self.instance.add_dynamic_partitions("videos", [record.video_id])
        return record.video_id

    def run(self, key: str) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_job_def("process_video")
        return job.execute_in_process(instance=self.instance, partition_key=key, raise_on_error=False)

    def table(self, asset: str, key: str) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "tables" / asset / f"{key}.parquet")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fleet, str, dg.ExecuteInProcessResult]:
    """One video through everything; the tests below look at what came out."""
    folder = tmp_path_factory.mktemp("fleet")
    with pytest.MonkeyPatch.context() as patch, dg.instance_for_test() as instance:
        fleet = Fleet(folder / "data", instance, patch)
        key = fleet.add(film_crossing(folder / "crossing.mp4"))
        result = fleet.run(key)
        yield fleet, key, result


World = tuple[Fleet, str, dg.ExecuteInProcessResult]


def test_one_run_makes_every_asset_and_every_check_passes(world: World) -> None:
    fleet, key, result = world
    assert result.success
    for name in PER_VIDEO:
        assert key in fleet.instance.get_materialized_partitions(dg.AssetKey(name)), name
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) >= 15
    assert [e.check_name for e in evaluations if not e.passed] == []


def test_every_table_holds_its_schema(world: World) -> None:
    fleet, key, _ = world
    for name in set(PER_VIDEO) & set(tables.TABLES):
        tables.check(fleet.table(name, key), tables.TABLES[name])


def test_the_two_cars_are_followed_and_their_meeting_is_mined_and_judged(world: World) -> None:
    fleet, key, _ = world
    tracks = fleet.table("tracks", key)
    assert {"car", "bus"} <= set(tracks.filter(pl.col("track_id").is_not_null())["label"])
    clips = fleet.table("mined_clips", key)
    assert clips.filter((pl.col("start_sec") <= 3.0) & (pl.col("end_sec") >= 3.2)).height == 1
    events = fleet.table("near_miss_events", key)
    # Each drives 6.5 px a frame; their distance is 28 + 130 |3 - t| px, under 100 px for t > 2.45 s: the
    # frames from 2.5 to 2.9 s are the five that confirm.
    first, second = events.sort("version").to_dicts()
    assert (first["version"], first["timestamp_sec"]) == ("1.0", pytest.approx(2.9, abs=0.11))
    # v2 knows one encounter of them, which begins before and has its worst moment where they meet at 3 s
    assert (second["version"], second["start_sec"] < 2.9) == ("v2", True)
    assert second["timestamp_sec"] == pytest.approx(2.9, abs=0.3)
    reasons = fleet.table("reason_outputs", key)
    assert reasons["outcome"].to_list() == ["severity"] * clips.height
    assert reasons["reasoner"].unique().to_list() == ["kinematic"]
    assert reasons["confidence"].null_count() == reasons.height  # nothing measured it


def test_every_severity_leads_back_to_its_rule_and_file(world: World) -> None:
    fleet, key, _ = world
    corrected = fleet.table("corrected_severities", key)
    ttc = fleet.table("clip_ttc", key)
    joined = corrected.join(ttc, on="clip_id")
    assert joined["ttc_read_sec"].to_list() == joined["min_area_tau_sec"].to_list()
    for clip in fleet.table("mined_clips", key).iter_rows(named=True):
        file = fleet.folder / "media" / clip["clip_path"]
        assert sha256_of(file) == clip["clip_sha256"]
        with VideoReader(file) as reader:
            frames = sum(1 for item in reader if hasattr(item, "bgr"))
            assert (frames, reader.has_audio) == (clip["frame_count"], True)
        assert clip["clip_written_by"] == "stream_copy"
        with VideoReader(fleet.folder.parent / "crossing.mp4", start_sec=clip["start_sec"]) as reader:
            first = next(item for item in reader if hasattr(item, "bgr"))
        with VideoReader(file) as reader:
            shown = next(item for item in reader if hasattr(item, "bgr"))
        assert first.timestamp_sec == clip["start_sec"]
        assert (first.bgr() == shown.bgr()).all()
    source = fleet.table("source_video", key)
    assert source.item(0, "sha256") == sha256_of(fleet.folder.parent / "crossing.mp4")


def test_the_report_is_one_file_that_names_every_clip(world: World) -> None:
    fleet, key, _ = world
    page = (fleet.folder / "media" / key / "report.html").read_text(encoding="utf-8")
    for clip_id in fleet.table("severity_ranking", key)["clip_id"]:
        assert clip_id in page
    assert "kinematic" in page


def test_pictures_and_hashes_are_in_the_metadata(world: World) -> None:
    fleet, key, _ = world
    event = fleet.instance.get_latest_materialization_event(dg.AssetKey("mined_clips"))
    assert event is not None and event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    for name in ("signals", "contact_sheet"):
        assert "data:image/webp;base64," in str(metadata[name].value)
    assert event.asset_materialization.partition == key
    assert metadata["settings_hash"].value == Profile(name="default").mining.digest()
    event = fleet.instance.get_latest_materialization_event(dg.AssetKey("near_miss_events"))
    assert event is not None and event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    for name in ("filters_of_1.0_plot", "threshold_sweep_of_1.0_plot"):
        assert "data:image/webp;base64," in str(metadata[name].value)
    assert "confirmation" in str(metadata["filters_of_1.0"].value)
    assert "| 220 |" in str(metadata["threshold_sweep_of_1.0"].value)


def test_a_second_run_gives_the_same_data_versions(world: World) -> None:
    """What did not change must leave what is behind it fresh."""
    fleet, key, _ = world
    before = _data_versions(fleet, key)
    left_over = fleet.folder / "media" / key / "clips" / ".1a2b.tmp.mp4"  # of a run that was killed while it cut
    left_over.write_bytes(b"half a clip")
    assert fleet.run(key).success
    assert not left_over.exists()
    assert _data_versions(fleet, key) == before


def test_one_bad_file_fails_alone_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "torn.mp4"
    bad.write_bytes(b"this is no video")
    with dg.instance_for_test() as instance:
        fleet = Fleet(tmp_path / "data", instance, monkeypatch)
        wrong, right = fleet.add(bad), fleet.add(film_crossing(tmp_path / "fine.mp4", seconds=3.0, horn=False))
        failed = fleet.run(wrong)
        assert not failed.success
        event = next(e for e in failed.all_events if e.is_step_failure)
        assert event.step_key == "source_video"
        message = event.step_failure_data.user_failure_data.description
        assert message.startswith("torn.mp4: ")
        assert not list((tmp_path / "data" / "tables").rglob("*.parquet"))
        assert fleet.run(right).success


def test_another_file_in_the_place_of_a_registered_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A severity must never carry the name and hash of footage that it was not made from."""
    place = film_crossing(tmp_path / "drive.mp4", seconds=2.0, horn=False)
    with dg.instance_for_test() as instance:
        fleet = Fleet(tmp_path / "data", instance, monkeypatch)
        key = fleet.add(place)
        film_crossing(place, seconds=3.0, horn=False)
        failed = fleet.run(key)
        assert not failed.success
        event = next(e for e in failed.all_events if e.is_step_failure)
        assert "is no longer the file registered as drive-" in event.step_failure_data.user_failure_data.description


def test_a_killed_clip_leaves_no_file_under_a_good_name(tmp_path: Path) -> None:
    from resources.media_store import MediaStore

    store = MediaStore(root=str(tmp_path))
    with pytest.raises(KeyboardInterrupt), store.writing("v/clips/a.mp4") as target:
        target.write_bytes(b"half")
        raise KeyboardInterrupt
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_full_disk_is_named_with_the_way_out(tmp_path: Path) -> None:
    from autorisk_dagster.errors import StorageError
    from resources.media_store import MediaStore

    with (
        pytest.raises(StorageError, match=r"a\.mp4: no space left.*Free space there and run again"),
        MediaStore(root=str(tmp_path)).writing("v/clips/a.mp4"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("relative", ["../x", "/etc/passwd", "a/../../x", ""])
def test_media_paths_never_leave_the_store(tmp_path: Path, relative: str) -> None:
    from autorisk_dagster.errors import InputError
    from resources.media_store import MediaStore

    with pytest.raises(InputError, match="leaves the storage"):
        MediaStore(root=str(tmp_path)).path(relative)


def _data_versions(fleet: Fleet, key: str) -> dict[str, str | None]:
    versions = {}
    for name in set(PER_VIDEO) & set(tables.TABLES):
        filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey(name), asset_partitions=[key])
        record = fleet.instance.fetch_materializations(filters, limit=1).records[0]
        assert record.asset_materialization is not None and record.asset_materialization.tags is not None
        versions[name] = record.asset_materialization.tags.get("dagster/data_version")
    return versions
