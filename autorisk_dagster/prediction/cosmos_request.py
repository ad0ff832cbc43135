"""What the process that makes one Cosmos video is told, and what it answers: JSON in files, nothing else.

The pictures it makes lie beside the answer as a plain array, the condition as a PNG: neither can carry code.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autorisk_dagster.errors import InputError

PICTURES, CONDITION, ANSWER = "pictures.npy", "condition.png", "answer.json"


@dataclass(frozen=True)
class CosmosRequest:
    """One video.

    Attributes:
        family: "predict2" or "predict2.5"
        weights: folder with the pipeline's weights
        dtype: "bfloat16", "float16" or "float32"
        device: "auto", "cpu", "cuda", "cuda:1" ...
        offload: "none", "model" (one part of the model on the accelerator at a time) or "sequential" (one layer)
        vae_tiling: decode in tiles, for less memory
        embeddings: folder of the prompts' embeddings
        prompt, negative: words
        width_px, height_px, frames, fps, steps, guidance, seed: of the video
    """

    family: Literal["predict2", "predict2.5"]
    weights: str
    dtype: str
    device: str
    offload: Literal["none", "model", "sequential"]
    vae_tiling: bool
    embeddings: str
    prompt: str
    negative: str
    width_px: int
    height_px: int
    frames: int
    fps: float
    steps: int
    guidance: float
    seed: int

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> CosmosRequest:
        """The request at `path`.

        Raises:
            InputError: it is not a request of this version.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise InputError(f"{path.name} is no request for a video: {error}") from error


@dataclass(frozen=True)
class CosmosAnswer:
    """What became of it: "generated", "refused" by the guardrail, or "failed" for a reason that a new try keeps."""

    outcome: Literal["generated", "refused", "failed"]
    error: str | None = None
    peak_memory_mb: float | None = None
    embeddings_kept: bool = False  # whether the prompt's embeddings were there already

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> CosmosAnswer:
        """The answer at `path`."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))
