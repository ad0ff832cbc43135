"""A data folder with one processed video of many small clips, as the servers find it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.tables import SEVERITIES
from tests.reporting import example

VIDEO = "example-0badcafe"
HOSTILE = "<script>window.hacked = 1</script><img src='/leak' onerror='window.hacked = 1'>"


def clip(number: int) -> str:
    """A clip's id."""
    return f"{VIDEO}-c{number:02d}"


def predicted(number: int) -> str:
    """The corrected severity of a clip."""
    return SEVERITIES[number % 4]


def make_fleet(data: Path, clips: int, text: str = "The car ahead brakes.") -> Path:
    """Tables and clips of one video; clip n shows the brightness of frame n. `text` is what the reasoner says."""
    folder = data / "media" / "example" / "clips"
    folder.mkdir(parents=True)
    (data / "sources").mkdir()
    (data / "sources" / f"{VIDEO}.json").write_text(
        f'{{"video_id": "{VIDEO}", "path": "/gone.mp4", "profile": "default", "registered_at": "2026-01-01"}}'
    )
    mined, ranked = [], []
    for number in range(1, clips + 1):
        path = example.write_video(folder / f"{number:02d}.mp4", number, 12, sound=False)
        row = example.clip_row(number, number * 0.6, number * 0.6 + 0.6, number * 0.6 + 0.3, _sha256(path))
        mined.append(row | {"clip_id": clip(number)})
        ranked.append(example.ranking_row(number, mined[-1], predicted(number), 0))
    numbers = range(1, clips + 1)
    given: dict[str, list[dict[str, Any]]] = {
        "source_video": [example.video_row(video_id=VIDEO)],
        "mined_clips": mined,
        "clip_ttc": [example.ttc_row(clip(number)) for number in numbers],
        "near_miss_events": [],
        "severity_ranking": ranked,
        "corrected_severities": [example.corrected_row(clip(n), predicted(n), predicted(n), None) for n in numbers],
        "reason_outputs": [
            example.reason_row(clip(n), predicted(n), clip_sha256=mined[n - 1]["clip_sha256"], causal_reasoning=text)
            for n in numbers
        ],
    }
    for asset, rows in given.items():
        write_table(data, asset, tables.frame(rows, tables.TABLES[asset]))
    write_table(data, "tracks", example.track_rows())
    return data


def write_table(data: Path, asset: str, table: pl.DataFrame) -> None:
    """A table where the servers and the IO manager look for it."""
    path = data / "tables" / asset / f"{VIDEO}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def read_table(data: Path, asset: str) -> pl.DataFrame:
    """The same, back."""
    return pl.read_parquet(data / "tables" / asset / f"{VIDEO}.parquet")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
