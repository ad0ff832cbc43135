"""The signature: what standard tools find in it, without this project's code."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from autorisk_dagster.audit.container import MANIFEST, SIGNATURE
from autorisk_dagster.audit.sign import sign_pack
from autorisk_dagster.audit.verify import Verdict
from autorisk_dagster.errors import InputError
from autorisk_dagster.paths import ROOT
from tests.audit.packs import CONTENT, KEY, OTHER, PUBLIC, files_of, rebuilt, signed_pack, unsigned_pack, verified


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return signed_pack(tmp_path_factory.mktemp("pack"))


def pae(payload_type: bytes, payload: bytes) -> bytes:
    """Pre-authentication encoding as DSSE v1 writes it down; not securesystemslib's."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type, len(payload), payload)


def test_the_envelope_verifies_by_hand(pack: Path) -> None:
    with zipfile.ZipFile(pack) as archive:
        envelope = json.loads(archive.read(SIGNATURE))
        payload = base64.b64decode(envelope["payload"])
        assert envelope["payloadType"] == "application/vnd.in-toto+json"
        (signature,) = envelope["signatures"]
        raw = base64.b64decode(signature["sig"])
        KEY.public_key().verify(raw, pae(b"application/vnd.in-toto+json", payload))
        with pytest.raises(InvalidSignature):
            KEY.public_key().verify(raw, pae(b"application/json", payload))
        statement = json.loads(payload)
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
        found = {n: hashlib.sha256(archive.read(n)).hexdigest() for n in archive.namelist() if n != SIGNATURE}
        assert subjects == found
    assert next(iter(subjects)) == MANIFEST


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on this machine")
def test_openssl_verifies_it(pack: Path, tmp_path: Path) -> None:
    envelope = json.loads(files_of(pack)[SIGNATURE])
    payload = base64.b64decode(envelope["payload"])
    (tmp_path / "message").write_bytes(pae(envelope["payloadType"].encode(), payload))
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "pub.pem").write_bytes(public)
    arguments = "-verify -pubin -inkey pub.pem -rawin -in message -sigfile sig"
    command = ["openssl", "pkeyutl", *arguments.split()]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (tmp_path / "message").write_bytes(pae(envelope["payloadType"].encode(), payload + b" "))
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0


def test_signing_again_gives_the_same_pack(pack: Path, tmp_path: Path) -> None:
    assert sign_pack(pack, KEY, tmp_path / "again.zip") == PUBLIC.keyid
    assert (tmp_path / "again.zip").read_bytes() == pack.read_bytes()


def test_another_key_takes_the_place_of_the_first(pack: Path, tmp_path: Path) -> None:
    shutil.copy(pack, tmp_path / "pack.zip")
    sign_pack(tmp_path / "pack.zip", OTHER, tmp_path / "pack.zip")
    assert verified(tmp_path / "pack.zip").verdict == Verdict.OTHER_KEY
    sign_pack(tmp_path / "pack.zip", KEY, tmp_path / "pack.zip")
    assert (tmp_path / "pack.zip").read_bytes() == pack.read_bytes()
    assert list(tmp_path.iterdir()) == [tmp_path / "pack.zip"]


def test_nothing_altered_is_signed(pack: Path, tmp_path: Path) -> None:
    forged = rebuilt(files_of(pack) | {"clips/a.mp4": b"another"}, tmp_path / "forged.zip")
    before = forged.read_bytes()
    with pytest.raises(InputError, match="does not hold what its manifest lists"):
        sign_pack(forged, KEY, forged)
    assert forged.read_bytes() == before
    forged.write_bytes(before + b"\n")
    with pytest.raises(InputError, match="is not as it was built"):
        sign_pack(forged, KEY, tmp_path / "signed.zip")
    assert list(tmp_path.iterdir()) == [forged]


def test_the_verifier_needs_the_pack_and_the_key_alone(pack: Path, tmp_path: Path) -> None:
    """In a process of its own, with an empty environment, in a folder with two files; nothing heavy is loaded."""
    shutil.copy(pack, tmp_path / "pack.zip")
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "pub.pem").write_bytes(public)
    program = (
        "import sys; from pathlib import Path; from autorisk_dagster.audit.keys import public_key; "
        "from autorisk_dagster.audit.verify import verify_pack; "
        "found = verify_pack(Path('pack.zip'), public_key(Path('pub.pem'))); "
        "heavy = {'dagster', 'polars', 'numpy', 'cv2', 'av', 'torch', 'pydantic', 'yaml', 'c2pa'} & set(sys.modules); "
        "print(found.verdict.name, sorted(heavy))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout.strip(), run.stderr) == ("INTACT []", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pack.zip", "pub.pem"]


def test_the_command_line_says_it_and_its_exit_code_too(pack: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from autorisk_dagster.cli import main

    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "pub.pem").write_bytes(public)
    (tmp_path / "revoked.txt").write_text(f"key {PUBLIC.keyid} stolen\n", encoding="utf-8")
    forged = rebuilt(files_of(pack) | {"clips/a.mp4": b"another"}, tmp_path / "forged.zip")
    (tmp_path / "u").mkdir()
    (tmp_path / "o").mkdir()
    cases = {
        "intact": (pack, [], 0, "pack.zip: intact"),
        "altered": (forged, [], 3, "changed: clips/a.mp4"),
        "unsigned": (unsigned_pack(tmp_path / "u"), [], 4, "NOT SIGNED"),
        "other key": (signed_pack(tmp_path / "o", CONTENT, OTHER), [], 5, "SIGNED BY ANOTHER KEY"),
        "revoked": (pack, ["--revoked", str(tmp_path / "revoked.txt")], 6, "stolen"),
        "no pack": (tmp_path / "none.zip", [], 1, "No such file"),
    }
    for name, (path, more, code, words) in cases.items():
        found = CliRunner().invoke(main, ["audit", "verify", str(path), "--key", str(tmp_path / "pub.pem"), *more])
        assert (name, found.exit_code) == (name, code)
        assert words in found.output
    missing = CliRunner().invoke(main, ["audit", "verify", str(pack), "--key", str(tmp_path / "none.pem")])
    assert missing.exit_code == 1 and "cannot be read" in missing.output
    assert CliRunner().invoke(main, ["audit", "verify", str(pack)]).exit_code == 2


def test_keys_sign_and_verify_by_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from autorisk_dagster.cli import main

    for name in [name for name in os.environ if name.startswith("AUTORISK_AUDIT")]:
        monkeypatch.delenv(name)
    keys, pack = tmp_path / "keys", unsigned_pack(tmp_path)
    assert CliRunner().invoke(main, ["audit", "keys", str(keys)]).exit_code == 0
    signed = CliRunner().invoke(main, ["audit", "sign", str(pack), "--key", str(keys / "signing.pem")])
    assert signed.exit_code == 0, signed.output
    found = CliRunner().invoke(main, ["audit", "verify", str(pack), "--key", str(keys / "signing.pub.pem")])
    assert found.exit_code == 0, found.output
    again = CliRunner().invoke(main, ["audit", "keys", str(keys)])
    assert again.exit_code == 1 and "not overwritten" in again.output
