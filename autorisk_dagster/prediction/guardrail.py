"""NVIDIA's guardrail around a Cosmos model: mandatory by its licence, so that no setting leads around it.

`WatchedGuardrail` is what calls the safety checker of `cosmos_guardrail`. It closes two gaps of it (0.3.2): the
pipeline does not look at the text where it gets embeddings instead of words, and then nobody would; and the checker
takes text as safe when its own language model fails (it logs the error and answers "safe"). Here a guardrail that could
not look has not said yes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.errors import AutoRiskError, BackendError

LOGGERS: Final = "cosmos_guardrail"


class GuardrailRefusalError(AutoRiskError):
    """The guardrail does not allow the text or the video."""


def real_guardrail() -> Any:
    """The safety checker of `cosmos_guardrail`, with its weights.

    Raises:
        BackendError: the package or its weights are missing.
    """
    try:
        from cosmos_guardrail import CosmosSafetyChecker

        return CosmosSafetyChecker()
    except ImportError as error:
        raise BackendError(
            f"Cosmos generates only behind its guardrail, which needs {error.name}: pip install "
            "'autorisk-dagster[models]', or choose prediction.world_model: kinematic"
        ) from error
    except (OSError, ValueError) as error:
        raise BackendError(
            f"the guardrail's weights cannot be had ({str(error).splitlines()[0]}): accept the licence of "
            "nvidia/Cosmos-1.0-Guardrail on the hub and fetch it once: HF_TOKEN=... hf download "
            "nvidia/Cosmos-1.0-Guardrail"
        ) from error


class WatchedGuardrail:
    """A safety checker whose every answer is heard: what it refuses, and where it failed to look.

    `checker` is handed to the pipeline, which calls `check_video_safety` on it.
    """

    def __init__(self, checker: Any) -> None:
        self.checker = checker
        self.videos_checked = 0
        self._look_at_video: Callable[[NDArray[np.uint8]], NDArray[np.uint8] | None] = checker.check_video_safety
        checker.check_video_safety = self.check_video

    def check_text(self, text: str) -> None:
        """Raise GuardrailRefusalError where `text` is not allowed, BackendError where it could not be judged."""
        with _heard() as heard:
            safe = self.checker.check_text_safety(text)
        heard.raise_faults("text")
        if not safe:
            raise GuardrailRefusalError(f"the guardrail refused the prompt: {heard.refusals()}")

    def check_video(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`frames` (n, h, w, 3) RGB with faces blurred; raises as `check_text` does."""
        with _heard() as heard:
            allowed = self._look_at_video(frames)
        heard.raise_faults("video")
        if allowed is None:
            raise GuardrailRefusalError(f"the guardrail refused the video: {heard.refusals()}")
        self.videos_checked += 1
        return allowed


class _Heard(logging.Handler):
    """What the checker logs while it looks: refusals are critical, faults are warnings and errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def refusals(self) -> str:
        told = [record.getMessage() for record in self.records if record.levelno >= logging.CRITICAL]
        return "; ".join(told) or "no reason given"

    def raise_faults(self, what: str) -> None:
        faults = [record.getMessage() for record in self.records if record.levelno < logging.CRITICAL]
        if faults:
            raise BackendError(f"the guardrail could not judge the {what}: {faults[0]}")


@contextmanager
def _heard() -> Iterator[_Heard]:
    # Its loggers are the children of one name, and pass on what they are told.
    handler = _Heard()
    logger = logging.getLogger(LOGGERS)
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
