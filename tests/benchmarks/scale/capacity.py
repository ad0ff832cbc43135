"""What a fleet needs a day: arithmetic on assumptions and on measured unit costs, both out of docs/capacity.json.

    python -m tests.benchmarks.scale.capacity                    the fleet of docs/capacity.md
    python -m tests.benchmarks.scale.capacity cars=200 hours_a_day=8
    python -m tests.benchmarks.scale.capacity --take FILE        the figures of a run of the benchmark into the data
    python -m tests.benchmarks.scale.capacity --write            docs/capacity.md and its picture anew

Costs are taken to be linear: so much a run, a minute of footage, a clip.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.measure import ROOT

FIGURES = ROOT / "docs" / "capacity.json"
# Steps whose work goes with the footage's length; that of the pass is in "pass_cpu_sec_a_minute", at its picture size.
BY_MINUTE = ("source_video", "conflict_measures", "near_miss_events")
# Steps that had nothing to do or wrote a row a clip: what a step costs whatever it does.
IDLE = ("verified_events", "saliency_maps", "shareable_clips", "corrected_severities", "severity_ranking")


@dataclass(frozen=True)
class UnitCosts:
    """Attributes:
    step_cpu_sec: CPU of a step that does next to nothing; a run is `steps` of them
    minute_cpu_sec: more CPU for each minute of footage
    clip_cpu_sec: more CPU for each clip
    decode_cpu_sec: of a minute, decoding alone, at the measured picture size
    clip_mb: media of a clip: evidence, annotated copy, its part of the report
    table_kb_a_minute: all tables together
    database_kb: what a run adds to PostgreSQL; `pruned_kb`: without its log; `bare_kb`: without pictures either
    """

    step_cpu_sec: float
    steps: int
    minute_cpu_sec: float
    clip_cpu_sec: float
    decode_cpu_sec: float
    clip_mb: float
    table_kb_a_minute: float
    database_kb: float
    pruned_kb: float
    bare_kb: float
    event_rows: int
    loaded_inputs: int

    @property
    def video_cpu_sec(self) -> float:
        """CPU of a run in which nothing is found."""
        return self.step_cpu_sec * self.steps


def unit_costs(measured: Mapping[str, Any]) -> UnitCosts:
    """From the figures of one measured run and those taken from other pages."""
    cpu_sec: Mapping[str, float] = measured["cpu_sec"]
    minutes, clips = measured["footage_sec"] / 60, measured["clips"]
    idle = median(cpu_sec[name] for name in IDLE)
    by_clip = [name for name in cpu_sec if name not in (*BY_MINUTE, "perception", "verified_events")]
    return UnitCosts(
        step_cpu_sec=idle,
        steps=len(cpu_sec),
        minute_cpu_sec=measured["pass_cpu_sec_a_minute"] + sum(cpu_sec[name] - idle for name in BY_MINUTE) / minutes,
        clip_cpu_sec=sum(cpu_sec[name] - idle for name in by_clip) / clips,
        decode_cpu_sec=measured["decode_cpu_sec_a_minute"],
        clip_mb=measured["media_mb"] / clips,
        table_kb_a_minute=measured["tables_kb"] / minutes,
        **{name: measured[name] for name in ("database_kb", "pruned_kb", "bare_kb", "event_rows", "loaded_inputs")},
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
    larger = a["pixels_a_frame"] / a["measured_pixels_a_frame"] - 1
    run_h = videos * unit.video_cpu_sec / 3600
    footage_h = hours * 60 * (unit.minute_cpu_sec + unit.decode_cpu_sec * larger) / 3600
    clip_h = clips * unit.clip_cpu_sec / 3600
    cpu_h = run_h + footage_h + clip_h
    answers = clips * a["judged_share"] * a["answers_a_clip"]
    made = clips * a["predicted_share"]
    gpu_h = (answers * a["sec_an_answer"] + made * a["sec_a_made_video"]) / 3600
    source_tb = hours * 3600 * a["source_mbit_s"] / 8 / 1e6
    night = a["night_hours"] * a["utilisation"]
    return [
        Line("footage", "cars x hours_a_day", hours, "h"),
        Line("videos (partitions, runs)", "footage / hours_a_video", videos, ""),
        Line("clips", "videos x clips_a_video", clips, ""),
        Line("CPU of steps as such", "videos x steps x CPU of an idle step", run_h, "core-h"),
        Line("CPU of footage", "minutes x (CPU a minute + decoding the larger picture)", footage_h, "core-h"),
        Line("CPU of clips", "clips x CPU a clip", clip_h, "core-h"),
        Line("cores, a day's footage in a night", "CPU / night_hours / utilisation", cpu_h / night, "cores"),
        Line("answers of Reason 2", "clips x judged_share x answers_a_clip", answers, ""),
        Line("videos of Predict 2", "clips x predicted_share", made, ""),
        Line("GPU", "answers x sec_an_answer + videos x sec_a_made_video", gpu_h, "GPU-h"),
        Line("GPUs, a day's footage in a night", "GPU / night_hours / utilisation", gpu_h / night, "GPUs"),
        Line("footage to keep", "footage x source_mbit_s", source_tb, "TB"),
        Line("clips, annotated clips, reports", "clips x MB a clip", clips * unit.clip_mb / 1e6, "TB"),
        Line("tables", "minutes x kB a minute", hours * 60 * unit.table_kb_a_minute / 1e6, "GB"),
        Line(
            "network to the workers",
            "footage to keep x reads_of_footage / night_hours",
            source_tb * a["reads_of_footage"] * 8e3 / (a["night_hours"] * 3600),
            "Gbit/s",
        ),
        Line("tables read (S3 GET)", "videos x inputs loaded a run", videos * unit.loaded_inputs, ""),
        Line("rows of the event log", "videos x rows a run", videos * unit.event_rows, ""),
        Line("PostgreSQL, as written", "videos x kB a run", videos * unit.database_kb / 1e6, "GB"),
        Line("PostgreSQL, logs pruned", "videos x kB a run", videos * unit.pruned_kb / 1e6, "GB"),
        Line("PostgreSQL, without pictures", "videos x kB a run", videos * unit.bare_kb / 1e6, "GB"),
        Line("days until 100,000 partitions", "100,000 / videos", 100_000 / videos, "days"),
    ]


def night_hours(videos: int, workers: int, unit: UnitCosts, minutes_a_video: float, clips_a_video: float) -> float:
    """How long `workers`, a core each, take for `videos` that all wait at its beginning; what waits for one another
    (queue, database, pictures from afar) is not in it."""
    video_sec = unit.video_cpu_sec + minutes_a_video * unit.minute_cpu_sec + clips_a_video * unit.clip_cpu_sec
    return -(-videos // workers) * video_sec / 3600


def figures(path: Path = FIGURES) -> dict[str, Any]:
    """The data file."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def assumptions(data: Mapping[str, Any]) -> dict[str, float]:
    """The assumptions' values by name."""
    return {name: float(entry["value"]) for name, entry in data["assumed"].items()}


def medians(measured: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a question and size out of its runs, in the order in which they were measured."""
    runs: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for one in measured:
        runs.setdefault((one["videos"], one["what"]), []).append(one)
    found = []
    for (videos, what), some in runs.items():
        row = {"videos": videos, "what": what, "runs": len(some)}
        for name in ("wall_sec", "cpu_sec", "peak_mb"):
            if some[0].get(name) is not None:
                row[name] = round(median(one[name] for one in some), 2)
        if any("refused" in one for one in some):
            row["refused"] = True
        found.append(row)
    return found


def take(data: dict[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with what the benchmark found."""
    return data | {"facts": kept["facts"], "scale": medians(kept["measured"]), "sizes": kept["sizes"]}


def main() -> None:
    data = figures()
    if sys.argv[1:] == ["--write"]:
        from tests.benchmarks.scale.growth import growth_png
        from tests.benchmarks.scale.page import PAGE, render

        PAGE.write_text(render(data), encoding="utf-8")
        PAGE.with_suffix(".png").write_bytes(growth_png(data["scale"]))
        return
    if sys.argv[1:2] == ["--take"]:
        taken = take(data, json.loads(Path(sys.argv[2]).read_text("utf-8")))
        FIGURES.write_text(json.dumps(taken, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    assumed = assumptions(data)
    for argument in sys.argv[1:]:
        name, _, value = argument.partition("=")
        if name not in assumed:
            raise SystemExit(f"{name!r} is none of {', '.join(assumed)}")
        assumed[name] = float(value)
    for line in needs(assumed, unit_costs(data["measured"])):
        print(f"{line.what:<36} {line.value:>16,.1f} {line.unit:<8} {line.how}")


if __name__ == "__main__":
    main()
