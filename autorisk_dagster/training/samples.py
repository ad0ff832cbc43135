"""One question about one clip, as tensors: what the model is shown when it answers, then the answer it should give.

The prompt's tokens are those of inference, exactly (`LocalModel.encode`); the answer's are put behind them. Loss falls
on the answer and the end of the turn alone: every other place of the labels holds -100, which cross entropy ignores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from autorisk_dagster.errors import BackendError
from autorisk_dagster.reasoning.clip_frames import ClipFrames, sample_frames
from autorisk_dagster.reasoning.local_vlm import LocalModel
from autorisk_dagster.training.questions import prompt_of

IGNORED = -100
_CLIPS_IN_MEMORY = 256  # decoded: 3 MB each at the default of 1 Mpx


@dataclass(frozen=True)
class Sample:
    """A question about a clip, with its answer.

    Attributes:
        sample_id: of the dataset's row
        clip: the file
        duration_sec: its length
        prompt: the question's text
        answer: the letter
    """

    sample_id: str
    clip: Path
    duration_sec: float
    prompt: str
    answer: str


@lru_cache(maxsize=_CLIPS_IN_MEMORY)
def spread_frames(clip: Path, duration_sec: float, count: int, max_pixels: int) -> ClipFrames:
    """At most `count` frames, evenly spread over a clip from its first, with at most `max_pixels` together.

    Raises:
        VideoError: the clip cannot be read.
    """
    return sample_frames(clip, duration_sec, frames_per_sec=count / duration_sec, max_pixels=max_pixels)


def encoded(model: LocalModel, frames: ClipFrames, sample: Sample) -> dict[str, Any]:
    """The inputs of one training step, with `labels`; all of one row, on the model's device.

    Raises:
        BackendError: the tokenizer does not say which token ends a turn.
    """
    inputs = model.encode(frames, prompt_of(sample.prompt))
    tokenizer = model.processor.tokenizer
    if tokenizer.eos_token_id is None:
        raise BackendError(f"{model.model_id}: its tokenizer names no end of turn (eos_token); it cannot be trained")
    said = torch.tensor([[*tokenizer.encode(sample.answer, add_special_tokens=False), tokenizer.eos_token_id]])
    said = said.to(inputs["input_ids"].device)
    behind = {"input_ids": said, "attention_mask": torch.ones_like(said), "mm_token_type_ids": torch.zeros_like(said)}
    labels = torch.cat([torch.full_like(inputs["input_ids"], IGNORED), said], dim=1)
    joined = {
        name: torch.cat([value, behind[name].to(value.dtype)], dim=1) if name in behind else value
        for name, value in inputs.items()
    }
    return joined | {"labels": labels}


class EncodedSamples:
    """Samples, encoded when they are taken: what PyTorch calls a map-style data set."""

    def __init__(self, model: LocalModel, samples: Sequence[Sample], *, frames: int, max_pixels: int) -> None:
        self._model, self._samples = model, samples
        self._frames, self._max_pixels = frames, max_pixels

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self._samples[index]
        frames = spread_frames(sample.clip, sample.duration_sec, self._frames, self._max_pixels)
        return encoded(self._model, frames, sample)
