"""A small video with its tables, consistent with each other, for the tests of the reporting package.

Six seconds at 20 frames a second, 320 x 180: grey, and its brightness says the time (frame n has level 40 + n).
Tables say what each stage would: two clips, one track, one near miss.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.profile import Profile
from autorisk_dagster.reporting.report_data import ClipMedia, ReportData
from autorisk_dagster.video.clips import Mp4Writer

FPS = 20
FRAMES = 120
WIDTH, HEIGHT = 320, 180


def level(frame: int) -> int:
    """Brightness of the background of a frame: 40 at first, 159 at last."""
    return 40 + frame


def write_video(path: Path, first: int = 0, frames: int = FRAMES, *, sound: bool = True) -> Path:
    """Frames `first` to `first + frames` of the example video."""
    with Mp4Writer(path, WIDTH, HEIGHT, 16_000 if sound else None) as writer:
        for number in range(first, first + frames):
            writer.write(np.full((HEIGHT, WIDTH, 3), level(number), np.uint8), (number - first) / FPS)
        if sound:
            times = np.arange(frames * 16_000 // FPS) / 16_000
            writer.write_audio((0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32))
    return path


def track_rows(frames: range = range(60), **changes: Any) -> pl.DataFrame:
    """One car (id 3), processed ten times a second, whose box moves 1 px to the right a processed frame."""
    rows = [
        {
            "frame_index": n,
            "source_frame": 2 * n,
            "timestamp_sec": n / 10,
            "scene_index": 0,
            "track_id": 3,
            "road_user": "vehicle",
            "label": "car",
            "confidence": 0.9,
            "x1_px": 100.0 + n,
            "y1_px": 60.0,
            "x2_px": 160.0 + n,
            "y2_px": 120.0,
            "still": False,
        }
        | changes
        for n in frames
    ]
    return tables.frame(rows, tables.TRACKS)


def score_rows() -> pl.DataFrame:
    """Twelve half-second windows; the fused score peaks in window 4 (2.0 to 2.5 s) and 9 (4.5 to 5.0 s)."""
    fused = [0.1, 0.1, 0.2, 0.4, 0.6, 0.4, 0.2, 0.1, 0.2, 0.3, 0.1, 0.1]
    return pl.DataFrame(
        {
            "window_index": list(range(12)),
            "start_sec": [n / 2 for n in range(12)],
            "end_sec": [n / 2 + 0.5 for n in range(12)],
            "audio_score": fused,
            "motion_score": fused,
            "proximity_score": fused,
            "fused_score": fused,
            "fused_score_seed": fused,
        }
    )


def signal_rows() -> pl.DataFrame:
    """FRAME_SIGNALS of the same windows, with a scene cut in window 6."""
    row = dict.fromkeys(tables.FRAME_SIGNALS, 0.1) | {"frames": 10, "detections": 1}
    return tables.frame(
        [
            row | {"window_index": n, "start_sec": n / 2, "end_sec": n / 2 + 0.5, "scene_cuts": int(n == 6)}
            for n in range(12)
        ],
        tables.FRAME_SIGNALS,
    )


def ttc_sample(
    time_sec: float, ttc: float | None, low: float | None, high: float | None, track: int = 3
) -> dict[str, Any]:
    """One row of TTC_SAMPLE."""
    return {"timestamp_sec": time_sec, "track_id": track, "ttc_sec": ttc, "low_sec": low, "high_sec": high}


def ttc_row(clip_id: str, timeline: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """One row of CLIP_TTC: 1.4 s at 2.2 s."""
    return {
        "clip_id": clip_id,
        "tracks": 1,
        "samples": 3,
        "min_ttc_sec": 1.4,
        "min_ttc_low_sec": 1.1,
        "min_ttc_high_sec": 1.9,
        "min_ttc_at_sec": 2.2,
        "min_ttc_track_id": 3,
        "min_ttc_label": "car",
        "min_area_tau_sec": 0.7,
        "critical_tracks": 1,
        "timeline": timeline
        or [
            ttc_sample(2.0, 1.6, 1.2, math.inf),
            ttc_sample(2.1, math.inf, 4.0, math.inf),
            ttc_sample(2.2, 1.4, 1.1, 1.9),
        ],
    } | changes


def reason_row(clip_id: str, severity: str | None = "MEDIUM", **changes: Any) -> dict[str, Any]:
    """One row of REASON_OUTPUTS."""
    return {
        **dict.fromkeys(tables.REASON_OUTPUTS),
        "clip_id": clip_id,
        "outcome": "severity" if severity else "not_run",
        "severity": severity,
        "hazards": [{"type": "Rear-end", "actors": ["car #3"], "spatial_relation": "ahead in the own lane"}],
        "causal_reasoning": "The car ahead brakes.",
        "short_term_prediction": "Contact in 1.4 s.",
        "recommended_action": "Brake now.",
        "evidence": ["car #3: 1.4 s to contact at 2.2 s"],
        "confidence": None,
        "reasoner": "kinematic",
        "model_id": "kinematic",
        "model_revision": "1",
        "settings_hash": "0123456789abcdef",
    } | changes


def corrected_row(clip_id: str, raw: str | None, severity: str | None, rule: str | None) -> dict[str, Any]:
    """One row of CORRECTED_SEVERITIES."""
    return {
        "clip_id": clip_id,
        "raw_severity": raw,
        "severity": severity,
        "rule": rule,
        "rule_set": "seed",
        "ttc_read_sec": 0.7,
        "fused_read": 0.45,
        "critical_tracks": 1,
    }


def clip_row(number: int, start_sec: float, end_sec: float, peak_sec: float, sha256: str = "") -> dict[str, Any]:
    """One row of MINED_CLIPS. Scores of 0.5, 0.6, 0.7, weights of 0.3, 0.4, 0.3: 0.15 + 0.24 + 0.21 = 0.6."""
    return {
        "clip_id": f"example-c{number:02d}",
        "mining_rank": number,
        "start_sec": start_sec,
        "end_sec": end_sec,
        "peak_sec": peak_sec,
        "fused_score": 0.6,
        "fused_score_seed": 0.45,
        "audio_score": 0.5,
        "motion_score": 0.6,
        "proximity_score": 0.7,
        "raised_by": "motion",
        "raised_by_share": 0.4,
        "has_audio": True,
        "frame_count": round((end_sec - start_sec) * FPS),
        "clip_written_by": "encoded",
        "clip_path": f"example/clips/{number:02d}.mp4",
        "clip_sha256": sha256,
    }


def event_row(time_sec: float = 2.5, version: str = "v2") -> dict[str, Any]:
    """One row of NEAR_MISS_EVENTS."""
    return {
        "event_id": "e1",
        "version": version,
        "actors": "car 3 and person 4",
        "frame_index": round(time_sec * 10),
        "source_frame": round(time_sec * 20),
        "timestamp_sec": time_sec,
        "start_sec": time_sec - 0.5,
        "end_sec": time_sec + 0.25,
        "object_id_1": 3,
        "object_id_2": 4,
        "class_1": "vehicle",
        "class_2": "pedestrian",
        "label_1": "car",
        "label_2": "person",
        "distance_px": 42.0,
        "gap_m": 3.5,
        "closing_mps": 4.5,
        "ttc_sec": 1.25,
        "risk_score": 0.8123,
        "risk_level": "High",
        "conf_1": 0.9,
        "conf_2": 0.8,
        "evidence": "time to collision 1.2 s, closing at 4.5 m/s",
    }


def ranking_row(rank: int, clip: dict[str, Any], severity: str | None, events: int) -> dict[str, Any]:
    """One row of SEVERITY_RANKING."""
    return {
        "rank": rank,
        "clip_id": clip["clip_id"],
        "severity": severity,
        "start_sec": clip["start_sec"],
        "end_sec": clip["end_sec"],
        "min_ttc_sec": 1.4 if rank == 1 else math.inf,
        "near_miss_events": events,
        "worst_risk_score": 0.8123 if events else None,
        "fused_score": 0.6,
    }


def video_row(**changes: Any) -> dict[str, Any]:
    """The row of SOURCE_VIDEO."""
    return {
        "video_id": "example-0badcafe",
        "file_name": "example.mp4",
        "sha256": "ab" * 32,
        "size_bytes": 1_234_567,
        "profile": "default",
        "container": "mp4",
        "video_codec": "h264",
        "width_px": WIDTH,
        "height_px": HEIGHT,
        "rotation_deg": 0,
        "pixel_aspect": 1.0,
        "duration_sec": 6.0,
        "start_pts_sec": 0.0,
        "frame_count": FRAMES,
        "mean_fps": 20.0,
        "min_frame_interval_sec": 0.05,
        "max_frame_interval_sec": 0.05,
        "variable_frame_rate": False,
        "audio_source": "stream",
        "audio_codec": "aac",
        "audio_rate_hz": 16_000,
        "audio_channels": 1,
        "audio_silent": False,
        **dict.fromkeys(
            ("footage_url", "origin_url", "licence", "licence_from", "fetched_at", "rights_acknowledged_by")
        ),
    } | changes


def report_data(folder: Path, profile: Profile) -> ReportData:
    """Two clips: a HIGH one that was lowered to MEDIUM by R4, and one that was not judged."""
    first = write_video(folder / "01.mp4", 20, 60)
    second = write_video(folder / "02.mp4", 80, 40)
    clips = [
        clip_row(1, 1.0, 4.0, 2.25, hashlib.sha256(first.read_bytes()).hexdigest()),
        clip_row(2, 4.0, 6.0, 4.75, "0" * 64),
    ]
    nothing_approaches = ttc_row(
        "example-c02",
        [ttc_sample(4.5, math.inf, 9.0, math.inf)],
        samples=1,
        critical_tracks=0,
        min_area_tau_sec=math.inf,
        min_ttc_sec=math.inf,
        min_ttc_low_sec=None,
        min_ttc_high_sec=None,
        min_ttc_at_sec=None,
        min_ttc_track_id=None,
        min_ttc_label=None,
    )
    jpeg = b"\xff\xd8\xff\xe0 not a whole picture \xff\xd9"
    return ReportData(
        video=video_row(),
        profile=profile,
        scores=score_rows(),
        frame_signals=signal_rows(),
        tracks=track_rows(),
        mined_clips=tables.frame(clips, tables.MINED_CLIPS),
        clip_ttc=tables.frame([ttc_row("example-c01"), nothing_approaches], tables.CLIP_TTC),
        near_miss_events=tables.frame([event_row(), event_row(3.0, "1.0")], tables.NEAR_MISS_EVENTS),
        reason_outputs=tables.frame(
            [
                reason_row("example-c01", "HIGH"),
                reason_row("example-c02", None, hazards=[], evidence=[], error="the server did not answer"),
            ],
            tables.REASON_OUTPUTS,
        ),
        corrected_severities=tables.frame(
            [corrected_row("example-c01", "HIGH", "MEDIUM", "R4"), corrected_row("example-c02", None, None, None)],
            tables.CORRECTED_SEVERITIES,
        ),
        severity_ranking=tables.frame(
            [ranking_row(1, clips[0], "MEDIUM", 1), ranking_row(2, clips[1], None, 0)], tables.SEVERITY_RANKING
        ),
        generated_at="2026-01-02 03:04 UTC",
        media={
            "example-c01": ClipMedia(jpeg, first, second),
            "example-c02": ClipMedia(jpeg, second, None),
        },
        provenance={"Detector": "nanodet-g", "Dagster run": "run-1234"},
    )


def without_clips(data: ReportData) -> ReportData:
    """The same video when nothing was mined."""
    return replace(
        data,
        mined_clips=tables.empty(tables.MINED_CLIPS),
        clip_ttc=tables.empty(tables.CLIP_TTC),
        near_miss_events=tables.empty(tables.NEAR_MISS_EVENTS),
        reason_outputs=tables.empty(tables.REASON_OUTPUTS),
        corrected_severities=tables.empty(tables.CORRECTED_SEVERITIES),
        severity_ranking=tables.empty(tables.SEVERITY_RANKING),
        media={},
    )
