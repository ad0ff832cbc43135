"""The seven pages as HTML. What a page says is computed here; how it says it stands in the templates.

Everything from the data is escaped by Jinja; figures travel as JSON that cannot leave its element. The pages' policy
allows the site's own scripts and media and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined

from autorisk_dagster import tables
from autorisk_dagster.reporting import words
from autorisk_dagster.reporting.dashboard import figures, pipeline_picture
from autorisk_dagster.reporting.dashboard.clip_records import media_url
from autorisk_dagster.reporting.dashboard.fleet_data import FleetData
from autorisk_dagster.reporting.dashboard.summaries import Estimate, VideoSummary, groups_of, rate_of, severity_counts
from autorisk_dagster.reporting.embedding import json_in_html
from autorisk_dagster.reporting.severity_plots import NAMES
from autorisk_dagster.severity.adoption import NOT_HELD_OUT
from autorisk_dagster.severity.adoption import STAGES as ADOPTION_STAGES

PAGES: Final = (
    ("index.html", "Overview"),
    ("clips.html", "Clips"),
    ("search.html", "Search"),
    ("evaluation.html", "Evaluation"),
    ("signals.html", "Signals"),
    ("depth.html", "Technical depth"),
    ("compare.html", "Comparison"),
)
WORST_CLIPS: Final = 10
LISTED_VIDEOS: Final = 200
GALLERY: Final = 60
LISTED_ERRORS: Final = 40
STAGES: Final = ("majority", "reasoner", "corrected", "difference")
BEFORE_AFTER: Final = (
    *("accuracy", "accuracy_of_judged", "macro_f1", "quadratic_kappa", "mean_absolute_error", "mean_signed_error"),
)
SEARCHED: Final = ("accuracy", "macro_f1")  # what the search for thresholds is judged by
OVERALL: Final = ("accuracy", "macro_f1", "quadratic_kappa")


@dataclass(frozen=True)
class SiteContext:
    """What the pages are rendered from.

    Attributes:
        rows: the list of all clips, worst first
        fleet: unpartitioned tables by asset, only those there are
        stale: tables of another version, which were left out
        chunks: names of the chunks that pages load, by what they hold
        static: addresses of style and scripts
    """

    data: FleetData
    videos: Sequence[VideoSummary]
    rows: Sequence[dict[str, Any]]
    fleet: Mapping[str, pl.DataFrame]
    stale: Sequence[str]
    chunks: Mapping[str, str]
    static: Mapping[str, str]


def render(context: SiteContext) -> Iterator[tuple[str, str]]:
    """Name and HTML of each page."""
    environment = Environment(
        loader=PackageLoader("autorisk_dagster.reporting.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": words.clock,
        "ttc": words.ttc_words,
        "quantity": words.quantity,
        "plain": figures.words_of,
        "estimate": _estimate_words,
        "figure_value": _figure_words,
    }
    environment.globals |= {"counted": words.counted, "media_url": media_url, "rows_of": _rows_of}
    views = {
        "index.html": _overview,
        "clips.html": _nothing_more,
        "search.html": _nothing_more,
        "evaluation.html": _evaluation,
        "signals.html": _signals,
        "depth.html": _depth,
        "compare.html": _comparison,
    }
    for name, title in PAGES:
        view = views[name](context)
        drawn = view.pop("figures", {})
        yield (
            name,
            environment.get_template(f"{name}.j2").render(
                page=name,
                title=title,
                pages=PAGES,
                static=context.static,
                chunks=context.chunks,
                generated_at=context.data.generated_at,
                stale=context.stale,
                embedder=context.data.embedder.name if context.data.embedder else None,
                clips=len(context.rows),
                severities=[*reversed(tables.SEVERITIES), words.NOT_JUDGED],
                figures={key: json_in_html(figure) for key, figure in drawn.items()},
                **view,
            ),
        )


def _nothing_more(context: SiteContext) -> dict[str, Any]:  # noqa: ARG001 - these pages are made by their scripts
    return {}


def _overview(context: SiteContext) -> dict[str, Any]:
    counts = severity_counts(context.rows)
    looked_for = [video for video in context.videos if video.near_misses is not None]
    finite = [row for row in context.rows if row["ttc"] is not None and row["ttc"] != float("inf")]
    worst_videos = sorted(context.videos, key=_worst_first)
    drawn = {}
    if context.rows:
        drawn = {
            "severities": figures.severity_figure(counts),
            "timeline": figures.timeline_figure([video for video in worst_videos if video.rows]),
        }
    return {
        "figures": drawn,
        "registered": len(context.data.video_ids),
        "videos": len(context.videos),
        "hours": sum(video.duration_sec for video in context.videos) / 3600,
        "counts": counts,
        "near_misses": sum(video.near_misses or 0 for video in looked_for) if looked_for else None,
        "near_misses_an_hour": rate_of(
            sum(video.near_misses or 0 for video in looked_for),
            sum(video.duration_sec for video in looked_for) / 3600,
        ),
        "lowest": min(finite, key=lambda row: row["ttc"], default=None),
        "worst": context.rows[:WORST_CLIPS],
        "picture": pipeline_picture.draw(context.data.pipeline),
        "with_clips": sum(1 for video in context.videos if video.rows),
        "timeline_videos": figures.MAX_TIMELINE_VIDEOS,
        "listed": worst_videos[:LISTED_VIDEOS],
        "severity_counts": severity_counts,
        "meanings": words.SEVERITY_MEANING,
    }


def _worst_first(video: VideoSummary) -> tuple[Any, ...]:
    counts = severity_counts(video.rows)
    return (*(-counts[name] for name in reversed(tables.SEVERITIES)), video.video_id)


def _evaluation(context: SiteContext) -> dict[str, Any]:
    metrics = context.fleet.get("eval_metrics")
    errors = context.fleet.get("error_analysis")
    wrong = errors.filter(pl.col("verdict") != "right") if errors is not None else None
    blocks = []
    drawn: dict[str, Any] = {}
    for origin, table in _by_origin(metrics):
        key = origin or "all"
        confusions = table.filter(pl.col("metric") == "confusion")
        matrices = []
        for (stage,), rows in confusions.group_by("stage", maintain_order=True):
            counts, given = _confusion(rows)
            drawn[f"confusion-{key}-{stage}"] = figures.confusion_figure(counts, given)
            matrices.append((str(stage), counts, given))
        overall = table.filter(pl.col("class").is_null() & pl.col("metric").is_in(OVERALL))
        if overall.filter(pl.col("value").is_not_null()).height:
            drawn[f"stages-{key}"] = figures.stages_figure(
                overall.filter(pl.col("stage").is_in(["majority", "reasoner", "corrected"])), OVERALL
            )
        blocks.append(
            {
                "origin": origin,
                "key": key,
                "matrices": matrices,
                "before_after": _before_after(table),
                "overall": table.filter(pl.col("class").is_null() & (pl.col("metric") != "checklist")),
                "by_class": table.filter(
                    pl.col("class").is_not_null() & ~pl.col("metric").is_in(["confusion", "checklist"])
                ),
                "checklist": table.filter(pl.col("metric") == "checklist"),
            }
        )
    judges, drawn_of_judges = _judges(context.fleet.get("correction_parameters"))
    return {
        "figures": drawn | drawn_of_judges,
        "judges": judges,
        "stages": STAGES,
        "made": metrics is not None,
        "blocks": blocks,
        "labelled": context.fleet["ground_truth"].height if "ground_truth" in context.fleet else None,
        "errors": wrong.head(LISTED_ERRORS).to_dicts() if wrong is not None else None,
        "error_count": wrong.height if wrong is not None else 0,
        "compared": errors.height if errors is not None else 0,
    }


def _judges(parameters: pl.DataFrame | None) -> tuple[list[dict[str, Any]] | None, dict[str, Any]]:
    """What the search for thresholds found, an entry a judge, and its charts; None where it was not made."""
    if parameters is None:
        return None, {}
    judges, drawn = [], {}
    for number, row in enumerate(parameters.iter_rows(named=True)):
        found = tables.frame(row["figures"], tables.figures())
        held_out = found.filter(
            (pl.col("metric") == "accuracy") & pl.col("low").is_not_null() & ~pl.col("stage").is_in(list(NOT_HELD_OUT))
        )
        key = f"judge-{number}"
        if held_out.height:
            named = held_out.with_columns(pl.col("stage").replace(NAMES))
            drawn[key] = figures.dots_figure(_dots(named, "stage"), "accuracy")
        cells = {(one["metric"], one["stage"]): one for one in found.iter_rows(named=True)}
        stages = [(stage, [cells.get((metric, stage)) for metric in SEARCHED]) for stage in ADOPTION_STAGES]
        judges.append(
            {
                **row,
                "key": key,
                "stages": [
                    (NAMES.get(stage, figures.words_of(stage)), NOT_HELD_OUT.get(stage), given)
                    for stage, given in stages
                    if any(given)
                ],
                "gains": found.filter(pl.col("metric") == "accuracy_difference"),
            }
        )
    return judges, drawn


def _before_after(table: pl.DataFrame) -> list[tuple[str, list[dict[str, Any] | None]]]:
    """A metric a row, a stage a column; None where a stage has no such figure."""
    overall = table.filter(pl.col("class").is_null())
    found = {(row["metric"], row["stage"]): row for row in overall.iter_rows(named=True)}
    rows = [(metric, [found.get((metric, stage)) for stage in STAGES]) for metric in BEFORE_AFTER]
    return [(metric, cells) for metric, cells in rows if any(cell and cell["n"] for cell in cells)]


def _confusion(rows: pl.DataFrame) -> tuple[dict[tuple[str, str], int], list[str]]:
    counts: dict[tuple[str, str], int] = {}
    for name, value in rows.select("class", "value").iter_rows():
        label, _, given = (name or "").partition(" -> ")
        counts[label, given] = int(value or 0)
    known = [*reversed(tables.SEVERITIES)]
    others = sorted({given for _, given in counts} - set(known))
    return counts, [*known, *others]


def _signals(context: SiteContext) -> dict[str, Any]:
    judged = [row for row in context.rows if row["severity"] is not None]
    cells = figures.heat_cells(judged)
    drawn: dict[str, Any] = {}
    if judged:
        drawn["heat"] = figures.heat_figure(cells, tables.SEVERITIES)
    metrics = context.fleet.get("signal_metrics")
    ablation = context.fleet.get("ablation")
    if metrics is not None:
        for metric, reference in (("spearman", 0.0), ("average_precision", None), ("roc_auc", 0.5)):
            rows = metrics.filter((pl.col("metric") == metric) & pl.col("value").is_not_null())
            if rows.height:
                drawn[metric] = figures.dots_figure(_dots(rows, "stage"), figures.words_of(metric), reference)
    if ablation is not None:
        rows = ablation.filter(pl.col("value").is_not_null() & ~pl.col("metric").str.ends_with("_difference"))
        for (metric,), of_metric in rows.group_by("metric", maintain_order=True):
            drawn[f"ablation-{metric}"] = figures.dots_figure(
                _dots(of_metric, "stage"), figures.words_of(str(metric)), None
            )
    return {
        "figures": drawn,
        "cells": list(zip(figures.SIGNALS, cells, strict=True)),
        "severity_names": tables.SEVERITIES,
        "judged": len(judged),
        "metrics": metrics,
        "against_labels": any(name in drawn for name in ("spearman", "average_precision", "roc_auc")),
        "ablation": ablation,
        "ablation_figures": [name for name in drawn if name.startswith("ablation-")],
    }


def _dots(rows: pl.DataFrame, name: str) -> list[tuple[str, Estimate]]:
    several = rows["label_origin"].n_unique() > 1
    return [
        (
            f"{row[name]} ({row['label_origin']})" if several else str(row[name]),
            Estimate(row["value"], row["low"], row["high"], row["n"] or 0),
        )
        for row in rows.iter_rows(named=True)
    ]


def _depth(context: SiteContext) -> dict[str, Any]:
    drawn: dict[str, Any] = {}
    by_severity = [(name, sorted(figures.finite_ttc(context.rows, name))) for name in reversed(tables.SEVERITIES)]
    if any(values for _, values in by_severity):
        drawn["ttc"] = figures.ttc_by_severity_figure(context.rows)
    calibration = context.fleet.get("calibration")
    grounding = context.fleet.get("grounding_metrics")
    if calibration is not None:
        bins = calibration.filter((pl.col("metric") == "reliability") & pl.col("value").is_not_null())
        if bins.height:
            drawn["reliability"] = figures.reliability_figure(bins)
    if grounding is not None:
        rows = grounding.filter((pl.col("metric") == "agreement") & pl.col("value").is_not_null())
        if rows.height:
            drawn["grounding"] = figures.dots_figure(_dots(rows, "stage"), "agreement of words and signal", None)
    return {
        "figures": drawn,
        "ttc_rows": [
            {
                "severity": name,
                "n": len(values),
                "median": median(values) if values else None,
                "lowest": values[0] if values else None,
                "nothing": sum(1 for r in context.rows if r["severity"] == name and r["ttc"] == float("inf")),
                "unknown": sum(1 for r in context.rows if r["severity"] == name and r["ttc"] is None),
            }
            for name, values in by_severity
        ],
        "calibration": calibration,
        "grounding": grounding,
        "gallery": [row for row in context.rows if row["saliency"]][:GALLERY],
    }


def _comparison(context: SiteContext) -> dict[str, Any]:
    ways = (
        ("profile", "By profile", lambda video: video.profile),
        ("reasoner", "By what judged", lambda video: video.reasoner or "nothing was judged"),
        ("source", "By video", lambda video: video.file_name),
    )
    drawn: dict[str, Any] = {}
    tables_of = []
    for key, title, name_of in ways:
        groups = groups_of(context.videos, name_of)
        if len(groups) > 1 and any(group.near_misses_an_hour.value is not None for group in groups):
            drawn[key] = figures.groups_figure(groups[:30])
        tables_of.append((key, title, groups[:LISTED_VIDEOS], len(groups)))
    return {"figures": drawn, "ways": tables_of}


def _by_origin(table: pl.DataFrame | None) -> list[tuple[str | None, pl.DataFrame]]:
    if table is None:
        return []
    grouped = table.group_by("label_origin", maintain_order=True)
    return [(str(origin) if origin else None, rows) for (origin,), rows in grouped]


def _rows_of(table: pl.DataFrame) -> list[dict[str, Any]]:
    return table.to_dicts()


def _estimate_words(found: Estimate, decimals: int = 2) -> str:
    if found.value is None:
        return "not measured"
    return f"{found.value:.{decimals}f} ({found.low:.{decimals}f} to {found.high:.{decimals}f})"


def _figure_words(row: Mapping[str, Any]) -> str:
    """Value and interval of a row of a table of figures."""
    if row["value"] is None:
        return "cannot be said"
    value = f"{row['value']:.3g}"
    return value if row["low"] is None or row["high"] is None else f"{value} ({row['low']:.3g} to {row['high']:.3g})"
