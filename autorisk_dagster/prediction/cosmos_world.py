"""Cosmos as a world model: each video in a process of its own, so that what goes wrong there loses that video alone.

The process is started anew for every video and ends with it: no memory is left behind, and the guardrail is loaded with
it. What a new try cannot help (a refusal, missing weights) is not tried again; a process that was killed, that crashed
or that took too long is, `retries` times.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from autorisk_dagster.errors import BackendError
from autorisk_dagster.prediction.cosmos_request import ANSWER, CONDITION, PICTURES, CosmosAnswer, CosmosRequest
from autorisk_dagster.prediction.picture import letterboxed
from autorisk_dagster.prediction.world_model import Generated, Order
from autorisk_dagster.profile import PredictionSettings

CHILD: Final = "autorisk_dagster.prediction.child"
READS: Final = ("family", "dtype", "width_px", "height_px", "frames", "fps", "steps", "guidance")


@dataclass(frozen=True)
class Machine:
    """Settings of the machine: see `cosmos_request.CosmosRequest`, and how long and how often to try.

    Attributes:
        embeddings: folder that keeps the prompts' embeddings
        timeout_sec: of one try
        retries: further tries after the first
    """

    embeddings: Path
    device: str = "auto"
    offload: str = "model"
    vae_tiling: bool = True
    timeout_sec: float = 1800.0
    retries: int = 1


class CosmosWorld:
    """Cosmos Predict 2 or 2.5 with the weights of `prediction.model`.

    Raises:
        BackendError: the weights are not on this disk.
    """

    name = "cosmos"
    keeps = True

    def __init__(self, settings: PredictionSettings, machine: Machine, child: str = CHILD) -> None:
        """`child` is the module that makes one video; only tests give another."""
        self._settings, self._machine, self._child = settings, machine, child
        self._weights = _weights(settings)
        self.settings_hash = settings.digest(READS)
        known = Path(settings.model)
        self.model_id = known.name if known.is_dir() else settings.model
        snapshot = self._weights.parent.name == "snapshots"  # the hub's cache names a folder by its commit
        self.model_revision = self._weights.name if snapshot else fingerprint_of(self._weights)

    def generate(self, order: Order) -> Generated:
        """The video of `order`."""
        started = time.monotonic()
        settings = self._settings
        request = CosmosRequest(
            family=settings.family,
            weights=str(self._weights),
            dtype=settings.dtype,
            device=self._machine.device,
            offload=self._machine.offload,  # type: ignore[arg-type]  # the child refuses what it does not know
            vae_tiling=self._machine.vae_tiling,
            embeddings=str(self._machine.embeddings),
            prompt=order.prompt.text,
            negative=order.prompt.negative,
            width_px=settings.width_px,
            height_px=settings.height_px,
            frames=settings.frames,
            fps=settings.fps,
            steps=settings.steps,
            guidance=settings.guidance,
            seed=order.seed,
        )
        condition = letterboxed(order.moment.condition.frame_bgr, (settings.width_px, settings.height_px))
        attempts = 0
        while True:
            attempts += 1
            with tempfile.TemporaryDirectory(prefix="autorisk-video-") as name:
                folder = Path(name)
                cv2.imwrite(str(folder / CONDITION), condition)
                answer, again = self._attempt(request, folder)
                pictures = np.load(folder / PICTURES, allow_pickle=False) if answer.outcome == "generated" else ()
            if not again or attempts > self._machine.retries:
                break
        return Generated(
            outcome=answer.outcome,
            pictures=tuple(pictures),
            error=answer.error,
            attempts=attempts,
            seconds=time.monotonic() - started,
            peak_memory_mb=answer.peak_memory_mb,
            seed=order.seed,
        )

    def _attempt(self, request: CosmosRequest, folder: Path) -> tuple[CosmosAnswer, bool]:
        """What one process answers, and whether another try may help."""
        path = folder / "request.json"
        request.write(path)
        with (folder / "errors.txt").open("w+b") as errors:
            child = subprocess.Popen(
                [sys.executable, "-m", self._child, str(path)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,  # so that what it starts can be ended with it
            )
            try:
                child.wait(self._machine.timeout_sec)
            except subprocess.TimeoutExpired:
                return CosmosAnswer("failed", f"took longer than {self._machine.timeout_sec:g} s and was ended"), True
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
            if child.returncode < 0:
                name = signal.Signals(-child.returncode).name
                return CosmosAnswer("failed", f"the process was killed by {name}{_last_words(folder)}"), True
            if child.returncode or not (folder / ANSWER).exists():
                return CosmosAnswer("failed", f"the process ended with {child.returncode}{_last_words(folder)}"), True
            return CosmosAnswer.read(folder / ANSWER), False


def _last_words(folder: Path) -> str:
    lines = (folder / "errors.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f": {lines[-1][:300]}" if lines else ""


def _weights(settings: PredictionSettings) -> Path:
    """The folder with the weights: as given, or the hub's on this disk. Nothing is fetched in the middle of a run."""
    folder = Path(settings.model)
    if folder.is_dir():
        return folder.resolve()
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(settings.model, revision=settings.revision, local_files_only=True))
    except ModuleNotFoundError as error:
        raise BackendError(
            f"prediction.world_model is cosmos, which needs {error.name}: pip install 'autorisk-dagster[models]'"
        ) from error
    except (OSError, ValueError) as error:
        at = f" --revision {settings.revision}" if settings.revision else ""
        raise BackendError(
            f"prediction.model {settings.model} is not on this disk: accept its licence on the hub and fetch it once: "
            f"HF_TOKEN=... hf download {settings.model}{at}; or give a folder, or set prediction.world_model: kinematic"
        ) from error


def fingerprint_of(folder: Path) -> str:
    """16 hex digits of a pipeline's folder: names and sizes of all files, small ones whole, of large ones both ends."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".json", ".safetensors", ".txt", ".model"):
            continue
        size = path.stat().st_size
        digest.update(json.dumps([str(path.relative_to(folder)), size]).encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
            if size > 1 << 20:
                file.seek(max(1 << 20, size - (1 << 20)))
                digest.update(file.read())
    return digest.hexdigest()[:16]
