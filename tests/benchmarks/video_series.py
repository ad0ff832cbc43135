"""Time to contact and events of the shared videos over time, beside frames with the measurements drawn in.

    python -m tests.benchmarks.video_series FOLDER [video ...]    # one PNG a video into FOLDER

To be looked at by people: what is right and wrong in them is written down in docs/near_misses.md. The pictures show
footage of ../shared, which stays out of the repository: give a folder outside of it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster.kinematics.conflict_measures import conflict_measures
from autorisk_dagster.kinematics.events import find_near_misses, processed_rate_hz
from autorisk_dagster.kinematics.near_miss_v2 import OWN_VEHICLE, find_near_misses_v2
from autorisk_dagster.mining.one_pass import perceive
from autorisk_dagster.perception.nanodet import NanoDetDetector
from autorisk_dagster.profile import CameraSettings, NearMissSettings, NearMissV2Settings, PerceptionSettings
from autorisk_dagster.reporting.plots import track_color
from autorisk_dagster.video.probe import probe
from autorisk_dagster.video.reader import VideoFrame, VideoReader

ROOT: Final = Path(__file__).parents[2]
VIDEOS: Final = ROOT.parent / "shared" / "data" / "video"
CURVES: Final = 7
FRAMES: Final = 9
COLUMNS: Final = 3
AXIS_SEC: Final = (0.3, 20.0)
GAP_SEC: Final = 0.35  # samples farther apart are not joined
FRAME_PX: Final = 900
EVENT_COLORS: Final = {"1.0": "#71808f", "v2": "#c8372d", OWN_VEHICLE: "#7c3aed"}

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Series:
    """One video: boxes with their conflict measures, and the events of both versions."""

    name: str
    samples: pl.DataFrame  # tables.CONFLICT_MEASURES with the boxes beside them
    events: pl.DataFrame  # tables.NEAR_MISS_EVENTS


def measured(path: Path) -> Series:
    """Runs detector, tracker and kinematics of the product, with its default settings, over one video."""
    facts = probe(path)
    size = facts.width_px, facts.height_px
    settings = PerceptionSettings()
    seen = perceive(path, facts.duration_sec, NanoDetDetector(), settings, lambda _: None)
    conflicts = conflict_measures(seen.tracks, seen.ego_motion, size, CameraSettings())
    rate_hz = processed_rate_hz(settings.detection_rate_hz, facts.mean_fps)
    events = pl.concat(
        [
            find_near_misses(seen.tracks, NearMissSettings(), rate_hz),
            find_near_misses_v2(seen.tracks, conflicts, size, rate_hz, NearMissV2Settings()),
        ]
    )
    boxes = seen.tracks.select("frame_index", "track_id", "x1_px", "y1_px", "x2_px", "y2_px")
    return Series(path.stem, conflicts.join(boxes, on=["frame_index", "track_id"]), events)


def shown_tracks(series: Series) -> list[int]:
    """Those in events, then those that approached most surely: at most CURVES, by id."""
    named = {one for row in series.events.select("object_id_1", "object_id_2").rows() for one in row if one is not None}
    approach = series.samples.group_by("track_id").agg(pl.col("ttc_high_sec").min()).sort("ttc_high_sec", "track_id")
    nearest = approach.filter(pl.col("ttc_high_sec").is_finite())["track_id"].to_list()
    return sorted([*named, *(one for one in nearest if one not in named)][:CURVES])


def shown_times(series: Series, tracks: list[int]) -> list[float]:
    """When the events and each shown track's surest approach are, filled up evenly over the video: FRAMES at most."""
    times = series.samples["timestamp_sec"].unique().sort()
    if times.is_empty():
        return []
    due = series.events.sort("risk_score", descending=True)["timestamp_sec"].to_list()[: FRAMES // 3]
    for track in tracks[: FRAMES // 3]:
        surest = series.samples.filter(pl.col("track_id") == track).sort("ttc_high_sec", nulls_last=True)
        due.append(surest["timestamp_sec"][0])
    due += np.linspace(times[0], times[-1], FRAMES)[:: 1 if len(due) < 3 else 2].tolist()
    nearest = [float(times[int((times - one).abs().arg_min() or 0)]) for one in due]
    return sorted(dict.fromkeys(nearest))[:FRAMES]


def draw(series: Series, path: Path, target: Path) -> None:
    """The curves and the frames of one video as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tracks = shown_tracks(series)
    frames = _frames(path, shown_times(series, tracks))
    rows = -(-len(frames) // COLUMNS)
    figure = Figure(figsize=(18, 6.5 + 3.6 * rows), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2 + rows, COLUMNS, height_ratios=[4.0, 2.0, *[3.6] * rows])
    ttc = figure.add_subplot(grid[0, :])
    room = figure.add_subplot(grid[1, :], sharex=ttc)
    for track in tracks:
        _draw_track(series.samples.filter(pl.col("track_id") == track).sort("timestamp_sec"), ttc, room)
    _draw_events(series.events, ttc)
    ttc.set(yscale="log", ylim=AXIS_SEC, ylabel="time to contact, s", title=series.name)
    ttc.set_yticks([0.5, 1, 2, 3, 5, 10, 20], ["0.5", "1", "2", "3", "5", "10", "20"])
    room.set(ylim=(-0.2, 8), ylabel="room to the side, m", xlabel="time in the video, s")
    for axes in (ttc, room):
        axes.grid(alpha=0.25)
        for at_sec in frames:
            axes.axvline(at_sec, color="0.8", linewidth=0.8, zorder=0)
    if tracks:
        ttc.legend(loc="upper right", ncols=2, fontsize=9)
    for place, (at_sec, image) in enumerate(frames.items()):
        axes = figure.add_subplot(grid[2 + place // COLUMNS, place % COLUMNS])
        now = series.samples.filter((pl.col("timestamp_sec") - at_sec).abs() < 1e-3)
        axes.imshow(cv2.cvtColor(_annotated(image, now, set(tracks)), cv2.COLOR_BGR2RGB))
        axes.set_title(f"{at_sec:.2f} s", fontsize=10)
        axes.axis("off")
    figure.savefig(target)


def _draw_track(rows: pl.DataFrame, ttc: Any, room: Any) -> None:
    """One track: TTC with its interval, thick where on a collision course; below, dotted, the room at contact."""
    at_sec = rows["timestamp_sec"].to_numpy()
    color = track_color(rows["track_id"][0])
    values = {
        name: rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in ("ttc_sec", "ttc_low_sec", "ttc_high_sec", "gap_m", "contact_gap_m")
    }
    parts = np.split(np.arange(len(at_sec)), np.flatnonzero(np.diff(at_sec) > GAP_SEC) + 1)
    for part in parts:
        x = at_sec[part]
        value, low, high, gap, at_contact = (each[part] for each in values.values())
        finite = np.isfinite(value)
        ttc.fill_between(
            x, np.clip(low, *AXIS_SEC), np.clip(high, *AXIS_SEC), where=finite, color=color, alpha=0.15, linewidth=0
        )
        label = f"{rows['label'][0]} #{rows['track_id'][0]}" if part is parts[0] else None
        shown = np.where(finite & (value < AXIS_SEC[1]), value, np.nan)
        ttc.plot(x, shown, color=color, marker=".", markersize=4, linewidth=1.2, label=label)
        course = rows["on_collision_course"].to_numpy()[part]
        ttc.plot(x, np.where(course, shown, np.nan), color=color, linewidth=4.0)
        room.plot(x, gap, color=color, linewidth=1.4)
        room.plot(x, at_contact, color=color, linewidth=1.0, linestyle=":")


def _draw_events(events: pl.DataFrame, axes: Any) -> None:
    for number, event in enumerate(events.iter_rows(named=True)):
        own = event["version"] == "v2" and event["object_id_2"] is None
        color = EVENT_COLORS[OWN_VEHICLE if own else event["version"]]
        axes.axvspan(event["start_sec"], max(event["end_sec"], event["start_sec"] + 0.03), color=color, alpha=0.12)
        axes.axvline(event["timestamp_sec"], color=color, linewidth=1.6, linestyle="--")
        text = f"{event['version']} {event['risk_level']}: {event['actors']}"
        axes.text(event["timestamp_sec"], 0.35 * 1.25 ** (number % 4), text, color=color, fontsize=9)


def _frames(path: Path, times_sec: list[float]) -> dict[float, Image]:
    """The frame nearest to each time."""
    found: dict[float, tuple[float, Image]] = {}
    with VideoReader(path, audio=False) as reader:
        for item in reader:
            if not isinstance(item, VideoFrame):
                continue
            for at_sec in times_sec:
                off_sec = abs(item.timestamp_sec - at_sec)
                if off_sec < found.get(at_sec, (0.05, None))[0]:
                    found[at_sec] = off_sec, item.bgr(item.width_px)
    return {at_sec: image for at_sec, (_, image) in sorted(found.items())}


def _annotated(image: Image, samples: pl.DataFrame, tracks: set[int]) -> Image:
    scale = FRAME_PX / image.shape[1]
    drawn: Image = cv2.resize(image, None, fx=scale, fy=scale).astype(np.uint8)
    for row in samples.sort("distance_m", descending=True, nulls_last=False).iter_rows(named=True):
        red, green, blue = (int(track_color(row["track_id"])[i : i + 2], 16) for i in (1, 3, 5))
        color = (blue, green, red) if row["track_id"] in tracks else (200, 200, 200)
        left, top, right, bottom = (round(row[name] * scale) for name in ("x1_px", "y1_px", "x2_px", "y2_px"))
        cv2.rectangle(drawn, (left, top), (right, bottom), color, 4 if row["on_collision_course"] else 2)
        text = f"#{row['track_id']}"
        if row["ttc_sec"] is not None and np.isfinite(row["ttc_sec"]) and row["ttc_sec"] < AXIS_SEC[1]:
            text += f" {row['ttc_sec']:.1f} s ({row['ttc_low_sec']:.1f}-{row['ttc_high_sec']:.1f})"
        place = (max(left, 2), max(top - 5, 14))
        cv2.putText(drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, 1, cv2.LINE_AA)
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("videos", nargs="*", help="names without .mp4; all by default")
    options = parser.parse_args()
    if options.folder.resolve().is_relative_to(ROOT):
        parser.error(f"{options.folder} is in the repository, where no frame of ../shared may be")
    options.folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(VIDEOS.glob("*.mp4")):
        if options.videos and path.stem not in options.videos:
            continue
        series = measured(path)
        target = options.folder / f"{path.stem}.png"
        draw(series, path, target)
        series.samples.write_parquet(options.folder / f"{path.stem}.parquet")
        print(path.stem)
        for event in series.events.iter_rows(named=True):
            print(
                f"  {event['version']} {event['risk_level']} {event['timestamp_sec']:.2f} s {event['actors']}: "
                f"{event['evidence'] or event['risk_score']}"
            )


if __name__ == "__main__":
    main()
