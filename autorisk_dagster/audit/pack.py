"""What goes into an audit pack, and what it is called there.

| file | what |
|---|---|
| `manifest.json` | every other file with size, SHA-256 and role; the review's state; what was left out and why |
| `readme.txt` | how to check and read the pack |
| `provenance.json` | what every verdict was made from: footage, tables, code, software, runs, checks |
| `profile.json` | every setting, as resolved |
| `trace/<clip>.json` | decision trace of a clip (`trace`) |
| `clips/<clip>.mp4` | the clip |
| `generated/<clip>-<scenario>.mp4` | generated videos, each marked as synthetic |
| `tables/<asset>.parquet` | the video's tables |

The same state gives the same bytes: no time of building, no run that built it, nothing drawn by chance is in it.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from autorisk_dagster import __version__
from autorisk_dagster.audit.container import MANIFEST, Entry, PackFile, write_container
from autorisk_dagster.audit.reviewed import Review
from autorisk_dagster.audit.trace import decision_trace, plain
from autorisk_dagster.errors import InputError
from autorisk_dagster.profile import Profile

FORMAT = "autorisk-audit-pack/1"
_VOLATILE = ("seconds",)  # measured anew by every run, and no part of a verdict
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL", re.IGNORECASE)
_NO_SECRET = re.compile(r"AUTORISK_AUDIT_KEYS$")  # names a folder
_MIN_SECRET = 8  # shorter values stand in any text by chance
_MARKERS = (b"PRIVATE KEY-----",)


@dataclass(frozen=True)
class Video:
    """A clip or generated video of the pack.

    Attributes:
        name: in the pack
        path: of the file that is packed
        record: what manifest and trace say of it: `role`, `evidence_sha256` (of the clip that was judged),
            `content_credential`, `synthetic`, and what is `hidden` in a clip
    """

    name: str
    path: Path
    record: Mapping[str, Any]


@dataclass(frozen=True)
class PackContents:
    """Everything a pack is made from.

    Attributes:
        tables: of the video by asset, as stored
        clips: by clip id
        generated: generated videos, by clip id
        provenance: inputs, checks, software, code (see `assets/audit.py`)
        left_out: what a reader might look for and will not find, with the reason
    """

    tables: Mapping[str, pl.DataFrame]
    profile: Profile
    clips: Mapping[str, Video]
    generated: Mapping[str, Sequence[Video]]
    review: Review
    provenance: Mapping[str, Any]
    left_out: Mapping[str, str]


def build_pack(contents: PackContents, target: Path) -> list[Entry]:
    """Write the unsigned pack at `target`.

    Raises:
        InputError: tables that do not belong together, a clip without its file, or a secret in one of the texts.
    """
    facts = contents.tables["source_video"].row(0, named=True)
    mined = contents.tables["mined_clips"]
    missing = sorted(set(mined["clip_id"]) - set(contents.clips))
    if missing:
        raise InputError(f"no file to pack for {', '.join(missing)}")
    videos = [*contents.clips.values(), *(video for more in contents.generated.values() for video in more)]
    files: list[tuple[PackFile, dict[str, Any]]] = [
        (PackFile("readme.txt", _README.encode()), {"role": "how to check and read this pack"}),
        (_text("provenance.json", contents.provenance), {"role": "what the verdicts were made from"}),
        (_text("profile.json", contents.profile.model_dump(mode="json")), {"role": "every setting"}),
    ]
    files += [(PackFile(video.name, video.path), dict(video.record)) for video in videos]
    files += [(_table(asset, table), {"role": f"table {asset}"}) for asset, table in sorted(contents.tables.items())]
    listed = {file.name: _listed(file, record) for file, record in files}
    source = {"video_id": facts["video_id"], "file_name": facts["file_name"], "sha256": facts["sha256"]}
    for clip in mined.iter_rows(named=True):
        clip_id = clip["clip_id"]
        trace = decision_trace(
            clip,
            contents.tables,
            contents.profile,
            source=source,
            media={
                "clip": listed[contents.clips[clip_id].name],
                "generated": [listed[video.name] for video in contents.generated.get(clip_id, ())],
            },
            reviews=contents.review.clips[clip_id],
        )
        file = _text(f"trace/{clip_id}.json", trace)
        files.append((file, {"role": "decision trace"}))
        listed[file.name] = _listed(file, files[-1][1])
    manifest = {
        "format": FORMAT,
        "video_id": facts["video_id"],
        "source_sha256": facts["sha256"],
        "clips": mined.height,
        "review": {
            "outcome": contents.review.outcome,
            "unreviewed": {clip: list(reasons) for clip, reasons in contents.review.unreviewed.items()},
            "log": contents.review.log,
        },
        "generator": {"name": "autorisk-dagster", "version": __version__},
        "left_out": dict(contents.left_out),
        "files": [listed[name] for name in sorted(listed)],
    }
    texts = [file for file, _ in files if isinstance(file.content, bytes)]
    refuse_secrets([*texts, _text(MANIFEST, manifest)], contents.tables)
    return write_container([_text(MANIFEST, manifest), *(file for file, _ in files)], target)


def table_bytes(table: pl.DataFrame) -> bytes:
    """A table as Parquet, without what differs from run to run."""
    buffer = io.BytesIO()
    table.drop(_VOLATILE, strict=False).write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()


def refuse_secrets(texts: Sequence[PackFile], tables: Mapping[str, pl.DataFrame]) -> None:
    """See that no secret of this process's environment, and no private key, is about to be handed over.

    Raises:
        InputError: one is; it is named by its variable, never shown.
    """
    secrets = {
        value.encode(): name
        for name, value in os.environ.items()
        if _SECRET_NAME.search(name) and not _NO_SECRET.search(name) and len(value) >= _MIN_SECRET
    }
    places = [(file.name, file.content) for file in texts if isinstance(file.content, bytes)]
    places += [(asset, table.write_ndjson().encode()) for asset, table in tables.items()]
    for name, content in places:
        for value, variable in secrets.items():
            if value in content:
                raise InputError(
                    f"{name} holds the value of {variable}; the pack was not built. Find out how it got there"
                )
        if any(marker in content for marker in _MARKERS):
            raise InputError(f"{name} holds a private key; the pack was not built. Find out how it got there")


def _listed(file: PackFile, record: Mapping[str, Any]) -> dict[str, Any]:
    size, _, digest = file.measured()
    return {"name": file.name, "size": size, "sha256": digest, **record}


def _text(name: str, value: Any) -> PackFile:
    """A JSON file in the order in which a person reads it; NaN and infinities were made words before."""
    content = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return PackFile(name, content.encode())


def _table(asset: str, table: pl.DataFrame) -> PackFile:
    return PackFile(f"tables/{asset}.parquet", table_bytes(table))


_README = """\
This is an audit pack of AutoRisk: what each verdict on one video rests on.

Check it. With AutoRisk:    autorisk audit verify PACK --key signing.pub.pem
Without, any tool for in-toto attestations does: signature.dsse.json is a DSSE envelope (payload type
application/vnd.in-toto+json) under an Ed25519 key. Its subjects are the files of this pack with their SHA-256. A pack
without signature.dsse.json is not signed: anybody can have made it.

Read it. Start with manifest.json: all files, and whether the clips were reviewed. trace/CLIP.json leads from a clip's
severity back to the frames: the rule and what it read, the reasoner's words and raw answer, the measured times to
contact, near misses, signals, and where the clip was cut. tables/ holds all measurements of the video (Parquet).
provenance.json says what software made them, from which footage, in which runs. profile.json holds all settings.

Numbers stand as computed; "inf" means that nothing approaches, null that it cannot be said. "not run" means that
nobody did it. What lies in generated/ is synthetic: it shows what might have followed, never what happened.
Clips and generated videos carry a content credential (C2PA) in the file; any C2PA reader shows it.
"""
