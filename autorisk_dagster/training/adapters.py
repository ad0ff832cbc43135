"""Adapters on disk: one folder a revision with safetensors weights and a card, and the record of the promoted one.

    <root>/<revision>/adapter_model.safetensors, adapter_config.json   what PEFT loads
    <root>/<revision>/card.json                                        what it was made from
    <root>/promoted.json                                               the one that `reasoner.adapter: promoted` means

A revision names data, settings and base together: another one of them is another adapter. Nothing here needs PyTorch.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from autorisk_dagster.errors import BackendError, InputError, StorageError, is_full_disk
from autorisk_dagster.profile import TrainingSettings

FILES: Final = ("adapter_config.json", "adapter_model.safetensors")
# Dagster's own version of what was never observed: to observe that nothing was promoted makes no answer stale.
NOTHING_PROMOTED: Final = "INITIAL"
# What of the settings makes the weights; the rest says how the data is split, and when an adapter may be used.
_LEARNED_WITH: Final = (
    "dtype", "frames", "max_pixels", "rank", "alpha", "dropout", "epochs", "accumulation", "learning_rate",
    "warmup_share", "seed",
)  # fmt: skip


def settings_hash(settings: TrainingSettings) -> str:
    """16 hex digits over the settings that the weights depend on."""
    values = settings.model_dump(mode="json", include=set(_LEARNED_WITH))
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def revision_of(data_hash: str, settings: TrainingSettings, base_model: str, base_revision: str) -> str:
    """16 hex digits that name an adapter before it is trained."""
    parts = [data_hash, settings_hash(settings), base_model, base_revision]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Card:
    """What an adapter is and what it was made from.

    Attributes:
        revision: `revision_of` what follows
        base_model, base_revision: whose weights it changes
        data_hash: of the dataset
        settings: every training setting
        settings_hash: of those that the weights depend on
        train_clips, validation_clips, test_clips: SHA-256 of each video file, sorted
        train_examples, validation_examples: questions
        trained_parameters: how many numbers were learned
        epochs: epoch, train_loss, validation_loss
        best_epoch, best_validation_loss: the epoch that was kept
        device, versions: it was trained on and with
        resumed_at_step: of the run that finished it
        seconds: of that run
    """

    revision: str
    base_model: str
    base_revision: str
    data_hash: str
    settings: dict[str, Any]
    settings_hash: str
    train_clips: Sequence[str]
    validation_clips: Sequence[str]
    test_clips: Sequence[str]
    train_examples: int
    validation_examples: int
    trained_parameters: int
    epochs: Sequence[dict[str, Any]]
    best_epoch: int
    best_validation_loss: float
    device: str
    versions: dict[str, str]
    resumed_at_step: int
    seconds: float


@dataclass(frozen=True)
class Adapter:
    """An adapter that lies whole in its folder.

    Attributes:
        path: its folder
        card: what it was made from
        sha256: over its weights and configuration
    """

    path: Path
    card: Card
    sha256: str


@dataclass(frozen=True)
class Promoted:
    """The record of the adapter that the gate let through.

    Attributes:
        adapter: folder, relative to the record's
        revision: of the adapter
        sha256: over its weights and configuration
        base_model, base_revision: it may be laid over these weights alone
    """

    adapter: str
    revision: str
    sha256: str
    base_model: str
    base_revision: str


def adapter_sha256(folder: Path) -> str:
    """SHA-256 over names and contents of the two files that PEFT loads.

    Raises:
        BackendError: one of them is missing.
    """
    found = {}
    for name in FILES:
        try:
            with (folder / name).open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise BackendError(f"adapter {folder.name} lacks {name}; materialise lora_adapter again") from error
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def save_adapter(root: Path, card: Card, write: Callable[[Path], None]) -> Adapter:
    """Keep an adapter under its revision, whole or not at all.

    Args:
        root: the adapters' folder
        card: its card
        write: writes PEFT's files into the folder it is given

    Raises:
        StorageError: the disk is full.
    """
    target = root / card.revision
    temporary = root / f".{card.revision}.{uuid.uuid4().hex}.tmp"
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        for path in temporary.iterdir():
            if path.name not in FILES:
                path.unlink()
        sha256 = adapter_sha256(temporary)
        text = json.dumps(asdict(card) | {"sha256": sha256}, indent=2)
        (temporary / "card.json").write_text(text, encoding="utf-8")
        if target.exists():  # one that is not whole: a whole one is not trained again
            shutil.rmtree(target)
        temporary.replace(target)
    except Exception as error:
        if disk_is_full(error):
            raise StorageError(target) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Adapter(target, card, sha256)


def load_adapter(root: Path, revision: str) -> Adapter | None:
    """The adapter called `revision`; None where there is none, or its files are not those of its card."""
    folder = root / revision
    try:
        values = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        sha256 = values.pop("sha256")
        found = Adapter(folder, Card(**values), sha256)
        return found if adapter_sha256(folder) == sha256 and found.card.revision == revision else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, BackendError):
        return None


def promote(root: Path, adapter: Adapter) -> Promoted:
    """Record `adapter` as the one that is used from now on."""
    card = adapter.card
    record = Promoted(card.revision, card.revision, adapter.sha256, card.base_model, card.base_revision)
    path = _record(root)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(json.dumps(asdict(record), indent=2), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if is_full_disk(error):
            raise StorageError(path) from error
        raise
    return record


def read_promoted(root: Path) -> Promoted | None:
    """The record; None where nothing was promoted yet.

    Raises:
        InputError: there is one that cannot be read.
    """
    path = _record(root)
    try:
        found = Promoted(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path.name} is no record of a promoted adapter ({error}); remove it to use the plain model, or "
            "materialise adapter_promotion again"
        ) from error
    if not found.adapter.isalnum():  # a revision: nothing that leads out of the folder
        raise InputError(f"{path.name} names the folder {found.adapter!r}; expected a revision")
    return found


def promoted_version(root: Path) -> str:
    """What changes when, and only when, another adapter is promoted."""
    found = read_promoted(root)
    return NOTHING_PROMOTED if found is None else f"{found.revision}-{found.sha256[:16]}"


def promoted_folder(root: Path, record: Promoted) -> Path:
    """The promoted adapter's folder, its files checked.

    Raises:
        BackendError: they are missing, or not those that the gate let through.
    """
    folder = root / record.adapter
    if adapter_sha256(folder) != record.sha256:
        raise BackendError(
            f"adapter {record.revision} is not the one that was promoted: its files have changed. Restore them, or "
            "materialise lora_adapter and adapter_promotion again"
        )
    return folder


def disk_is_full(error: BaseException) -> bool:
    """Whether an operation failed for want of space; safetensors and torch.save say so in words only."""
    if isinstance(error, OSError) and is_full_disk(error):
        return True
    return "no space left" in str(error).lower() or "os error 28" in str(error)


def _record(root: Path) -> Path:
    return root / "promoted.json"
