"""Saliency: what in a clip the model's severity rests on."""

import time
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets.placement import GPU
from assets.spending import note_use
from assets.tabulate import (
    OWNERS,
    TABLE,
    animation,
    code_version,
    failure,
    media_links,
    picture,
    schema_check,
    table_result,
)
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.partitions import videos
from autorisk_dagster.profile import Profile
from resources.hiders import Hiders
from resources.media_store import MediaStore, sha256_of
from resources.profiles import Profiles
from resources.progress import Progress
from resources.reasoners import Reasoners

if TYPE_CHECKING:
    from autorisk_dagster.privacy.hide import Hider
    from autorisk_dagster.reasoning.saliency import Saliency

Row = dict[str, Any]


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="reasoning",
    kinds={"pytorch", "polars"},
    owners=OWNERS,
    code_version=code_version(3, "saliency", "reasoner", "privacy"),
    pool="gpu",
    op_tags=GPU,
    check_specs=[
        schema_check("saliency_maps"),
        dg.AssetCheckSpec(
            "every_clip_measured_or_says_why", asset="saliency_maps", blocking=True, description="No silent gap."
        ),
    ],
)
def saliency_maps(
    context: dg.AssetExecutionContext,
    source_video: pl.DataFrame,
    tracks: pl.DataFrame,
    mined_clips: pl.DataFrame,
    reason_outputs: pl.DataFrame,
    media: MediaStore,
    profiles: Profiles,
    hiders: Hiders,
    reasoners: Reasoners,
    progress: Progress,
) -> dg.MaterializeResult:
    """Gradient of the severity's log-odds for the worst clips: an animation over the frames and a curve over time.

    Only a model that runs here has gradients: with another reasoner each clip says so.
    """
    key = context.partition_key
    facts = source_video.row(0, named=True)
    try:
        profile = profiles.get(facts["profile"])
        hider = hiders.of_video(profile, tracks, (facts["width_px"], facts["height_px"]))
        wanted = _wanted(reason_outputs, profile)
        answers = {row["clip_id"]: row for row in reason_outputs.iter_rows(named=True)}
        rows: list[Row] = []
        pictures: dict[str, bytes] = {}
        with progress.over(context.log, "saliency", float(len(wanted))) as report:
            for clip in mined_clips.iter_rows(named=True):
                answer = answers.get(clip["clip_id"], {})
                if clip["clip_id"] not in wanted:
                    rows.append(_not_measured(clip, _why_not(answer, profile)))
                    continue
                began = time.monotonic()
                row, curve = _measured(key, clip, answer, profile, reasoners, media, hider)
                note_use(context, time.monotonic() - began)
                rows.append(row)
                pictures[clip["clip_id"]] = curve
                report(float(len(pictures)))
    except AutoRiskError as error:
        raise failure(error) from error
    table = tables.frame(rows, tables.SALIENCY_MAPS)
    media.keep_only(f"{key}/saliency", set(table["overlay_path"].drop_nulls()))
    told = table["reason"].is_not_null() != table["log_odds"].is_not_null()
    return table_result(
        "saliency_maps",
        table,
        {
            "measured": len(pictures),
            "clips": table.height,
            "settings_hash": profile.saliency.digest(),
            "shown_smaller": table.filter(pl.col("notes").list.len() > 0).height,
            **{f"curve {name}": picture("saliency", png) for name, png in pictures.items()},
            **_to_look_at(table),
        },
        [dg.AssetCheckResult(check_name="every_clip_measured_or_says_why", passed=bool(told.all()))],
        preview=["clip_id", "severity", "log_odds", "peak_sec", "reason"],
    )


def _wanted(reason_outputs: pl.DataFrame, profile: Profile) -> set[str]:
    """The worst clips by the reasoner's own severity, `saliency.max_clips` at most."""
    if profile.reasoner.backend != "transformers":
        return set()
    chosen = reason_outputs.filter(pl.col("severity").cast(pl.String).is_in(list(profile.saliency.severities)))
    worst = chosen.sort(pl.col("severity").to_physical(), "clip_id", descending=[True, False])
    return set(worst.head(profile.saliency.max_clips)["clip_id"])


def _why_not(answer: Row, profile: Profile) -> str:
    if profile.reasoner.backend != "transformers":
        return f"the {profile.reasoner.backend} reasoner has no gradients here"
    if answer.get("severity") is None:
        return f"no severity to explain: {answer.get('outcome', 'not run')}"
    if answer["severity"] not in profile.saliency.severities:
        return f"severity {answer['severity']} is not asked for"
    return f"beyond the {profile.saliency.max_clips} worst clips"


def _measured(
    key: str,
    clip: Row,
    answer: Row,
    profile: Profile,
    reasoners: Reasoners,
    media: MediaStore,
    hider: "Hider | None",
) -> tuple[Row, bytes]:
    import numpy as np

    from autorisk_dagster.reasoning.saliency import saliency
    from autorisk_dagster.reporting import saliency_view as view

    judge = reasoners.judge(profile)
    found: Saliency = saliency(
        judge.local_model(),
        media.path(clip["clip_path"]),
        float(clip["end_sec"] - clip["start_sec"]),
        answer["severity"],
    )
    relative = f"{key}/saliency/{clip['clip_id']}.webp"
    rgb = found.frames.rgb
    if hider is not None:
        times = found.frames.timestamps_sec + clip["start_sec"]
        rgb = np.stack([hider.picture(bgr, at)[..., ::-1] for bgr, at in zip(rgb[..., ::-1], times, strict=True)])
    with media.writing(relative) as target:
        view.animation(view.overlay(rgb, found.map), 1 / profile.reasoner.frames_per_sec, target)
    frame, y, x = np.unravel_index(int(np.argmax(found.map)), found.map.shape)
    times = found.frames.timestamps_sec
    row = _not_measured(clip, None) | {
        "severity": found.severity,
        "log_odds": found.log_odds,
        "times_sec": (times + clip["start_sec"]).tolist(),
        "frame_share": found.curve.tolist(),
        "peak_sec": float(times[frame] + clip["start_sec"]),
        "peak_x_share": (int(x) + 0.5) / found.map.shape[2],
        "peak_y_share": (int(y) + 0.5) / found.map.shape[1],
        "overlay_path": relative,
        "overlay_sha256": sha256_of(media.path(relative)),
        "model_id": answer["model_id"],
        "model_revision": answer["model_revision"],
        "adapter": answer["adapter"],
        "prompt_hash": judge.question.hash,
        "notes": list(found.notes),
    }
    return row, view.curve_png(times, found.curve, f"{clip['clip_id']}: what {found.severity} rests on")


def _not_measured(clip: Row, reason: str | None) -> Row:
    return dict.fromkeys(tables.SALIENCY_MAPS) | {
        "clip_id": clip["clip_id"],
        "clip_sha256": clip["clip_sha256"],
        "reason": reason,
    }


def _to_look_at(table: pl.DataFrame) -> dict[str, Any]:
    """The worst clip's animation in the page, and links to the others'; `autorisk ui` serves them."""
    shown = table.drop_nulls("overlay_path").sort(pl.col("severity").to_physical(), "clip_id", descending=[True, False])
    if shown.is_empty():
        return {}
    words = pl.format(
        "{}: {}, peak at {} s", "clip_id", pl.col("severity").cast(pl.String), pl.col("peak_sec").round(1)
    )
    links = shown.select(words, "overlay_path").rows()
    worst = shown.row(0, named=True)
    return {
        f"overlay {worst['clip_id']}": animation("saliency", worst["overlay_path"]),
        "overlays": media_links(links),
    }
