"""The pack of a video that went through the graph: what is in it, what stops it, and that it is the same twice."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.testclient import TestClient

from assets.handover import Handover
from assets.tabulate import content_hash
from autorisk_dagster import tables
from autorisk_dagster.audit import keys
from autorisk_dagster.audit.credentials import CLIP_ASSERTION, GENERATED_ASSERTION, read_credential
from autorisk_dagster.audit.lineage import ASSETS, STEPS
from autorisk_dagster.audit.reviewed import Review, review_state
from autorisk_dagster.audit.verify import Verdict, verify_pack
from autorisk_dagster.cli import main
from autorisk_dagster.cli.lineage import lineage_of, page_of
from autorisk_dagster.cli.webserver import lineage_route
from autorisk_dagster.definitions import defs
from autorisk_dagster.errors import InputError
from autorisk_dagster.intake.sources import SourceLedger
from autorisk_dagster.jobs import PER_VIDEO
from autorisk_dagster.paths import CONFIGS
from autorisk_dagster.review.log import review_log
from autorisk_dagster.review.verdicts import Verdict as ReviewVerdict
from autorisk_dagster.review.verdicts import judged_outputs
from autorisk_dagster.storage.folder import Folder
from resources.credentials import Credentials
from resources.media_store import MediaStore, sha256_of
from resources.profiles import Profiles
from tests.assets.test_graph import ColourDetectors
from tests.blob_world import film_crossing

Row = dict[str, Any]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
NEEDED = set(PER_VIDEO) - {"safety_report", "safety_narrative", "predict_videos", "counterfactuals"}


@dataclass
class House:
    """A project folder in which one video was processed, and the keys of its owner."""

    data: Path
    keys: Path
    instance: dg.DagsterInstance
    key: str

    @cached_property
    def definitions(self) -> dg.Definitions:
        base = defs()
        configs = self.data.parent / "configs"
        resources = {
            **(base.resources or {}),
            "detectors": ColourDetectors(),
            "profiles": Profiles(folder=str(configs)),
        }
        return dg.Definitions(assets=base.assets, jobs=base.jobs, resources=resources, executor=dg.in_process_executor)

    @cached_property
    def job(self) -> dg.JobDefinition:
        return self.definitions.resolve_job_def("finalize")

    def finalize(self, require_signature: bool = True) -> dg.ExecuteInProcessResult:
        return self.job.execute_in_process(
            instance=self.instance,
            partition_key=self.key,
            raise_on_error=False,
            run_config={**QUIET, "ops": {"audit_pack": {"config": {"require_signature": require_signature}}}},
        )

    def packed(self, require_signature: bool = True) -> tuple[Row, Path, dg.ExecuteInProcessResult]:
        result = self.finalize(require_signature)
        assert result.success, why(result)
        row = self.table("audit_pack").row(0, named=True)
        return row, self.data / "media" / row["pack_path"], result

    def path_of(self, asset: str) -> Path:
        return self.data / "tables" / asset / f"{self.key}.parquet"

    def table(self, asset: str) -> pl.DataFrame:
        return pl.read_parquet(self.path_of(asset))

    def verify(self, pack: Path) -> Verdict:
        return verify_pack(pack, keys.public_key(self.keys / keys.SIGNING_PUBLIC)).verdict


def why(result: dg.ExecuteInProcessResult) -> str:
    event = next(event for event in result.all_events if event.is_step_failure)
    data = event.step_failure_data
    return str(data.user_failure_data.description if data.user_failure_data else data.error)


def packs(house: House) -> dict[str, str]:
    """The packs that lie there, by name, with their hashes."""
    return {path.name: sha256_of(path) for path in (house.data / "media" / house.key).glob("audit/*")}


def json_of(pack: Path, name: str) -> Row:
    with zipfile.ZipFile(pack) as archive:
        return json.loads(archive.read(name))


def trace_of(pack: Path, clip_id: str) -> Row:
    return json_of(pack, f"trace/{clip_id}.json")


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(CONFIGS, folder / "configs")
    keys.new_keys(folder / "keys", "Fleet")
    with pytest.MonkeyPatch.context() as patch, dg.instance_for_test() as instance:
        patch.setenv("AUTORISK_DATA", str(folder / "data"))
        record = SourceLedger(Folder(folder / "data" / "sources")).register(film_crossing(folder / "crossing.mp4"))
        instance.add_dynamic_partitions("videos", [record.video_id])
        house = House(folder / "data", folder / "keys", instance, record.video_id)
        made = house.definitions.resolve_job_def("process_video").execute_in_process(
            instance=instance,
            partition_key=house.key,
            asset_selection=[dg.AssetKey(name) for name in sorted(NEEDED)],
            run_config=QUIET,
        )
        assert made.success
        yield house


@pytest.fixture
def house(processed: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """The house with its keys configured, and put back as it was after each test."""
    monkeypatch.setenv("AUTORISK_DATA", str(processed.data))
    monkeypatch.setenv(keys.FOLDER_VARIABLE, str(processed.keys))
    monkeypatch.delenv(keys.PASSPHRASE_VARIABLE, raising=False)
    kept = processed.data.with_name("kept")
    shutil.copytree(processed.data, kept)
    profile = processed.data.parent / "configs" / "default.yaml"
    before = profile.read_bytes()
    yield processed
    profile.write_bytes(before)
    shutil.rmtree(processed.data)
    kept.rename(processed.data)


@pytest.fixture
def scratch(house: House, tmp_path: Path) -> Iterator[House]:
    """The house with a copy of its history, for a test that writes into it."""
    copy = tmp_path / "history"
    shutil.copytree(house.instance.root_directory, copy)
    with dg.instance_for_test(temp_dir=str(copy)) as instance:
        yield replace(house, instance=instance)


@pytest.fixture(scope="module")
def pack(processed: House, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first pack of the house, kept aside for the tests that only read it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(keys.FOLDER_VARIABLE, str(processed.keys))
        patch.delenv(keys.PASSPHRASE_VARIABLE, raising=False)
        row, path, result = processed.packed()
    assert row["pack_sha256"] == sha256_of(path) and row["size_bytes"] == path.stat().st_size
    assert row["clips"] == row["credentials"] == len(clip_ids(processed)) > 0
    wanted = processed.table("review_queue").filter(pl.col("must_review")).height
    assert (row["review"], row["unreviewed"]) == ("unreviewed" if wanted else "complete", wanted)
    failed = {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}
    assert failed == ({"reviewed"} if wanted else set())
    return Path(shutil.copy(path, tmp_path_factory.mktemp("pack")))


def clip_ids(house: House) -> list[str]:
    return house.table("mined_clips")["clip_id"].to_list()


def test_a_stored_table_has_the_hash_that_dagster_knows_it_by(house: House) -> None:
    for name in sorted(NEEDED & set(tables.TABLES)):
        filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey(name), asset_partitions=[house.key])
        made = house.instance.fetch_materializations(filters, limit=1).records[0].asset_materialization
        assert made is not None and made.tags is not None
        assert made.tags["dagster/data_version"] == content_hash(house.table(name)), name


def test_finalize_gives_a_signed_pack_that_the_key_alone_verifies(house: House, pack: Path) -> None:
    assert house.verify(pack) == Verdict.INTACT
    assert pack.name == f"{house.key}.zip"


def test_two_packs_of_one_state_are_the_same_bytes(house: House, pack: Path) -> None:
    _, again, _ = house.packed()
    assert again.read_bytes() == pack.read_bytes()


def test_a_clip_in_the_pack_says_what_it_is_and_shows_what_was_judged(house: House, pack: Path, tmp_path: Path) -> None:
    source = house.table("source_video").row(0, named=True)
    corrected = {row["clip_id"]: row for row in house.table("corrected_severities").iter_rows(named=True)}
    with zipfile.ZipFile(pack) as archive:
        archive.extractall(tmp_path)
    for clip in house.table("mined_clips").iter_rows(named=True):
        path = tmp_path / "clips" / f"{clip['clip_id']}.mp4"
        found = read_credential(path, (house.keys / keys.C2PA_ROOT).read_text())
        assert found.state == "Trusted"
        said = found.assertions[CLIP_ASSERTION]
        assert said["source_sha256"] == source["sha256"] and said["clip_sha256"] == clip["clip_sha256"]
        assert (said["start_sec"], said["end_sec"]) == (clip["start_sec"], clip["end_sec"])
        assert said["severity"] == corrected[clip["clip_id"]]["severity"]
        assert found.source_types == ()  # whether the footage is genuine is not known
        assert packets(path) == packets(house.data / "media" / clip["clip_path"])


def packets(path: Path) -> list[bytes]:
    """The coded pictures and sound of a file."""
    import av

    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux() if packet.size]


def test_the_trace_leads_from_the_severity_to_the_frames(house: House, pack: Path) -> None:
    manifest = json_of(pack, "manifest.json")
    provenance = json_of(pack, "provenance.json")
    for clip in house.table("mined_clips").iter_rows(named=True):
        clip_id = clip["clip_id"]
        trace = trace_of(pack, clip_id)
        answer = house.table("reason_outputs").filter(pl.col("clip_id") == clip_id).row(0, named=True)
        ttc = house.table("clip_ttc").filter(pl.col("clip_id") == clip_id).row(0, named=True)
        assert trace["judgement"]["answer"]["raw_text"] == answer["raw_text"]
        assert trace["judgement"]["by"]["model_revision"] == answer["model_revision"]
        assert trace["correction"]["read"]["ttc_read_sec"] in (ttc["min_area_tau_sec"], "inf")
        assert trace["correction"]["thresholds"]["r1_ttc_sec"] == 1.0
        assert trace["clip"]["clip_sha256"] == clip["clip_sha256"]
        assert trace["source"]["sha256"] == manifest["source_sha256"]
        assert trace["reviews"]["status"] == "not run"
        assert trace["generated"]["predict_videos"]["status"] == "not run"
    for asset, entry in provenance["inputs"].items():
        assert entry["content_sha256"] == content_hash(house.table(asset)), asset
        assert entry["run_id"] and entry["checks"], asset
    assert json_of(pack, "profile.json")["mining"]["clip_sec"] == 10.0
    assert str(house.data) not in json.dumps([manifest, provenance])


def test_without_a_key_the_pack_says_that_nobody_vouches_for_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(keys.FOLDER_VARIABLE)
    assert "AUTORISK_AUDIT_KEYS is not set, and this pack must be signed" in why(house.finalize())
    row, pack, result = house.packed(require_signature=False)
    assert house.verify(pack) == Verdict.UNSIGNED
    assert pack.name == f"{house.key}.unsigned.zip"
    assert (row["key_id"], row["credentials"]) == (None, row["clips"])
    manifest = json_of(pack, "manifest.json")
    assert "not signed" in manifest["left_out"]["signature.dsse.json"]
    clips = [file for file in manifest["files"] if file["role"] == "clip"]
    assert clips and all("self-issued" in file["content_credential"]["signer"] for file in clips)
    assert "signed" in {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}


def test_a_key_that_others_can_read_signs_nothing(house: House) -> None:
    signing = house.keys / keys.SIGNING
    before = packs(house)
    signing.chmod(0o644)
    try:
        assert "mode 0644" in why(house.finalize())
    finally:
        signing.chmod(0o600)
    assert packs(house) == before


def test_a_table_that_was_changed_on_the_disk_is_not_packed(house: House) -> None:
    table = house.table("corrected_severities").with_columns(fused_read=pl.lit(0.123))
    table.write_parquet(house.path_of("corrected_severities"))
    assert "the stored table corrected_severities is not the one that was materialised" in why(house.finalize())


def test_a_clip_that_was_changed_on_the_disk_is_not_packed(house: House) -> None:
    clip = house.data / "media" / house.table("mined_clips").item(0, "clip_path")
    raw = bytearray(clip.read_bytes())
    raw[len(raw) // 2] ^= 1
    clip.write_bytes(raw)
    assert "missing or not the file its table names" in why(house.finalize())


def test_what_was_made_by_other_code_or_settings_stops_the_pack(scratch: House) -> None:
    """The pack would show settings that the verdicts were not made with."""
    clips = scratch.table("mined_clips")
    store(scratch, "mined_clips", clips.to_dicts(), code_version="1-settings-of-yesterday")
    assert "mined_clips was made by other code or settings (1-settings-of-yesterday)" in why(scratch.finalize())


def test_what_was_made_from_an_earlier_table_stops_the_pack(scratch: House) -> None:
    tracks = scratch.table("tracks").with_columns(confidence=pl.lit(0.5))
    graph = scratch.definitions.resolve_asset_graph()
    store(scratch, "tracks", tracks.to_dicts(), code_version=graph.get(dg.AssetKey("tracks")).code_version)
    assert "was made from another tracks than is there now" in why(scratch.finalize())


def queue_row(house: House, clip_id: str, **change: object) -> Row:
    corrected = house.table("corrected_severities").filter(pl.col("clip_id") == clip_id).row(0, named=True)
    clip = house.table("mined_clips").filter(pl.col("clip_id") == clip_id).row(0, named=True)
    row = dict.fromkeys(tables.REVIEW_QUEUE) | {
        "position": 1,
        "clip_id": clip_id,
        "clip_sha256": clip["clip_sha256"],
        "start_sec": clip["start_sec"],
        "end_sec": clip["end_sec"],
        "outcome": "severity",
        "severity": corrected["severity"],
        "must_review": True,
        "reasons": ["its final severity is HIGH"],
        "state": "open",
    }
    return row | change


def store(house: House, asset: str, rows: list[Row], code_version: str | None = "1") -> None:
    """Put a table there as its asset would, in Dagster's history too."""
    table = tables.frame(rows, tables.TABLES[asset])
    house.path_of(asset).parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(house.path_of(asset))
    tags = {"dagster/data_version": content_hash(table), "dagster/code_version": code_version or ""}
    house.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=house.key, tags=tags))


def refuse_unreviewed(house: House) -> None:
    profile = house.data.parent / "configs" / "default.yaml"
    profile.write_text(profile.read_text(encoding="utf-8").replace("unreviewed: mark", "unreviewed: refuse"))


def confirm(house: House, clip_id: str, **change: object) -> None:
    corrected = house.table("corrected_severities")
    outputs = judged_outputs(house.table("reason_outputs"), corrected)
    clip = house.table("mined_clips").filter(pl.col("clip_id") == clip_id).row(0, named=True)
    values: Row = {
        "verdict": "confirm",
        "video_id": house.key,
        "clip_id": clip_id,
        "clip_sha256": clip["clip_sha256"],
        "output_sha256": outputs[clip_id],
        "shown_severity": corrected_severity(house, clip_id),
        "severity": None,
        "reviewer": "Kim",
        "time": dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC),
    }
    review_log(house.data).append(ReviewVerdict(**(values | change)).record())


def corrected_severity(house: House, clip_id: str) -> str | None:
    return house.table("corrected_severities").filter(pl.col("clip_id") == clip_id).item(0, "severity")


def state(house: House, queue: list[Row] | None) -> Review:
    found = {name: house.table(name) for name in ("mined_clips", "reason_outputs", "corrected_severities")}
    if queue is not None:
        found["review_queue"] = tables.frame(queue, tables.REVIEW_QUEUE)
    return review_state(review_log(house.data), found)


def test_a_clip_counts_as_reviewed_by_a_verdict_on_what_is_there_now(house: House) -> None:
    queue = [queue_row(house, clip) for clip in clip_ids(house)]
    assert state(house, None).outcome == "not_run"
    assert state(house, queue).unreviewed == {clip: ["its final severity is HIGH"] for clip in clip_ids(house)}
    for clip in clip_ids(house):
        confirm(house, clip, output_sha256="0" * 64)  # on an output that is another one now
    assert state(house, queue).outcome == "unreviewed"
    for clip in clip_ids(house):
        confirm(house, clip)
    found = state(house, queue)
    assert (found.outcome, found.unreviewed) == ("complete", {})
    head = review_log(house.data).head()
    assert found.log == {"records": head.records, "sha256": head.sha256}
    told = found.clips[clip_ids(house)[0]]
    assert [(verdict["reviewer"], verdict["verdict"]) for verdict in told["verdicts"]] == [("Kim", "confirm")]
    other = "LOW" if corrected_severity(house, clip_ids(house)[0]) != "LOW" else "HIGH"
    confirm(house, clip_ids(house)[0], verdict="change", severity=other, reviewer="Robin")  # two who disagree
    assert list(state(house, queue).unreviewed) == clip_ids(house)[:1]


def test_the_policy_gate_marks_or_refuses_until_a_person_has_looked(house: House, pack: Path) -> None:
    """By the queue that the graph made of this video, and the verdicts in the log."""
    wanted = house.table("review_queue").filter(pl.col("must_review"))["clip_id"].to_list()
    assert wanted
    assert list(json_of(pack, "manifest.json")["review"]["unreviewed"]) == wanted
    refuse_unreviewed(house)
    refused = why(house.finalize())
    assert wanted[0] in refused and "must be reviewed first" in refused
    for clip_id in wanted:
        confirm(house, clip_id)
    row, reviewed, _ = house.packed()
    assert (row["review"], row["unreviewed"]) == ("complete", 0)
    assert json_of(reviewed, "manifest.json")["review"]["log"]["records"] == len(wanted)


def test_a_queue_of_other_severities_is_not_believed(house: House) -> None:
    queue = [queue_row(house, clip, severity=None, must_review=False) for clip in clip_ids(house)]
    with pytest.raises(InputError, match="make review_queue again"):
        state(house, queue)
    with pytest.raises(InputError, match="other clips"):
        state(house, [])


def test_a_tampered_review_log_is_not_believed(house: House) -> None:
    confirm(house, clip_ids(house)[0])
    log = review_log(house.data)
    log.path.write_bytes(log.path.read_bytes().replace(b"Kim", b"Tom"))
    with pytest.raises(InputError, match=r"verdicts\.jsonl: "):
        state(house, None)


def generated_row(house: House, clip: Row) -> Row:
    """A video that was generated of a clip, in the media store without a credential, and its row."""
    media = f"{house.key}/predictions/p.mp4"
    (house.data / "media" / media).parent.mkdir(parents=True, exist_ok=True)
    made = film_crossing(house.data / "media" / media, seconds=1.0, horn=False)
    return dict.fromkeys(tables.PREDICT_VIDEOS) | {
        "clip_id": clip["clip_id"],
        "scenario": "predict",
        "outcome": "generated",
        "world_model": "kinematic",
        "model_id": "kinematic-1",
        "clip_sha256": clip["clip_sha256"],
        "video_path": media,
        "video_sha256": sha256_of(made),
    }


def test_a_generated_video_in_the_pack_is_marked_in_the_file_and_in_words(scratch: House, tmp_path: Path) -> None:
    clip = scratch.table("mined_clips").row(0, named=True)
    row = generated_row(scratch, clip)
    failed = dict.fromkeys(tables.PREDICT_VIDEOS) | {
        "clip_id": clip["clip_id"],
        "scenario": "danger",
        "outcome": "failed",
    }
    store(scratch, "predict_videos", [row, failed])
    packed, pack, _ = scratch.packed()
    assert packed["synthetic"] == 1 and packed["credentials"] == len(clip_ids(scratch)) + 1
    name = f"generated/{clip['clip_id']}-predict.mp4"
    (listed,) = [file for file in json_of(pack, "manifest.json")["files"] if file["name"].startswith("generated/")]
    assert (listed["name"], listed["synthetic"]) == (name, True)
    with zipfile.ZipFile(pack) as archive:
        found = read_credential(Path(archive.extract(name, tmp_path)), (scratch.keys / keys.C2PA_ROOT).read_text())
    assert found.state == "Trusted" and found.assertions[GENERATED_ASSERTION]["synthetic"] is True
    assert found.source_types == ("http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic",)
    told = {
        r["scenario"]: r["synthetic"] for r in trace_of(pack, clip["clip_id"])["generated"]["predict_videos"]["rows"]
    }
    assert told == {"predict": True, "danger": False}


@pytest.mark.parametrize(
    ("hidden_by", "handed_over"),
    [(None, {"shown", "by boxes", "by faces"}), ("road_users", {"by boxes"}), ("centerface", {"by faces"})],
)
def test_a_generated_video_in_which_faces_show_does_not_leave(
    tmp_path: Path, hidden_by: str | None, handed_over: set[str]
) -> None:
    media = MediaStore(root=str(tmp_path))
    media.path("drive/predictions").mkdir(parents=True)
    film_crossing(media.path("drive/predictions/p.mp4"), seconds=0.5, horn=False)
    row = dict.fromkeys(tables.PREDICT_VIDEOS) | {
        "scenario": "predict",
        "outcome": "generated",
        "world_model": "kinematic",
        "clip_sha256": "0" * 64,
        "video_path": "drive/predictions/p.mp4",
        "video_sha256": sha256_of(media.path("drive/predictions/p.mp4")),
    }
    made_by = {"shown": None, "by boxes": "road_users", "by faces": "centerface"}
    rows = [row | {"clip_id": clip, "hidden_by": what} for clip, what in made_by.items()]
    found = {"predict_videos": tables.frame(rows, tables.PREDICT_VIDEOS)}
    generated = Handover(media, "drive/handed_over", Credentials(root=str(tmp_path))).generated(found, hidden_by)
    assert set(generated.videos) == handed_over
    assert generated.withheld == [f"generated/{clip}-predict.mp4" for clip in made_by if clip not in handed_over]
    before = {"predict_videos": found["predict_videos"].drop("hidden_by")}  # as stored by an earlier version
    older = Handover(media, "drive/handed_over", Credentials(root=str(tmp_path))).generated(before, hidden_by)
    assert bool(older.videos) == (hidden_by is None)


def test_a_secret_of_the_environment_never_gets_in(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    model = house.table("reason_outputs").item(0, "model_revision")
    monkeypatch.setenv("SOME_API_KEY", model)  # stands in the table, as an answer's error text could hold a key
    before = packs(house)
    failed = why(house.finalize())
    assert "holds the value of SOME_API_KEY" in failed and model not in failed
    assert packs(house) == before


def test_where_faces_are_hidden_the_pack_holds_the_hidden_clips(scratch: House, tmp_path: Path) -> None:
    profile = scratch.data.parent / "configs" / "default.yaml"
    text = profile.read_text("utf-8")
    assert text.count("hide: false") == 1
    profile.write_text(text.replace("hide: false", "hide: true"), "utf-8")
    made = scratch.definitions.resolve_job_def("process_video").execute_in_process(
        instance=scratch.instance,
        partition_key=scratch.key,
        asset_selection=[dg.AssetKey("shareable_clips")],
        run_config=QUIET,
    )
    assert made.success
    before_hiding = generated_row(scratch, scratch.table("mined_clips").row(0, named=True))
    store(scratch, "predict_videos", [before_hiding])
    row, pack, _ = scratch.packed()
    assert scratch.verify(pack) is Verdict.INTACT
    left_out = json_of(pack, "manifest.json")["left_out"]
    withheld = f"generated/{before_hiding['clip_id']}-predict.mp4"
    assert "made without hiding faces and number plates (by road_users)" in left_out[withheld]
    with zipfile.ZipFile(pack) as archive:
        assert withheld not in archive.namelist() and row["synthetic"] == 0
    evidence = dict(scratch.table("mined_clips").select("clip_id", "clip_sha256").iter_rows())
    shared = {row["clip_id"]: row for row in scratch.table("shareable_clips").iter_rows(named=True)}
    listed = {file["name"]: file for file in json_of(pack, "manifest.json")["files"]}
    for clip, digest in evidence.items():
        assert shared[clip]["hidden_by"] == "road_users" and shared[clip]["clip_sha256"] != digest
        told = listed[f"clips/{clip}.mp4"]
        assert told["hidden"] == f"{shared[clip]['hidden_boxes']} boxes, by road_users"
        assert told["evidence_sha256"] == digest
        with zipfile.ZipFile(pack) as archive:
            found = read_credential(
                Path(archive.extract(f"clips/{clip}.mp4", tmp_path)), (scratch.keys / keys.C2PA_ROOT).read_text()
            )
        assert found.state == "Trusted" and found.assertions[CLIP_ASSERTION]["hidden"] == told["hidden"]
    assert {name.removesuffix(".mp4") for name in listed if name.startswith("clips/")} == {
        f"clips/{c}" for c in evidence
    }


def broken(house: House, clip_id: str) -> dict[str, list[str]]:
    """What does not hold, by step."""
    found = lineage_of(clip_id, house.instance)
    return {step.asset: [f.what for f in step.findings if not f.holds] for step in found.steps if not step.holds}


def test_a_severity_leads_back_to_the_frames_by_hashes_that_hold(house: House) -> None:
    for clip_id in clip_ids(house):
        found = lineage_of(clip_id, house.instance, footage=True)
        assert found.holds, [finding for finding in found.findings if not finding.holds]
        assert found.severity == corrected_severity(house, clip_id)
        assert tuple(step.asset for step in found.steps) == STEPS == ASSETS[:-1]
        for step in found.steps:
            assert step.made is not None and step.facts
            assert step.made.data_version == content_hash(house.table(step.asset))
            assert set(step.parents) <= set(step.made.inputs)
            for parent in step.parents:  # what was read is known by the hash that it has on the disk
                assert step.made.inputs[parent] == content_hash(house.table(parent))
        tracks = house.table("tracks")
        ttc = house.table("clip_ttc").filter(pl.col("clip_id") == clip_id).row(0, named=True)
        if ttc["min_ttc_track_id"] is None:
            assert found.samples == ()
            continue
        assert found.samples[-1].at_sec == ttc["min_ttc_at_sec"]
        for sample in found.samples:
            seen = tracks.filter(
                pl.col("source_frame") == sample.source_frame, pl.col("track_id") == ttc["min_ttc_track_id"]
            )
            assert seen.select("x1_px", "y1_px", "x2_px", "y2_px").row(0) == sample.box_px
            assert seen.item(0, "timestamp_sec") == sample.at_sec


def test_what_was_changed_lost_or_made_again_breaks_the_lineage_where_it_stands(scratch: House) -> None:
    (clip_id, *_) = clip_ids(scratch)
    assert broken(scratch, clip_id) == {}
    changed = scratch.table("clip_ttc").with_columns(samples=pl.col("samples") + 1)
    changed.write_parquet(scratch.path_of("clip_ttc"))
    assert broken(scratch, clip_id) == {"clip_ttc": ["stored as made"]}
    clip = scratch.data / "media" / scratch.table("mined_clips").item(0, "clip_path")
    clip.write_bytes(clip.read_bytes()[:-1])
    assert broken(scratch, clip_id)["mined_clips"] == ["clip's file"]
    tracks = scratch.table("tracks").with_columns(confidence=pl.lit(0.5))
    store(scratch, "tracks", tracks.to_dicts(), code_version="of yesterday")
    after = broken(scratch, clip_id)
    assert after["tracks"] == ["by today's code"]
    for step in ("mined_clips", "clip_ttc", "conflict_measures", "reason_outputs"):
        assert "from tracks" in after.get(step, ()) or "tracks" not in defs_parents(step), step
    scratch.path_of("corrected_severities").unlink()
    assert broken(scratch, clip_id)["corrected_severities"] == ["stored"]
    gone = lineage_of(clip_id, scratch.instance)
    assert gone.severity is None and gone.trouble is not None and "corrected_severities" in gone.trouble


def defs_parents(asset: str) -> set[str]:
    return {key.to_user_string() for key in defs().resolve_asset_graph().get(dg.AssetKey(asset)).parent_keys}


def test_a_severity_that_does_not_follow_from_what_was_read_is_said(scratch: House) -> None:
    (clip_id, *_) = clip_ids(scratch)
    rows = scratch.table("corrected_severities").with_columns(severity=pl.lit("LOW").cast(tables.SEVERITY)).to_dicts()
    wrong = [row | {"severity": "LOW" if row["severity"] != "LOW" else "HIGH", "rule": None} for row in rows]
    made = scratch.definitions.resolve_asset_graph().get(dg.AssetKey("corrected_severities")).code_version
    store(scratch, "corrected_severities", wrong, code_version=made)  # as if the code that applies the rules were wrong
    found = lineage_of(clip_id, scratch.instance)
    assert not found.holds and "corrected_severities again" in str(found.trouble)


def test_the_page_and_the_command_say_the_same(scratch: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (clip_id, *_) = clip_ids(scratch)
    monkeypatch.setenv("DAGSTER_HOME", scratch.instance.root_directory)
    client = TestClient(Starlette(routes=[lineage_route(scratch.instance)]), base_url="http://127.0.0.1")
    page = client.get(f"/lineage/{clip_id}")
    assert page.status_code == 200 and page.headers["x-content-type-options"] == "nosniff"
    found = lineage_of(clip_id, scratch.instance)
    assert page.text == page_of(found)
    assert f"all {len(found.findings)} checks hold" in page.text
    assert page.text.count("data:image/jpeg;base64,") >= 1
    for step in found.steps:
        assert step.made is not None
        assert f"/assets/{step.asset}?" in page.text and f"/runs/{step.made.run_id}" in page.text
    told = CliRunner().invoke(main, ["lineage", clip_id, "--html", str(tmp_path / "page.html")])
    assert told.exit_code == 0 and f"{len(found.findings)} of {len(found.findings)} checks hold" in told.output
    assert (tmp_path / "page.html").read_text("utf-8") == page.text
    table = scratch.table("tracks").with_columns(confidence=pl.lit(0.25))
    table.write_parquet(scratch.path_of("tracks"))
    told = CliRunner().invoke(main, ["lineage", clip_id])
    assert told.exit_code == 3 and "the stored table was changed since" in told.output
    assert "does not hold" in client.get(f"/lineage/{clip_id}").text


@pytest.mark.parametrize("name", ["nope", "%2e%2e%2fsources", "a-c01", "<script>-c01", "x" * 3000])
def test_no_clip_no_page(house: House, name: str) -> None:
    client = TestClient(Starlette(routes=[lineage_route(house.instance)]), base_url="http://127.0.0.1")
    answer = client.get(f"/lineage/{name}")
    assert answer.status_code == 404 and answer.headers["content-type"].startswith("text/plain")
    assert client.get(f"/lineage/{house.key}-c99").status_code == 404


def test_the_command_builds_signs_and_tells(scratch: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", scratch.instance.root_directory)
    told = CliRunner().invoke(main, ["audit", "build", scratch.key])
    assert told.exit_code == 0, told.output
    row = scratch.table("audit_pack").row(0, named=True)
    pack = scratch.data / "media" / row["pack_path"]
    assert scratch.verify(pack) is Verdict.INTACT
    assert f"digest {row['pack_digest']}" in told.output and f"signed by {row['key_id']}" in told.output
    assert f"review: {row['review']}" in told.output
    unknown = CliRunner().invoke(main, ["audit", "build", "no-such-video"])
    assert unknown.exit_code == 1 and "no-such-video" in unknown.output
