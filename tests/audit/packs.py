"""Small packs to tamper with, and the keys that sign them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import SSlibKey

from autorisk_dagster.audit.container import MANIFEST, PackFile, write_container
from autorisk_dagster.audit.sign import sign_pack
from autorisk_dagster.audit.verify import Verification, verify_pack

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = SSlibKey.from_crypto(KEY.public_key())
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))

CONTENT = {"clips/a.mp4": b"\x00\x01clip", "tables/t.parquet": b"PAR1", "trace/a.json": b'{"severity": "HIGH"}\n'}


def manifest_of(content: Mapping[str, bytes]) -> bytes:
    files = [{"name": name, "sha256": hashlib.sha256(raw).hexdigest()} for name, raw in sorted(content.items())]
    facts = {"video_id": "a-00000000", "source_sha256": "0" * 64, "clips": 1, "review": {"outcome": "complete"}}
    return json.dumps({**facts, "generator": {"name": "test"}, "files": files}).encode()


def unsigned_pack(folder: Path, content: Mapping[str, bytes] = CONTENT) -> Path:
    files = {**content, MANIFEST: manifest_of(content)}
    return rebuilt(files, folder / "unsigned.zip")


def signed_pack(folder: Path, content: Mapping[str, bytes] = CONTENT, key: Ed25519PrivateKey = KEY) -> Path:
    unsigned = unsigned_pack(folder, content)
    sign_pack(unsigned, key, folder / "pack.zip")
    return folder / "pack.zip"


def rebuilt(files: Mapping[str, bytes], target: Path) -> Path:
    """A pack of `files` in the one form a pack has: what one who knows the format would forge."""
    write_container([PackFile(name, raw) for name, raw in files.items()], target)
    return target


def files_of(pack: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(pack) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def verified(pack: Path) -> Verification:
    return verify_pack(pack, PUBLIC)


def told(found: Verification) -> str:
    return "\n".join(str(finding) for finding in found.findings)
