"""Key files: made once by `autorisk audit keys FOLDER`, private ones for their owner alone.

One folder holds what a signer needs. The pack's signature and the clips' content credentials have keys of their own,
because the standards they belong to name and trust keys in different ways.

| file | what it is |
|---|---|
| `signing.pem` | Ed25519 private key of the pack's signature, PKCS #8, 0600 |
| `signing.pub.pem` | its public key: what an auditor is given |
| `c2pa.pem` | Ed25519 private key of the content credentials, PKCS #8, 0600 |
| `c2pa_chain.pem` | its certificate and the root that issued it |
| `c2pa_root.pem` | the root alone: a C2PA trust anchor |

The root's private key is not kept: it signs one certificate, and nothing after that. Where `AUTORISK_AUDIT_PASSPHRASE`
is set, private keys are encrypted with it. `AUTORISK_AUDIT_KEYS` names the folder.

A generated video is marked as synthetic from the moment it is written, so content credentials need keys before anybody
has made some: an installation makes its own (`installation_folder`), without a passphrase. They sign no pack.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import stat
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from securesystemslib.signer import SSlibKey

from autorisk_dagster.errors import InputError

FOLDER_VARIABLE = "AUTORISK_AUDIT_KEYS"
PASSPHRASE_VARIABLE = "AUTORISK_AUDIT_PASSPHRASE"  # nosec B105
SIGNING, SIGNING_PUBLIC = "signing.pem", "signing.pub.pem"
C2PA, C2PA_CHAIN, C2PA_ROOT = "c2pa.pem", "c2pa_chain.pem", "c2pa_root.pem"
INSTALLATION = "credentials"  # folder in the data folder
_NOBODY_VOUCHES = "AutoRisk installation (self-issued)"

_MAX_KEY_BYTES = 65_536
# No time-stamping authority is asked, so a credential is readable as valid as long as its certificate is.
_VALID = dt.timedelta(days=3653)


def new_keys(folder: Path, organisation: str) -> str:
    """Make all keys in `folder` and return the signing key's id.

    Raises:
        InputError: there is a key already, which is never overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    there = [name for name in (SIGNING, SIGNING_PUBLIC, C2PA, C2PA_CHAIN, C2PA_ROOT) if (folder / name).exists()]
    if there:
        raise InputError(f"{folder} holds {', '.join(there)} already; choose another folder, keys are not overwritten")
    signing = Ed25519PrivateKey.generate()
    passphrase = os.environ.get(PASSPHRASE_VARIABLE)
    _write_private(folder / SIGNING, signing, passphrase)
    (folder / SIGNING_PUBLIC).write_bytes(_public_pem(signing.public_key()))
    _new_credential_keys(folder, organisation, passphrase)
    return key_id(signing.public_key())


def installation_folder(data: Path) -> Path:
    """The keys with which this installation marks what it generated; made on first use, in the data folder.

    Its certificate names no organisation: a reader finds the mark whole, and the signer unknown.
    """
    folder = data / INSTALLATION
    if folder.is_dir():
        return folder
    data.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{INSTALLATION}-", dir=data))  # 0700
    try:
        _new_credential_keys(made, _NOBODY_VOUCHES, None)
        made.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was faster, and its keys hold
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def configured_folder() -> Path | None:
    """The folder `AUTORISK_AUDIT_KEYS` names; None where it is not set.

    Raises:
        InputError: it is set, and is no folder.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if not named:
        return None
    if not Path(named).is_dir():
        raise InputError(f"{FOLDER_VARIABLE} names {named}, which is no folder; make it: autorisk audit keys FOLDER")
    return Path(named)


def private_key(path: Path, *, with_passphrase: bool = True) -> Ed25519PrivateKey:
    """The private key in a PEM file that nobody but its owner can read.

    Args:
        path: the file
        with_passphrase: whether `AUTORISK_AUDIT_PASSPHRASE`, where it is set, encrypts it

    Raises:
        InputError: it cannot be read, others can read it, it is no Ed25519 key, or the passphrase is wrong or missing.
    """
    try:
        facts = path.lstat()
    except OSError as error:
        raise InputError(f"private key {path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise InputError(f"private key {path} is a link or no plain file; name the file itself")
    if facts.st_mode & 0o077:
        raise InputError(f"private key {path} has mode {stat.S_IMODE(facts.st_mode):04o}; others must have no access: "
                         f"chmod 600 {path}")  # fmt: skip
    if facts.st_uid != os.geteuid():
        raise InputError(f"private key {path} belongs to user {facts.st_uid}, not to the one who signs")
    passphrase = os.environ.get(PASSPHRASE_VARIABLE) if with_passphrase else None
    content = _read(path)
    try:
        key = serialization.load_pem_private_key(content, passphrase.encode() if passphrase else None)
    except TypeError as error:
        if passphrase:  # given, and the file is not encrypted: it may be another file than was meant
            raise InputError(f"{PASSPHRASE_VARIABLE} is set, but {path} is not encrypted; unset it") from error
        raise InputError(f"private key {path} is encrypted; set {PASSPHRASE_VARIABLE}") from error
    except ValueError as error:
        raise InputError(
            f"private key {path} cannot be opened: no PEM key, or a wrong {PASSPHRASE_VARIABLE}"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"private key {path} is a {type(key).__name__}; packs are signed with Ed25519")
    return key


def public_key(path: Path) -> SSlibKey:
    """The public key in a PEM file (SubjectPublicKeyInfo).

    Raises:
        InputError: it cannot be read or is no Ed25519 public key; a private key is refused by name.
    """
    content = _read(path)
    if b"PRIVATE KEY" in content:
        raise InputError(f"{path} is a private key; give the public one ({SIGNING_PUBLIC}), and keep this one private")
    try:
        key = serialization.load_pem_public_key(content)
    except ValueError as error:
        raise InputError(f"{path} is no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path} is a {type(key).__name__}; packs are signed with Ed25519")
    return SSlibKey.from_crypto(key)


def key_id(key: Ed25519PublicKey) -> str:
    """The id securesystemslib, TUF and in-toto give a key: SHA-256 of its canonical JSON."""
    return SSlibKey.from_crypto(key).keyid


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_KEY_BYTES)
    except OSError as error:
        raise InputError(f"key {path} cannot be read: {error.strerror}") from error


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _new_credential_keys(folder: Path, organisation: str, passphrase: str | None) -> None:
    root, leaf = (Ed25519PrivateKey.generate() for _ in range(2))
    root_certificate = _certificate(f"{organisation} root", organisation, root, f"{organisation} root", root, ca=True)
    certificate = _certificate(f"{organisation} clips", organisation, leaf, f"{organisation} root", root, ca=False)
    _write_private(folder / C2PA, leaf, passphrase)
    pem = [made.public_bytes(serialization.Encoding.PEM) for made in (certificate, root_certificate)]
    (folder / C2PA_CHAIN).write_bytes(b"".join(pem))
    (folder / C2PA_ROOT).write_bytes(pem[1])


def _write_private(path: Path, key: Ed25519PrivateKey, passphrase: str | None) -> None:
    encryption: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    content = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _certificate(
    name: str, organisation: str, key: Ed25519PrivateKey, issuer: str, issuer_key: Ed25519PrivateKey, *, ca: bool
) -> x509.Certificate:
    """A certificate as the C2PA profile wants it (C2PA 2.1, section 14.5)."""
    now = dt.datetime.now(dt.UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_distinguished(name, organisation))
        .issuer_name(_distinguished(issuer, organisation))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=ca, crl_sign=ca, decipher_only=False, **usage),
            critical=True,
        )
    )
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer_key, None)


def _distinguished(name: str, organisation: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
