"""The signature of a pack: an in-toto Statement in a DSSE envelope, as the pack's last file.

The statement's subjects are all files of the pack by name and SHA-256, the manifest first; the container has one
possible form (`container`), so that the statement holds every byte of the pack but the envelope itself, and the
envelope has one possible form too. Any tool that reads in-toto attestations checks it: unpack, verify
`signature.dsse.json` under the public key, compare the files with the subjects.

The predicate, `PREDICATE_TYPE`:

    {
      "video_id": "drive-1-1a2b3c4d",          the video the pack is about
      "source_sha256": "...",                  of the footage
      "clips": 3,
      "review": {"outcome": "...", ...},       what the policy said when it was packed (`manifest.json`, "review")
      "generator": {"name": "autorisk-dagster", "version": "..."}
    }

Ed25519 signs the same bytes alike and no time is signed, so that signing again gives the same pack.

Specifications: in-toto Attestation Framework v1 (Statement), DSSE v1.0.0 (protocol and envelope).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from autorisk_dagster.audit.container import (
    MANIFEST,
    SIGNATURE,
    Contents,
    Entry,
    PackFile,
    read_container,
    read_entry,
    write_container,
)
from autorisk_dagster.errors import InputError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:autorisk:audit-pack:v1"
MAX_MANIFEST_BYTES = 64 << 20
SIGNED_KEYS = ("video_id", "source_sha256", "clips", "review", "generator")  # of the manifest, in the predicate


def canonical_json(value: Any) -> bytes:
    """The one form in which a pack's JSON is written: sorted keys, two spaces, a line end; NaN is an error."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def statement(entries: Iterable[Entry], manifest: dict[str, Any]) -> dict[str, Any]:
    """The in-toto Statement over the files of a pack."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": entry.name, "digest": {"sha256": entry.sha256}} for entry in entries],
        "predicateType": PREDICATE_TYPE,
        "predicate": {name: manifest[name] for name in SIGNED_KEYS},
    }


def envelope_of(content: dict[str, Any], key: Ed25519PrivateKey) -> bytes:
    """The DSSE envelope around a statement, signed."""
    payload = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(key))
    return canonical_json(envelope.to_dict())


def sign_pack(pack: Path, key: Ed25519PrivateKey, target: Path) -> str:
    """Write the signed form of `pack` at `target`; a signature that is there is replaced. Returns the key's id.

    Raises:
        InputError: the pack is not what it was built as: nothing altered is ever signed.
    """
    contents = read_container(pack)
    if contents.findings:
        raise InputError(f"{pack.name} is not as it was built and is not signed: {contents.findings[0]}")
    entries = [entry for entry in contents.entries if entry.name != SIGNATURE]
    manifest = read_manifest(pack, contents)
    listed = {file["name"]: file["sha256"] for file in manifest["files"]}
    if listed != {entry.name: entry.sha256 for entry in entries if entry.name != MANIFEST}:
        raise InputError(f"{pack.name} does not hold what its manifest lists and is not signed; build it again")
    signer = CryptoSigner(key)
    signature = PackFile(SIGNATURE, envelope_of(statement(entries, manifest), key))
    copies = [PackFile(entry.name, pack, entry.data_offset, entry.size) for entry in entries]
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp.zip")
    try:
        write_container([*copies, signature], temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return signer.public_key.keyid


def read_manifest(pack: Path, contents: Contents) -> dict[str, Any]:
    """The manifest of a pack.

    Raises:
        InputError: there is none, or it is no manifest.
    """
    found = next((entry for entry in contents.entries if entry.name == MANIFEST), None)
    if found is None:
        raise InputError(f"{pack.name} has no {MANIFEST}")
    try:
        manifest = json.loads(read_entry(pack, found, MAX_MANIFEST_BYTES))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{MANIFEST} of {pack.name} is not JSON: {error}") from error
    wanted = {*SIGNED_KEYS, "files"}
    if not isinstance(manifest, dict) or not wanted <= set(manifest):
        raise InputError(f"{MANIFEST} of {pack.name} lacks some of {', '.join(sorted(wanted))}")
    files = manifest["files"]
    if not isinstance(files, list) or not all(
        isinstance(file, dict) and isinstance(file.get("name"), str) and isinstance(file.get("sha256"), str)
        for file in files
    ):
        raise InputError(f"{MANIFEST} of {pack.name} has no list of files")
    return manifest
