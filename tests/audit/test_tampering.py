"""Whatever is done to a signed pack is found, and named: bytes, files, order, signature, trust."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorisk_dagster.audit.container import MANIFEST, SIGNATURE, read_container
from autorisk_dagster.audit.revocation import read_revocations
from autorisk_dagster.audit.verify import Verdict, differences, verify_pack
from autorisk_dagster.errors import InputError
from tests.audit.packs import (
    CONTENT,
    KEY,
    OTHER,
    PUBLIC,
    files_of,
    manifest_of,
    rebuilt,
    signed_pack,
    told,
    unsigned_pack,
    verified,
)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return signed_pack(tmp_path_factory.mktemp("pack"))


def test_an_untouched_pack_is_intact(pack: Path) -> None:
    found = verified(pack)
    assert (found.verdict, found.findings, found.files) == (Verdict.INTACT, (), 4)
    assert found.manifest["video_id"] == "a-00000000"
    assert found.key_id == PUBLIC.keyid


def test_every_single_byte_counts(pack: Path, tmp_path: Path) -> None:
    """Each byte of the pack, one at a time: found, and under the name of the file it lies in."""
    raw = pack.read_bytes()
    spans = {
        at: entry.name
        for entry in read_container(pack).entries
        for at in range(entry.data_offset, entry.data_offset + entry.size)
    }
    copy = tmp_path / "pack.zip"
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1 << at % 8
        copy.write_bytes(changed)
        found = verified(copy)
        assert found.verdict != Verdict.INTACT, at
        if at in spans:
            assert spans[at] in {finding.name for finding in found.findings}, (at, spans[at])
        else:
            assert found.verdict == Verdict.ALTERED, at


def test_every_truncation_is_found(pack: Path, tmp_path: Path) -> None:
    raw = pack.read_bytes()
    copy = tmp_path / "pack.zip"
    for length in range(len(raw)):
        copy.write_bytes(raw[:length])
        found = verified(copy)
        assert found.verdict == Verdict.ALTERED, length
        assert found.findings[0].kind == "truncated", length


def test_a_truncation_says_where(pack: Path, tmp_path: Path) -> None:
    clip = next(entry for entry in read_container(pack).entries if entry.name == "clips/a.mp4")
    (tmp_path / "pack.zip").write_bytes(pack.read_bytes()[: clip.data_offset + 2])
    assert "breaks off in clips/a.mp4: 4 of its bytes are missing; 1 files are whole" in told(
        verified(tmp_path / "pack.zip")
    )


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_insertion_deletion_or_overwriting_is_missed(pack: Path, tmp_path_factory, data: st.DataObject) -> None:
    raw = pack.read_bytes()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 64)))
    forged = raw[:start] + data.draw(st.binary(max_size=64)) + raw[end:]
    copy = tmp_path_factory.getbasetemp() / "spliced.zip"
    copy.write_bytes(forged)
    assert (verified(copy).verdict == Verdict.INTACT) == (forged == raw)


# What one does who knows the format: the container stays canonical, the files differ.


@pytest.mark.parametrize("name", sorted([*CONTENT, MANIFEST]))
def test_a_changed_file_is_named(pack: Path, tmp_path: Path, name: str) -> None:
    files = files_of(pack)
    files[name] = files[name].replace(b"a", b"b", 1) + b" "
    found = verified(rebuilt(files, tmp_path / "forged.zip"))
    assert found.verdict == Verdict.ALTERED
    assert f"changed: {name}: " in told(found)


@pytest.mark.parametrize("name", sorted(CONTENT))
def test_a_removed_file_is_named(pack: Path, tmp_path: Path, name: str) -> None:
    files = files_of(pack)
    del files[name]
    found = verified(rebuilt(files, tmp_path / "forged.zip"))
    assert [(f.kind, f.name) for f in found.findings] == [("removed", name)]


@pytest.mark.parametrize("name", ["clips/b.mp4", "0", "zzz/z", "trace/a.json.bak"])
def test_an_added_file_is_named(pack: Path, tmp_path: Path, name: str) -> None:
    found = verified(rebuilt({**files_of(pack), name: b"new"}, tmp_path / "forged.zip"))
    assert [(f.kind, f.name) for f in found.findings] == [("added", name)]


@pytest.mark.parametrize("name", sorted(CONTENT))
def test_a_renamed_file_is_named(pack: Path, tmp_path: Path, name: str) -> None:
    files = files_of(pack)
    files["clips/zz.mp4"] = files.pop(name)
    found = verified(rebuilt(files, tmp_path / "forged.zip"))
    assert [(f.kind, f.name) for f in found.findings] == [("renamed", name)]
    assert "clips/zz.mp4" in told(found)


@pytest.mark.parametrize("one", sorted(CONTENT))
@pytest.mark.parametrize("other", sorted(CONTENT))
def test_a_swap_is_called_one(pack: Path, tmp_path: Path, one: str, other: str) -> None:
    if one >= other:
        return
    files = files_of(pack)
    files[one], files[other] = files[other], files[one]
    found = verified(rebuilt(files, tmp_path / "forged.zip"))
    assert [(f.kind, f.name) for f in found.findings] == [("swapped", one)]
    assert other in told(found)


def test_a_manifest_that_fits_the_forgery_does_not_help(pack: Path, tmp_path: Path) -> None:
    forged = {**CONTENT, "trace/a.json": b'{"severity": "NONE"}\n'}
    files = {**files_of(pack), **forged, MANIFEST: manifest_of(forged)}
    found = verified(rebuilt(files, tmp_path / "forged.zip"))
    assert {(f.kind, f.name) for f in found.findings} == {("changed", MANIFEST), ("changed", "trace/a.json")}


def test_a_pack_without_its_signature_is_unsigned_not_intact(pack: Path, tmp_path: Path) -> None:
    files = files_of(pack)
    del files[SIGNATURE]
    found = verified(rebuilt(files, tmp_path / "forged.zip"))
    assert (found.verdict, found.key_id) == (Verdict.UNSIGNED, "")


def test_an_unsigned_pack_is_held_to_its_own_manifest(tmp_path: Path) -> None:
    files = files_of(unsigned_pack(tmp_path)) | {"trace/a.json": b"{}"}
    found = verified(rebuilt(files, tmp_path / "forged.zip"))
    assert found.verdict == Verdict.ALTERED
    assert "changed: trace/a.json" in told(found) and "unsigned" in told(found)


def test_a_pack_of_another_key_is_not_trusted(tmp_path: Path) -> None:
    found = verified(signed_pack(tmp_path, key=OTHER))
    assert found.verdict == Verdict.OTHER_KEY
    assert PUBLIC.keyid in told(found)


def test_the_signature_of_another_pack_does_not_fit(pack: Path, tmp_path: Path) -> None:
    other = files_of(signed_pack(tmp_path, {**CONTENT, "trace/a.json": b"other"}))
    found = verified(rebuilt({**files_of(pack), SIGNATURE: other[SIGNATURE]}, tmp_path / "forged.zip"))
    assert found.verdict == Verdict.ALTERED
    assert {f.name for f in found.findings} == {MANIFEST, "trace/a.json"}


def _resigned(change: dict[str, object]) -> bytes:
    """A statement with other fields, properly signed by the key: not everything that is signed is a statement on it."""
    from autorisk_dagster.audit.sign import envelope_of

    return envelope_of(change, KEY)


def _envelope(pack: Path) -> dict[str, object]:
    return json.loads(files_of(pack)[SIGNATURE])


def _payload(pack: Path) -> dict[str, object]:
    return json.loads(base64.b64decode(_envelope(pack)["payload"]))


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"predicateType": "https://slsa.dev/provenance/v1"},
        {"subject": []},
        {"subject": "all"},
        {"predicate": {}},
        {"predicate": None},
    ],
    ids=["type", "predicate type", "no subjects", "subjects are no list", "empty predicate", "no predicate"],
)
def test_something_else_signed_by_the_key_is_no_statement_on_the_pack(
    pack: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    files = files_of(pack) | {SIGNATURE: _resigned({**_payload(pack), **change})}
    assert verified(rebuilt(files, tmp_path / "forged.zip")).verdict == Verdict.ALTERED


def _mangled(pack: Path) -> dict[str, bytes]:
    whole = _envelope(pack)
    text = files_of(pack)[SIGNATURE]
    signature = whole["signatures"][0]
    compact = json.dumps(whole).encode()
    return {
        "empty": b"",
        "no json": b"{",
        "a list": b"[]\n",
        "deep": b"[" * 100_000,
        "compact": compact,
        "trailing space": text + b" ",
        "two signatures": json.dumps({**whole, "signatures": [signature, {**signature, "keyid": "0" * 64}]}).encode(),
        "no signature": json.dumps({**whole, "signatures": []}).encode(),
        "signature is a word": json.dumps({**whole, "signatures": ["x"]}).encode(),
        "another type": json.dumps({**whole, "payloadType": "text/plain"}, indent=2, sort_keys=True).encode() + b"\n",
        "key id": text.replace(PUBLIC.keyid.encode(), b"0" * 64),
        "payload is no base64": json.dumps({**whole, "payload": "!"}).encode(),
        "duplicate member": text.replace(b'{\n  "payload"', b'{\n  "payload": "",\n  "payload"', 1),
    }


@pytest.mark.parametrize("how", sorted(["empty", "no json", "a list", "deep", "compact", "trailing space",
    "two signatures", "no signature", "signature is a word", "another type", "key id", "payload is no base64",
    "duplicate member"]))  # fmt: skip
def test_a_mangled_envelope_is_altered_and_never_an_exception(pack: Path, tmp_path: Path, how: str) -> None:
    files = files_of(pack) | {SIGNATURE: _mangled(pack)[how]}
    found = verified(rebuilt(files, tmp_path / "forged.zip"))
    assert found.verdict == Verdict.ALTERED
    assert any(finding.name == SIGNATURE for finding in found.findings)


@pytest.mark.parametrize(
    "manifest", [b"", b"[]", b"{}", b"{", b'{"files": 1}', b"[" * 100_000, b"\xff\xfe"], ids=range(7)
)
def test_a_manifest_that_is_none_is_altered_and_never_an_exception(pack: Path, tmp_path: Path, manifest: bytes) -> None:
    found = verified(rebuilt({**files_of(pack), MANIFEST: manifest}, tmp_path / "forged.zip"))
    assert found.verdict == Verdict.ALTERED
    assert any(finding.name == MANIFEST for finding in found.findings)


def test_a_revoked_key_and_a_revoked_pack(pack: Path, tmp_path: Path) -> None:
    digest = verified(pack).digest
    for line, reason in (
        (f"key {PUBLIC.keyid} stolen", "stolen"),
        (f"pack {digest.upper()}  superseded", "superseded"),
    ):
        (tmp_path / "revoked.txt").write_text(f"# kept by the auditor\n\n{line}\n", encoding="utf-8")
        found = verify_pack(pack, PUBLIC, read_revocations(tmp_path / "revoked.txt"))
        assert found.verdict == Verdict.REVOKED
        assert reason in told(found)
    (tmp_path / "revoked.txt").write_text(f"key {'0' * 64} another\n", encoding="utf-8")
    assert verify_pack(pack, PUBLIC, read_revocations(tmp_path / "revoked.txt")).verdict == Verdict.INTACT


@pytest.mark.parametrize("line", ["key 12", f"kye {'0' * 64}", "0" * 64, f"key{'0' * 64}"])
def test_a_revocation_that_is_not_understood_is_an_error(tmp_path: Path, line: str) -> None:
    (tmp_path / "revoked.txt").write_text(line, encoding="utf-8")
    with pytest.raises(InputError, match="line 1"):
        read_revocations(tmp_path / "revoked.txt")


def test_alteration_is_graver_than_revocation_and_both_are_told(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "revoked.txt").write_text(f"key {PUBLIC.keyid} stolen", encoding="utf-8")
    forged = rebuilt({**files_of(pack), "clips/a.mp4": b""}, tmp_path / "forged.zip")
    found = verify_pack(forged, PUBLIC, read_revocations(tmp_path / "revoked.txt"))
    assert found.verdict == Verdict.ALTERED
    assert "changed: clips/a.mp4" in told(found) and "stolen" in told(found)


NAMES = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1", "2", "3", "4"]), max_size=6)


@given(NAMES, NAMES)
def test_there_is_a_difference_exactly_where_files_differ(expected: dict[str, str], found: dict[str, str]) -> None:
    told_of = differences(expected, found)
    assert (told_of == []) == (expected == found)
    named = {finding.name for finding in told_of} | {word for finding in told_of for word in finding.detail.split()}
    assert {n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n)} <= named
