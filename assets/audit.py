"""Audit: what every verdict on a video rests on, in one file that leaves the house."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets.provenance import Origins, code, software
from assets.tabulate import OWNERS, TABLE, code_version, failure, schema_check, table_result
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError, InputError
from autorisk_dagster.io import FrameStoreIOManager
from autorisk_dagster.partitions import videos
from autorisk_dagster.profile import Profile
from resources.media_store import MediaStore, sha256_of
from resources.profiles import Profiles

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.signer import SSlibKey

    from autorisk_dagster.audit.credentials import CredentialKeys
    from autorisk_dagster.audit.pack import ClipFilter, PackContents, Review, Video

# What a verdict is made from. Each must be as it was materialised, by today's code and settings.
VERDICT_INPUTS = (
    "source_video",
    "frame_signals",
    "tracks",
    "ego_motion",
    "mined_clips",
    "clip_ttc",
    "conflict_measures",
    "near_miss_events",
    "reason_outputs",
    "corrected_severities",
    "severity_ranking",
)
# In the pack where they were made; no verdict reads them.
BESIDE = ("verified_events", "saliency_maps", "explanation_checklist", "review_queue", "predict_videos", "counterfactuals")
FLEET_INPUTS = ("correction_parameters",)  # unpartitioned, and read by a verdict where it exists
_PACKAGES = (
    "autorisk-dagster",
    "av",
    "c2pa-python",
    "cryptography",
    "dagster",
    "numpy",
    "onnxruntime",
    "opencv-python",
    "polars",
    "scipy",
    "securesystemslib",
    "supervision",
    "trackers",
)

Row = dict[str, Any]


class PackConfig(dg.Config):
    """`require_signature`: fail where no key is configured, instead of building a pack that says it is unsigned."""

    require_signature: bool = False


@dataclass(frozen=True)
class _Keys:
    """What the configured folder holds: the private key, the public one as an auditor has it, the credentials'."""

    signing: "Ed25519PrivateKey"
    public: "SSlibKey"
    credentials: "CredentialKeys"


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="audit",
    kinds={"python", "zip"},
    owners=OWNERS,
    code_version=code_version(1, "audit"),
    check_specs=[
        schema_check("audit_pack"),
        dg.AssetCheckSpec(
            "pack_verifies",
            asset="audit_pack",
            blocking=True,
            description="The pack as it lies there passes the check that an auditor runs; unsigned says so.",
        ),
        dg.AssetCheckSpec(
            "nothing_missing",
            asset="audit_pack",
            blocking=True,
            description="Every mined clip has its file and its decision trace in the pack.",
        ),
        dg.AssetCheckSpec(
            "credentials_read_back",
            asset="audit_pack",
            blocking=True,
            description="Every clip and generated video carries a content credential that its reader trusts.",
        ),
        dg.AssetCheckSpec("reviewed", asset="audit_pack", description="What the policy wants reviewed is reviewed."),
        dg.AssetCheckSpec("signed", asset="audit_pack", description="A key is configured and the pack is signed."),
    ],
)
def audit_pack(
    context: dg.AssetExecutionContext,
    config: PackConfig,
    source_video: pl.DataFrame,
    frame_signals: pl.DataFrame,
    tracks: pl.DataFrame,
    ego_motion: pl.DataFrame,
    mined_clips: pl.DataFrame,
    clip_ttc: pl.DataFrame,
    conflict_measures: pl.DataFrame,
    near_miss_events: pl.DataFrame,
    reason_outputs: pl.DataFrame,
    corrected_severities: pl.DataFrame,
    severity_ranking: pl.DataFrame,
    media: MediaStore,
    profiles: Profiles,
    io_manager: dg.ResourceParam[FrameStoreIOManager],
) -> dg.MaterializeResult:
    """One zip with every clip, its decision trace, the tables, settings and provenance; signed where a key is there.

    Not part of `process_video`: a pack is a second copy of the clips, and is made when somebody asks for one, after the
    review; job `finalize` makes it. Built with or without a key: without (`AUTORISK_AUDIT_KEYS` not set) it is unsigned,
    its clips carry no content credential, and file name, manifest, metadata and a check say so. `finalize` insists on
    the key.
    """
    from autorisk_dagster.audit.pack import PackContents, build_pack
    from autorisk_dagster.audit.sign import sign_pack

    key = context.partition_key
    found = dict(
        zip(
            VERDICT_INPUTS,
            (
                source_video,
                frame_signals,
                tracks,
                ego_motion,
                mined_clips,
                clip_ttc,
                conflict_measures,
                near_miss_events,
                reason_outputs,
                corrected_severities,
                severity_ranking,
            ),
            strict=True,
        )
    )
    try:
        profile = profiles.get(source_video.item(0, "profile"))
        keys = _configured_keys(required=config.require_signature)
        origins = Origins(context)
        records = {name: origins.of(name, table, current=True) for name, table in found.items()}
        left_out = {}
        for name in BESIDE:
            table = io_manager.read(name, key)
            if table is None:
                left_out[name] = "not run for this video"
            else:
                found[name] = table
                records[name] = origins.of(name, table, current=False)
        for name in FLEET_INPUTS:
            table = io_manager.read(name)
            if table is not None:
                found[name] = table
                records[name] = origins.of(name, table, current=False, partitioned=False)
        review, verdicts = _review(found, profile)
        clips, generated = _videos(key, found, media, keys)
        if keys is None:
            left_out["signature.dsse.json"] = "not signed: no key is configured (AUTORISK_AUDIT_KEYS)"
        contents = PackContents(
            tables=found,
            profile=profile,
            clips=clips,
            generated=generated,
            verdicts=verdicts,
            review=review,
            provenance={
                "footage": source_video.row(0, named=True),
                "inputs": records,
                "code": code(),
                "software": software(_PACKAGES),
            },
            left_out=left_out,
        )
        relative = f"{key}/audit/{key}{'' if keys else '.unsigned'}.zip"
        with media.writing(relative) as target:
            build_pack(contents, target)
            if keys:
                sign_pack(target, keys.signing, target)
        media.keep_only(f"{key}/audit", {relative})
        return _result(relative, media, keys, contents)
    except AutoRiskError as error:
        raise failure(error) from error


def _configured_keys(*, required: bool) -> _Keys | None:
    from autorisk_dagster.audit import keys
    from autorisk_dagster.audit.credentials import CredentialKeys

    folder = keys.configured_folder()
    if folder is None:
        if required:
            raise InputError(
                f"{keys.FOLDER_VARIABLE} is not set, and this pack must be signed. Make keys once with autorisk audit keys "
                "new FOLDER and set it to that folder, or build an unsigned pack: autorisk audit build --unsigned"
            )
        return None
    return _Keys(
        keys.private_key(folder / keys.SIGNING),
        keys.public_key(folder / keys.SIGNING_PUBLIC),
        CredentialKeys.read(folder),
    )


def _review(found: Mapping[str, pl.DataFrame], profile: Profile) -> "tuple[Review, dict[str, list[Row]] | None]":
    """What the policy wants reviewed and is not, and every verdict there is.

    Raises:
        InputError: something is not reviewed, and the profile refuses such a pack.
    """
    from autorisk_dagster.audit.pack import Review
    from autorisk_dagster.audit.trace import not_run

    head = not_run("there is no review log")
    queue = found.get("review_queue")
    if queue is None:
        unreviewed = {}
        review = Review("not_run", unreviewed, head)
    else:
        open_ = queue.filter(pl.col("must_review") & (pl.col("state") != "reviewed"))
        unreviewed = {row["clip_id"]: row["reasons"] for row in open_.iter_rows(named=True)}
        review = Review("unreviewed" if unreviewed else "complete", unreviewed, head)
    if review.outcome != "complete" and profile.audit.unreviewed == "refuse":
        what = f"{', '.join(unreviewed)} must be reviewed first" if unreviewed else "there is no review_queue"
        raise InputError(
            f"{what}, and the profile {profile.name} hands over no pack before (audit.unreviewed: refuse). Review: "
            "autorisk review"
        )
    return review, None


def _videos(
    key: str, found: Mapping[str, pl.DataFrame], media: MediaStore, keys: _Keys | None
) -> "tuple[dict[str, Video], dict[str, list[Video]]]":
    """The clips and generated videos as they are handed over."""
    from autorisk_dagster.audit.pack import AS_CUT, Video
    from autorisk_dagster.audit.trace import plain

    from autorisk_dagster.audit import credentials

    kept: set[str] = set()
    source = found["source_video"].row(0, named=True)
    answers = {row["clip_id"]: row for row in found["reason_outputs"].iter_rows(named=True)}
    corrected = {row["clip_id"]: row for row in found["corrected_severities"].iter_rows(named=True)}
    clips, generated = {}, {}

    def handed_over(name: str, original: Path, digest: str, definition: Row, record: Row) -> Video:
        if sha256_of(original) != digest:
            raise InputError(f"{original.name} is not the file its table names; make it again: autorisk run --again")
        if keys is None:
            path, credential = original, _no_credential()
        else:
            relative = f"{key}/credentials/{Path(name).stem}-{credentials.content_key(definition, digest, keys.credentials)}.mp4"
            path = media.path(relative)
            # Signing draws by chance: the file is made once and kept, or two packs of one state would differ.
            if not (path.exists() and credentials.holds(_read_back(path, keys), definition)):
                with media.writing(relative) as target:
                    credentials.attach(original, target, definition, keys.credentials)
            kept.add(relative)
            credential = {"standard": "C2PA", "state": "Trusted", "signer": keys.credentials.subject}
        return Video(name, path, {**record, "made_from_sha256": digest, "content_credential": credential})

    for clip in found["mined_clips"].iter_rows(named=True):
        clip_id = clip["clip_id"]
        facts = plain(_credential_facts(clip, source, answers[clip_id], corrected[clip_id]))
        clips[clip_id] = handed_over(
            f"clips/{clip_id}.mp4",
            media.path(clip["clip_path"]),
            clip["clip_sha256"],
            credentials.clip_credential(facts, source),
            {"role": "clip", "synthetic": False, "privacy": AS_CUT},
        )
    for asset in ("predict_videos", "counterfactuals"):
        for row in found[asset].iter_rows(named=True) if asset in found else ():
            if row["outcome"] != "generated":
                continue
            name = f"generated/{row['clip_id']}-{row['scenario']}.mp4"
            facts = plain({k: row[k] for k in _GENERATED_FACTS} | {"title": Path(name).name})
            source_type = credentials.SOURCE_TYPES[row["world_model"]]
            generated.setdefault(row["clip_id"], []).append(
                handed_over(
                    name,
                    media.path(row["video_path"]),
                    row["video_sha256"],
                    credentials.generated_credential(facts),
                    {"role": "generated video", "synthetic": True, "digital_source_type": source_type},
                )
            )
    media.keep_only(f"{key}/credentials", kept)
    return clips, generated
