"""What in a clip a severity rests on: the gradient of its log-odds with respect to every pixel that the model saw.

For the severity's letter with logit z and the other letters' logits z_i the score is z - log(sum of exp z_i), the
letter's log-odds against the others. Its gradient is taken with respect to the processor's patches (Simonyan et al.
2014, "Deep inside convolutional networks"), and folded back to the frames in the processor's own order. Sensitivity is
the absolute gradient, summed over the colours: how much the score would move if the pixel did. It is no proof of a
cause.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError
from autorisk_dagster.reasoning.clip_frames import ClipFrames
from autorisk_dagster.reasoning.local_vlm import LocalModel
from autorisk_dagster.reasoning.prompts import letter_prompt

_COLOURS = 3


@dataclass(frozen=True)
class Saliency:
    """Sensitivity of one clip.

    Attributes:
        severity: whose log-odds were differentiated
        log_odds: of its letter against the other severities' letters
        frames: what the model saw
        map: (n, h, w) float32 for each frame, in the model's own resolution; absolute gradient, summed over colours
        notes: what did not go by the settings, such as a smaller pixel budget after running out of memory
    """

    severity: str
    log_odds: float
    frames: ClipFrames
    map: NDArray[np.float32]
    notes: tuple[str, ...] = ()

    @property
    def curve(self) -> NDArray[np.float64]:
        """Share of the sensitivity that each frame has, (n,); all zero where nothing matters."""
        a_frame = self.map.sum(axis=(1, 2), dtype=np.float64)
        total = a_frame.sum()
        share: NDArray[np.float64] = a_frame / total if total > 0 else a_frame
        return share


def saliency(model: LocalModel, clip: Path, duration_sec: float, severity: str) -> Saliency:
    """Differentiate the log-odds of `severity` for a clip.

    Memory grows with the number of pixels: activations are recomputed on the way back where the model can, and the clip
    is shown smaller where that does not suffice (`LocalModel.within_memory`).

    Raises:
        VideoError: the clip cannot be read.
        BackendError: out of memory, however small the clip is shown.
        InputError: no such severity.
    """
    if severity not in model.letter_tokens:
        raise InputError(f"no severity {severity!r}; known: {', '.join(model.letter_tokens)}")

    def differentiate(frames: ClipFrames) -> Saliency:
        inputs = model.encode(frames, letter_prompt())
        score, gradient = log_odds_gradient(model, inputs, severity)
        pixels = unpatch(gradient.abs(), inputs["video_grid_thw"][0].tolist(), model.processor.video_processor)
        return Saliency(severity, score, frames, fold_padding(pixels.sum(1).float().cpu().numpy(), len(frames.rgb)))

    found, notes = model.within_memory(clip, duration_sec, differentiate)
    return replace(found, notes=notes)


def log_odds_gradient(model: LocalModel, inputs: dict[str, Any], severity: str) -> tuple[float, torch.Tensor]:
    """The log-odds of the severity's letter, and its gradient with respect to `pixel_values_videos`, same shape."""
    network = model.network
    tokens = torch.tensor(list(model.letter_tokens.values()), device=inputs["input_ids"].device)
    at = list(model.letter_tokens).index(severity)
    patches = inputs["pixel_values_videos"].detach().clone().requires_grad_(True)
    needed = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in needed:
        parameter.requires_grad_(False)  # only the picture's gradient is wanted: the weights' would not fit
    recomputes = bool(getattr(network, "supports_gradient_checkpointing", False))
    if recomputes:
        network.activation_checkpointing_enable({"use_reentrant": False})
        network.train()  # recomputation is on in training mode only; these models have no dropout
    try:
        with torch.enable_grad():
            given = inputs | {"pixel_values_videos": patches}
            logits = network(**given, use_cache=False, logits_to_keep=1).logits[0, -1].float()[tokens]
            others = torch.cat([logits[:at], logits[at + 1 :]])
            score = logits[at] - torch.logsumexp(others, dim=0)
            (gradient,) = torch.autograd.grad(score, patches)
    finally:
        if recomputes:
            network.activation_checkpointing_disable()
            network.eval()
        for parameter in needed:
            parameter.requires_grad_(True)
    return float(score.detach()), gradient


def unpatch(patches: torch.Tensor, grid: list[int], processor: Any) -> torch.Tensor:
    """Undo the video processor's patch order.

    Args:
        patches: (t * h * w, colours * frames a patch * side * side) as `pixel_values_videos` has them
        grid: t, h, w: patches in time and space (`video_grid_thw`)
        processor: the video processor

    Returns:
        (t * frames a patch, colours, h * side, w * side)

    The order is asked of the processor itself, which is given a video of numbered pixels: Qwen puts a patch's colours
    before its rows, Cosmos3-Edge behind them.
    """
    t, h, w = grid
    side, depth = processor.patch_size, processor.temporal_patch_size
    shape = (t * depth, _COLOURS, h * side, w * side)
    numbers = torch.arange(patches.numel(), dtype=torch.int32).view(1, *shape)
    order = processor.patchify(numbers, side, processor.merge_size, depth)[0].reshape(-1).long()
    flat = torch.empty_like(patches).reshape(-1)
    flat[order.to(patches.device)] = patches.reshape(-1)
    return flat.view(shape)


def fold_padding(pixels: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """(frames, h, w): what fell on a repeat of the last frame, which fills its last pair, is the last frame's."""
    kept = pixels[:frames].copy()
    kept[-1] += pixels[frames:].sum(axis=0)
    return kept
