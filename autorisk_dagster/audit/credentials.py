"""C2PA content credentials: what a clip of a pack, and every generated video, is and what it was made of.

A clip names the footage it was cut from (an ingredient, by SHA-256), the cut and the verdict. A generated video says so
in the words that viewers and platforms read, IPTC's digital source type: `trainedAlgorithmicMedia` for a model's, and
`compositeSynthetic` where real pixels were moved by a computed motion (no training data); footage beside generated
videos is `compositeWithTrainedAlgorithmicMedia` or `compositeSynthetic`. A clip claims no source type: whether the
footage itself is genuine is not known here.

A credential holds identifiers and salts drawn by chance, so signing twice gives other bytes: `content_key` names the
file it belongs in, so that one is signed once and kept.

Source: C2PA 2.1, sections 18.15 (actions), 18.16 (ingredients); IPTC NewsCodes, digital source type.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from autorisk_dagster import __version__
from autorisk_dagster.audit import keys
from autorisk_dagster.audit.trace import plain
from autorisk_dagster.errors import InputError

CLIP_ASSERTION = "org.autorisk.clip"
GENERATED_ASSERTION = "org.autorisk.generated"
_IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SOURCE_TYPES = {  # by world model
    "cosmos": f"{_IPTC}trainedAlgorithmicMedia",
    "kinematic": f"{_IPTC}compositeSynthetic",
}
_BESIDE_FOOTAGE = {
    "cosmos": f"{_IPTC}compositeWithTrainedAlgorithmicMedia",
    "kinematic": f"{_IPTC}compositeSynthetic",
}
_GENERATED_FACTS = (
    "clip_id",
    "scenario",
    "world_model",
    "model_id",
    "model_revision",
    "hazard",
    "prompt_hash",
    "seed",
    "settings_hash",
    "clip_sha256",
    "condition_sec",
)
_FORMAT = "video/mp4"
_ACTIONS = "c2pa.actions.v2"
_OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}


@dataclass(frozen=True)
class CredentialKeys:
    """What signs credentials: the leaf's private key and its PEM chain, and the root as trust anchor."""

    key: Ed25519PrivateKey
    chain_pem: str
    root_pem: str

    @property
    def subject(self) -> str:
        """Whom the certificate names."""
        return x509.load_pem_x509_certificate(self.chain_pem.encode()).subject.rfc4514_string()

    @classmethod
    def of(cls, data: Path) -> CredentialKeys:
        """The keys in force: those of the folder `AUTORISK_AUDIT_KEYS` names, else the installation's in `data`.

        Raises:
            InputError: as `read`; keys that are configured and cannot be used are not replaced by others.
        """
        configured = keys.configured_folder()
        return cls.read(configured) if configured else cls.read(keys.installation_folder(data), with_passphrase=False)

    @classmethod
    def read(cls, folder: Path, *, with_passphrase: bool = True) -> CredentialKeys:
        """The keys in a folder made by `keys`.

        Raises:
            InputError: one is missing, or the private key can be read by others.
        """
        try:
            chain, root = ((folder / name).read_text(encoding="ascii") for name in (keys.C2PA_CHAIN, keys.C2PA_ROOT))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{folder} has no certificates for content credentials: {error}") from error
        return cls(keys.private_key(folder / keys.C2PA, with_passphrase=with_passphrase), chain, root)


@dataclass(frozen=True)
class Credential:
    """A credential that was read back.

    Attributes:
        state: "Trusted" (under a given anchor), "Valid" (whole, the signer is unknown), "Invalid", "none"
        failures: codes of what failed
        assertions: by label
        source_types: IPTC digital source types of its actions
    """

    state: str
    failures: tuple[str, ...]
    assertions: dict[str, Any]
    source_types: tuple[str, ...]


def clip_credential(facts: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest definition of a clip: opened from the footage, cut, and judged.

    Args:
        facts: what the clip's assertion says (cut times, severity, rule, model revisions)
        source: the footage's `file_name` and `sha256`
    """
    actions: list[dict[str, Any]] = [
        {"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}},
        {"action": "c2pa.trimmed"},
    ]
    if facts["clip_written_by"] == "encoded":
        actions.append({"action": "c2pa.transcoded"})
    return _definition(
        f"{facts['clip_id']}.mp4",
        [_ingredient("source", source["file_name"], source["sha256"], "parentOf")],
        actions,
        {CLIP_ASSERTION: dict(facts)},
    )


def generated_credential(row: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest definition of a generated video: synthetic, by which model, from which clip.

    Args:
        row: of PREDICT_VIDEOS or COUNTERFACTUALS; a table of before there was hiding has no `hidden_by`
    """
    title = f"{row['clip_id']}-{row['scenario']}.mp4"
    action = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE_TYPES[row["world_model"]],
        "parameters": {"ingredientIds": ["condition"]},
    }
    facts = {"title": title, "hidden": hidden_words(row), **{name: row[name] for name in _GENERATED_FACTS}}
    return _definition(
        title,
        [_ingredient("condition", f"{row['clip_id']}.mp4", row["clip_sha256"], "inputTo")],
        [action],
        {GENERATED_ASSERTION: plain(facts) | {"synthetic": True}},
    )


def comparison_credential(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The manifest definition of footage beside what was generated from it.

    Args:
        rows: of COUNTERFACTUALS, one clip's, with their videos' SHA-256
    """
    first = rows[0]
    title = f"{first['clip_id']}-side-by-side.mp4"
    parts = [_ingredient("original", f"{first['clip_id']}.mp4", first["clip_sha256"], "componentOf")]
    parts += [
        _ingredient(row["scenario"], f"{row['clip_id']}-{row['scenario']}.mp4", row["video_sha256"], "componentOf")
        for row in rows
    ]
    actions: list[dict[str, Any]] = [
        {"action": "c2pa.created", "digitalSourceType": _BESIDE_FOOTAGE[first["world_model"]]},
        {"action": "c2pa.placed", "parameters": {"ingredientIds": [part["label"] for part in parts]}},
    ]
    facts = {name: first[name] for name in ("clip_id", "clip_sha256", "world_model", "model_id", "model_revision")}
    facts |= {"title": title, "hidden": hidden_words(first), "generated_parts": [row["scenario"] for row in rows]}
    return _definition(title, parts, actions, {GENERATED_ASSERTION: plain(facts) | {"synthetic": True}})


def hidden_words(row: Mapping[str, Any]) -> str:
    """What is hidden in a generated video."""
    return f"faces and plates, by {row['hidden_by']}" if row.get("hidden_by") else "nothing"


def content_key(*made_from: Any) -> str:
    """16 hex digits that name a file by what it is made from: other footage, words or certificate, other digits."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]


def attach(source: Path, target: Path, definition: Mapping[str, Any], signer: CredentialKeys) -> None:
    """Write `source` with its credential at `target`; the coded pictures and sound stay as they are.

    Raises:
        InputError: the file cannot carry one, or what was written does not read back as valid.
    """
    import c2pa

    try:
        with (
            c2pa.Signer.from_callback(signer.key.sign, c2pa.C2paSigningAlg.ED25519, signer.chain_pem) as signing,
            c2pa.Builder.from_json(dict(definition)) as builder,
        ):
            builder.sign_file(source, target, signing)
    except c2pa.C2paError as error:
        raise InputError(f"{source.name}: no content credential can be attached ({error}); is it an mp4?") from error
    found = read_credential(target, signer.root_pem)
    if not holds(found, definition):
        raise InputError(f"{source.name}: the credential reads back as {found.state} ({', '.join(found.failures)})")


def holds(found: Credential, definition: Mapping[str, Any]) -> bool:
    """Whether a credential that was read is trusted and says what `definition` says."""
    wanted = {a["label"]: a["data"] for a in definition["assertions"] if a["label"] != _ACTIONS}
    return found.state == "Trusted" and all(found.assertions.get(label) == data for label, data in wanted.items())


def read_credential(path: Path, anchors_pem: str | None = None) -> Credential:
    """The credential in a file, checked against the file's bytes; without anchors no signer is trusted.

    Raises:
        OSError: the file cannot be opened.
    """
    import c2pa

    settings: dict[str, Any] = {"verify": {**_OFFLINE, "verify_trust": True}}
    if anchors_pem is not None:
        settings["trust"] = {"trust_anchors": anchors_pem}
    with path.open("rb") as file, c2pa.Context.from_dict(settings) as context:
        try:
            with c2pa.Reader(_FORMAT, file, context=context) as reader:
                found = json.loads(reader.json())
        except c2pa.C2paError.ManifestNotFound:
            return Credential("none", (), {}, ())
        except c2pa.C2paError as error:
            return Credential("Invalid", (str(error),), {}, ())
    manifest = found["manifests"][found["active_manifest"]]
    assertions = {assertion["label"]: assertion["data"] for assertion in manifest["assertions"]}
    actions = assertions.get(_ACTIONS, {}).get("actions", ())
    failures = tuple(status["code"] for status in found.get("validation_status") or ())
    types = tuple(action["digitalSourceType"] for action in actions if "digitalSourceType" in action)
    return Credential(found["validation_state"], failures, assertions, types)


def _definition(
    title: str, ingredients: list[dict[str, Any]], actions: list[dict[str, Any]], assertions: Mapping[str, Any]
) -> dict[str, Any]:
    own = [{"label": label, "data": data} for label, data in assertions.items()]
    return {
        "claim_generator_info": [{"name": "autorisk-dagster", "version": __version__}],
        "title": title,
        "format": _FORMAT,
        "ingredients": ingredients,
        "assertions": [{"label": _ACTIONS, "data": {"actions": actions}}, *own],
    }


def _ingredient(label: str, title: str, sha256: str, relationship: str) -> dict[str, Any]:
    return {
        "label": label,
        "title": title,
        "format": _FORMAT,
        "instance_id": f"urn:sha256:{sha256}",
        "relationship": relationship,
    }
