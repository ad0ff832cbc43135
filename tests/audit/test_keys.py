"""Key files: who may read them, and what is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from autorisk_dagster.audit import keys
from autorisk_dagster.audit.credentials import CredentialKeys
from autorisk_dagster.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keys.new_keys(tmp_path / "keys", "Fleet")
    return tmp_path / "keys"


def test_private_files_are_for_the_owner_alone_and_the_public_key_is_theirs(folder: Path) -> None:
    assert {
        p.name: oct(stat.S_IMODE(p.stat().st_mode)) for p in folder.glob("*.pem") if p.stat().st_mode & 0o077 == 0
    } == {
        keys.SIGNING: "0o600",
        keys.C2PA: "0o600",
    }
    private = keys.private_key(folder / keys.SIGNING)
    assert keys.public_key(folder / keys.SIGNING_PUBLIC).keyid == keys.key_id(private.public_key())


def test_the_certificate_chain_holds_and_only_the_root_may_sign_others(folder: Path) -> None:
    leaf, root = x509.load_pem_x509_certificates((folder / keys.C2PA_CHAIN).read_bytes())
    leaf.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert leaf.public_key() == keys.private_key(folder / keys.C2PA).public_key()
    is_ca = [c.extensions.get_extension_for_class(x509.BasicConstraints).value.ca for c in (leaf, root)]
    assert is_ca == [False, True]
    assert (folder / keys.C2PA_ROOT).read_bytes() == root.public_bytes(Encoding.PEM)


def test_keys_are_never_overwritten(folder: Path) -> None:
    before = (folder / keys.SIGNING).read_bytes()
    with pytest.raises(InputError, match=r"holds signing\.pem.* not overwritten"):
        keys.new_keys(folder, "Fleet")
    assert (folder / keys.SIGNING).read_bytes() == before


def test_an_installation_makes_its_own_credential_keys_once_and_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(keys.PASSPHRASE_VARIABLE, "of the configured keys, not of these")
    monkeypatch.delenv(keys.FOLDER_VARIABLE, raising=False)
    data = tmp_path / "data"
    first = CredentialKeys.of(data)
    assert "self-issued" in first.subject
    assert CredentialKeys.of(data).chain_pem == first.chain_pem
    (folder,) = data.iterdir()
    assert [oct(stat.S_IMODE(p.stat().st_mode)) for p in (folder, folder / keys.C2PA)] == ["0o700", "0o600"]
    assert not (folder / keys.SIGNING).exists()  # they vouch for no pack
    (folder / keys.C2PA).chmod(0o644)
    with pytest.raises(InputError, match="mode 0644"):
        CredentialKeys.of(data)


def test_of_two_processes_that_make_the_installations_keys_both_use_the_firsts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = keys._new_credential_keys

    def overtaken(folder: Path, *rest: str | None) -> None:
        monkeypatch.setattr(keys, "_new_credential_keys", make)
        keys.installation_folder(tmp_path)  # the other one is through before this one
        make(folder, *rest)

    monkeypatch.setattr(keys, "_new_credential_keys", overtaken)
    folder = keys.installation_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [keys.INSTALLATION]
    assert CredentialKeys.read(folder).chain_pem == CredentialKeys.of(tmp_path).chain_pem


def test_configured_keys_that_cannot_be_used_are_not_replaced_by_the_installations(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(keys.FOLDER_VARIABLE, str(folder))
    (folder / keys.C2PA).unlink()
    with pytest.raises(InputError, match="cannot be read"):
        CredentialKeys.of(tmp_path / "data")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o610, 0o601, 0o620, 0o602])
def test_a_key_that_others_have_access_to_is_refused(folder: Path, mode: int) -> None:
    (folder / keys.SIGNING).chmod(mode)
    with pytest.raises(InputError, match=f"mode {mode:04o}.*chmod 600"):
        keys.private_key(folder / keys.SIGNING)


def test_a_link_to_a_key_is_refused(folder: Path) -> None:
    (folder / "link.pem").symlink_to(folder / keys.SIGNING)
    with pytest.raises(InputError, match="is a link"):
        keys.private_key(folder / "link.pem")


def test_a_passphrase_encrypts_and_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.PASSPHRASE_VARIABLE, "correct horse")
    keys.new_keys(tmp_path, "Fleet")
    assert b"ENCRYPTED PRIVATE KEY" in (tmp_path / keys.SIGNING).read_bytes()
    keys.private_key(tmp_path / keys.SIGNING)
    monkeypatch.setenv(keys.PASSPHRASE_VARIABLE, "battery staple")
    with pytest.raises(InputError, match="wrong AUTORISK_AUDIT_PASSPHRASE") as failed:
        keys.private_key(tmp_path / keys.SIGNING)
    assert "battery" not in str(failed.value)
    monkeypatch.delenv(keys.PASSPHRASE_VARIABLE)
    with pytest.raises(InputError, match="is encrypted; set AUTORISK_AUDIT_PASSPHRASE"):
        keys.private_key(tmp_path / keys.SIGNING)


def test_a_passphrase_for_a_plain_key_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.PASSPHRASE_VARIABLE, "anything")
    with pytest.raises(InputError, match="is not encrypted; unset it"):
        keys.private_key(folder / keys.SIGNING)


def test_the_wrong_kind_of_key_is_refused_by_name(folder: Path) -> None:
    other = rsa.generate_private_key(65537, 2048)
    (folder / keys.SIGNING).write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(InputError, match="signed with Ed25519"):
        keys.private_key(folder / keys.SIGNING)
    (folder / keys.SIGNING_PUBLIC).write_bytes(
        other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(InputError, match="signed with Ed25519"):
        keys.public_key(folder / keys.SIGNING_PUBLIC)


def test_a_private_key_is_not_taken_for_a_public_one(folder: Path) -> None:
    with pytest.raises(InputError, match=r"is a private key; give the public one"):
        keys.public_key(folder / keys.SIGNING)


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"\xff" * 64]
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InputError, match="no public key in PEM"):
        keys.public_key(path)
    with pytest.raises(InputError, match="cannot be opened"):
        keys.private_key(path)
    with pytest.raises(InputError, match="cannot be read"):
        keys.private_key(tmp_path / "missing.pem")


def test_the_configured_folder_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(keys.FOLDER_VARIABLE, raising=False)
    assert keys.configured_folder() is None
    monkeypatch.setenv(keys.FOLDER_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(InputError, match="is no folder"):
        keys.configured_folder()


def test_another_program_reads_the_private_key(folder: Path) -> None:
    key = load_pem_private_key((folder / keys.SIGNING).read_bytes(), None)
    assert keys.key_id(key.public_key()) == keys.public_key(folder / keys.SIGNING_PUBLIC).keyid
