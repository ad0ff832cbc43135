"""The tables of `choices` in docs/performance.md."""

from __future__ import annotations

import math
from typing import Any

from tests.benchmarks.choices import SEED_READINGS

INCIDENTS = ("merge_near_miss_horn", "intersection_crash")  # the others are quiet


def choices_tables(facts: dict[str, Any]) -> list[str]:
    """Two sections, from what the job `choices` found."""
    return [_flow(facts["flow"]), _detections(facts["detections"])]


def _flow(rows: list[dict[str, Any]]) -> str:
    columns = [(where, reading) for where in ("all", "driving") for reading in SEED_READINGS]
    lines = [
        "## How cheaper flow ranks the windows\n",
        "Spearman of the means of windows of half a second, all videos together, with Farneback at 480 px short edge "
        "on every third frame: chained (1st with 4th with 7th), or each third with its neighbour. *Driving*: without "
        "the fixed camera.\n",
        f"| | ms a pair | {' | '.join(f'{where}, {reading}' for where, reading in columns)} |",
        f"|---|---|{'---|' * len(columns)}",
    ]
    for row in rows:
        name = f"the seed's, {row['variant']}" if row["variant"] in SEED_READINGS else row["variant"]
        ranks = " | ".join(f"{row[f'{where} {reading}']:.3f}" for where, reading in columns)
        lines.append(f"| {name} | {row['ms_a_pair']:.2f} | {ranks} |")
    return "\n".join([*lines, ""])


def _detections(rows: list[dict[str, Any]]) -> str:
    shown = [name for name in INCIDENTS if name in rows[0]["videos"]]
    lines = [
        "## What fewer detections lose\n",
        "The same detections of the test videos, fewer of them: least time to contact, near misses 1.0 and v2 of the "
        "two incidents; v2 of the quiet videos. *None where no patch changed*: the last boxes stand while no 32 px of "
        "the detector's picture (416 px) changed by more, on average.\n",
        f"| | frames looked at | {' | '.join(f'{name}: TTC s; 1.0; v2' for name in shown)} | quiet: v2 |",
        f"|---|---|{'---|' * (len(shown) + 1)}",
    ]
    for row in rows:
        cells = [_incident(row["videos"][name]) for name in shown]
        quiet = sum(sum(found["near_misses_v2"].values()) for name, found in row["videos"].items() if name not in shown)
        lines.append(f"| {row['variant']} | {row['looked']} | {' | '.join(cells)} | {quiet} |")
    return "\n".join([*lines, ""])


def _incident(found: dict[str, Any]) -> str:
    ttc_sec = found["min_ttc_sec"]
    least = "cannot say" if ttc_sec is None else "none" if math.isinf(ttc_sec) else f"{ttc_sec:.2f}"
    levels = ", ".join(f"{count} {level}" for level, count in sorted(found["near_misses_v2"].items()))
    return f"{least}; {found['near_misses']}; {levels or 'none'}"
