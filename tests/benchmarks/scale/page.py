"""docs/capacity.md, from docs/capacity.json: what was measured at which size, and a fleet's day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tests.benchmarks.measure import ROOT
from tests.benchmarks.scale.capacity import assumptions, needs, night_hours, unit_costs

PAGE = ROOT / "docs" / "capacity.md"
COPIED = ("event_logs", "asset_event_tags", "asset_check_executions", "runs", "run_tags")
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
        "![CPU seconds of each question over the number of videos](capacity.png)",
        data["text"]["growth"],
        _table(
            ("largest resident memory, MB", *_heads(data["scale"])),
            _rows(data["scale"], "peak_mb", lambda mb: f"{mb:,.0f}"),
        ),
        data["text"]["memory"],
        _database(data["sizes"]),
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
                ("the same, without pictures and long tables", f"{unit.bare_kb:,.0f} kB"),
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
    sizes = _sizes(rows)
    found = {(row["what"], row["videos"]): row for row in rows}
    lines = []
    for what in dict.fromkeys(row["what"] for row in rows):
        measured = [found.get((what, size)) for size in sizes]
        answered = [row for row in measured if row is not None and "refused" not in row]
        whole = len(answered) == len(sizes)
        growth = f"x {answered[-1]['cpu_sec'] / max(answered[0]['cpu_sec'], 0.01):.1f}" if whole else "-"
        lines.append((what, *map(_cost, measured), growth))
    return _table(("CPU s (wall s)", *_heads(rows), "growth"), lines)


def _cost(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    cost = f"{row['cpu_sec']:.2f} ({row['wall_sec']:.1f})"
    return f"**refused** after {cost}" if "refused" in row else cost


def _sizes(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    return sorted({row["videos"] for row in rows})


def _heads(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{size:,} videos" for size in _sizes(rows)]


def _rows(rows: Sequence[Mapping[str, Any]], name: str, shown: Callable[[float], str]) -> list[tuple[str, ...]]:
    """A line for each question that has the figure `name` at some size."""
    found = {(row["what"], row["videos"]): row[name] for row in rows if row.get(name) is not None}
    return [
        (what, *(shown(found[what, size]) if (what, size) in found else "-" for size in _sizes(rows)))
        for what in dict.fromkeys(what for what, _ in found)
    ]


def _database(sizes: Mapping[str, Mapping[str, float]]) -> str:
    heads = [f"{int(size):,} videos" for size in sizes]
    lines = [
        (name, *(f"{found.get(name, 0) / 1e6:,.0f}" for found in sizes.values())) for name in (*COPIED, "database")
    ]
    return _table(("PostgreSQL, MB with indexes", *heads), lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
