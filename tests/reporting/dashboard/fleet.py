"""A fleet of any size, made up row by row: what the dashboard's tests are built on.

Tables are those that the pipeline makes, consistent with each other; words come from a small vocabulary with a known
seed, so that every answer of the search can be counted again in plain Python.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.profile import CorrectionSettings
from autorisk_dagster.reporting.dashboard import FleetData, PipelineNode, Written, write_dashboard
from tests.reporting import example

WORDS = [
    *("car", "truck", "pedestrian", "cyclist", "bus", "brakes", "braking", "braked", "swerves", "merges", "merging"),
    *("crosses", "crossing", "crossed", "lane", "ahead", "behind", "beside", "close", "closing", "distance", "meters"),
    *("seconds", "signal", "horn", "road", "junction", "parked", "parking", "careful", "collision", "collides"),
    *("overtakes", "oncoming", "turns", "turning", "left", "right", "slow", "slowly", "speed", "rain", "night"),
]


@dataclass
class Fleet:
    """`videos` videos of `clips` clips, `tracks` road users in each clip; `text` replaces every free text."""

    videos: int
    clips: int
    tracks: int = 2
    samples: int = 20
    text: str | None = None
    fleet_wide: dict[str, pl.DataFrame] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    hide: bool = False
    generated_hidden_by: str | None = None

    @property
    def video_ids(self) -> list[str]:
        return [f"drive-{number:04d}-{number:08x}" for number in range(self.videos)]

    def read(self, asset: str, partition: str | None = None) -> pl.DataFrame | None:
        """As `TableStore.read`."""
        if partition is None:
            return self.fleet_wide.get(asset)
        make = getattr(self, f"_{asset}", None)
        return make(partition) if make and asset not in self.without else None

    def data(self, **changes: Any) -> FleetData:
        """What the site is made of; every media file is taken to be there."""
        given = {
            "video_ids": self.video_ids,
            "store": self,
            "media_exists": lambda _: True,
            "pipeline": (
                PipelineNode("source_video", "ingest", (), self.videos, self.videos, True),
                PipelineNode("mined_clips", "mining", ("source_video",), self.videos - 1, self.videos, True),
                PipelineNode("ground_truth", "labels", ("mined_clips",), 0, 1, False),
            ),
            "rules": {"default": CorrectionSettings()},
            "set_coverage": {"default": 0.9},
            "verdicts": (),
            "embedder": None,
            "generated_at": "2026-01-02 03:04 UTC",
        }
        return FleetData(**(given | changes))

    def spans(self) -> list[tuple[float, float]]:
        return [(10.0 * n, 10.0 * n + 8.0) for n in range(self.clips)]

    def clip_id(self, video: str, number: int) -> str:
        return f"{video}-c{number:02d}"

    def severity(self, video: str, number: int) -> str | None:
        return random.Random(f"{video}{number}severity").choice((*tables.SEVERITIES, None))

    def sentence(self, video: str, number: int, what: str) -> str:
        chance = random.Random(f"{video}{number}{what}")
        return self.text or " ".join(chance.choices(WORDS, k=chance.randrange(4, 14)))

    def _source_video(self, video: str) -> pl.DataFrame:
        row = example.video_row(
            video_id=video, file_name=self.text or f"{video}.mp4", duration_sec=10.0 * self.clips + 5
        )
        return tables.frame([row], tables.SOURCE_VIDEO)

    def _mined_clips(self, video: str) -> pl.DataFrame:
        rows = [
            example.clip_row(n, start, end, start + 4.0, f"{n:064x}")
            | {"clip_id": self.clip_id(video, n), "clip_path": f"{video}/clips/{n:02d}.mp4"}
            for n, (start, end) in enumerate(self.spans())
        ]
        return tables.frame(rows, tables.MINED_CLIPS)

    def _shareable_clips(self, video: str) -> pl.DataFrame:
        rows = []
        for clip in self._mined_clips(video).iter_rows(named=True):
            row = {"clip_id": clip["clip_id"], "clip_path": clip["clip_path"], "clip_sha256": clip["clip_sha256"]}
            row |= {"evidence_sha256": clip["clip_sha256"], "hidden_by": None, "hidden_boxes": None}
            if self.hide:
                row |= {"clip_path": clip["clip_path"].replace("/clips/", "/shareable/"), "clip_sha256": "0" * 64}
                row |= {"hidden_by": "road_users", "hidden_boxes": 3}
            rows.append(row)
        return tables.frame(rows, tables.SHAREABLE_CLIPS)

    def _predict_videos(self, video: str) -> pl.DataFrame:
        row = dict.fromkeys(tables.PREDICT_VIDEOS) | {"scenario": "predict", "outcome": "generated"}
        row |= {"world_model": "kinematic", "hidden_by": self.generated_hidden_by}
        rows = [
            row | {"clip_id": self.clip_id(video, n), "video_path": f"{video}/predictions/{n:02d}.mp4"}
            for n in range(self.clips)
        ]
        return tables.frame(rows, tables.PREDICT_VIDEOS)

    def _counterfactuals(self, video: str) -> pl.DataFrame:
        row = {"scenario": "danger", "comparison_path": f"{video}/counterfactuals/beside.mp4"}
        rows = [
            {**dict.fromkeys(tables.COUNTERFACTUALS), **made, **row} for made in self._predict_videos(video).to_dicts()
        ]
        return tables.frame(rows, tables.COUNTERFACTUALS)

    def _saliency_maps(self, video: str) -> pl.DataFrame:
        row = dict.fromkeys(tables.SALIENCY_MAPS) | {"severity": "HIGH", "log_odds": 1.0, "peak_sec": 4.0}
        row |= {"times_sec": [1.0, 2.0], "frame_share": [0.4, 0.6], "model_id": self.text or "a model"}
        rows = [
            row | {"clip_id": self.clip_id(video, n), "overlay_path": f"{video}/saliency/{n:02d}.webp"}
            for n in range(self.clips)
        ]
        return tables.frame(rows, tables.SALIENCY_MAPS)

    def _clip_ttc(self, video: str) -> pl.DataFrame:
        rows = []
        for n, (start, _) in enumerate(self.spans()):
            value = random.Random(f"{video}{n}ttc").choice([0.7, 1.4, 2.25, 6.0, math.inf, None])
            line = [
                example.ttc_sample(start + 0.4 * at, 1.0 + 0.1 * at, 0.8, math.inf, track)
                for track in range(self.tracks)
                for at in range(self.samples)
            ]
            rows.append(
                example.ttc_row(self.clip_id(video, n), line, min_ttc_sec=value, min_ttc_label=self.text or "car")
            )
        return tables.frame(rows, tables.CLIP_TTC)

    def _tracks(self, _video: str) -> pl.DataFrame:
        spans = [(start, track) for start, _ in self.spans() for track in range(self.tracks)]
        at = pl.DataFrame({"start": [start for start, _ in spans], "track_id": [track for _, track in spans]}).join(
            pl.DataFrame({"n": list(range(self.samples))}), how="cross"
        )
        return at.select(
            pl.col("n").cast(pl.Int64).alias("frame_index"),
            pl.col("n").cast(pl.Int64).alias("source_frame"),
            (pl.col("start") + 0.1 * pl.col("n")).alias("timestamp_sec"),
            pl.lit(0, pl.Int64).alias("scene_index"),
            pl.col("track_id").cast(pl.Int64),
            pl.lit("vehicle").cast(pl.Enum(tables.ROAD_USERS)).alias("road_user"),
            pl.lit(self.text or "car").alias("label"),
            pl.lit(0.9).alias("confidence"),
            *(
                (pl.lit(float(edge)) + pl.col("n")).alias(name)
                for name, edge in (("x1_px", 40), ("y1_px", 50), ("x2_px", 90), ("y2_px", 80))
            ),
            pl.lit(False).alias("still"),
        )

    def _near_miss_events(self, video: str) -> pl.DataFrame:
        rows = [
            example.event_row(start + 2.0)
            | {
                "event_id": f"{video}-e{n}",
                "evidence": self.text or "closing at 4.5 m/s",
                "actors": self.text or "car 3",
            }
            for n, (start, _) in enumerate(self.spans())
            if n % 3 == 0
        ]
        return tables.frame(rows, tables.NEAR_MISS_EVENTS)

    def _reason_outputs(self, video: str) -> pl.DataFrame:
        rows = []
        for n, _ in enumerate(self.spans()):
            severity = self.severity(video, n)
            told = {
                name: self.sentence(video, n, name)
                for name in ("causal_reasoning", "short_term_prediction", "recommended_action")
            }
            hazard = {
                "type": self.sentence(video, n, "type"),
                "actors": [self.sentence(video, n, "actor")],
                "spatial_relation": self.sentence(video, n, "where"),
            }
            rows.append(
                example.reason_row(
                    self.clip_id(video, n),
                    severity,
                    hazards=[hazard],
                    evidence=[self.sentence(video, n, "evidence")],
                    error=None if severity else self.text or "no answer",
                    reasoner=self.text or "kinematic",
                    model_id=self.text or "kinematic",
                    **told,
                )
            )
        return tables.frame(rows, tables.REASON_OUTPUTS)

    def _corrected_severities(self, video: str) -> pl.DataFrame:
        rows = []
        for n, _ in enumerate(self.spans()):
            severity = self.severity(video, n)
            rows.append(
                example.corrected_row(
                    self.clip_id(video, n), severity, severity, "R4" if severity == "MEDIUM" else None
                )
            )
        return tables.frame(rows, tables.CORRECTED_SEVERITIES)

    def _review_queue(self, video: str) -> pl.DataFrame:
        rows = []
        for n, clip in enumerate(self._mined_clips(video).iter_rows(named=True)):
            severity = self.severity(video, n)
            row = {name: clip[name] for name in ("clip_id", "clip_sha256", "start_sec", "end_sec")}
            row |= {"position": n + 1, "outcome": "severity" if severity else "abstained", "severity": severity}
            row |= {"severity_set": ["LOW", "MEDIUM"], "set_calibrated": n % 2 == 0, "label_value": 0.5, "rule": None}
            row |= {"must_review": n == 0, "reasons": [self.text or "the set is ambiguous"] if n == 0 else []}
            rows.append(row | {"raw_severity": severity, "state": "open"})
        return tables.frame(rows, tables.REVIEW_QUEUE)

    def _severity_ranking(self, video: str) -> pl.DataFrame:
        clips = self._mined_clips(video).to_dicts()
        rows = [example.ranking_row(n + 1, clip, self.severity(video, n), 0) for n, clip in enumerate(clips)]
        return tables.frame(rows, tables.SEVERITY_RANKING)


def thresholds_searched() -> pl.DataFrame:
    """CORRECTION_PARAMETERS of one judge: two stages that were held out, and one that was not."""
    figure = {**dict.fromkeys(tables.figures()), "metric": "accuracy", "n": 30, "groups": 9}
    figures = [
        figure | {"stage": "majority", "value": 0.25, "low": 0.125, "high": 0.375, "interval": "95 %"},
        figure | {"stage": "searched_group_out", "value": 0.5, "low": 0.25, "high": 0.75, "interval": "95 %"},
        figure | {"stage": "searched_same_clips", "value": 0.875, "note": "not held out"},
    ]
    gain = figure | {"metric": "accuracy_difference", "stage": "nested", "value": 0.0625, "note": "less default"}
    row = {**dict.fromkeys(tables.CORRECTION_PARAMETERS), "judge": "a judge", "clips": 30, "groups": 9, "draws": 7}
    row |= {"adopted": False, "reason": "no better", "rule_set": "seed", "set_scores": [], "figures": [*figures, gain]}
    return tables.frame([row], tables.CORRECTION_PARAMETERS)


def write_site(fleet: Fleet, folder: Path, **changes: Any) -> Written:
    """The site of a fleet in a folder, as the media store would write it."""

    @contextlib.contextmanager
    def writing(relative: str) -> Iterator[Path]:
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        yield target

    return write_dashboard(fleet.data(**changes), writing)
