"""Evaluation: how good the severities, words, confidences and signals are, by what people labelled."""

from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets.label_protocol import labels_frozen_result, labels_frozen_spec, outputs_first_made
from assets.placement import CPU
from assets.tabulate import OWNERS, TABLE, code_version, failure, markdown_table, picture, schema_check, table_result
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.io import FleetTable
from autorisk_dagster.partitions import videos

if TYPE_CHECKING:
    from autorisk_dagster.evaluation.labelled_clips import EvaluatedClips

GROUP = "evaluation"


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name=GROUP,
    op_tags=CPU,
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(1),
    check_specs=[
        schema_check("explanation_checklist"),
        dg.AssetCheckSpec("five_items_a_judged_clip", asset="explanation_checklist", blocking=True),
    ],
)
def explanation_checklist(
    source_video: pl.DataFrame,
    tracks: pl.DataFrame,
    mined_clips: pl.DataFrame,
    clip_ttc: pl.DataFrame,
    conflict_measures: pl.DataFrame,
    reason_outputs: pl.DataFrame,
) -> dg.MaterializeResult:
    """What each explanation says, held against what was measured in its clip: named road users exist, the spatial
    relation holds, the prediction fits the time to contact, the action fits the severity, a cause is named.

    Each is true, false or cannot be checked, with the evidence in words; no model scores it, and no label is needed.
    """
    from autorisk_dagster.evaluation.checklist import explanation_checklist as check

    try:
        width_px = float(source_video.item(0, "width_px"))
        table = check(reason_outputs, mined_clips, tracks, conflict_measures, clip_ttc, width_px)
    except AutoRiskError as error:
        raise failure(error) from error
    judged = reason_outputs.filter(pl.col("outcome") == "severity").height
    found = (
        table.group_by("item", maintain_order=True)
        .agg(
            (pl.col("holds") == True).sum().alias("true"),  # noqa: E712 - Polars, nulls apart
            (pl.col("holds") == False).sum().alias("false"),  # noqa: E712
            pl.col("holds").null_count().alias("cannot be checked"),
        )
        .with_columns(pl.col("item").cast(pl.String))
    )
    return table_result(
        "explanation_checklist",
        table,
        {
            "explanations": judged,
            "items": dg.MetadataValue.md(markdown_table(found)),
            "not_so": dg.MetadataValue.md(
                markdown_table(table.filter(pl.col("holds").not_()).select("clip_id", "item", "evidence"))
            ),
        },
        [dg.AssetCheckResult(check_name="five_items_a_judged_clip", passed=table.height == 5 * judged)],
        preview=["clip_id", "item", "holds", "evidence"],
    )


@dg.asset(
    dagster_type=TABLE,
    group_name=GROUP,
    op_tags=CPU,
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(1),
    check_specs=[schema_check("eval_metrics"), labels_frozen_spec("eval_metrics")],
)
def eval_metrics(
    context: dg.AssetExecutionContext,
    ground_truth: pl.DataFrame,
    reason_outputs: FleetTable,
    corrected_severities: FleetTable,
    clip_ttc: FleetTable,
    mined_clips: FleetTable,
    explanation_checklist: FleetTable,
) -> dg.MaterializeResult:
    """How well severities agree with labels, before and after correction, beside always saying the most frequent one:
    accuracy, macro-F1, kappa, errors in steps, per class, confusion, outcomes, checklist; each with interval and n.

    Blind labels and labels from review are kept apart. Labels frozen after the outputs they judge fail the check, and
    then every figure's note says that it is no evidence.
    """
    from autorisk_dagster.evaluation import metrics
    from autorisk_dagster.evaluation.labelled_clips import answered_clips
    from autorisk_dagster.reporting.evaluation_plots import confusion_plot, intervals_plot

    try:
        clips = _clips(ground_truth, reason_outputs, corrected_severities, clip_ttc, mined_clips)
        grouped = answered_clips(reason_outputs.rows, mined_clips.rows).select("video_id", "clip_id", "group")
        checklist = explanation_checklist.rows.join(grouped.lazy(), on=["video_id", "clip_id"], how="inner").collect()
        table = pl.concat([metrics.eval_metrics(clips.table), metrics.checklist_figures(checklist)])
    except AutoRiskError as error:
        raise failure(error) from error
    labelled = pl.col("label_origin").is_not_null()
    first_made = outputs_first_made(context.instance, reason_outputs, ground_truth)
    protocol = labels_frozen_result("eval_metrics", ground_truth, first_made)
    notes = clips.warnings()
    notes += [] if protocol.passed else ["no evidence: labels were frozen after the outputs that they judge"]
    for note in notes:
        joined = pl.concat_str([pl.lit(note), pl.col("note").replace("", None)], separator="; ", ignore_nulls=True)
        table = table.with_columns(pl.when(labelled).then(joined).otherwise(pl.col("note")).alias("note"))
    blind = table.filter(pl.col("label_origin") == "label_file")
    return table_result(
        "eval_metrics",
        table,
        {
            **reason_outputs.coverage(),
            **clips.said(),
            "notes": notes,
            "blind_labels": dg.MetadataValue.md(_headlines(blind)),
            "labels_from_review": dg.MetadataValue.md(_headlines(table.filter(pl.col("label_origin") == "review"))),
            "checklist": dg.MetadataValue.md(_shown(table.filter(pl.col("metric") == "checklist"))),
            **_pictures(confusion=confusion_plot(blind), intervals=intervals_plot(blind)),
        },
        [protocol],
    )


@dg.asset(
    dagster_type=TABLE,
    group_name=GROUP,
    op_tags=CPU,
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(1),
    check_specs=[schema_check("error_analysis")],
)
def error_analysis(
    ground_truth: pl.DataFrame,
    reason_outputs: FleetTable,
    corrected_severities: FleetTable,
    clip_ttc: FleetTable,
    mined_clips: FleetTable,
) -> dg.MaterializeResult:
    """Every labelled clip with what was said, which rule changed it and what was measured, worst errors first; danger
    that was understated before danger that was overstated."""
    from autorisk_dagster.evaluation import error_analysis as errors

    try:
        clips = _clips(ground_truth, reason_outputs, corrected_severities, clip_ttc, mined_clips)
        table = errors.error_analysis(clips.table)
    except AutoRiskError as error:
        raise failure(error) from error
    verdicts = {str(name): count for name, count in table["verdict"].value_counts(sort=True).iter_rows()}
    return table_result(
        "error_analysis",
        table,
        {
            **reason_outputs.coverage(),
            **clips.said(),
            "verdicts": verdicts,
            "rules": dg.MetadataValue.md(markdown_table(errors.error_counts(table))),
        },
        preview=["clip_id", "label", "raw_severity", "severity", "rule", "verdict", "correction", "measured"],
    )


@dg.asset(
    dagster_type=TABLE,
    group_name=GROUP,
    op_tags=CPU,
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(1),
    check_specs=[schema_check("calibration")],
)
def calibration(
    ground_truth: pl.DataFrame,
    reason_outputs: FleetTable,
    corrected_severities: FleetTable,
    clip_ttc: FleetTable,
    mined_clips: FleetTable,
) -> dg.MaterializeResult:
    """Whether the measured confidence (probabilities of the severities' letters) means what it says: expected
    calibration error beside what chance gives, Brier score, reliability by bins, and a temperature where one helps on
    groups that had no say in it. A reasoner that measures no confidence gets no figure."""
    from autorisk_dagster.evaluation.calibration import calibration as measure
    from autorisk_dagster.reporting.evaluation_plots import reliability_plot

    try:
        clips = _clips(ground_truth, reason_outputs, corrected_severities, clip_ttc, mined_clips)
        table = measure(clips.table)
    except AutoRiskError as error:
        raise failure(error) from error
    blind = table.filter(pl.col("label_origin") == "label_file")
    return table_result(
        "calibration",
        table,
        {
            **reason_outputs.coverage(),
            **clips.said(),
            "figures": dg.MetadataValue.md(_shown(table.filter(pl.col("metric") != "reliability"))),
            "bins": dg.MetadataValue.md(_shown(table.filter(pl.col("metric") == "reliability"), "mean_confidence")),
            **_pictures(reliability=reliability_plot(blind)),
        },
    )


@dg.asset(
    dagster_type=TABLE,
    group_name=GROUP,
    op_tags=CPU,
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(1, "mining"),
    check_specs=[schema_check("grounding_metrics")],
)
def grounding_metrics(reason_outputs: FleetTable, mined_clips: FleetTable) -> dg.MaterializeResult:
    """Whether the words of the answers go with the signals of their clips (sound, motion, nearness), beside the
    agreement that chance gives; needs no label."""
    from autorisk_dagster.evaluation.grounding import grounded
    from autorisk_dagster.evaluation.grounding import grounding_metrics as measure
    from autorisk_dagster.evaluation.labelled_clips import answered_clips, counts
    from autorisk_dagster.reporting.evaluation_plots import bars_plot

    try:
        answers = answered_clips(reason_outputs.rows, mined_clips.rows)
        per_clip = grounded(answers)
        table = measure(per_clip)
    except AutoRiskError as error:
        raise failure(error) from error
    apart = per_clip.filter(pl.col("high") != pl.col("named")).select("clip_id", "signal", "score", "named")
    return table_result(
        "grounding_metrics",
        table,
        {
            **reason_outputs.coverage(),
            "clips_answered": per_clip["clip_id"].n_unique(),
            "reasoners": counts(reason_outputs.rows.select("reasoner").collect()["reasoner"]),
            "figures": dg.MetadataValue.md(_shown(table)),
            **_pictures(agreement=bars_plot(table, "agreement", "words go with the signal")),
            "apart": dg.MetadataValue.md(markdown_table(apart)),
        },
    )


@dg.asset(
    dagster_type=TABLE,
    group_name=GROUP,
    op_tags=CPU,
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(1),
    check_specs=[schema_check("signal_metrics")],
)
def signal_metrics(
    ground_truth: pl.DataFrame,
    reason_outputs: FleetTable,
    corrected_severities: FleetTable,
    clip_ttc: FleetTable,
    mined_clips: FleetTable,
) -> dg.MaterializeResult:
    """What time to contact and each signal have to do with labelled severity: rank correlation with a permutation test,
    how well each finds danger (MEDIUM or HIGH), and quartiles by severity."""
    from autorisk_dagster.evaluation.signals import signal_metrics as measure
    from autorisk_dagster.reporting.evaluation_plots import bars_plot, ttc_plot

    try:
        clips = _clips(ground_truth, reason_outputs, corrected_severities, clip_ttc, mined_clips)
        table = measure(clips.table)
    except AutoRiskError as error:
        raise failure(error) from error
    blind = table.filter(pl.col("label_origin") == "label_file")
    quartiles = ["quartile_1", "median", "quartile_3"]
    return table_result(
        "signal_metrics",
        table,
        {
            **reason_outputs.coverage(),
            **clips.said(),
            "figures": dg.MetadataValue.md(_shown(table.filter(~pl.col("metric").is_in(quartiles)), "p_value")),
            **_pictures(
                correlations=bars_plot(blind, "spearman", "Spearman's correlation with the label", 0.0),
                finding_danger=bars_plot(blind, "roc_auc", "area under the ROC curve for MEDIUM or HIGH", 0.5),
                time_to_contact=ttc_plot(clips.table.filter(pl.col("label_origin") == "label_file")),
            ),
        },
    )


@dg.asset(
    dagster_type=TABLE,
    group_name=GROUP,
    op_tags=CPU,
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(1),
    check_specs=[schema_check("ablation")],
)
def ablation(
    ground_truth: pl.DataFrame,
    reason_outputs: FleetTable,
    corrected_severities: FleetTable,
    clip_ttc: FleetTable,
    mined_clips: FleetTable,
) -> dg.MaterializeResult:
    """What each part adds, recomputed from stored tables: one signal against all fused in finding danger; mining alone,
    the reasoner alone and the reasoner with correction in saying the severity. Each compared on the same clips."""
    from autorisk_dagster.evaluation.ablation import ablation as measure
    from autorisk_dagster.reporting.evaluation_plots import bars_plot

    try:
        clips = _clips(ground_truth, reason_outputs, corrected_severities, clip_ttc, mined_clips)
        table = measure(clips.table)
    except AutoRiskError as error:
        raise failure(error) from error
    blind = table.filter(pl.col("label_origin") == "label_file")
    return table_result(
        "ablation",
        table,
        {
            **reason_outputs.coverage(),
            **clips.said(),
            "notes": clips.warnings(),
            "figures": dg.MetadataValue.md(_shown(table)),
            **_pictures(
                finding_danger=bars_plot(blind, "average_precision", "average precision for MEDIUM or HIGH"),
                saying_severity=bars_plot(blind, "accuracy", "accuracy of the severity"),
            ),
        },
    )


def _clips(
    ground_truth: pl.DataFrame,
    reason_outputs: FleetTable,
    corrected_severities: FleetTable,
    clip_ttc: FleetTable,
    mined_clips: FleetTable,
) -> "EvaluatedClips":
    from autorisk_dagster.evaluation.labelled_clips import evaluated_clips

    tables = (reason_outputs, corrected_severities, clip_ttc, mined_clips)
    return evaluated_clips(ground_truth, *(table.of(ground_truth["video_id"]) for table in tables))


def _headlines(figures: pl.DataFrame) -> str:
    """The figures over all classes of each stage, in Markdown."""
    return _shown(figures.filter(pl.col("class").is_null() & (pl.col("metric") != "checklist")))


def _shown(figures: pl.DataFrame, *more: str) -> str:
    """Figures with their intervals and n, in Markdown."""
    from autorisk_dagster.evaluation.figures import words

    if figures.is_empty():
        return "*none*"
    shown = figures.select("metric", "stage", pl.col("class").fill_null(""), *more, "note").with_columns(
        pl.Series("value (95 % interval; n)", [words(row) for row in figures.iter_rows(named=True)])
    )
    return markdown_table(shown.select("metric", "stage", "class", "value (95 % interval; n)", *more, "note"), rows=80)


def _pictures(**found: bytes | None) -> dict[str, Any]:
    return {name: picture(name, png) for name, png in found.items() if png is not None}
