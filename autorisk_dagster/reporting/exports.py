"""What other programs read: events and clips as CSV and Parquet, places as GeoJSON, boxes as COCO.

CSV is RFC 4180 with one header; a cell that a spreadsheet would take for a formula is given a leading apostrophe.
GeoJSON is RFC 7946 (longitude before latitude, WGS 84). COCO is the detection format: a picture a clip, at its peak,
and the boxes that the tracker followed there, as FiftyOne, CVAT and pycocotools read it. Pictures are taken from the
shareable clips, so that what is hidden there is hidden here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.video.gps import GpsTrack

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_NEAREST_SEC: Final = 0.15  # a processed frame this near to a clip's peak shows the same moment

CLIP_COLUMNS: Final = {
    "video_id": pl.String,
    "clip_id": pl.String,
    "rank": pl.Int64,
    "severity": pl.String,
    "raw_severity": pl.String,
    "rule": pl.String,
    "start_sec": pl.Float64,
    "end_sec": pl.Float64,
    "peak_sec": pl.Float64,
    "min_ttc_sec": pl.Float64,
    "near_miss_events": pl.Int64,
    "fused_score": pl.Float64,
    "clip_sha256": pl.String,
    "longitude_deg": pl.Float64,
    "latitude_deg": pl.Float64,
}


@dataclass(frozen=True)
class VideoTables:
    """What is exported of one video; tables are those of `autorisk_dagster.tables`."""

    video_id: str
    video: Mapping[str, Any]
    mined_clips: pl.DataFrame
    severity_ranking: pl.DataFrame
    corrected_severities: pl.DataFrame
    near_miss_events: pl.DataFrame
    tracks: pl.DataFrame
    gps: GpsTrack | None


def clips(videos: Iterable[VideoTables]) -> pl.DataFrame:
    """One row a clip, worst first in each video; `CLIP_COLUMNS`."""
    found = [pl.DataFrame(schema=CLIP_COLUMNS)]
    for data in videos:
        rows = (
            data.severity_ranking.join(data.mined_clips.select("clip_id", "peak_sec", "clip_sha256"), on="clip_id")
            .join(data.corrected_severities.select("clip_id", "raw_severity", "rule"), on="clip_id")
            .sort("rank")
            .with_columns(video_id=pl.lit(data.video_id))
        )
        found.append(_placed(rows, "peak_sec", data.gps).select(pl.col(n).cast(t) for n, t in CLIP_COLUMNS.items()))
    return pl.concat(found)


def events(videos: Iterable[VideoTables]) -> pl.DataFrame:
    """One row a near miss that people are told of: `tables.NEAR_MISS_EVENTS` with its video and place."""
    schema = {"video_id": pl.String, **tables.NEAR_MISS_EVENTS, "longitude_deg": pl.Float64, "latitude_deg": pl.Float64}
    found = [pl.DataFrame(schema=schema)]
    for data in videos:
        shown = data.near_miss_events.filter(pl.col("version") == tables.NEAR_MISS_SHOWN).sort("timestamp_sec")
        placed = _placed(shown.with_columns(video_id=pl.lit(data.video_id)), "timestamp_sec", data.gps)
        found.append(placed.select(*schema))
    return pl.concat(found)


def geojson(videos: Iterable[VideoTables]) -> dict[str, Any]:
    """Clips and near misses that have a place, as a FeatureCollection; those without one are not in it."""
    features = []
    for data in videos:
        for kind, table, column in (
            ("clip", clips([data]), "peak_sec"),
            ("near miss", events([data]), "timestamp_sec"),
        ):
            for row in table.filter(pl.col("longitude_deg").is_not_null()).iter_rows(named=True):
                place = data.gps.at(row[column]) if data.gps else None
                properties = {
                    name: _finite(value)
                    for name, value in row.items()
                    if name not in ("longitude_deg", "latitude_deg") and not isinstance(value, list | dict)
                }
                features.append(
                    {
                        "type": "Feature",
                        "geometry": {"type": "Point", "coordinates": [row["longitude_deg"], row["latitude_deg"]]},
                        "properties": {"kind": kind, "clock": place.clock if place else None, **properties},
                    }
                )
    return {"type": "FeatureCollection", "features": features}


def coco(videos: Iterable[VideoTables], pictures: Mapping[str, str]) -> dict[str, Any]:
    """COCO detections: an image a clip, at its peak, and the followed boxes of the processed frame nearest to it.

    Args:
        videos: what is exported
        pictures: file name of each clip's picture, relative to the JSON file, by clip id
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    labels: dict[str, int] = {}
    for data in videos:
        severity = dict(data.severity_ranking.select("clip_id", "severity").iter_rows())
        width, height = data.video["width_px"], data.video["height_px"]
        followed = data.tracks.filter(pl.col("track_id").is_not_null() & ~pl.col("still").fill_null(False))
        for clip in data.mined_clips.sort("mining_rank").iter_rows(named=True):
            if clip["clip_id"] not in pictures:
                continue
            image = len(images) + 1
            images.append(
                {
                    "id": image,
                    "file_name": pictures[clip["clip_id"]],
                    "width": width,
                    "height": height,
                    "video_id": data.video_id,
                    "clip_id": clip["clip_id"],
                    "timestamp_sec": clip["peak_sec"],
                    "severity": severity.get(clip["clip_id"]),
                }
            )
            for row in _boxes_at(followed, clip["peak_sec"]).iter_rows(named=True):
                x, y = max(0.0, row["x1_px"]), max(0.0, row["y1_px"])
                box = [x, y, min(width, row["x2_px"]) - x, min(height, row["y2_px"]) - y]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": labels.setdefault(row["label"], len(labels) + 1),
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": 0,
                        "track_id": row["track_id"],
                        "score": row["confidence"],
                    }
                )
    categories = [{"id": number, "name": label, "supercategory": "road user"} for label, number in labels.items()]
    return {"info": {"description": "AutoRisk"}, "images": images, "annotations": annotations, "categories": categories}


def write_csv(table: pl.DataFrame, path: Path) -> None:
    """Write `table`; no cell is a formula to a spreadsheet."""
    text = [name for name, kind in table.schema.items() if kind == pl.String]
    risky = {name: pl.col(name).str.slice(0, 1).is_in(_FORMULA) for name in text}
    guarded = table.with_columns(
        pl.when(is_risky).then("'" + pl.col(name)).otherwise(pl.col(name)).alias(name)
        for name, is_risky in risky.items()
    )
    guarded.write_csv(path)


def write_json(value: object, path: Path) -> None:
    """Write JSON that every parser takes: no NaN, no infinity."""
    path.write_text(json.dumps(value, allow_nan=False, indent=1, ensure_ascii=False), encoding="utf-8")


def _boxes_at(followed: pl.DataFrame, time_sec: float) -> pl.DataFrame:
    away = (pl.col("timestamp_sec") - time_sec).abs()
    near = followed.filter(away <= _NEAREST_SEC)
    if near.is_empty():
        return near
    nearest = near.sort(away).item(0, "timestamp_sec")
    return near.filter(pl.col("timestamp_sec") == nearest).sort("track_id")


def _placed(table: pl.DataFrame, column: str, gps: GpsTrack | None) -> pl.DataFrame:
    places = [gps.at(time) if gps else None for time in table[column]]
    return table.with_columns(
        pl.Series("longitude_deg", [place.longitude_deg if place else None for place in places], pl.Float64),
        pl.Series("latitude_deg", [place.latitude_deg if place else None for place in places], pl.Float64),
    )


def _finite(value: Any) -> Any:
    """JSON has no infinity: it becomes the word, so that "nothing approaches" is not lost as null."""
    return "infinite" if isinstance(value, float) and math.isinf(value) else value
