"""Audit: what every verdict on a video rests on, in one file that leaves the house."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from assets.handover import Handover
from assets.placement import CPU
from assets.provenance import Origins, code, software
from assets.tabulate import OWNERS, TABLE, code_version, failure, markdown_table, schema_check, table_result
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError, InputError
from autorisk_dagster.io import FrameStoreIOManager
from autorisk_dagster.partitions import videos
from autorisk_dagster.profile import Profile
from resources.credentials import Credentials
from resources.media_store import MediaStore, sha256_of
from resources.profiles import Profiles

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.signer import SSlibKey

    from autorisk_dagster.audit.pack import PackContents
    from autorisk_dagster.audit.reviewed import Review

# What a verdict is made from, and what may be shown of it: as it was materialised, by today's code and settings.
INPUTS = (
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
    "shareable_clips",
)
# In the pack where they were made; no verdict reads them.
BESIDE = ("verified_events", "saliency_maps", "explanation_checklist", "predict_videos", "counterfactuals")
POLICY = "review_queue"  # says what must be reviewed: where it was made, it must be by today's settings too
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


class PackConfig(dg.Config):
    """`require_signature`: fail where no key is configured, instead of building a pack that says it is unsigned."""

    require_signature: bool = False


@dataclass(frozen=True)
class _Keys:
    """Of the pack's signature, from the configured folder: the private key, and the public one as an auditor has it."""

    signing: "Ed25519PrivateKey"
    public: "SSlibKey"


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="audit",
    op_tags=CPU,
    kinds={"python", "zip"},
    owners=OWNERS,
    deps=[POLICY, *BESIDE],
    code_version=code_version(2, "audit"),
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
            "credentials",
            asset="audit_pack",
            blocking=True,
            description="Every clip and generated video in the pack, as it lies there, carries a whole content "
            "credential by the keys in force; those of generated videos say that they are synthetic.",
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
    shareable_clips: pl.DataFrame,
    media: MediaStore,
    credentials: Credentials,
    profiles: Profiles,
    io_manager: dg.ResourceParam[FrameStoreIOManager],
) -> dg.MaterializeResult:
    """One zip with every clip, its decision trace, the tables, settings and provenance; signed where a key is there.

    Not part of `process_video`: a pack is a second copy of the clips, and is made when somebody asks for one, after the
    review; job `finalize` makes it. Built with or without a key: without (`AUTORISK_AUDIT_KEYS` not set) it is not
    signed, its content credentials are the installation's own, and file name, manifest, metadata and a check say so.
    `finalize` insists on the key.
    """
    from autorisk_dagster.audit.pack import PackContents, build_pack
    from autorisk_dagster.audit.reviewed import review_state
    from autorisk_dagster.audit.sign import sign_pack
    from autorisk_dagster.review.log import review_log

    key = context.partition_key
    found = dict(
        zip(
            INPUTS,
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
                shareable_clips,
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
        for name in (POLICY, *BESIDE):
            table = io_manager.read(name, key)
            if table is None:
                left_out[name] = "not run for this video"
            else:
                found[name] = table
                records[name] = origins.of(name, table, current=name == POLICY)
        for name in FLEET_INPUTS:
            table = io_manager.read(name)
            if table is not None:
                found[name] = table
                records[name] = origins.of(name, table, current=False, partitioned=False)
        review = review_state(review_log(media.data.pull("review")), found)
        _refuse_unreviewed(review, profile)
        handover = Handover(media, f"{key}/handed_over", credentials)
        hidden_by = profile.privacy.faces if profile.privacy.hide else None
        generated = handover.generated(found, hidden_by)
        left_out |= dict.fromkeys(
            generated.withheld,
            f"made without hiding faces and number plates (by {hidden_by}), which the profile asks: make it again",
        )
        if keys is None:
            left_out["signature.dsse.json"] = "not signed: no key is configured (AUTORISK_AUDIT_KEYS)"
        contents = PackContents(
            tables=found,
            profile=profile,
            clips=handover.clips(found),
            generated=generated.videos,
            review=review,
            provenance={
                "footage": source_video.row(0, named=True),
                "inputs": records,
                "packed_by": {"code": code(), "software": software(_PACKAGES)},
            },
            left_out=left_out,
        )
        relative = f"{key}/audit/{key}{'' if keys else '.unsigned'}.zip"
        with media.writing(relative) as target:
            build_pack(contents, target)
            if keys:
                sign_pack(target, keys.signing, target)
        media.keep_only(f"{key}/audit", {relative})
        handover.keep_only()
        return _result(key, relative, media, keys, credentials, contents)
    except AutoRiskError as error:
        raise failure(error) from error


def _configured_keys(*, required: bool) -> _Keys | None:
    from autorisk_dagster.audit import keys

    folder = keys.configured_folder()
    if folder is None:
        if required:
            raise InputError(
                f"{keys.FOLDER_VARIABLE} is not set, and this pack must be signed. Make keys once (autorisk audit keys "
                "FOLDER) and set it to that folder, or build an unsigned pack: autorisk audit build --unsigned"
            )
        return None
    return _Keys(
        keys.private_key(folder / keys.SIGNING),
        keys.public_key(folder / keys.SIGNING_PUBLIC),
    )


def _refuse_unreviewed(review: "Review", profile: Profile) -> None:
    """The policy gate.

    Raises:
        InputError: something is not reviewed, and the profile refuses such a pack.
    """
    if review.outcome == "complete" or profile.audit.unreviewed == "mark":
        return
    what = (
        f"{', '.join(review.unreviewed)} must be reviewed first"
        if review.unreviewed
        else "there is no review_queue yet"
    )
    raise InputError(
        f"{what}: profile {profile.name} hands over no pack before (audit.unreviewed: refuse). Review: autorisk review"
    )


def _result(
    key: str,
    relative: str,
    media: MediaStore,
    keys: _Keys | None,
    credentials: Credentials,
    contents: "PackContents",
) -> dg.MaterializeResult:
    from autorisk_dagster.audit.verify import Verdict, verify_pack

    path = media.path(relative)
    found = verify_pack(path, keys.public if keys else None)
    names = {file["name"] for file in found.manifest["files"]}
    wanted = {
        f"{folder}/{clip}.{kind}" for clip in contents.clips for folder, kind in (("clips", "mp4"), ("trace", "json"))
    }
    videos = [*contents.clips.values(), *(video for more in contents.generated.values() for video in more)]
    whole = _credentials(path, credentials.in_force().root_pem)
    review = contents.review
    row = {
        "video_id": key,
        "pack_path": relative,
        "pack_sha256": sha256_of(path),
        "pack_digest": found.digest,
        "size_bytes": path.stat().st_size,
        "files": found.files,
        "clips": len(contents.clips),
        "key_id": found.key_id or None,
        "credentials": sum(whole.values()),
        "synthetic": sum(video.record["synthetic"] for video in videos),
        "review": review.outcome,
        "unreviewed": None if review.outcome == "not_run" else len(review.unreviewed),
    }
    reasons = pl.DataFrame(
        [{"clip": clip, "why": "; ".join(why)} for clip, why in review.unreviewed.items()],
        schema={"clip": pl.String, "why": pl.String},
    )
    expected = Verdict.INTACT if keys else Verdict.UNSIGNED
    return table_result(
        "audit_pack",
        tables.frame([row], tables.AUDIT_PACK),
        {
            "pack": dg.MetadataValue.path(str(path)),
            "digest": found.digest,
            "sha256": row["pack_sha256"],
            "signed_by": found.key_id or "nobody: this pack is not signed",
            "clips": row["clips"],
            "files": found.files,
            "size_mb": row["size_bytes"] / 1e6,
            "content_credentials": f"{sum(whole.values())} of {len(whole)}, by {credentials.in_force().subject}",
            "synthetic_videos": row["synthetic"],
            "review": review.outcome,
            "not_reviewed": dg.MetadataValue.md(markdown_table(reasons)),
            "left_out": dict(contents.left_out),
        },
        [
            dg.AssetCheckResult(
                check_name="pack_verifies",
                passed=found.verdict == expected,
                metadata={"verdict": found.verdict.name, "findings": [str(finding) for finding in found.findings]},
            ),
            dg.AssetCheckResult(
                check_name="nothing_missing", passed=wanted <= names, metadata={"missing": sorted(wanted - names)}
            ),
            dg.AssetCheckResult(
                check_name="credentials",
                passed=all(whole.values()) and set(whole) == {video.name for video in videos},
                metadata={"without": sorted(name for name, carries in whole.items() if not carries)},
            ),
            dg.AssetCheckResult(
                check_name="reviewed", passed=review.outcome == "complete", severity=dg.AssetCheckSeverity.WARN
            ),
            dg.AssetCheckResult(check_name="signed", passed=keys is not None, severity=dg.AssetCheckSeverity.WARN),
        ],
        preview=["pack_path", "clips", "files", "credentials", "synthetic", "review", "key_id"],
    )


def _credentials(pack: Path, root_pem: str) -> dict[str, bool]:
    """By name, whether each video of a pack reads back as it has to."""
    from zipfile import ZipFile

    from autorisk_dagster.audit.credentials import CLIP_ASSERTION, GENERATED_ASSERTION, read_credential

    found = {}
    with ZipFile(pack) as archive, TemporaryDirectory() as folder:
        for name in archive.namelist():
            if not name.endswith(".mp4"):
                continue
            read = read_credential(Path(archive.extract(name, folder)), root_pem)
            generated = name.startswith("generated/")
            wanted = GENERATED_ASSERTION if generated else CLIP_ASSERTION
            found[name] = read.state == "Trusted" and wanted in read.assertions and generated == bool(read.source_types)
    return found
