"""Perception: signals, tracks and own motion, all from one decode of the video."""

import time
from collections.abc import Iterator

import dagster as dg
import polars as pl

from assets.placement import CPU
from assets.tabulate import OWNERS, TABLE, code_version, failure, picture, schema_check, table_result
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.partitions import videos
from resources.detectors import Detectors
from resources.media_store import MediaStore
from resources.profiles import Profiles
from resources.progress import Progress

_VERSION = code_version(5, "perception", "detector", "camera")


@dg.multi_asset(
    name="perception",
    partitions_def=videos,
    group_name="perception",
    op_tags=CPU,
    outs={
        "frame_signals": dg.AssetOut(
            dagster_type=TABLE,
            description="Sound, motion and proximity per window of the video.",
            kinds={"opencv", "polars"},
            owners=OWNERS,
            code_version=_VERSION,
        ),
        "tracks": dg.AssetOut(
            dagster_type=TABLE,
            description="Road users in every processed frame: box, class, confidence and track; what is part of the "
            "own vehicle or burnt into the picture is marked still and not followed.",
            kinds={"onnx", "polars"},
            owners=OWNERS,
            code_version=_VERSION,
        ),
        "ego_motion": dg.AssetOut(
            dagster_type=TABLE,
            description="How the own vehicle turns, nods, rolls and drives, pair by pair of frames, from the flow of "
            "the background; null where the picture does not tell.",
            kinds={"opencv", "polars"},
            owners=OWNERS,
            code_version=_VERSION,
        ),
    },
    check_specs=[
        schema_check("frame_signals"),
        schema_check("tracks"),
        schema_check("ego_motion"),
        dg.AssetCheckSpec(
            "all_frames_decoded",
            asset="frame_signals",
            description="The decoder gave the frames that the file announces.",
        ),
        dg.AssetCheckSpec(
            "timestamps_monotonic", asset="tracks", blocking=True, description="Time never runs backwards."
        ),
    ],
)
def perception(
    context: dg.AssetExecutionContext,
    source_video: pl.DataFrame,
    media: MediaStore,
    profiles: Profiles,
    detectors: Detectors,
    progress: Progress,
) -> Iterator[dg.MaterializeResult]:
    """One pass over the file: sound, optical flow, detections, tracks and scene cuts."""
    from autorisk_dagster.mining.one_pass import perceive
    from autorisk_dagster.reporting.conflict_plots import own_motion_png
    from autorisk_dagster.reporting.measured_plots import signals_png

    facts = source_video.row(0, named=True)
    started = time.monotonic()
    try:
        profile = profiles.get(facts["profile"])
        detector = detectors.get(profile)
        path = media.source(context.partition_key)
        with progress.over(context.log, "perception", facts["duration_sec"]) as report:
            found = perceive(path, facts["duration_sec"], detector, profile.perception, report, profile.camera)
    except AutoRiskError as error:
        raise failure(error) from error
    seconds = time.monotonic() - started
    common = {
        "seconds": seconds,
        "times_real_time": facts["duration_sec"] / seconds,
        "settings_hash": profile.perception.digest(),
    }
    yield table_result(
        "frame_signals",
        found.signals,
        {
            **common,
            "windows": found.signals.height,
            "scene_cuts": int(found.signals["scene_cuts"].sum()),
            "signals": picture("signals", signals_png(found.signals)),
        },
        [
            dg.AssetCheckResult(
                check_name="all_frames_decoded",
                asset_key="frame_signals",
                passed=found.frames_decoded == facts["frame_count"] and found.corrupt_frames == 0,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={
                    "decoded": found.frames_decoded,
                    "announced": facts["frame_count"],
                    "corrupt": found.corrupt_frames,
                },
            )
        ],
        preview=[
            *("start_sec", "frames", "loudness_over_floor_db", "tonality", "flow_mean_px", "detections"),
            "nearest_area_share",
        ],
    )
    followed = found.tracks.filter(pl.col("track_id").is_not_null())
    yield table_result(
        "tracks",
        found.tracks,
        {
            **common,
            "detector": detector.model_id,
            "detector_revision": detector.model_revision,
            "processed_frames": found.frames_processed,
            "detections": found.tracks.height,
            "tracks": followed["track_id"].n_unique(),
            "still_boxes": int(found.tracks["still"].sum()),
            "moving_share": found.moving_share,
        },
        [
            dg.AssetCheckResult(
                check_name="timestamps_monotonic",
                asset_key="tracks",
                passed=found.tracks["timestamp_sec"].is_sorted(),
                metadata={"rows": found.tracks.height},
            )
        ],
        preview=["timestamp_sec", "track_id", "label", "confidence", "still"],
    )
    pairs = max(found.ego_motion.height, 1)
    yield table_result(
        "ego_motion",
        found.ego_motion,
        {
            **common,
            "pairs": found.ego_motion.height,
            "turning_told_share": found.ego_motion["pan_px_per_sec"].count() / pairs,
            "speed_told_share": found.ego_motion["road_flow_per_px_sec"].count() / pairs,
            "own_motion": picture("own motion", own_motion_png(found.ego_motion)),
        },
    )
