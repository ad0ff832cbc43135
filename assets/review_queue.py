"""Which clips a person must look at, and in which order."""

from pathlib import Path

import dagster as dg
import polars as pl

from assets.placement import CPU
from assets.tabulate import OWNERS, TABLE, code_version, failure, schema_check, table_result
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.io import FrameStoreIOManager
from autorisk_dagster.partitions import videos
from resources.media_store import MediaStore
from resources.profiles import Profiles


@dg.asset(
    partitions_def=videos,
    deps=["correction_parameters"],  # may not be there: then no severity set is calibrated
    dagster_type=TABLE,
    group_name="severity",
    op_tags=CPU,
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(1, "review", "correction"),
    check_specs=[
        schema_check("review_queue"),
        dg.AssetCheckSpec("every_clip_queued", asset="review_queue", blocking=True),
        dg.AssetCheckSpec(
            "what_was_not_judged_is_reviewed",
            asset="review_queue",
            blocking=True,
            description="Every clip without a severity must be reviewed.",
        ),
    ],
)
def review_queue(
    source_video: pl.DataFrame,
    severity_ranking: pl.DataFrame,
    corrected_severities: pl.DataFrame,
    reason_outputs: pl.DataFrame,
    mined_clips: pl.DataFrame,
    near_miss_events: pl.DataFrame,
    profiles: Profiles,
    media: MediaStore,
    io_manager: dg.ResourceParam[FrameStoreIOManager],
) -> dg.MaterializeResult:
    """Every clip, those first that the policy on the final severity wants reviewed, by the expected value of a label.

    Severity sets are calibrated by `correction_parameters` where blind labels suffice. `state` is what the review log
    said when the queue was made.
    """
    from autorisk_dagster.severity.parameters import calibrations, learned
    from autorisk_dagster.severity.queue import review_queue as queue

    parameters = io_manager.read("correction_parameters")
    try:
        profile = profiles.get(source_video.item(0, "profile"))
        table = queue(
            severity_ranking,
            corrected_severities,
            reason_outputs,
            mined_clips,
            near_miss_events,
            calibrations(learned(parameters), profile.correction),
            _states(reason_outputs, corrected_severities, media.data.pull("review")),
            profile.review,
        )
    except AutoRiskError as error:
        raise failure(error) from error
    must = table.filter("must_review")
    unjudged = table.filter(pl.col("severity").is_null())
    return table_result(
        "review_queue",
        table,
        {
            "clips": table.height,
            "must_review": must.height,
            "waiting": must.filter(pl.col("state") != "reviewed").height,
            "reasons": {
                str(reason): count
                for reason, count in table.explode("reasons")["reasons"].drop_nulls().value_counts().iter_rows()
            },
            "severity_sets": _sets(table, parameters),
            "settings_hash": profile.review.digest(),
        },
        [
            dg.AssetCheckResult(
                check_name="every_clip_queued", passed=set(table["clip_id"]) == set(severity_ranking["clip_id"])
            ),
            dg.AssetCheckResult(
                check_name="what_was_not_judged_is_reviewed", passed=bool(unjudged["must_review"].all())
            ),
        ],
        preview=["position", "clip_id", "severity", "severity_set", "must_review", "reasons", "label_value", "state"],
    )


def _states(reason_outputs: pl.DataFrame, corrected: pl.DataFrame, data_folder: Path) -> dict[str, str]:
    """By clip what the review log says of it now; a clip without a verdict is not in it."""
    from autorisk_dagster.review.log import review_log
    from autorisk_dagster.review.verdicts import judged_outputs, standings, verdicts

    clips = dict(reason_outputs.select("clip_id", "clip_sha256").iter_rows())
    given = [each for each in verdicts(review_log(data_folder).records()) if each.clip_id in clips]
    found = standings(given, clips, judged_outputs(reason_outputs, corrected))
    return {clip: "stale" if each.stale else "reviewed" for clip, each in found.items()}


def _sets(table: pl.DataFrame, parameters: pl.DataFrame | None) -> str:
    calibrated = int(table["set_calibrated"].sum())
    if parameters is None or parameters.is_empty():
        return "not calibrated: there are no blind labels (correction_parameters)"
    return f"{calibrated} of {table.height} clips calibrated; the others have all four severities for want of labels"
