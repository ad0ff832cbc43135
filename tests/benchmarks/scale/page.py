"""docs/capacity.md, from docs/capacity.json: what was measured at which size, and a fleet's day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.benchmarks.measure import ROOT
from tests.benchmarks.scale.capacity import assumptions, needs, night_hours, unit_costs

PAGE = ROOT / "docs" / "capacity.md"
NIGHT_VIDEOS, NIGHT_WORKERS = (100, 1_000, 10_000), (2, 16, 128)


def render(data: Mapping[str, Any]) -> str:
    """The page."""
    unit, assumed = unit_costs(data["measured"]), assumptions(data)
    minutes, clips = assumed["hours_a_video"] * 60, assumed["clips_a_video"]
    parts = [
        data["text"]["opening"],
        "## What grows with the history",
        data["text"]["history"],
        _scale(data["scale"]),
        data["text"]["growth"],
        "## What was slow, and what was done",
        _table(("what", "measured", "done"), data["mended"]),
        "## Unit costs",
        data["text"]["unit"],
        _table(
            ("what", "value"),
            [
                ("a step that does next to nothing", f"{unit.step_cpu_sec:.2f} CPU s"),
                (f"a run in which nothing is found ({unit.steps} steps)", f"{unit.video_cpu_sec:.1f} CPU s"),
                ("a minute of footage at 1280x720", f"{unit.minute_cpu_sec:.1f} CPU s"),
                ("a clip (cut, judge, annotate, report)", f"{unit.clip_cpu_sec:.2f} CPU s, {unit.clip_mb:.1f} MB"),
                ("tables of a minute", f"{unit.table_kb_a_minute:.0f} kB"),
                (
                    "PostgreSQL, a run as written",
                    f"{unit.database_kb:,.0f} kB, {unit.event_rows} rows of the event log",
                ),
                ("the same, its log pruned", f"{unit.pruned_kb:,.0f} kB"),
                ("the same, without pictures, at 10,000 videos", f"{unit.bare_kb:,.0f} kB"),
                ("inputs loaded in a run", f"{unit.loaded_inputs}"),
            ],
        ),
        "## A fleet of 10,000 cars, a day",
        data["text"]["fleet"],
        _table(
            ("assumed", "value", "why"),
            [
                (name, f"{entry['value']:g} {entry['unit']}".strip(), entry["why"])
                for name, entry in data["assumed"].items()
            ],
        ),
        _table(
            ("a day", "how", "value"),
            [(line.what, line.how, f"{line.value:,.1f} {line.unit}".strip()) for line in needs(assumed, unit)],
        ),
        data["text"]["design"],
        "## How long a night takes",
        data["text"]["night"],
        _table(
            ("videos", *(f"{workers} workers" for workers in NIGHT_WORKERS)),
            [
                (
                    f"{videos:,}",
                    *(f"{night_hours(videos, workers, unit, minutes, clips):,.1f} h" for workers in NIGHT_WORKERS),
                )
                for videos in NIGHT_VIDEOS
            ],
        ),
        "## The database grows",
        data["text"]["database"],
        "## Not measured",
        data["text"]["not_measured"],
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _scale(rows: Sequence[Mapping[str, Any]]) -> str:
    sizes = sorted({row["videos"] for row in rows})
    whats = list(dict.fromkeys(row["what"] for row in rows))
    found = {(row["what"], row["videos"]): row for row in rows}
    return _table(
        ("CPU s (wall s)", *(f"{size:,} videos" for size in sizes), "growth"),
        [
            (
                what,
                *(f"{found[what, size]['cpu_sec']:.2f} ({found[what, size]['wall_sec']:.1f})" for size in sizes),
                f"x {found[what, sizes[-1]]['cpu_sec'] / max(found[what, sizes[0]]['cpu_sec'], 0.01):.1f}",
            )
            for what in whats
        ],
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
