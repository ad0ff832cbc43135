"""Texts as vectors whose cosine says how near their meanings are, by a sentence model in a folder.

The model is one as sentence-transformers keeps it (Reimers and Gurevych 2019, "Sentence-BERT"): the last hidden states
of an encoder, averaged over the text's tokens, of unit length. Weights are read from safetensors alone, no code of the
model's folder is run, and nothing is downloaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from autorisk_dagster.errors import BackendError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH: Final = 32
MAX_TOKENS: Final = 256  # of one text; what is longer is cut, as sentence models do


class Embedder(Protocol):
    """Turns texts into vectors."""

    name: str  # for people, and to tell one model's vectors from another's

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector of unit length a text, (texts, width)."""


class SentenceModel:
    """The model in `folder` (`config.json`, the tokenizer's files, `model.safetensors`), on the CPU.

    Raises:
        InputError: the folder holds no such model.
        BackendError: transformers is not installed.
    """

    def __init__(self, folder: Path) -> None:
        weights = folder / "model.safetensors"
        if not (folder / "config.json").is_file() or not weights.is_file():
            raise InputError(
                f"no embedding model in {folder.name!r}: config.json and model.safetensors are needed. Set "
                "AUTORISK_EMBEDDING_MODEL to the folder of a sentence model, or unset it"
            )
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            raise BackendError("an embedding model needs transformers: pip install '.[models]'") from error
        offline = {"local_files_only": True, "trust_remote_code": False}
        try:
            # A folder of this machine: there is no revision to pin.
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, **offline)  # nosec B615
            self._model: Any = AutoModel.from_pretrained(folder, use_safetensors=True, **offline).eval()  # nosec B615
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"the embedding model in {folder.name!r} cannot be read: {error}") from error
        with weights.open("rb") as file:
            self.name = f"{folder.resolve().name} ({hashlib.file_digest(file, 'sha256').hexdigest()[:12]})"
        self._max_tokens = min(MAX_TOKENS, self._model.config.max_position_embeddings)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `Embedder.embed`."""
        import torch

        parts = [np.zeros((0, self._model.config.hidden_size), np.float32)]
        for start in range(0, len(texts), BATCH):
            tokens = self._tokenizer(
                list(texts[start : start + BATCH]),
                padding=True,
                truncation=True,
                max_length=self._max_tokens,
                return_tensors="pt",
            )
            with torch.inference_mode():
                states = self._model(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
            means = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            parts.append(torch.nn.functional.normalize(means, dim=1).float().numpy())
        return np.concatenate(parts)


def quantised(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Each row by its own largest value to -127..127; the cosine of two rows stays, to about 0.01."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
    scaled: NDArray[np.float32] = np.divide(127 * vectors, largest, out=np.zeros_like(vectors), where=largest > 0)
    rounded: NDArray[np.int8] = np.rint(scaled).astype(np.int8)
    return rounded


def cosines(queries: NDArray[Any], vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Cosine of each query with each vector, (queries, vectors); 0 with a vector of zeros."""
    return _unit(queries) @ _unit(vectors).T


def neighbours(vectors: NDArray[np.int8], count: int, block: int = 512) -> list[list[tuple[int, float]]]:
    """For each row the rows most like it, nearest first, with their cosine; a row of zeros has and is none.

    Computed by blocks, so that memory grows with the rows and not with their square.
    """
    unit = _unit(vectors)
    said = np.abs(vectors).max(axis=1, initial=0) > 0
    found: list[list[tuple[int, float]]] = []
    for start in range(0, len(vectors), block):
        scores = unit[start : start + block] @ unit.T
        scores[:, ~said] = -np.inf
        scores[np.arange(len(scores)), start + np.arange(len(scores))] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        for row, columns in enumerate(order):
            near = [(int(at), round(float(scores[row, at]), 3)) for at in columns if np.isfinite(scores[row, at])]
            found.append(near if said[start + row] else [])
    return found


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    values = vectors.astype(np.float32)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(values, length, out=np.zeros_like(values), where=length > 0)
    return unit
