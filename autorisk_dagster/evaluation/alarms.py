"""What the verifier does to near-miss alarms, by what people labelled: false alarms and dangers, with and without it.

Source: seed 001, "Show what breaks without Cosmos". A label is of a clip, not of a pair of road users, so that it says
different things of its alarms:

- A clip labelled NONE ("no hazard elements") or LOW ("margin exists") holds no near miss: each alarm in it is false.
- A clip labelled MEDIUM or HIGH holds a danger, but perhaps not that of each alarm in it. What can be said is whether
  the danger is still pointed at: at least one alarm stands in the clip.

Without the verifier every alarm stands; with it those that a model rejected do not. An alarm on which no model was
heard stands. Figures of blind labels and of labels from review are kept apart; `n` counts alarms where the metric is of
alarms.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.evaluation.figures import Row, figure, table_of
from autorisk_dagster.evaluation.intervals import Estimate, exact, paired_difference, proportion, unknown
from autorisk_dagster.severity.groups import clip_groups

WITHOUT, WITH = "detector", "verified"
QUIET: Final = ("NONE", "LOW")
NO_LABELS: Final = "no labelled clip of a video whose near misses were shown to the verifier"
NOT_HEARD: Final = "no model was heard on any of these alarms: set COSMOS_NIM_URL and materialise verified_events"


def labelled_alarms(ground_truth: pl.DataFrame, verified_events: pl.DataFrame) -> pl.DataFrame:
    """Each alarm in a labelled clip, once for each origin of labels, with the `severity` of its clip and its `group`.

    Of an alarm in two clips the more severe label counts: it may be the danger of that one.

    Args:
        ground_truth: tables.GROUND_TRUTH
        verified_events: tables.VERIFIED_EVENTS with `video_id`
    """
    found = []
    for origin in tables.LABEL_ORIGINS:
        clips = ground_truth.filter(pl.col("origin") == origin)
        clips = clips.with_columns(clip_groups(clips)).select(
            "video_id", "clip_id", "start_sec", "end_sec", "severity", "group", "origin"
        )
        inside = pl.col("timestamp_sec").is_between("start_sec", "end_sec", closed="left")
        alarms = verified_events.join(clips, on="video_id", how="inner").filter(inside)
        worst_first = alarms.sort(pl.col("severity").to_physical(), "clip_id", descending=[True, False])
        found.append(worst_first.unique(["video_id", "event_id"], keep="first", maintain_order=True))
    return pl.concat(found).sort("origin", "video_id", "timestamp_sec", "event_id")


def alarm_metrics(ground_truth: pl.DataFrame, verified_events: pl.DataFrame) -> pl.DataFrame:
    """tables.ALARM_METRICS of labels and of the verified near misses of those videos; see the module."""
    alarms = labelled_alarms(ground_truth, verified_events)
    verified_videos = verified_events.select("video_id").unique()
    rows: list[Row] = []
    for origin in tables.LABEL_ORIGINS:
        clips = ground_truth.filter(pl.col("origin") == origin).join(verified_videos, on="video_id", how="semi")
        clips = clips.with_columns(clip_groups(clips))
        rows += _of_alarms(alarms.filter(pl.col("origin") == origin), origin)
        rows += _of_dangers(clips.filter(~pl.col("severity").is_in(QUIET)), verified_events, origin)
    return table_of(rows, tables.ALARM_METRICS)


def _of_alarms(alarms: pl.DataFrame, origin: str) -> list[Row]:
    false = alarms["severity"].is_in(QUIET).to_numpy()
    stands = (alarms["outcome"] != "rejected").to_numpy()
    groups = alarms["group"].to_numpy()
    heard = alarms["outcome"].is_in(["confirmed", "rejected"]).any()
    many = alarms["group"].n_unique()

    def of(found: Estimate) -> Estimate:
        """`found`, if the verifier had a say at all."""
        if not alarms.height:
            return unknown(NO_LABELS)
        return found if heard else unknown(NOT_HEARD, alarms.height, many)

    none = unknown(NO_LABELS)
    return [
        figure("false_share", WITHOUT, proportion(false, groups) if alarms.height else none, origin=origin),
        figure("false_share", WITH, of(_share(false[stands], groups[stands], "no alarm is left")), origin=origin),
        figure("false_alarms", WITHOUT, exact(false.sum(), len(false), many) if alarms.height else none, origin=origin),
        figure("false_alarms", WITH, of(exact((false & stands).sum(), len(false), many)), origin=origin),
        figure("false_rejected", WITH, of(_share(~stands[false], groups[false], "no alarm is false")), origin=origin),
    ]


def _of_dangers(clips: pl.DataFrame, events: pl.DataFrame, origin: str) -> list[Row]:
    """Of clips labelled MEDIUM or HIGH: the share in which an alarm stands."""
    inside = pl.col("timestamp_sec").is_between("start_sec", "end_sec", closed="left")
    pointed = clips.join(events, on="video_id", how="inner").filter(inside)
    standing = pointed.filter(pl.col("outcome") != "rejected")
    keys = pl.struct("video_id", "clip_id")
    before = clips.select(keys.is_in(pointed.select(keys).to_series().implode())).to_series().to_numpy()
    after = clips.select(keys.is_in(standing.select(keys).to_series().implode())).to_series().to_numpy()
    groups = clips["group"].to_numpy()
    heard = pointed["outcome"].is_in(["confirmed", "rejected"]).any()

    def of(found: Estimate) -> Estimate:
        if not clips.height:
            return unknown("no clip is labelled MEDIUM or HIGH")
        return found if heard else unknown(NOT_HEARD, clips.height, clips["group"].n_unique())

    without = proportion(before, groups) if clips.height else unknown("no clip is labelled MEDIUM or HIGH")
    change = of(paired_difference(before, after, groups) if clips.height else without)
    return [
        figure("danger_pointed_at", WITHOUT, without, origin=origin),
        figure("danger_pointed_at", WITH, of(_share(after, groups, "no clip")), origin=origin),
        figure("danger_pointed_at", "difference", change, origin=origin),
    ]


def _share(hits: object, groups: object, why_none: str) -> Estimate:
    import numpy as np

    found, numbers = np.asarray(hits, dtype=bool), np.asarray(groups)
    return proportion(found, numbers) if len(found) else unknown(why_none)
