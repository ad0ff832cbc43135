"""Is this pack what was signed, by whom, and if not, what exactly differs?

Needs the pack and a public key: no Dagster, no data folder, no network, nothing but the standard library and
securesystemslib. Trust is the given key alone; a key inside a pack would say nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signature, SSlibKey

from autorisk_dagster.audit.container import MANIFEST, SIGNATURE, Contents, Finding, read_container, read_entry
from autorisk_dagster.audit.revocation import Revocations
from autorisk_dagster.audit.sign import (
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    SIGNED_KEYS,
    STATEMENT_TYPE,
    canonical_json,
    read_manifest,
)
from autorisk_dagster.errors import InputError

MAX_ENVELOPE_BYTES = 16 << 20


class Verdict(IntEnum):
    """What was found; the number is the exit code of `autorisk audit verify` (1: not checked, 2: wrong usage)."""

    INTACT = 0
    ALTERED = 3
    UNSIGNED = 4
    OTHER_KEY = 5
    REVOKED = 6


@dataclass(frozen=True)
class Verification:
    """The outcome for one pack.

    Attributes:
        verdict: the gravest of what was found
        findings: what differs, each with its file
        digest: SHA-256 of the manifest, which names the pack; "" where there is none
        key_id: of the key whose signature is in it; "" where it has none that can be read
        manifest: the manifest's fields; empty where it cannot be read. Trustworthy only where the verdict is INTACT.
        files: how many files are in it
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    digest: str
    key_id: str
    manifest: dict[str, Any]
    files: int


@dataclass
class _Signed:
    """What the signature file says: the hash of every file, if it can be read; and whether the key vouches for it."""

    present: bool = False
    subjects: dict[str, str] | None = None
    predicate: dict[str, Any] = field(default_factory=dict)
    key_id: str = ""
    by_given_key: bool = False


def verify_pack(pack: Path, key: SSlibKey | None, revoked: Revocations | None = None) -> Verification:
    """Check `pack` under the public key `key`.

    Without a key nothing can vouch for a pack: an unsigned one is held to its own manifest and called UNSIGNED, a
    signed one OTHER_KEY.

    Raises:
        OSError: the pack cannot be opened or read.
    """
    contents = read_container(pack)
    hashes = {entry.name: entry.sha256 for entry in contents.entries}
    altered = list(contents.findings)
    signed = _signature(pack, contents, key, altered)
    manifest = _manifest(pack, contents, altered)
    files = {name: digest for name, digest in hashes.items() if name != SIGNATURE}
    listed = {file["name"]: file["sha256"] for file in manifest.get("files", ())}
    if signed.subjects is not None and signed.by_given_key:
        altered += differences(signed.subjects, files)
        if not any(finding.name == MANIFEST for finding in altered) and manifest:
            altered += _unlike_manifest(signed, manifest)
    elif listed:
        altered += differences(listed, {name: digest for name, digest in files.items() if name != MANIFEST})
    digest = hashes.get(MANIFEST, "")
    status = _status(signed, digest, key, revoked or Revocations())
    verdict = Verdict.ALTERED if altered else Verdict(max((s[0] for s in status), default=Verdict.INTACT))
    findings = (*altered, *(finding for _, finding in status))
    return Verification(verdict, findings, digest, signed.key_id, manifest, len(files))


def differences(expected: dict[str, str], found: dict[str, str]) -> list[Finding]:
    """How files differ from what was signed: both are SHA-256 by name; what moved is told from what is new."""
    findings = []
    missing = {name: digest for name, digest in expected.items() if name not in found}
    extra = {name: digest for name, digest in found.items() if name not in expected}
    for name, digest in sorted(missing.items()):
        moved = next((new for new, other in extra.items() if other == digest and digest), None)
        if moved is None:
            findings.append(Finding("removed", name, "signed, and not in the pack"))
        else:
            del extra[moved]
            findings.append(Finding("renamed", name, f"is now called {moved}"))
    findings += [Finding("added", name, "not among what was signed") for name in sorted(extra)]
    changed = sorted(name for name, digest in expected.items() if name in found and found[name] != digest)
    told: set[str] = set()
    for name in changed:
        if name in told:
            continue
        owners = [other for other in changed if other != name and expected[other] == found[name] != ""]
        partner = next((other for other in owners if found[other] == expected[name] and other not in told), None)
        if partner is not None:
            told.add(partner)
            findings.append(Finding("swapped", name, f"and {partner} have each other's bytes"))
        elif owners:
            findings.append(Finding("changed", name, f"it has the bytes of {owners[0]}"))
        else:
            detail = "its bytes are not those that were signed" if found[name] else "its bytes could not be read"
            findings.append(Finding("changed", name, detail))
    return findings


def _signature(pack: Path, contents: Contents, key: SSlibKey | None, altered: list[Finding]) -> _Signed:
    """Read the envelope and check it under `key`; what is wrong with it is added to `altered`."""
    entry = next((entry for entry in contents.entries if entry.name == SIGNATURE), None)
    signed = _Signed(present=entry is not None)
    if entry is None or not entry.sha256:
        return signed
    try:
        raw = read_entry(pack, entry, MAX_ENVELOPE_BYTES)
        values = json.loads(raw)
        if canonical_json(values) != raw:
            altered.append(Finding("changed", SIGNATURE, "the envelope is not written as it was signed"))
        if len(values["signatures"]) != 1:
            raise ValueError(f"{len(values['signatures'])} signatures, expected 1")
        envelope = Envelope.from_dict(json.loads(raw))
        if canonical_json(envelope.to_dict()) != raw:  # base64 has several spellings of the same bytes
            altered.append(Finding("changed", SIGNATURE, "the envelope is not written as it was signed"))
        (signature,) = envelope.signatures.values()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InputError) as error:
        altered.append(Finding("changed", SIGNATURE, f"no DSSE envelope with one signature ({error})"))
        return signed
    signed.key_id = signature.keyid
    _statement(envelope, signed, altered)
    if key is None:
        return signed
    try:
        key.verify_signature(Signature(key.keyid, signature.signature), envelope.pae())
        signed.by_given_key = True
    except UnverifiedSignatureError:
        if signature.keyid == key.keyid:
            altered.append(
                Finding("changed", SIGNATURE, "the signature is not one of the given key over this statement")
            )
    else:
        if signature.keyid != key.keyid:
            altered.append(Finding("changed", SIGNATURE, f"names key {signature.keyid}, but {key.keyid} signed it"))
    return signed


def _statement(envelope: Envelope, signed: _Signed, altered: list[Finding]) -> None:
    try:
        values = json.loads(envelope.payload)
        found = (envelope.payload_type, values["_type"], values["predicateType"])
        if found != (PAYLOAD_TYPE, STATEMENT_TYPE, PREDICATE_TYPE):
            raise ValueError(f"it is {found}")
        subjects = {subject["name"]: subject["digest"]["sha256"] for subject in values["subject"]}
        if len(subjects) != len(values["subject"]) or MANIFEST not in subjects:
            raise ValueError("its subjects are no list of files")
        signed.subjects, signed.predicate = subjects, dict(values["predicate"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        altered.append(Finding("changed", SIGNATURE, f"it does not hold a statement about a pack ({error})"))


def _manifest(pack: Path, contents: Contents, altered: list[Finding]) -> dict[str, Any]:
    if not contents.entries:
        return {}
    try:
        return read_manifest(pack, contents)
    except InputError as error:
        altered.append(Finding("changed", MANIFEST, str(error)))
        return {}


def _unlike_manifest(signed: _Signed, manifest: dict[str, Any]) -> list[Finding]:
    """Where statement and manifest, both signed, contradict each other: not written by this program."""
    listed = {file["name"]: file["sha256"] for file in manifest["files"]}
    subjects = {name: digest for name, digest in (signed.subjects or {}).items() if name != MANIFEST}
    if listed != subjects or signed.predicate != {name: manifest[name] for name in SIGNED_KEYS}:
        return [Finding("changed", SIGNATURE, "the statement and the manifest contradict each other")]
    return []


def _status(signed: _Signed, digest: str, key: SSlibKey | None, revoked: Revocations) -> list[tuple[Verdict, Finding]]:
    """Who vouches for the pack, and whether that still holds."""
    found = []
    if not signed.present:
        found.append((Verdict.UNSIGNED, Finding("unsigned", "", "nobody signed this pack: anybody can have made it")))
    elif signed.key_id and not signed.by_given_key:
        given = f"not the given one ({key.keyid})" if key else "not known: no key was given"
        detail = f"signed by key {signed.key_id}, which is {given}"
        found.append((Verdict.OTHER_KEY, Finding("other key", "", detail)))
    for kind, value, reasons in (("key", signed.key_id, revoked.keys), ("key", key.keyid if key else "", revoked.keys),
                                 ("pack", digest, revoked.packs)):  # fmt: skip
        if value in reasons:
            found.append((Verdict.REVOKED, Finding("revoked", "", f"{kind} {value}: {reasons[value]}")))
    return list(dict.fromkeys(found))
