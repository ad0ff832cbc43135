"""The command line as a newcomer uses it: its own data folder, its own Dagster home, the shipped detector."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.definitions import defs
from autorisk_dagster.jobs import PER_VIDEO
from autorisk_dagster.paths import CONFIGS
from tests import commands
from tests.blob_world import film_crossing


class Project:
    """A folder with settings, data and history; `autorisk` runs in a process of its own, which reads them anew."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.configs, self.data = folder, folder / "configs", folder / "data"
        if not self.configs.exists():
            shutil.copytree(CONFIGS, self.configs)
        self.environment = {
            **os.environ,
            "AUTORISK_CONFIGS": str(self.configs),
            "AUTORISK_DATA": str(self.data),
            "DAGSTER_HOME": str(folder / "home"),
        }

    def autorisk(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return commands.forked(self.environment, *arguments)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, video: Path) -> tuple[Project, subprocess.CompletedProcess[str]]:
    """A project after its first run, and what that said. Not to be changed: tests have copies."""
    project = Project(tmp_path_factory.mktemp("project") / "first")
    return project, commands.anew(project.environment, "run", video)


@pytest.fixture
def project(first: tuple[Project, subprocess.CompletedProcess[str]], tmp_path: Path) -> Project:
    """A project of one's own in which the video has been run."""
    made, ran = first
    assert ran.returncode == 0, ran.stderr
    return Project(Path(shutil.copytree(made.folder, tmp_path / "project")))


ALL = len(PER_VIDEO)


def behind(asset: str) -> int:
    """How many assets of a video are `asset` or made from it, directly or not."""
    graph = defs().resolve_asset_graph()
    found, new = set(), {dg.AssetKey(asset)}
    while new:
        found |= new
        new = {child for key in new for child in graph.get(key).child_keys} - found
    return len({key.to_user_string() for key in found} & {*PER_VIDEO})


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film_crossing(tmp_path_factory.mktemp("footage") / "Drive 1.mp4", seconds=4.0)


def test_run_prints_the_table_and_a_second_run_makes_nothing(
    first: tuple[Project, subprocess.CompletedProcess[str]], project: Project, video: Path
) -> None:
    _, ran = first
    for word in ("video", "clips", "worst severity", "near misses", "report"):
        assert word in ran.stdout
    (report,) = project.data.glob("media/drive-1-*/report.html")
    assert report.stat().st_size > 100_000
    again = project.autorisk("run", video)
    assert "up to date" in again.stderr


def test_a_changed_setting_makes_again_what_reads_it_and_what_is_behind_it(project: Project, video: Path) -> None:
    profile = project.configs / "default.yaml"
    before = profile.read_text(encoding="utf-8")
    assert "r3_fused: 0.65" in before
    profile.write_text(before.replace("r3_fused: 0.65", "r3_fused: 0.66"), encoding="utf-8")
    again = project.autorisk("run", video)
    made = behind("corrected_severities")  # perception, mining and reasoning are kept
    assert f"{made} assets to make, {ALL - made} kept" in again.stderr


def test_what_was_learned_from_labels_makes_again_what_reads_it(project: Project, video: Path) -> None:
    learned = tables.empty(tables.CORRECTION_PARAMETERS)
    learned.write_parquet(project.data / "tables" / "correction_parameters.parquet")
    with dg.DagsterInstance.from_config(project.environment["DAGSTER_HOME"]) as instance:
        tags = {"dagster/data_version": "learned", "dagster/data_version_is_user_provided": "true"}
        instance.report_runless_asset_event(dg.AssetMaterialization("correction_parameters", tags=tags))
    again = project.autorisk("run", video)
    made = behind("correction_parameters")
    assert f"{made} assets to make, {ALL - made} kept" in again.stderr
    assert "up to date" in project.autorisk("run", video).stderr


def test_a_video_whose_step_failed_is_made_from_there_on(project: Project, video: Path) -> None:
    (table,) = project.data.glob("tables/severity_ranking/drive-1-*.parquet")
    table.unlink()
    again = project.autorisk("run", video)
    made = behind("severity_ranking")
    assert f"{made} assets to make, {ALL - made} kept" in again.stderr
    assert table.exists()


def test_another_profile_makes_everything_again(project: Project, video: Path) -> None:
    again = project.autorisk("run", video, "--profile", "winter")
    assert f"{ALL} assets to make" in again.stderr and "kept" not in again.stderr


def test_a_lost_clip_is_cut_again(project: Project, video: Path) -> None:
    (clip,) = project.data.glob("media/drive-1-*/clips/*.mp4")
    clip.unlink()
    again = project.autorisk("run", video)
    made = behind("mined_clips")
    assert f"{made} assets to make, {ALL - made} kept" in again.stderr
    assert clip.exists()


def test_an_unknown_setting_fails_the_video_and_names_the_key(project: Project, video: Path) -> None:
    (project.configs / "typo.yaml").write_text("extends: default\nmining: {wieght_audio: 1}\n", encoding="utf-8")
    found = project.autorisk("run", video, "--profile", "typo")
    assert found.returncode == 1
    assert "profile typo: mining.wieght_audio: Extra inputs are not permitted" in found.stderr


def test_a_bad_file_among_good_ones_is_one_failed_row(project: Project, video: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(b"\0" * 64)
    found = project.autorisk("run", torn, video)
    assert found.returncode == 1
    assert "failed" in found.stdout and "torn.mp4" in found.stdout.replace("\n", "")
    assert "report.html" in "".join(found.stdout.replace("│", "").split())  # a long path is folded inside its column
    status = project.autorisk("status").stdout
    assert "source_video" in status and f"{ALL} of {ALL}" in status


def test_nothing_to_ingest_is_an_error_that_says_why(project: Project, tmp_path: Path) -> None:
    found = project.autorisk("ingest", tmp_path / "missing.mp4")
    assert found.returncode == 1
    assert "does not exist" in found.stderr


def test_media_whose_time_is_over_is_swept_and_not_made_again(project: Project, video: Path) -> None:
    profile = project.configs / "default.yaml"
    profile.write_text(profile.read_text(encoding="utf-8").replace("keep_media_days: null", "keep_media_days: 30"))
    (key,) = [path.name for path in project.data.glob("media/drive-1-*")]
    project.autorisk("run", video)
    (record,) = project.data.glob("sources/drive-1-*.json")
    before = project.autorisk("sweep").stdout
    assert f"{key}: kept, not yet 30 days old" in before
    registered = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps(registered | {"registered_at": "2020-01-01T00:00:00+00:00"}), encoding="utf-8")
    queue = project.data / "tables" / "review_queue" / f"{key}.parquet"
    queue.parent.mkdir(parents=True, exist_ok=True)
    row = dict.fromkeys(tables.REVIEW_QUEUE) | {"clip_id": "c01", "must_review": True, "state": "open"}
    pl.DataFrame([row], schema=tables.REVIEW_QUEUE).write_parquet(queue)
    assert "clips wait for review: c01 (1 in all)" in project.autorisk("sweep").stdout
    pl.DataFrame([row | {"state": "reviewed"}], schema=tables.REVIEW_QUEUE).write_parquet(queue)
    assert project.autorisk("hold", key, "--reason", "accident").returncode == 0
    assert f"{key}: kept, held: accident" in project.autorisk("sweep").stdout
    assert project.autorisk("hold", key, "--release").returncode == 0
    assert "would delete" in project.autorisk("sweep", "--dry-run").stdout
    assert list(project.data.glob(f"media/{key}/clips/*.mp4"))
    assert f"{key}: deleted" in project.autorisk("sweep").stdout
    assert [path.name for path in project.data.glob(f"media/{key}/**/*") if path.is_file()] == ["swept.json"]
    assert "up to date" in project.autorisk("run", video).stderr


def test_clips_can_be_had_before_anything_is_judged(tmp_path: Path) -> None:
    """Clips first, labels blind, then inference: the label protocol needs a way to stop after mining."""
    project = Project(tmp_path)
    found = project.autorisk("run", film_crossing(tmp_path / "drive.mp4", seconds=2.0), "--until", "mined_clips")
    assert found.returncode == 0, found.stderr
    made = {path.name for path in (project.data / "tables").iterdir()}
    assert "mined_clips" in made and "reason_outputs" not in made
    assert "mined_clips is there for 1 video" in found.stdout
