"""What other programs read is read by other programs: csv, Polars, supervision's COCO reader."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import supervision
from PIL import Image

from autorisk_dagster import tables
from autorisk_dagster.reporting import exports
from autorisk_dagster.reporting.exports import VideoTables
from autorisk_dagster.video.gps import GpsTrack
from tests.reporting import example

GPS = GpsTrack(np.array([0.0, 10.0]), np.array([13.0, 13.1]), np.array([52.0, 52.1]), "time of day")


def video(gps: GpsTrack | None = None, name: str = "example-0badcafe") -> VideoTables:
    clips = [example.clip_row(1, 1.0, 4.0, 2.25, "ab" * 32), example.clip_row(2, 4.0, 6.0, 4.75, "cd" * 32)]
    return VideoTables(
        name,
        example.video_row(),
        tables.frame(clips, tables.MINED_CLIPS),
        tables.frame(
            [example.ranking_row(1, clips[0], "MEDIUM", 1), example.ranking_row(2, clips[1], None, 0)],
            tables.SEVERITY_RANKING,
        ),
        tables.frame(
            [
                example.corrected_row("example-c01", "HIGH", "MEDIUM", "R4"),
                example.corrected_row("example-c02", None, None, None),
            ],
            tables.CORRECTED_SEVERITIES,
        ),
        tables.frame([example.event_row(), example.event_row(3.0, "1.0")], tables.NEAR_MISS_EVENTS),
        example.track_rows(),
        gps,
    )


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_clips_and_near_misses_are_the_tables_rows(tmp_path: Path) -> None:
    exports.write_csv(exports.clips([video(GPS), video(None, "other-00000001")]), tmp_path / "clips.csv")
    rows = read_csv(tmp_path / "clips.csv")
    assert [(row["video_id"], row["clip_id"], row["severity"], row["rule"]) for row in rows] == [
        ("example-0badcafe", "example-c01", "MEDIUM", "R4"),
        ("example-0badcafe", "example-c02", "", ""),
        ("other-00000001", "example-c01", "MEDIUM", "R4"),
        ("other-00000001", "example-c02", "", ""),
    ]
    assert float(rows[0]["longitude_deg"]) == pytest.approx(13.0225)
    assert rows[2]["longitude_deg"] == ""
    found = exports.events([video(GPS)])
    assert found["version"].to_list() == ["v2"]  # 1.0's events are not what people are told of
    assert found.item(0, "latitude_deg") == pytest.approx(52.025)


def test_nothing_is_a_formula_to_a_spreadsheet(tmp_path: Path) -> None:
    cells = ["=1+1", "+1", "-1", "@x", "fine", None]
    exports.write_csv(pl.DataFrame({"a": cells, "b": [-1.5] * 6}), tmp_path / "t.csv")
    rows = read_csv(tmp_path / "t.csv")
    assert [row["a"] for row in rows] == ["'=1+1", "'+1", "'-1", "'@x", "fine", ""]
    assert rows[0]["b"] == "-1.5"


def test_places_are_longitude_first_and_only_where_there_is_one(tmp_path: Path) -> None:
    exports.write_json(exports.geojson([video(GPS), video(None, "other-00000001")]), tmp_path / "places.geojson")
    read = json.loads((tmp_path / "places.geojson").read_text(encoding="utf-8"))
    assert read["type"] == "FeatureCollection"
    kinds = [(feature["properties"]["kind"], feature["properties"]["video_id"]) for feature in read["features"]]
    assert kinds == [("clip", "example-0badcafe")] * 2 + [("near miss", "example-0badcafe")]
    longitude, latitude = read["features"][0]["geometry"]["coordinates"]
    assert (longitude, latitude) == (pytest.approx(13.0225), pytest.approx(52.0225))
    assert read["features"][1]["properties"]["min_ttc_sec"] == "infinite"
    assert exports.geojson([video(None)])["features"] == []


def test_another_program_reads_the_boxes(tmp_path: Path) -> None:
    pictures = {"example-c01": "pictures/1.jpg", "example-c02": "pictures/2.jpg"}
    (tmp_path / "pictures").mkdir()
    for name in pictures.values():
        Image.new("RGB", (example.WIDTH, example.HEIGHT)).save(tmp_path / name)
    exports.write_json(exports.coco([video()], pictures), tmp_path / "coco.json")
    read = supervision.DetectionDataset.from_coco(str(tmp_path), str(tmp_path / "coco.json"))
    assert read.classes == ["car"]
    first, second = (read.annotations[str(tmp_path / name)] for name in pictures.values())
    # the frame nearest to 2.25 s is 2.2 or 2.3 s: box 100 + n to 160 + n, n = 22 or 23
    assert first.xyxy.tolist() in ([[122, 60, 182, 120]], [[123, 60, 183, 120]])
    assert second.xyxy.tolist() in ([[147, 60, 207, 120]], [[148, 60, 208, 120]])


def test_a_clip_without_a_picture_is_left_out_and_boxes_stay_inside(tmp_path: Path) -> None:
    data = video()
    wide = data.tracks.with_columns(x1_px=pl.lit(-20.0), x2_px=pl.lit(5000.0))
    found = exports.coco([VideoTables(**{**vars(data), "tracks": wide})], {"example-c01": "1.jpg"})
    assert [image["clip_id"] for image in found["images"]] == ["example-c01"]
    assert found["annotations"][0]["bbox"] == [0.0, 60.0, 320.0, 60.0]
    still = VideoTables(**{**vars(data), "tracks": data.tracks.with_columns(still=pl.lit(True))})
    assert exports.coco([still], {"example-c01": "1.jpg"})["annotations"] == []
    with pytest.raises(ValueError, match="not JSON compliant"):
        exports.write_json({"a": math.nan}, tmp_path / "x.json")
