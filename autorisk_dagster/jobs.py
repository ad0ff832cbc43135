"""Jobs: the whole way for one video, and the same for a fleet at night."""

from __future__ import annotations

import dagster as dg

PER_VIDEO = (
    "source_video",
    "frame_signals",
    "tracks",
    "mined_clips",
    "clip_ttc",
    "near_miss_events",
    "reason_outputs",
    "corrected_severities",
    "severity_ranking",
    "safety_report",
)

process_video = dg.define_asset_job(
    "process_video",
    selection=dg.AssetSelection.assets(*PER_VIDEO),
    description="Everything between one video file and its safety report.",
)

fleet_batch = dg.define_asset_job(
    "fleet_batch",
    selection=dg.AssetSelection.assets(*PER_VIDEO),
    # Behind what a person asked for by hand.
    tags={"dagster/priority": "-1", "autorisk/batch": "fleet"},
    description="The same for every registered video that is missing or failed; one run a video, so that one bad "
    "file stops nothing.",
)
