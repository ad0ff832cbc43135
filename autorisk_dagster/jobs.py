"""Jobs: the whole way for one video, and the same for a fleet at night."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import dagster as dg

import assets
from autorisk_dagster.fleet_history import CODE_TAG, Graph

ASSETS = tuple(dg.load_assets_from_package_module(assets))

PER_VIDEO = (
    "source_video",
    "frame_signals",
    "tracks",
    "ego_motion",
    "mined_clips",
    "clip_ttc",
    "conflict_measures",
    "near_miss_events",
    "verified_events",
    "reason_outputs",
    "explanation_checklist",
    "saliency_maps",
    "corrected_severities",
    "severity_ranking",
    "shareable_clips",
    "review_queue",
    "predict_videos",
    "counterfactuals",
    "safety_report",
    "safety_narrative",
)

# Per video too, but made when a person asks for it, never by the way.
ON_REQUEST = ("audit_pack",)


def steps_of(definitions: Iterable[object]) -> Mapping[str, tuple[str, ...]]:
    """The assets that each step makes, by the step's name."""
    found = (one for one in definitions if isinstance(one, dg.AssetsDefinition) and one.is_executable)
    return {one.node_def.name: tuple(sorted(key.to_user_string() for key in one.keys)) for one in found}


def code_of(definitions: Iterable[object]) -> str:
    """12 hex digits over the code versions, and so the settings, of what is made of a video."""
    found = (one for one in definitions if isinstance(one, dg.AssetsDefinition))
    versions = {key.to_user_string(): version for one in found for key, version in one.code_versions_by_key.items()}
    return hashlib.sha256(repr([(name, versions[name]) for name in PER_VIDEO]).encode()).hexdigest()[:12]


GRAPH = Graph(steps_of(ASSETS), PER_VIDEO, code_of(ASSETS))

process_video = dg.define_asset_job(
    "process_video",
    selection=dg.AssetSelection.assets(*PER_VIDEO),
    tags={CODE_TAG: GRAPH.code},
    description="Everything between one video file and its safety report.",
)

fleet_batch = dg.define_asset_job(
    "fleet_batch",
    selection=dg.AssetSelection.assets(*PER_VIDEO),
    # Behind what a person asked for by hand.
    tags={"dagster/priority": "-1", "autorisk/batch": "fleet", CODE_TAG: GRAPH.code},
    description="The same for every registered video that is missing or failed; one run a video, so that one bad "
    "file stops nothing.",
)


def _rereading(name: str, mode: str, description: str) -> dg.UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        name,
        # Of one video: what is over the fleet is made when it is asked for, not once a video.
        selection=dg.AssetSelection.assets("reason_outputs").downstream() & dg.AssetSelection.assets(*PER_VIDEO),
        config={"ops": {"reason_outputs": {"config": {"mode": mode}}}},
        description=description,
    )


reparse = _rereading(
    "reparse",
    "reparse",
    "Reads the stored answers of a video again with today's parser, without a model, and makes what depends on them.",
)

supplement = _rereading(
    "supplement",
    "supplement",
    "Asks the model a second time where a judgement lacks its prediction or action, and makes what depends on it.",
)

learn_correction = dg.define_asset_job(
    "learn_correction",
    selection=dg.AssetSelection.assets("ground_truth", "correction_parameters"),
    description="Read the labels, search thresholds, adopt them where they are better on left-out groups; the videos "
    "that they change are stale then.",
)

judge_gestures = dg.define_asset_job(
    "judge_gestures",
    selection=dg.AssetSelection.assets("gesture_verdicts"),
    description="Show the recorded gesture proposals to the verifier; needs no video.",
)

fleet_views = dg.define_asset_job(
    "fleet_views",
    selection=dg.AssetSelection.assets("fleet_dashboard"),
    description="The fleet's dashboard, anew.",
)

finalize = dg.define_asset_job(
    "finalize",
    selection=dg.AssetSelection.assets("audit_pack"),
    config={"ops": {"audit_pack": {"config": {"require_signature": True}}}},
    description="Hand a video over: check what the verdicts rest on, pack it, sign it, verify the pack.",
)

evaluate = dg.define_asset_job(
    "evaluate",
    selection=dg.AssetSelection.assets("ground_truth")
    | dg.AssetSelection.groups("evaluation") - dg.AssetSelection.assets(*PER_VIDEO),
    description="Labels, and everything that is measured by them, over all videos that were processed.",
)

after_night = dg.define_asset_job(
    "after_night",
    selection=dg.AssetSelection.assets("ground_truth", "fleet_dashboard", "broken_videos")
    | dg.AssetSelection.groups("evaluation") - dg.AssetSelection.assets(*PER_VIDEO),
    description="What is over the fleet, once the night's videos are done: labels and what is measured by them, what "
    "is broken, the dashboard.",
)

ADAPTER_LOOP = (
    "ground_truth",
    "sft_dataset",
    "lora_adapter",
    "adapter_evaluation",
    "adapter_shadow",
    "adapter_promotion",
)

train_adapter = dg.define_asset_job(
    "train_adapter",
    selection=dg.AssetSelection.assets(*ADAPTER_LOOP),
    description="From the labels there are now to an adapter that is promoted or refused; needs training.base_model.",
)
