"""What a fleet needs a day: arithmetic on assumptions and on measured unit costs, both out of docs/capacity.json.

    python -m tests.benchmarks.scale.capacity                    the fleet of docs/capacity.md
    python -m tests.benchmarks.scale.capacity cars=200 hours_a_day=8

Costs are taken to be linear: so much a video, a minute of footage, a clip. What a minute and a clip cost is the slope
between two lengths of the same footage; what a video costs is a file in which nothing is found.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import ROOT

FIGURES = ROOT / "docs" / "capacity.json"
# Steps whose work goes with the footage's length; all others go with its clips.
BY_MINUTE = ("perception", "source_video", "ego_motion", "conflict_measures", "near_miss_events")
SECONDS_A_DAY = 86_400.0


@dataclass(frozen=True)
class UnitCosts:
    """Measured.

    Attributes:
        video_cpu_sec: CPU of a run in which nothing is found
        minute_cpu_sec: more CPU for each minute of footage
        clip_cpu_sec: more CPU for each clip
        clip_mb: media of a clip: evidence, annotated copy, its part of the report
        table_kb_a_minute: all tables together
        database_kb: what a run adds to PostgreSQL, log and pictures included
        kept_database_kb: what stays of it once the log is pruned and without pictures
    """

    video_cpu_sec: float
    minute_cpu_sec: float
    clip_cpu_sec: float
    clip_mb: float
    table_kb_a_minute: float
    database_kb: float
    kept_database_kb: float
    event_rows: int
    files: int
    reads: int


def unit_costs(figures: Mapping[str, Any], footage: str) -> UnitCosts:
    """The unit costs on one of the measured pieces of footage: the slopes between its two lengths."""
    runs = figures["unit"]["runs"]
    empty = next(run for name, run in runs.items() if name == "nothing to find")
    short, long = sorted(
        (run for name, run in runs.items() if name.startswith(footage)), key=lambda run: run["footage_sec"]
    )
    minutes = (long["footage_sec"] - short["footage_sec"]) / 60
    by_minute = sum(long["cpu_sec"].get(step, 0.0) - short["cpu_sec"].get(step, 0.0) for step in BY_MINUTE)
    fixed = sum(empty["cpu_sec"].values())
    # What is left of the short run without its minutes and the fixed part went into its clips.
    clips = sum(
        sec - empty["cpu_sec"].get(step, 0.0) for step, sec in short["cpu_sec"].items() if step not in BY_MINUTE
    )
    return UnitCosts(
        video_cpu_sec=fixed,
        minute_cpu_sec=by_minute / minutes,
        clip_cpu_sec=clips / short["clips"],
        clip_mb=sum(short["media_mb"].values()) / short["clips"],
        table_kb_a_minute=(long["tables_kb"] - empty["tables_kb"]) / (long["footage_sec"] / 60),
        database_kb=short["database_kb"],
        kept_database_kb=figures["scale"]["kept_kb_a_video"],
        event_rows=short["event_rows"],
        files=short["table_files"] + short["media_files"],
        reads=short["loaded_inputs"],
    )


@dataclass(frozen=True)
class Line:
    """One result: `what`, how it comes about (`how`), `value` in `unit`."""

    what: str
    how: str
    value: float
    unit: str


def needs(assumed: Mapping[str, float], unit: UnitCosts) -> list[Line]:
    """A day of the fleet. `assumed`: the names of docs/capacity.json, in their units."""
    a = assumed
    hours = a["cars"] * a["hours_a_day"]
    videos = hours / a["hours_a_video"]
    clips = videos * a["clips_a_video"]
    pixels = a["pixels_a_frame"] / a["measured_pixels_a_frame"]
    cpu_sec = {
        "runs": videos * unit.video_cpu_sec,
        "footage": hours * 60 * (unit.minute_cpu_sec + a["decode_cpu_sec_a_minute"] * (pixels - 1)),
        "clips": clips * unit.clip_cpu_sec,
    }
    cpu_hours = sum(cpu_sec.values()) / 3600
    cores = cpu_hours / a["night_hours"] / a["utilisation"]
    source_tb = hours * 3600 * a["source_mbit_s"] / 8 / 1e6
    clip_tb, table_tb = clips * unit.clip_mb / 1e6, hours * 60 * unit.table_kb_a_minute / 1e9
    answers = clips * a["judged_share"] * a["answers_a_clip"]
    made = clips * a["predicted_share"] * a["videos_a_predicted_clip"]
    return [
        Line("footage", "cars x hours_a_day", hours, "h"),
        Line("videos (partitions, runs)", "footage / hours_a_video", videos, ""),
        Line("clips", "videos x clips_a_video", clips, ""),
        Line("CPU for runs", "videos x CPU a video", cpu_sec["runs"] / 3600, "core-h"),
        Line(
            "CPU for footage",
            "minutes x (CPU a minute + decoding the larger picture)",
            cpu_sec["footage"] / 3600,
            "core-h",
        ),
        Line("CPU for clips", "clips x CPU a clip", cpu_sec["clips"] / 3600, "core-h"),
        Line("CPU together", "", cpu_hours, "core-h"),
        Line("cores, if a night does a day", "CPU / night_hours / utilisation", cores, "cores"),
        Line("answers of Reason 2", "clips x judged_share x answers_a_clip", answers, ""),
        Line("GPU, Reason 2", "answers x sec_an_answer", answers * a["sec_an_answer"] / 3600, "GPU-h"),
        Line("videos of Predict 2", "clips x predicted_share x videos_a_predicted_clip", made, ""),
        Line("GPU, Predict 2", "videos x sec_a_made_video", made * a["sec_a_made_video"] / 3600, "GPU-h"),
        Line(
            "GPUs, if a night does a day",
            "GPU / night_hours / utilisation",
            (answers * a["sec_an_answer"] + made * a["sec_a_made_video"]) / 3600 / a["night_hours"] / a["utilisation"],
            "GPUs",
        ),
        Line("footage to keep", "footage x source_mbit_s", source_tb, "TB"),
        Line("clips, annotated clips, reports", "clips x MB a clip", clip_tb, "TB"),
        Line("tables", "minutes x kB a minute", table_tb, "TB"),
        Line(
            "network, bytes to workers",
            "footage to keep x reads_of_footage, in night_hours",
            source_tb * a["reads_of_footage"] * 8e6 / (a["night_hours"] * 3600) / 1e3,
            "Gbit/s",
        ),
        Line("S3 PUT", "videos x files a video (clips scaled)", videos * _files(unit, a), ""),
        Line("S3 GET", "videos x tables read a video", videos * unit.reads, ""),
        Line("PostgreSQL, before pruning", "videos x kB a video", videos * unit.database_kb / 1e6, "GB"),
        Line("PostgreSQL, after pruning", "videos x kB a video", videos * unit.kept_database_kb / 1e6, "GB"),
        Line("event-log rows", "videos x rows a video", videos * unit.event_rows, ""),
        Line("days until 100,000 partitions", "100,000 / videos", 100_000 / videos, "days"),
        Line(
            "instances, to keep partitions for keep_days",
            "videos x keep_days / 100,000",
            videos * a["keep_days"] / 100_000,
            "",
        ),
    ]


def _files(unit: UnitCosts, assumed: Mapping[str, float]) -> float:
    return unit.files / assumed["measured_clips_a_video"] * assumed["clips_a_video"]


def night_hours(videos: int, workers: int, unit: UnitCosts, minutes_a_video: float, clips_a_video: float) -> float:
    """How long `workers` (a core each) take for `videos` that all wait at its beginning."""
    video_sec = unit.video_cpu_sec + minutes_a_video * unit.minute_cpu_sec + clips_a_video * unit.clip_cpu_sec
    return -(-videos // workers) * video_sec / 3600


def figures(path: Path = FIGURES) -> dict[str, Any]:
    """The data file."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def assumptions(data: Mapping[str, Any]) -> dict[str, float]:
    """The assumptions' values by name."""
    return {name: float(entry["value"]) for name, entry in data["assumed"].items()}


def main() -> None:
    data = figures()
    assumed = assumptions(data)
    for argument in sys.argv[1:]:
        name, _, value = argument.partition("=")
        if name not in assumed:
            raise SystemExit(f"{name!r} is none of {', '.join(assumed)}")
        assumed[name] = float(value)
    for line in needs(assumed, unit_costs(data, data["unit"]["taken"])):
        print(f"{line.what:<44} {line.value:>16,.1f} {line.unit:<8} {line.how}")


if __name__ == "__main__":
    main()
