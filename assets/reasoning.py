"""Reasoning: why each clip is dangerous, or that nothing can be said."""

import dagster as dg
import polars as pl

from assets.tabulate import OWNERS, TABLE, code_version, failure, schema_check, table_result
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.partitions import videos
from resources.profiles import Profiles
from resources.reasoners import Reasoners


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="reasoning",
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(1, "reasoner"),
    check_specs=[
        schema_check("reason_outputs"),
        dg.AssetCheckSpec("every_clip_has_an_outcome", asset="reason_outputs", blocking=True),
        dg.AssetCheckSpec("parse_rate", asset="reason_outputs", description="At most 1 in 10 answers cannot be read."),
        dg.AssetCheckSpec(
            "no_severity_without_a_judgement",
            asset="reason_outputs",
            blocking=True,
            description="Nothing is safe by default: a severity stands exactly where the outcome is a severity.",
        ),
    ],
)
def reason_outputs(
    context: dg.AssetExecutionContext,
    source_video: pl.DataFrame,
    frame_signals: pl.DataFrame,
    tracks: pl.DataFrame,
    mined_clips: pl.DataFrame,
    clip_ttc: pl.DataFrame,
    near_miss_events: pl.DataFrame,
    profiles: Profiles,
    reasoners: Reasoners,
) -> dg.MaterializeResult:
    """Severity, hazards, causal reasoning, prediction, action and evidence for each clip, by the profile's reasoner."""
    from autorisk_dagster.reasoning.evidence import clip_evidence

    facts = source_video.row(0, named=True)
    try:
        profile = profiles.get(facts["profile"])
        reasoner = reasoners.get(profile)
        times = {row["clip_id"]: row for row in clip_ttc.iter_rows(named=True)}
        rows = []
        for clip in mined_clips.iter_rows(named=True):
            evidence = clip_evidence(
                clip,
                tracks,
                times[clip["clip_id"]],
                near_miss_events,
                frame_signals,
                (facts["width_px"], facts["height_px"]),
            )
            rows.append(reasoner.judge(evidence, profile.reasoner.digest()))
            context.log.info(f"{clip['clip_id']}: {rows[-1]['severity'] or rows[-1]['outcome']}")
    except AutoRiskError as error:
        raise failure(error) from error
    table = tables.frame(rows, tables.REASON_OUTPUTS)
    unread = int((table["outcome"] == "parse_failure").sum())
    judged = table["outcome"] == "severity"
    return table_result(
        "reason_outputs",
        table,
        {
            "reasoner": reasoner.name,
            "model": reasoner.model_id,
            "settings_hash": profile.reasoner.digest(),
            "outcomes": {str(name): count for name, count in table["outcome"].value_counts().iter_rows()},
            "severities": {str(name): count for name, count in table["severity"].value_counts().iter_rows()},
        },
        [
            dg.AssetCheckResult(
                check_name="every_clip_has_an_outcome", passed=set(table["clip_id"]) == set(mined_clips["clip_id"])
            ),
            dg.AssetCheckResult(
                check_name="parse_rate",
                passed=unread * 10 <= table.height,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"parse_failures": unread, "clips": table.height},
            ),
            dg.AssetCheckResult(
                check_name="no_severity_without_a_judgement",
                passed=bool((table["severity"].is_not_null() == judged).all()),
            ),
        ],
        preview=["clip_id", "severity", "causal_reasoning", "recommended_action"],
    )
