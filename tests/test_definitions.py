"""The code location: what it holds, and what importing it does not load."""

from __future__ import annotations

import subprocess
import sys

import dagster as dg

from autorisk_dagster.definitions import defs
from autorisk_dagster.jobs import ADAPTER_LOOP, ON_REQUEST, PER_VIDEO

HEAVY = (
    "torch",
    "torchvision",
    "transformers",
    "diffusers",
    "cv2",
    "pandera",
    "ultralytics",
    "supervision",
    "trackers",
)
HEAVY += ("celery", "onnxruntime", "av", "scipy", "plotly", "matplotlib", "soundfile")

FLEET_WIDE = (
    "gesture_verdicts",
    *ADAPTER_LOOP,
    "correction_parameters",
    "fleet_dashboard",
    "eval_metrics",
    "error_analysis",
    "calibration",
    "grounding_metrics",
    "signal_metrics",
    "alarm_metrics",
    "ablation",
    "broken_videos",
)
WITHOUT_TABLE = {"safety_report", "fleet_dashboard"}
OUTSIDE = ("promoted_adapter", "fleet_night")  # recorded, never made by a run


def test_importing_the_definitions_loads_no_heavy_module() -> None:
    program = (
        "import sys; from autorisk_dagster.definitions import defs; defs(); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_asset_says_what_it_is() -> None:
    graph = defs().resolve_asset_graph()
    known = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert known == {*PER_VIDEO, *ON_REQUEST, *FLEET_WIDE, *OUTSIDE}
    for name in (*PER_VIDEO, *ON_REQUEST, *FLEET_WIDE):
        node = graph.get(dg.AssetKey(name))
        assert node.description and node.group_name != "default" and node.code_version, name
        assert node.kinds and node.owners, name
        assert (node.partitions_def is not None) == (name not in FLEET_WIDE), name
        assert node.partitions_def is None or node.partitions_def.name == "videos", name


def test_lineage_leads_from_the_severity_to_the_file() -> None:
    graph = defs().resolve_asset_graph()
    upstream = {key.to_user_string() for key in graph.get_ancestor_asset_keys(dg.AssetKey("corrected_severities"))}
    assert upstream == {
        "source_video",
        "frame_signals",
        "tracks",
        "ego_motion",
        "mined_clips",
        "clip_ttc",
        "conflict_measures",
        "near_miss_events",
        "reason_outputs",
        "ground_truth",
        "correction_parameters",
        "promoted_adapter",
    }


def test_the_loop_leads_from_a_verdict_to_the_gate_and_closes_by_a_record_alone() -> None:
    graph = defs().resolve_asset_graph()
    upstream = {key.to_user_string() for key in graph.get_ancestor_asset_keys(dg.AssetKey("adapter_promotion"))}
    assert upstream >= {*ADAPTER_LOOP, "mined_clips", "source_video"} - {"adapter_promotion"}
    assert not upstream & {"reason_outputs", "promoted_adapter"}
    record = graph.get(dg.AssetKey("promoted_adapter"))
    assert record.is_observable and record.description and not record.parent_keys
    assert record.child_keys == {dg.AssetKey("reason_outputs")}
    assert {
        key.to_user_string() for key in defs().resolve_job_def("train_adapter").asset_layer.executable_asset_keys
    } == set(ADAPTER_LOOP)


def test_every_table_has_a_blocking_schema_check() -> None:
    graph = defs().resolve_asset_graph()
    blocking = {key.asset_key.to_user_string() for key in graph.asset_check_keys if graph.get(key).blocking}
    assert blocking >= {*PER_VIDEO, *ON_REQUEST, *FLEET_WIDE} - WITHOUT_TABLE


def test_the_jobs_hold_the_whole_way() -> None:
    for name in ("process_video", "fleet_batch"):
        job = defs().resolve_job_def(name)
        assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == set(PER_VIDEO)


def test_a_pack_is_made_when_it_is_asked_for_and_never_by_the_way() -> None:
    for name in ("process_video", "fleet_batch", "reparse", "supplement"):
        job = defs().resolve_job_def(name)
        assert dg.AssetKey("audit_pack") not in job.asset_layer.executable_asset_keys, name
    finalize = defs().resolve_job_def("finalize")
    assert {key.to_user_string() for key in finalize.asset_layer.executable_asset_keys} == {"audit_pack"}
