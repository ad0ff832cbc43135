"""Prediction: what could happen next, and what could have happened, as videos that say that they are synthetic."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets.placement import GPU
from assets.spending import note_use
from assets.tabulate import OWNERS, TABLE, code_version, failure, picture, schema_check, table_result
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.partitions import videos
from autorisk_dagster.profile import Profile
from resources.answers import AnswerStore
from resources.credentials import Credentials
from resources.detectors import Detectors
from resources.hiders import Hiders
from resources.media_store import MediaStore, sha256_of
from resources.profiles import Profiles
from resources.progress import Progress
from resources.world_models import WorldModels

if TYPE_CHECKING:
    from autorisk_dagster.prediction.made_video import Wanted
    from autorisk_dagster.prediction.moment import Moment, Seen
    from autorisk_dagster.prediction.world_model import WorldModel
    from autorisk_dagster.privacy.hide import Hider

Row = dict[str, Any]
STRIPS_SHOWN = 3  # in the UI: a strip is 0.4 MB of PNG in Dagster's event log
PREVIEW = ["clip_id", "scenario", "severity", "outcome", "hazard", "contact_sec", "contact_between", "error"]


def _checks(asset: str) -> list[dg.AssetCheckSpec]:
    return [
        schema_check(asset),
        dg.AssetCheckSpec(
            "every_clip_made_or_says_why", asset=asset, blocking=True, description="A video, or the reason; never both."
        ),
        dg.AssetCheckSpec(
            "no_video_failed", asset=asset, description="Those that failed are made by the next run; refusals stand."
        ),
        dg.AssetCheckSpec(
            "hidden_where_asked",
            asset=asset,
            blocking=True,
            description="Where the profile asks for it, faces and number plates are hidden in all that is footage.",
        ),
        dg.AssetCheckSpec(
            "begins_with_the_condition",
            asset=asset,
            description="A video that begins with another picture goes on from something else: an error.",
        ),
        dg.AssetCheckSpec(
            "holds_together", asset=asset, description="Nothing jumps or melts from one picture to the next: a warning."
        ),
        dg.AssetCheckSpec(
            "actors_still_found",
            asset=asset,
            description="The detector follows the hazard's road users: a warning, because they may leave the picture.",
        ),
    ]


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="prediction",
    kinds={"python", "opencv"},
    owners=OWNERS,
    code_version=code_version(4, "prediction", "privacy"),
    pool="gpu",
    op_tags=GPU,
    check_specs=_checks("predict_videos"),
)
def predict_videos(
    context: dg.AssetExecutionContext,
    source_video: pl.DataFrame,
    mined_clips: pl.DataFrame,
    tracks: pl.DataFrame,
    ego_motion: pl.DataFrame,
    conflict_measures: pl.DataFrame,
    near_miss_events: pl.DataFrame,
    clip_ttc: pl.DataFrame,
    reason_outputs: pl.DataFrame,
    corrected_severities: pl.DataFrame,
    profiles: Profiles,
    world_models: WorldModels,
    hiders: Hiders,
    detectors: Detectors,
    answers: AnswerStore,
    media: MediaStore,
    credentials: Credentials,
    progress: Progress,
) -> dg.MaterializeResult:
    """What happens next, for HIGH and MEDIUM clips: a video that goes on from the clip's last frame.

    The kinematic world model carries each road user forward by its measured motion, with the predicted contact; Cosmos
    Predict, by setting, generates behind its guardrail, each video in a process of its own.
    """
    from autorisk_dagster.prediction.moment import Seen

    seen = Seen(tracks, conflict_measures, ego_motion, near_miss_events, clip_ttc)
    try:
        facts = source_video.row(0, named=True)
        profile = profiles.get(facts["profile"])
        hider = hiders.of_video(profile, tracks, (facts["width_px"], facts["height_px"]))
        studio = _Studio(
            context, profile, world_models.get(profile), hider, detectors, answers, media, credentials, "predictions"
        )
        orders = _wanted(mined_clips, reason_outputs, corrected_severities, profile, "predict")
        with progress.over(context.log, "videos made", float(len(orders))) as report:
            settings = profile.prediction
            rows = list(studio.rows(orders, seen, settings.severities, settings.predict_from, report))
    except AutoRiskError as error:
        raise failure(error) from error
    table = tables.frame(rows, tables.PREDICT_VIDEOS)
    media.keep_only(f"{context.partition_key}/predictions", set(table["video_path"].drop_nulls()))
    return table_result("predict_videos", table, studio.metadata(table), _checked(table, profile), preview=PREVIEW)


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="prediction",
    kinds={"python", "opencv"},
    owners=OWNERS,
    code_version=code_version(4, "prediction", "privacy"),
    pool="gpu",
    op_tags=GPU,
    check_specs=[
        *_checks("counterfactuals"),
        dg.AssetCheckSpec(
            "danger_and_safe_differ",
            asset="counterfactuals",
            description="A warning: where others collide, or the own car stands, its braking changes nothing.",
        ),
    ],
)
def counterfactuals(
    context: dg.AssetExecutionContext,
    source_video: pl.DataFrame,
    mined_clips: pl.DataFrame,
    tracks: pl.DataFrame,
    ego_motion: pl.DataFrame,
    conflict_measures: pl.DataFrame,
    near_miss_events: pl.DataFrame,
    clip_ttc: pl.DataFrame,
    reason_outputs: pl.DataFrame,
    corrected_severities: pl.DataFrame,
    profiles: Profiles,
    world_models: WorldModels,
    hiders: Hiders,
    detectors: Detectors,
    answers: AnswerStore,
    media: MediaStore,
    credentials: Credentials,
    progress: Progress,
) -> dg.MaterializeResult:
    """What could have happened, for HIGH clips: nobody reacts (danger), and the right reaction (safe), from where the
    worst encounter began; both beside what the camera saw."""
    from autorisk_dagster.prediction.moment import Seen

    seen = Seen(tracks, conflict_measures, ego_motion, near_miss_events, clip_ttc)
    key = context.partition_key
    rows: list[Row] = []
    try:
        facts = source_video.row(0, named=True)
        profile = profiles.get(facts["profile"])
        settings = profile.prediction
        hider = hiders.of_video(profile, tracks, (facts["width_px"], facts["height_px"]))
        model = world_models.get(profile)
        studio = _Studio(context, profile, model, hider, detectors, answers, media, credentials, "counterfactuals")
        pairs = list(
            zip(
                *(
                    _wanted(mined_clips, reason_outputs, corrected_severities, profile, scenario)
                    for scenario in ("danger", "safe")
                ),
                strict=True,
            )
        )
        with progress.over(context.log, "pairs made", float(len(pairs))) as report:
            for pair in pairs:
                made = list(
                    studio.rows(pair, seen, settings.counterfactual_severities, settings.counterfactual_from, None)
                )
                compared = studio.compared(pair[0].clip, made) if all(row["video_path"] for row in made) else {}
                nothing = dict.fromkeys(("comparison_path", "comparison_sha256", "pair_ssim"))
                rows += [{**row, **nothing, **compared} for row in made]
                report(len(rows) / 2)
    except AutoRiskError as error:
        raise failure(error) from error
    table = tables.frame(rows, tables.COUNTERFACTUALS)
    kept = {*table["video_path"].drop_nulls(), *table["comparison_path"].drop_nulls()}
    media.keep_only(f"{key}/counterfactuals", kept)
    from autorisk_dagster.prediction.quality import PAIR_SSIM

    same = table.filter(pl.col("pair_ssim") > PAIR_SSIM)["clip_id"].unique(maintain_order=True).to_list()
    differ = dg.AssetCheckResult(
        check_name="danger_and_safe_differ",
        passed=not same,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"the same": same, "threshold": PAIR_SSIM},
    )
    return table_result(
        "counterfactuals",
        table,
        studio.metadata(table),
        [*_checked(table, profile), differ],
        preview=[*PREVIEW, "pair_ssim"],
    )


def _wanted(
    clips: pl.DataFrame, reason_outputs: pl.DataFrame, corrected: pl.DataFrame, profile: Profile, scenario: str
) -> "list[Wanted]":
    from autorisk_dagster.prediction.made_video import Wanted

    judged = {row["clip_id"]: row for row in reason_outputs.iter_rows(named=True)}
    severity = dict(corrected.select("clip_id", "severity").iter_rows())
    hidden_by = profile.privacy.faces if profile.privacy.hide else None
    return [
        Wanted(clip, judged[clip["clip_id"]], severity.get(clip["clip_id"]), scenario, hidden_by)
        for clip in clips.iter_rows(named=True)
    ]


@dataclass
class _Studio:
    """Makes the videos of one partition, one after another, and keeps the strips that the UI shows."""

    context: dg.AssetExecutionContext
    profile: Profile
    model: "WorldModel"
    hider: "Hider | None"
    detectors: Detectors
    answers: AnswerStore
    media: MediaStore
    credentials: Credentials
    folder: str

    def __post_init__(self) -> None:
        self.key: str = self.context.partition_key

    def rows(
        self, orders: "Sequence[Wanted]", seen: "Seen", severities: Sequence[str], begin: str, report: Any
    ) -> Iterator[Row]:
        """A row for each of `orders`; videos are made of clips of `severities`."""
        from autorisk_dagster.prediction.made_video import not_asked
        from autorisk_dagster.prediction.moment import moment_of

        for number, wanted in enumerate(orders, start=1):
            if wanted.severity not in severities:
                why = "not judged" if wanted.severity is None else f"severity {wanted.severity} is not asked for"
                yield not_asked(wanted, why)
            else:
                moment = moment_of(self.media.source(self.key), wanted.clip, seen, begin, self.hider)
                yield self._made(wanted, moment)
            if report is not None:
                report(float(number))

    def _made(self, wanted: "Wanted", moment: "Moment") -> Row:
        from autorisk_dagster.prediction import made_video

        settings = self.profile.prediction
        order = made_video.order_of(wanted, moment, settings)
        finished = made_video.finished_key(wanted, order, self.model)
        kept = self.answers.get(self.key, finished) if self.model.keeps else None
        if kept is not None and self._is_there(kept):
            self.context.log.info(f"{wanted.clip['clip_id']} {wanted.scenario}: made before, kept")
            # The same footage, mined again, may carry another number and another time.
            row = kept | {"clip_id": wanted.clip["clip_id"], "condition_sec": moment.condition.at_sec}
            row = self._marked(row, self.media.path(row["video_path"]))
            self.answers.put(self.key, finished, row)
            return row
        made = self.model.generate(order)
        if self.model.keeps:  # a generative model; the kinematic one draws
            note_use(self.context, made.seconds)
        row = made_video.made_row(wanted, order, self.model, made)
        self.context.log.info(f"{row['clip_id']} {wanted.scenario}: {made.outcome} in {made.seconds:.1f} s")
        if made.outcome != "generated":
            self.context.log.warning(f"{row['clip_id']} {wanted.scenario}: {made.error}")
            return row
        with TemporaryDirectory() as folder:
            written = Path(folder) / "generated.mp4"
            row |= made_video.write(made, row, settings, written)
            row |= made_video.measured(written, wanted, moment, settings, self.detectors.get(self.profile))
            row = self._marked(row, written)
        if self.model.keeps:
            self.answers.put(self.key, finished, row)
        return row

    def _marked(self, row: Row, video: Path) -> Row:
        """The row with the video in the media store, where it carries its content credential."""
        from autorisk_dagster.audit.credentials import generated_credential

        definition = generated_credential(row)
        if not self.credentials.carried(video, definition):
            stem = f"{self.key}/{self.folder}/{row['clip_id']}-{row['scenario']}"
            row |= {"video_path": self.credentials.attached(video, definition, self.media, stem)}
        return row | {"video_sha256": sha256_of(self.media.path(row["video_path"]))}

    def _is_there(self, row: Mapping[str, Any]) -> bool:
        if row.get("outcome") != "generated" or set(row) != set(tables.PREDICT_VIDEOS):
            return False
        path = self.media.path(row["video_path"])
        return path.exists() and sha256_of(path) == row["video_sha256"]

    def compared(self, clip: Mapping[str, Any], made: Sequence[Row]) -> Row:
        """What the camera saw, danger and safe as one video, and how alike the last two are."""
        from autorisk_dagster.audit.credentials import comparison_credential
        from autorisk_dagster.prediction import quality, video_file

        settings = self.profile.prediction
        danger, safe = (video_file.read(self.media.path(row["video_path"])) for row in made)
        times = [number / settings.fps for number in range(len(danger))]
        size = settings.width_px, settings.height_px
        source = self.media.source(self.key)
        original = video_file.read_original(source, made[0]["condition_sec"], times, size, self.hider)
        label = "Original, danger, safe"
        told = {"label": label, "clip_id": clip["clip_id"], "clip_sha256": clip["clip_sha256"]}
        told |= {row["scenario"]: row["video_sha256"] for row in made}
        with TemporaryDirectory() as folder:
            written = Path(folder) / "side-by-side.mp4"
            video_file.write(video_file.side_by_side(original, danger, safe, label), settings.fps, written, told)
            stem = f"{self.key}/{self.folder}/{clip['clip_id']}-side-by-side"
            relative = self.credentials.attached(written, comparison_credential(made), self.media, stem)
        return {
            "comparison_path": relative,
            "comparison_sha256": sha256_of(self.media.path(relative)),
            "pair_ssim": quality.pair_ssim(danger, safe),
        }

    def metadata(self, table: pl.DataFrame) -> Row:
        """What an analyst wants to see of the partition's videos."""
        from autorisk_dagster.prediction import prompts, video_file

        settings = self.profile.prediction
        shown = table.drop_nulls("video_path").sort(pl.col("severity").to_physical(), descending=True)
        strips = {
            f"strip {row['clip_id']} {row['scenario']}": picture(
                "strip", video_file.strip_png(video_file.read(self.media.path(row["video_path"]))), photograph=True
            )
            for row in shown.head(STRIPS_SHOWN).iter_rows(named=True)
        }
        return {
            "world_model": settings.world_model,
            "model": self.model.model_id,
            "model_revision": self.model.model_revision,
            "prompt_version": prompts.VERSION,
            "settings_hash": self.model.settings_hash,
            "hidden": self.hider is not None,
            "outcomes": {str(name): count for name, count in table["outcome"].value_counts().iter_rows()},
            "hazards": {str(name): count for name, count in table["hazard"].drop_nulls().value_counts().iter_rows()},
            "refusals": table.filter(pl.col("outcome") == "refused")["error"].to_list(),
            "failures": table.filter(pl.col("outcome") == "failed")["error"].to_list(),
            "seconds": float(table["seconds"].sum()),
            **strips,
        }


def _checked(table: pl.DataFrame, profile: Profile) -> list[dg.AssetCheckResult]:
    from autorisk_dagster.prediction.quality import FIRST_FRAME_SSIM, NEIGHBOUR_SSIM

    there = table.filter(pl.col("outcome") == "generated")
    told = (table["outcome"] == "generated") == table["error"].is_null()
    has_file = (table["outcome"] == "generated") == table["video_path"].is_not_null()

    def of_all(
        name: str, wrong: pl.Expr, severity: dg.AssetCheckSeverity, shown: str, **more: Any
    ) -> dg.AssetCheckResult:
        found = there.filter(wrong).select("clip_id", "scenario", shown)
        return dg.AssetCheckResult(
            check_name=name,
            passed=found.is_empty(),
            severity=severity,
            metadata={"videos": there.height, "wrong": [list(map(str, row)) for row in found.iter_rows()], **more},
        )

    error, warn = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
    failed = int((table["outcome"] == "failed").sum())
    shown = there.filter(pl.col("hidden_by").is_null())["clip_id"].to_list() if profile.privacy.hide else []
    return [
        dg.AssetCheckResult(check_name="every_clip_made_or_says_why", passed=bool(told.all() and has_file.all())),
        dg.AssetCheckResult(
            check_name="no_video_failed", passed=not failed, severity=error, metadata={"failed": failed}
        ),
        dg.AssetCheckResult(check_name="hidden_where_asked", passed=not shown, metadata={"not hidden": shown}),
        of_all(
            "begins_with_the_condition",
            pl.col("first_frame_ssim") < FIRST_FRAME_SSIM,
            error,
            "first_frame_ssim",
            threshold=FIRST_FRAME_SSIM,
        ),
        of_all(
            "holds_together",
            pl.col("lowest_neighbour_ssim") < NEIGHBOUR_SSIM,
            warn,
            "lowest_neighbour_ssim",
            threshold=NEIGHBOUR_SSIM,
        ),
        of_all("actors_still_found", pl.col("actors_found") < pl.col("actors_wanted"), warn, "actors_found"),
    ]
