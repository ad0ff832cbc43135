"""Cosmos Predict 2 and 2.5 by diffusers: one video from one picture and one prompt. Runs in a process of its own.

In order: the guardrail looks at the prompt, whether or not its embeddings are there already; the embeddings are taken
from disk, or computed with the text encoder alone in memory, stored, and the encoder released (an 11 B T5, or a 7 B
Qwen2.5-VL); the denoiser and the VAE make the video; the guardrail looks at the video; the strip that says "synthetic"
is burnt in before a picture leaves the process. Weights load from safetensors only, from a folder, and no code of a
repository is run.
"""

from __future__ import annotations

import gc
import hashlib
import inspect
import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import Cosmos2_5_PredictBasePipeline, Cosmos2VideoToWorldPipeline
from PIL import Image as PillowImage
from safetensors.torch import load_file, save_file

from autorisk_dagster.errors import BackendError
from autorisk_dagster.prediction.cosmos_request import CONDITION, PICTURES, CosmosAnswer, CosmosRequest
from autorisk_dagster.prediction.guardrail import GuardrailRefusalError, WatchedGuardrail
from autorisk_dagster.prediction.picture import LABELS, with_strip

PIPELINES: dict[str, Any] = {"predict2": Cosmos2VideoToWorldPipeline, "predict2.5": Cosmos2_5_PredictBasePipeline}
MAX_TOKENS = 512  # of a prompt: what both were trained with

Embeddings = dict[str, torch.Tensor]


def make_video(folder: Path, request: CosmosRequest, make_guardrail: Callable[[], Any]) -> CosmosAnswer:
    """Make the video of `request` from the condition in `folder`, and leave its pictures there.

    Args:
        folder: holds CONDITION; PICTURES goes there, (n, h, w, 3) uint8 BGR
        request: what is wanted
        make_guardrail: builds the safety checker

    Raises:
        BackendError: the weights or the guardrail cannot be had.
    """
    device = _device(request)
    watched = WatchedGuardrail(make_guardrail())
    try:
        watched.check_text(request.prompt)
        kept = _embeddings_path(request).exists()
        embeddings = _embeddings(request, watched, device)
        frames = _frames(request, folder / CONDITION, embeddings, watched, device)
    except GuardrailRefusalError as refusal:
        return CosmosAnswer("refused", str(refusal), _peak_memory_mb(device))
    label = LABELS["cosmos"]
    pictures = [
        with_strip(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), label, f"t +{number / request.fps:.2f} s")
        for number, frame in enumerate(frames)
    ]
    np.save(folder / PICTURES, np.stack(pictures), allow_pickle=False)
    return CosmosAnswer("generated", None, _peak_memory_mb(device), kept)


def _frames(
    request: CosmosRequest, condition: Path, embeddings: Embeddings, watched: WatchedGuardrail, device: torch.device
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(n, h, w, 3) RGB."""
    pipeline = _loaded(request, watched, text_encoder=None, tokenizer=None)
    pipeline.set_progress_bar_config(disable=True)
    if request.vae_tiling:
        pipeline.vae.enable_tiling()
    if device.type == "cpu" or request.offload == "none":  # on a CPU there is nothing to offload from
        pipeline.to(device)
    elif request.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)
    dtype = getattr(torch, request.dtype)
    accepted = inspect.signature(pipeline.__call__).parameters
    of_family = {"fps": round(request.fps)} if "fps" in accepted else {}  # 2.5 has one rate
    with torch.inference_mode(), PillowImage.open(condition) as picture:
        made = pipeline(
            image=picture.convert("RGB"),
            prompt_embeds=embeddings["prompt"].to(device, dtype),
            negative_prompt_embeds=embeddings["negative"].to(device, dtype),
            height=request.height_px,
            width=request.width_px,
            num_frames=request.frames,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            generator=torch.Generator().manual_seed(request.seed),
            max_sequence_length=MAX_TOKENS,
            output_type="np",
            **of_family,
        ).frames[0]
    if not np.isfinite(made).all():
        raise BackendError(f"the model made pictures that are no numbers with prediction.dtype {request.dtype}")
    frames = np.clip(np.rint(made * 255), 0, 255).astype(np.uint8)
    # The 2.5 pipeline asks only a guardrail of the very class that it knows.
    return frames if watched.videos_checked else watched.check_video(frames)


def _embeddings(request: CosmosRequest, watched: WatchedGuardrail, device: torch.device) -> Embeddings:
    """Of the prompt and of what is not wanted, from disk if they are there; else computed and stored."""
    path = _embeddings_path(request)
    if path.exists():
        stored: Embeddings = load_file(path)
        return stored
    pipeline = _loaded(request, watched, transformer=None)  # the VAE is small, and 2.5 is not built without
    pipeline.text_encoder.to(device)
    with torch.inference_mode():
        prompt, negative = pipeline.encode_prompt(
            prompt=request.prompt,
            negative_prompt=request.negative,
            do_classifier_free_guidance=True,
            max_sequence_length=MAX_TOKENS,
            device=device,
        )
    made = {name: tensor.contiguous().cpu() for name, tensor in (("prompt", prompt), ("negative", negative))}
    del pipeline, prompt, negative
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file(made, temporary)
    temporary.replace(path)
    return made


def _embeddings_path(request: CosmosRequest) -> Path:
    what = [request.family, request.weights, request.dtype, MAX_TOKENS, request.prompt, request.negative]
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
    return Path(request.embeddings) / f"{digest}.safetensors"


def _loaded(request: CosmosRequest, watched: WatchedGuardrail, **left_out: None) -> Any:
    try:
        return PIPELINES[request.family].from_pretrained(
            request.weights,
            dtype=getattr(torch, request.dtype),
            safety_checker=watched.checker,
            local_files_only=True,
            use_safetensors=True,
            **left_out,
        )
    except (OSError, ValueError, ImportError, AttributeError, TypeError) as error:
        raise BackendError(
            f"{request.weights} holds no weights that prediction.family {request.family} can load "
            f"({str(error).splitlines()[0]})"
        ) from error


def _device(request: CosmosRequest) -> torch.device:
    if request.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(request.device)


def _peak_memory_mb(device: torch.device) -> float:
    """Largest memory that was in use: of the accelerator, or of this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
