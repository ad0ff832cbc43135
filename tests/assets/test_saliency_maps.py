"""`saliency_maps`: measured for the worst clips of a model that runs here, and a reason for every other."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from PIL import Image

from assets.saliency import saliency_maps
from autorisk_dagster import tables
from autorisk_dagster.io import FrameStore
from autorisk_dagster.partitions import videos
from autorisk_dagster.paths import CONFIGS
from autorisk_dagster.video.clips import cut_clip
from resources import model_slot
from resources.hiders import Hiders
from resources.media_store import MediaStore, sha256_of
from resources.profiles import Profiles
from resources.progress import Progress
from resources.reasoners import Reasoners
from tests.reporting.example import clip_row, reason_row, track_rows, video_row
from tests.video_factory import steady, write_video

KEY = "example-0badcafe"


def run(folder: Path, configs: Path, profile: str, severities: list[str | None]) -> pl.DataFrame:
    """Materialise the asset for one video with a clip of 2 s for each severity; return its table."""
    source = write_video(folder / "source.mp4", steady(20 * len(severities), 10))
    clips, answers = [], []
    for number, severity in enumerate(severities, start=1):
        clip = clip_row(number, 2.0 * (number - 1), 2.0 * number, 2.0 * number - 1)
        path = folder / "media" / clip["clip_path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        cut_clip(source, clip["start_sec"], clip["end_sec"], path)
        clips.append(clip | {"clip_sha256": sha256_of(path)})
        answers.append(reason_row(clip["clip_id"], severity))
    given = {
        "source_video": tables.frame([video_row(profile=profile)], tables.SOURCE_VIDEO),
        "tracks": track_rows(),
        "mined_clips": tables.frame(clips, tables.MINED_CLIPS),
        "reason_outputs": tables.frame(answers, tables.REASON_OUTPUTS),
    }
    for name, table in given.items():
        (folder / "tables" / name).mkdir(parents=True, exist_ok=True)
        table.write_parquet(folder / "tables" / name / f"{KEY}.parquet")
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("videos", [KEY])
        result = dg.materialize(
            [saliency_maps, *(dg.AssetSpec(name, partitions_def=videos) for name in given)],
            selection=[saliency_maps],
            instance=instance,
            partition_key=KEY,
            resources={
                "io_manager": FrameStore(base_dir=str(folder / "tables")),
                "media": MediaStore(root=str(folder)),
                "profiles": Profiles(folder=str(configs)),
                "hiders": Hiders(),
                "reasoners": Reasoners(device_map="cpu"),
                "progress": Progress(),
            },
        )
        assert all(check.passed for check in result.get_asset_check_evaluations())
    return pl.read_parquet(folder / "tables" / "saliency_maps" / f"{KEY}.parquet")


def test_a_reasoner_without_gradients_says_so_for_every_clip(tmp_path: Path) -> None:
    table = run(tmp_path, CONFIGS, "default", ["HIGH", None])
    assert table["reason"].to_list() == ["the kinematic reasoner has no gradients here"] * 2
    assert table["overlay_path"].null_count() == 2


def test_the_worst_clips_are_measured_and_the_others_say_why(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="saliency needs the extra `models`")
    from tests import tiny_cosmos

    weights = tiny_cosmos.build(tmp_path / "tiny")
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "tiny.yaml").write_text(
        f"reasoner: {{backend: transformers, model: {weights}, dtype: float32, max_pixels: 65536}}\n"
        "saliency: {max_clips: 2}\n"
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        table = run(tmp_path, configs, "tiny", ["MEDIUM", "HIGH", "LOW", None, "MEDIUM"])
    finally:
        model_slot.evict()
        torch.set_num_threads(threads)
    assert table["severity"].to_list() == ["MEDIUM", "HIGH", None, None, None]
    assert table["reason"].to_list() == [
        None,
        None,
        "severity LOW is not asked for",
        "no severity to explain: not_run",
        "beyond the 2 worst clips",
    ]
    for number, row in enumerate(table.head(2).iter_rows(named=True)):
        assert 2.0 * number <= row["peak_sec"] < 2.0 * number + 2
        assert row["times_sec"] == pytest.approx(
            [2.0 * number + shown for shown in (0, 0.2, 0.5, 0.7, 1, 1.2, 1.5, 1.7)]
        )
        assert sum(row["frame_share"]) == pytest.approx(1)
        path = tmp_path / "media" / row["overlay_path"]
        assert sha256_of(path) == row["overlay_sha256"]
        with Image.open(path) as picture:
            assert (picture.format, picture.n_frames) == ("WEBP", 8)
