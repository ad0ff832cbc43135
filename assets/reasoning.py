"""Reasoning: why each clip is dangerous, or that nothing can be said."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
import polars as pl

from assets.batches import PARTITIONED, one_by_one
from assets.label_protocol import DIGESTS
from assets.placement import GPU
from assets.spending import note_use
from assets.tabulate import OWNERS, TABLE, code_version, picture, schema_check, table_result
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError, BackendError, InputError
from autorisk_dagster.io import FrameStoreIOManager
from autorisk_dagster.partitions import videos
from autorisk_dagster.profile import Profile
from autorisk_dagster.review.protocol import output_digests
from resources.answers import AnswerStore
from resources.media_store import MediaStore
from resources.profiles import Profiles
from resources.progress import Progress
from resources.reasoners import Reasoners

if TYPE_CHECKING:
    from autorisk_dagster.reasoning.clip_judge import Clip

INPUTS = ("source_video", "frame_signals", "tracks", "mined_clips", "conflict_measures", "near_miss_events")
# Clips of one video judged at once are at most what a model takes (`concurrency`); videos of one run share its load.
VIDEOS_A_RUN = 8

Row = dict[str, Any]


class ReasoningConfig(dg.Config):
    """What a run does: `judge` clips; `supplement` judgements that lack prediction or action by a second pass; or
    `reparse` the stored answers with today's parser, without a model."""

    mode: Literal["judge", "supplement", "reparse"] = "judge"


@dg.asset(
    partitions_def=videos,
    ins={name: dg.AssetIn(metadata=PARTITIONED) for name in INPUTS},
    deps=["promoted_adapter"],  # a record and no table: another promotion marks the answers as stale
    dagster_type=TABLE,
    output_required=False,  # a batch stores each video's table itself
    group_name="reasoning",
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(4, "reasoner"),
    pool="gpu",
    op_tags=GPU,
    backfill_policy=dg.BackfillPolicy.multi_run(VIDEOS_A_RUN),
    retry_policy=dg.RetryPolicy(max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL),
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
    config: ReasoningConfig,
    source_video: Any,
    frame_signals: Any,
    tracks: Any,
    mined_clips: Any,
    conflict_measures: Any,
    near_miss_events: Any,
    profiles: Profiles,
    reasoners: Reasoners,
    answers: AnswerStore,
    media: MediaStore,
    progress: Progress,
    io_manager: dg.ResourceParam[FrameStoreIOManager],
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Severity, hazards, causal reasoning, prediction, action and evidence for each clip, by the profile's reasoner.

    Takes one video or a batch, so that a model is loaded once. A clip that was judged by this model, adapter, prompt
    and settings is not judged again; one that failed is tried again. `reasoner.adapter: promoted` is the adapter that
    `adapter_promotion` let through last.
    """
    given = dict(
        zip(
            INPUTS, (source_video, frame_signals, tracks, mined_clips, conflict_measures, near_miss_events), strict=True
        )
    )

    def of_one_video(key: str, found: Mapping[str, pl.DataFrame]) -> dg.MaterializeResult:
        facts = found["source_video"].row(0, named=True)
        profile = profiles.get(facts["profile"])
        clips = found["mined_clips"]
        workers = 1
        if profile.reasoner.backend == "kinematic":
            judge_clip = _by_measurement(found, facts, profile, reasoners)
        elif config.mode == "judge":
            judge_clip, workers = _by_model(context, key, profile, reasoners, answers, media)
        else:
            stored = _stored(io_manager, key)
            judge_clip = (
                _reparsed(stored, profile)
                if config.mode == "reparse"
                else _supplemented(context, key, stored, profile, reasoners, answers, media)
            )
        with progress.over(context.log, "clips judged", float(clips.height)) as report:
            rows = _each(list(clips.iter_rows(named=True)), judge_clip, workers, report)
        return _result(tables.frame(rows, tables.REASON_OUTPUTS), clips, profile)

    yield from one_by_one(context, io_manager, "reason_outputs", given, of_one_video)


def _by_measurement(
    found: Mapping[str, pl.DataFrame], facts: Row, profile: Profile, reasoners: Reasoners
) -> Callable[[Row], Row]:
    from autorisk_dagster.reasoning.evidence import clip_evidence

    reasoner = reasoners.kinematic()

    def judge(clip: Row) -> Row:
        evidence = clip_evidence(
            clip,
            found["tracks"],
            found["conflict_measures"],
            found["near_miss_events"],
            found["frame_signals"],
            (facts["width_px"], facts["height_px"]),
        )
        return reasoner.judge(evidence, profile.reasoner.digest()) | {"clip_sha256": clip["clip_sha256"]}

    return judge


def _by_model(
    context: dg.AssetExecutionContext,
    key: str,
    profile: Profile,
    reasoners: Reasoners,
    answers: AnswerStore,
    media: MediaStore,
) -> tuple[Callable[[Row], Row], int]:
    from autorisk_dagster.reasoning.clip_judge import read

    judge = reasoners.judge(profile)
    digest = profile.reasoner.digest()

    def judged(row: Row) -> Row:
        clip = _clip(row, media)
        finished = judge.key(clip, digest)
        kept = answers.get(key, finished)
        if kept is not None:
            context.log.info(f"{clip.clip_id}: answered before, kept")
            # The same footage, mined again, may carry another number.
            return read(kept, profile.reasoner.min_letter_mass) | {"clip_id": clip.clip_id}
        answer = judge.judge(clip, digest)
        answers.put(key, finished, answer)
        _note(context, answer)
        context.log.info(f"{clip.clip_id}: {answer['severity'] or answer['outcome']} in {answer['seconds']:.1f} s")
        return answer

    return judged, judge.model.concurrency


def _note(context: dg.AssetExecutionContext, answer: Row, before: Row | None = None) -> None:
    """Note what an answer used, or, of one that completes another, what it used beside that."""

    def used(name: str) -> float:
        return max(0.0, float(answer[name] or 0) - float((before or {}).get(name) or 0))

    note_use(context, used("seconds"), round(used("prompt_tokens") + used("answer_tokens")))


def _reparsed(stored: Mapping[str, Row], profile: Profile) -> Callable[[Row], Row]:
    from autorisk_dagster.reasoning.clip_judge import read

    return lambda clip: read(_answer_to(clip, stored), profile.reasoner.min_letter_mass)


def _supplemented(
    context: dg.AssetExecutionContext,
    key: str,
    stored: Mapping[str, Row],
    profile: Profile,
    reasoners: Reasoners,
    answers: AnswerStore,
    media: MediaStore,
) -> Callable[[Row], Row]:
    from autorisk_dagster.reasoning.clip_judge import read

    judge = reasoners.judge(profile)
    digest = profile.reasoner.digest()

    def supplemented(row: Row) -> Row:
        clip = _clip(row, media)
        finished = judge.key(clip, digest)
        kept = answers.get(key, finished)
        if kept is not None and kept["supplement_text"] is not None:  # by a run that did not come to its end
            return read(kept, profile.reasoner.min_letter_mass) | {"clip_id": clip.clip_id}
        before = _answer_to(row, stored)
        answer = judge.supplement(clip, before, digest)
        _note(context, answer, before)
        answers.put(key, finished, answer)  # else the next judgement would bring back the first pass alone
        return answer

    return supplemented


def _stored(store: FrameStoreIOManager, key: str) -> dict[str, Row]:
    """The judgements that there are, by the hash of the clip they judge."""
    table = store.read("reason_outputs", key)
    if table is None:
        raise InputError(f"{key}: there are no answers yet; materialise reason_outputs first")
    return {row["clip_sha256"]: row for row in table.iter_rows(named=True)}


def _answer_to(clip: Row, stored: Mapping[str, Row]) -> Row:
    found = stored.get(clip["clip_sha256"])
    if found is None or found["votes"] is None:
        raise InputError(f"{clip['clip_id']}: no model has answered to this clip; materialise reason_outputs first")
    return found | {"clip_id": clip["clip_id"]}


def _clip(row: Row, media: MediaStore) -> "Clip":
    from autorisk_dagster.reasoning.clip_judge import Clip

    return Clip(
        row["clip_id"], media.path(row["clip_path"]), row["clip_sha256"], float(row["end_sec"] - row["start_sec"])
    )


def _each(clips: list[Row], judge: Callable[[Row], Row], workers: int, report: Callable[[float], None]) -> list[Row]:
    """Judge every clip, `workers` at a time; a clip that fails does not keep the others from being finished and
    kept."""
    from concurrent.futures import ThreadPoolExecutor

    rows: list[Row] = []
    failed: list[tuple[str, AutoRiskError]] = []

    def attempt(clip: Row) -> Row | AutoRiskError:
        try:
            return judge(clip)
        except AutoRiskError as error:
            return error

    def take(outcomes: Iterator[Row | AutoRiskError]) -> None:
        for clip, outcome in zip(clips, outcomes, strict=True):
            if isinstance(outcome, AutoRiskError):
                failed.append((clip["clip_id"], outcome))
            else:
                rows.append(outcome)
            report(float(len(rows) + len(failed)))

    if workers == 1:  # in this thread: a model's number of threads is set for the one that loaded it
        take(map(attempt, clips))
    else:
        with ThreadPoolExecutor(max_workers=workers) as pool:
            take(pool.map(attempt, clips))
    if failed:
        clip_id, first = failed[0]
        if len(failed) == 1:
            raise first
        raise BackendError(
            f"{len(failed)} of {len(clips)} clips could not be judged, first {clip_id}: {first}"
        ) from first
    return rows


def _result(table: pl.DataFrame, clips: pl.DataFrame, profile: Profile) -> dg.MaterializeResult:
    from autorisk_dagster.reporting.judgement_plots import letters_plot

    unread = int((table["outcome"] == "parse_failure").sum())
    judged = table["outcome"] == "severity"
    first = table.row(0, named=True) if table.height else {}
    cost = {
        name: table[name].sum()
        for name in ("prompt_tokens", "answer_tokens", "seconds")
        if table[name].null_count() < table.height
    }
    letters = letters_plot(table)
    return table_result(
        "reason_outputs",
        table,
        {
            "reasoner": profile.reasoner.backend,
            "model": first.get("model_id") or "no clip to judge",
            "model_revision": first.get("model_revision") or "",
            "adapter": first.get("adapter") or "none",
            "prompt_hash": first.get("prompt_hash") or "",
            "settings_hash": profile.reasoner.digest(),
            DIGESTS: dg.MetadataValue.json(output_digests(table)),
            "outcomes": {str(name): count for name, count in table["outcome"].value_counts().iter_rows()},
            "severities": {str(name): count for name, count in table["severity"].value_counts().iter_rows()},
            "parse_layers": {str(name): count for name, count in table["parse_layer"].value_counts().iter_rows()},
            **cost,
            **({} if letters is None else {"letters": picture("letters", letters)}),
        },
        [
            dg.AssetCheckResult(
                check_name="every_clip_has_an_outcome", passed=set(table["clip_id"]) == set(clips["clip_id"])
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
        preview=["clip_id", "severity", "confidence", "causal_reasoning", "recommended_action"],
    )
