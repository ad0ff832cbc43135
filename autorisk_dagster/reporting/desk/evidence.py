"""What a reviewer is shown of a fleet: every judged clip with its evidence, in the order in which to look.

The order is that of the asset `review_queue` where it was made (what must be reviewed and is open, by the value of a
label); clips that it does not know follow, worst first, by their rank in `severity_ranking`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError, InputError
from autorisk_dagster.profile import Profile
from autorisk_dagster.reporting.clip_view import ClipView, clip_views
from autorisk_dagster.reporting.plots import track_color
from autorisk_dagster.reporting.report_data import ReportData
from autorisk_dagster.review.verdicts import judged_outputs
from autorisk_dagster.storage import Storage

NEEDED: Final = (
    "source_video",
    "tracks",
    "mined_clips",
    "clip_ttc",
    "near_miss_events",
    "reason_outputs",
    "corrected_severities",
    "severity_ranking",
)
QUEUE: Final = "review_queue"
MAX_CURVES: Final = 6
TTC_SHOWN_SEC: Final = 10.0
GAP_SEC: Final = 0.5  # two samples further apart than this are not joined


Point = tuple[float, float, float, float]  # time in the clip, time to contact, its bounds; all in seconds


@dataclass(frozen=True)
class JudgedClip:
    """A clip under review.

    Attributes:
        view: what the report shows of it
        output_sha256: of what a verdict judges (`judged_outputs`)
        queued: its row of tables.REVIEW_QUEUE; None where no queue was made
    """

    video_id: str
    file_name: str
    view: ClipView
    output_sha256: str
    queued: Mapping[str, Any] | None

    @property
    def clip_id(self) -> str:
        """Its id."""
        return self.view.clip_id

    @property
    def clip_sha256(self) -> str:
        """Hash of its file by the table."""
        return str(self.view.mined["clip_sha256"])

    @property
    def severity(self) -> str | None:
        """The corrected severity; None: it was not judged."""
        found = self.view.corrected["severity"]
        return None if found is None else str(found)


@dataclass(frozen=True)
class Fleet:
    """What is to review now.

    Attributes:
        clips: in the order in which to look
        left_out: videos without anything to review, and why
    """

    clips: Sequence[JudgedClip]
    left_out: Mapping[str, str]

    def at(self, clip_id: str) -> int:
        """The place of a clip in the order.

        Raises:
            InputError: there is no such clip.
        """
        for index, clip in enumerate(self.clips):
            if clip.clip_id == clip_id:
                return index
        raise InputError(f"there is no clip {clip_id} now; it may have been mined anew. Go back to the list")


class FleetReader:
    """The judged clips of a fleet, read from its tables; a video's are read again only when a file of it has changed.

    Args:
        tables: one folder an asset, one Parquet file a video
        registered: every video, by key
        profile_of: a profile by name
    """

    def __init__(
        self, tables: Storage, registered: Callable[[], Sequence[str]], profile_of: Callable[[str], Profile]
    ) -> None:
        self._tables = tables
        self._registered = registered
        self._profile_of = profile_of
        self._kept: dict[str, tuple[Any, tuple[list[JudgedClip], str | None]]] = {}

    def gather(self) -> Fleet:
        """What there is to review now."""
        clips: list[JudgedClip] = []
        left_out: dict[str, str] = {}
        versions = [self._tables.versions(asset) for asset in (*NEEDED, QUEUE)]
        for video_id in self._registered():
            state = tuple(found.get(f"{video_id}.parquet") for found in versions)
            if self._kept.get(video_id, (None,))[0] != state:
                self._kept[video_id] = state, self._of(video_id)
            found, reason = self._kept[video_id][1]
            clips += found
            if reason is not None:
                left_out[video_id] = reason
        return Fleet(in_order(clips), left_out)

    def _path(self, asset: str, video_id: str) -> Path:
        return self._tables.path(f"{asset}/{video_id}.parquet")

    def _of(self, video_id: str) -> tuple[list[JudgedClip], str | None]:
        """The clips of one video that a person can review, and why there are none."""
        paths = {asset: self._path(asset, video_id) for asset in NEEDED}
        missing = [asset for asset, path in paths.items() if not path.exists()]
        if missing:
            return [], f"{', '.join(missing)} was not made"
        found = {asset: pl.read_parquet(path) for asset, path in paths.items()}
        video = found["source_video"].row(0, named=True)
        nothing = pl.DataFrame()
        try:
            data = ReportData(
                video=video,
                profile=self._profile_of(video["profile"]),
                scores=nothing,
                frame_signals=nothing,
                tracks=found["tracks"],
                mined_clips=found["mined_clips"],
                clip_ttc=found["clip_ttc"],
                near_miss_events=found["near_miss_events"],
                reason_outputs=found["reason_outputs"],
                corrected_severities=found["corrected_severities"],
                severity_ranking=found["severity_ranking"],
                generated_at="",
            )
            views = clip_views(data)
        except AutoRiskError as error:
            return [], str(error)
        outputs = judged_outputs(found["reason_outputs"], found["corrected_severities"])
        queue = self._path(QUEUE, video_id)
        queued = {row["clip_id"]: row for row in pl.read_parquet(queue).iter_rows(named=True)} if queue.exists() else {}
        name = video["file_name"]
        clips = [JudgedClip(video_id, name, each, outputs[each.clip_id], queued.get(each.clip_id)) for each in views]
        return clips, None


def in_order(clips: Sequence[JudgedClip]) -> list[JudgedClip]:
    """The order in which to look; see the module."""

    def place(clip: JudgedClip) -> tuple[Any, ...]:
        queued = clip.queued
        severity = tables.SEVERITIES.index(clip.severity) if clip.severity else -1
        by_danger = (-severity, clip.view.rank, clip.clip_id)
        if queued is None:
            return (2, 0.0, *by_danger)
        wanted = queued["must_review"] and queued["state"] != "reviewed"
        return (0 if wanted else 1, -(queued["label_value"] or 0.0), *by_danger)

    return sorted(clips, key=place)


def ttc_png(clip: ClipView) -> bytes | None:
    """Time to contact of the nearest road users over the clip, with its 90 % interval; None: nothing approaches."""
    curves: dict[int, list[Point]] = {}
    for sample in clip.ttc["timeline"] or []:
        value = sample["ttc_sec"]
        if value is not None and math.isfinite(value) and value <= TTC_SHOWN_SEC:
            low, high = sample["low_sec"], sample["high_sec"]
            band = (value if low is None else low, TTC_SHOWN_SEC if high is None else min(high, TTC_SHOWN_SEC))
            curves.setdefault(sample["track_id"], []).append((sample["timestamp_sec"] - clip.start_sec, value, *band))
    if not curves:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    nearest = sorted(curves, key=lambda track: min(point[1] for point in curves[track]))[:MAX_CURVES]
    for track in nearest:
        at, value, low, high = (list(each) for each in zip(*_with_gaps(curves[track]), strict=True))
        color = track_color(track)
        axes.fill_between(at, low, high, color=color, alpha=0.15, linewidth=0)
        axes.plot(at, value, color=color, linewidth=1.4, marker=".", markersize=3)
        axes.annotate(
            f"{clip.labels.get(track, 'track')} #{track}",
            (at[-1], value[-1]),
            color=color,
            fontsize=8,
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            parse_math=False,
        )
    axes.set(xlim=(0, clip.end_sec - clip.start_sec), ylim=(0, TTC_SHOWN_SEC))
    axes.set_xlabel("time in the clip (s)", fontsize=8)
    axes.set_ylabel("time to contact (s)", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _with_gaps(points: Sequence[Point]) -> list[Point]:
    """The points, with one that is not a number where samples are too far apart to be joined."""
    found = list(points[:1])
    for before, point in pairwise(points):
        if point[0] - before[0] > GAP_SEC:
            found.append((before[0], math.nan, math.nan, math.nan))
        found.append(point)
    return found
