"""The whole site: reads the fleet video by video, writes its chunks, index, pages and what they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.reporting.dashboard import pages
from autorisk_dagster.reporting.dashboard.clip_records import ClipRecord, clip_records, media_url
from autorisk_dagster.reporting.dashboard.fleet_data import (
    FleetData,
    VideoTables,
    Writing,
    read_fleet_wide,
    read_video,
)
from autorisk_dagster.reporting.dashboard.fleet_search import TEXTS, text_table
from autorisk_dagster.reporting.dashboard.review_records import video_review
from autorisk_dagster.reporting.dashboard.search_index import SearchIndex
from autorisk_dagster.reporting.dashboard.site_files import CLIPS, ROOT, SiteFiles
from autorisk_dagster.reporting.dashboard.summaries import VideoSummary
from autorisk_dagster.reporting.text_embeddings import neighbours
from autorisk_dagster.review.verdicts import Verdict

COLUMNS = (
    *("id", "rank", "start", "end", "severity", "raw", "rule", "outcome", "label", "ttc", "with", "misses", "risk"),
    *("fused", "audio", "motion", "proximity", "raised_by", "preview"),
)

SIMILAR_CLIPS = 6


@dataclass(frozen=True)
class Written:
    """What was written: files by their path in the media store, and what is in them."""

    files: frozenset[str]
    size_bytes: int
    videos: int
    clips: int
    indexed_words: int
    stale: tuple[str, ...]  # "asset of video": tables of another version, left out


def write_dashboard(data: FleetData, writing: Writing) -> Written:
    """Write the site under `site_files.ROOT`; the pages come last, so that they never name what is not there yet.

    Args:
        data: the fleet
        writing: opens a file of the media store for writing, whole or not at all
    """
    files = SiteFiles(writing)
    fleet, stale = read_fleet_wide(data.store)
    labels = _labels(fleet.get("ground_truth"))
    kept: list[tuple[ClipRecord, int, str]] = []
    videos: list[VideoSummary] = []
    said: dict[str, list[Verdict]] = {}
    for verdict in data.verdicts:
        said.setdefault(verdict.video_id, []).append(verdict)
    for video_id in sorted(data.video_ids):
        video = read_video(data.store, video_id)
        stale += [f"{asset} of {video_id}" for asset in video.stale]
        if "source_video" not in video:
            continue
        profile = video["source_video"].item(0, "profile")
        review = video_review(video, said.get(video_id, ()), data.set_coverage.get(profile))
        found = clip_records(video, labels, data.media_exists, data.rules.get(profile), review)
        for record in found:
            # Only its row and its words are kept: the details of a fleet do not fit in memory.
            name = files.chunk(record.detail, CLIPS)
            kept.append((ClipRecord(record.order, record.row, {}, record.texts), len(videos), name))
        videos.append(_summary(video, [record.row for record in found]))
    kept.sort(key=lambda one: one[0].order)
    search = SearchIndex()
    for record, _, _ in kept:
        search.add(record.texts)
    found_words = search.write(files)
    index = files.chunk(_index(data, kept, videos))
    words_chunk = files.chunk(found_words)
    texts = text_table([record.row for record, _, _ in kept], [record.texts for record, _, _ in kept], data.embedder)
    files.table(TEXTS, texts)
    chunks = {"index": index, "search": words_chunk}
    if data.embedder is not None:
        chunks["similar"] = files.chunk(_similar(texts))
    context = pages.SiteContext(
        data=data,
        videos=videos,
        rows=[record.row for record, _, _ in kept],
        fleet=fleet,
        stale=stale,
        chunks=chunks,
        static=_static(files),
    )
    for name, html in pages.render(context):
        files.write(f"{ROOT}/{name}", html.encode())
    return Written(
        frozenset(files.written),
        files.size_bytes,
        len(videos),
        len(kept),
        found_words["words"],
        tuple(stale),
    )


def _similar(texts: pl.DataFrame) -> list[list[Any]]:
    """For each clip of the list, the numbers of those most like it with their cosine: n, cosine, n, cosine, ..."""
    width = max((len(vector) for vector in texts["vector"].drop_nulls()), default=1)
    vectors = np.zeros((texts.height, width), np.int8)
    for number, vector in enumerate(texts["vector"].to_list()):
        if vector is not None:
            vectors[number] = vector
    return [[value for pair in near for value in pair] for near in neighbours(vectors, SIMILAR_CLIPS)]


def _labels(ground_truth: pl.DataFrame | None) -> Mapping[tuple[str, str], dict[str, Any]]:
    if ground_truth is None:
        return {}
    return {(row["clip_id"], row["clip_sha256"]): row for row in ground_truth.iter_rows(named=True)}


def _summary(video: VideoTables, rows: Sequence[dict[str, Any]]) -> VideoSummary:
    facts = video["source_video"].row(0, named=True)
    reasons = video["reason_outputs"]
    models = reasons.select(pl.coalesce("model_id", "reasoner")).to_series().drop_nulls().unique().sort().to_list()
    shown = video["near_miss_events"].filter(pl.col("version") == tables.NEAR_MISS_SHOWN)
    return VideoSummary(
        video_id=video.video_id,
        file_name=facts["file_name"],
        profile=facts["profile"],
        duration_sec=facts["duration_sec"],
        rows=rows,
        near_misses=shown.height if "near_miss_events" in video else None,
        reasoner=", ".join(models) or None,
        left_out=video.stale,
    )


def _index(
    data: FleetData, kept: Sequence[tuple[ClipRecord, int, str]], videos: Sequence[VideoSummary]
) -> dict[str, Any]:
    """The list of all clips, column by column, worst first."""
    return {
        "videos": [
            {
                "id": video.video_id,
                "name": video.file_name,
                "profile": video.profile,
                "report": media_url(path) if data.media_exists(path := f"{video.video_id}/report.html") else None,
            }
            for video in videos
        ],
        "clips": {
            **{name: [record.row[name] for record, _, _ in kept] for name in COLUMNS},
            "video": [number for _, number, _ in kept],
            "chunk": [name for _, _, name in kept],
        },
    }


def _static(files: SiteFiles) -> dict[str, str]:
    from plotly.offline import get_plotlyjs

    own = resources.files("autorisk_dagster.reporting.dashboard").joinpath("templates")
    report_style = resources.files("autorisk_dagster.reporting").joinpath("templates", "report.css")
    style = report_style.read_text("utf-8") + own.joinpath("dashboard.css").read_text("utf-8")
    return {
        "style": files.static("dashboard", "css", style),
        "plotly": files.static("plotly", "js", get_plotlyjs()),
        **{
            name: files.static(name, "js", own.joinpath(f"{name}.js").read_text("utf-8"))
            for name in ("site", "charts", "clips", "search")
        },
    }
