"""One ranked clip as the report shows it: every table's rows about it, joined and put in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from autorisk_dagster.errors import InputError
from autorisk_dagster.mining.fusion import signal_weights
from autorisk_dagster.profile import Profile
from autorisk_dagster.reporting import words
from autorisk_dagster.reporting.plots import most_frequent_label
from autorisk_dagster.reporting.report_data import ReportData


@dataclass(frozen=True)
class RoadUser:
    """One followed road user of a clip. Times to contact: null = never a finite one."""

    track_id: int
    label: str
    first_sec: float
    last_sec: float
    min_ttc_sec: float | None
    low_sec: float | None
    high_sec: float | None
    at_sec: float | None


@dataclass(frozen=True)
class SignalShare:
    """One signal at the clip's peak: its score, and weight x score as a part of their sum (the fused score)."""

    name: str
    score: float | None
    share: float


@dataclass(frozen=True)
class ClipView:
    """One clip. The mappings are rows of the tables they are named after."""

    rank: int
    clip_id: str
    severity: str  # or words.NOT_JUDGED
    start_sec: float
    end_sec: float
    mined: Mapping[str, Any]
    ttc: Mapping[str, Any]
    reason: Mapping[str, Any]
    corrected: Mapping[str, Any]
    rule_words: str | None
    reasoner_words: str
    outcome_words: str
    signals: list[SignalShare]
    users: list[RoadUser]
    events: list[dict[str, Any]]
    tracks: pl.DataFrame

    @property
    def labels(self) -> dict[int, str]:
        """Label by track id."""
        return {user.track_id: user.label for user in self.users}

    @property
    def has_ttc(self) -> bool:
        """Whether something in the clip approaches, by a finite time to contact."""
        value = self.ttc["min_ttc_sec"]
        return value is not None and math.isfinite(value)

    @property
    def has_samples(self) -> bool:
        """Whether there is a finite time to contact to draw."""
        return any(user.min_ttc_sec is not None for user in self.users)


def clip_views(data: ReportData) -> list[ClipView]:
    """The ranked clips, rank 1 first.

    Raises:
        InputError: a ranked clip that another table does not know.
    """
    mined = _by_clip(data.mined_clips)
    ttc = _by_clip(data.clip_ttc)
    reason = _by_clip(data.reason_outputs)
    corrected = _by_clip(data.corrected_severities)
    views = []
    for ranked in data.severity_ranking.sort("rank").iter_rows(named=True):
        clip_id = ranked["clip_id"]
        missing = [
            name
            for name, rows in (
                ("mined_clips", mined),
                ("clip_ttc", ttc),
                ("reason_outputs", reason),
                ("corrected_severities", corrected),
            )
            if clip_id not in rows
        ]
        if missing:
            raise InputError(
                f"clip {clip_id} is ranked, but {', '.join(missing)} does not know it: "
                "the tables are of different runs. Materialise the video again from mined_clips on."
            )
        start_sec, end_sec = ranked["start_sec"], ranked["end_sec"]
        tracks = data.tracks.filter(pl.col("timestamp_sec").is_between(start_sec, end_sec, closed="left"))
        events = data.shown_near_misses.filter(
            pl.col("timestamp_sec").is_between(start_sec, end_sec, closed="left")
        ).sort("timestamp_sec")
        rule = corrected[clip_id]["rule"]
        answer = reason[clip_id]
        views.append(
            ClipView(
                rank=ranked["rank"],
                clip_id=clip_id,
                severity=ranked["severity"] or words.NOT_JUDGED,
                start_sec=start_sec,
                end_sec=end_sec,
                mined=mined[clip_id],
                ttc=ttc[clip_id],
                reason=answer,
                corrected=corrected[clip_id],
                rule_words=words.rule_words(rule, data.profile.correction) if rule else None,
                reasoner_words=words.REASONER_WORDS.get(answer["reasoner"], f"reasoner {answer['reasoner']}"),
                outcome_words=words.OUTCOME_WORDS[answer["outcome"]],
                signals=_signal_shares(mined[clip_id], data.profile),
                users=_road_users(tracks, ttc[clip_id]["timeline"] or []),
                events=events.to_dicts(),
                tracks=tracks,
            )
        )
    return views


def _by_clip(table: pl.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["clip_id"]: row for row in table.iter_rows(named=True)}


def _signal_shares(clip: Mapping[str, Any], profile: Profile) -> list[SignalShare]:
    weights = signal_weights(profile.mining)
    parts = {name: weight * (clip[f"{name}_score"] or 0.0) for name, weight in weights.items()}
    total = sum(parts.values())
    return [SignalShare(name, clip[f"{name}_score"], parts[name] / total if total > 0 else 0.0) for name in weights]


def _road_users(tracks: pl.DataFrame, timeline: list[dict[str, Any]]) -> list[RoadUser]:
    """Followed road users, the shortest time to contact first, those without one last, by id."""
    lowest: dict[int, dict[str, Any]] = {}
    for sample in timeline:
        value = sample["ttc_sec"]
        if value is None or not math.isfinite(value):
            continue
        known = lowest.get(sample["track_id"])
        if known is None or value < known["ttc_sec"]:
            lowest[sample["track_id"]] = sample
    followed = tracks.filter(pl.col("track_id").is_not_null())
    users = []
    for (track_id,), path in followed.group_by("track_id", maintain_order=True):
        number = int(str(track_id))
        sample = lowest.get(number, {})
        users.append(
            RoadUser(
                track_id=number,
                label=most_frequent_label(path),
                first_sec=path["timestamp_sec"][0],
                last_sec=path["timestamp_sec"][-1],
                min_ttc_sec=sample.get("ttc_sec"),
                low_sec=sample.get("low_sec"),
                high_sec=sample.get("high_sec"),
                at_sec=sample.get("timestamp_sec"),
            )
        )
    return sorted(users, key=lambda u: (math.inf if u.min_ttc_sec is None else u.min_ttc_sec, u.track_id))
