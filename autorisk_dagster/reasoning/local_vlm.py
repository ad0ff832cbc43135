"""Cosmos Reason 2 in this process, by transformers' Auto classes; and the reasoners of Cosmos 3 (Nano, Super, Edge).

Defaults are Cosmos-Reason2's own, and Cosmos 3's prompt guide keeps them: 4 frames a second, media before text,
`<think>` before the answer. Frames are decoded here and handed over as arrays with their true times; nothing is read by
the processor. One clip at a time: the budget of pixels is a clip's, and a batch would share it. Where memory does not
suffice the clip is shown smaller, and what was made of it says so. Weights load from safetensors only, and no code of a
repository is run.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, GenerationConfig
from transformers.video_utils import VideoMetadata

from autorisk_dagster.errors import BackendError
from autorisk_dagster.reasoning.clip_frames import ClipFrames, sample_frames
from autorisk_dagster.reasoning.constrained import END_OF_THINK, THINK, JsonGrammar, ThinkThenJson
from autorisk_dagster.reasoning.prompts import LETTERS, Prompt
from autorisk_dagster.reasoning.schema import ASKED, answer_schema
from autorisk_dagster.reasoning.vlm import Answer, LetterReading, Sampling

_LOG = logging.getLogger(__name__)

# The processor works out a frame's time as index / fps. Counted in milliseconds, the times that the model reads are
# true whatever the frame rate does.
_TICKS_A_SEC = 1000
# Qwen3-VL merges 2 x 2 patches of 16 px and two frames: 32 px is the least edge, 4096 px its own least picture.
_MIN_PIXELS = 4096
# Cosmos-Reason2 was trained with the video's tokens bare, as transformers 4.57 laid them out; transformers 5 puts a
# second pair of vision tokens around them.
_WRAPPED, _BARE = "<|vision_start|><|video_pad|><|vision_end|>", "<|video_pad|>"
_OUT_OF_MEMORY_TRIES = 3

Made = TypeVar("Made")


@dataclass(frozen=True)
class LocalModelSettings:
    """Which weights, and how a clip is shown to them.

    Attributes:
        model: a hub id or a folder
        revision: of a hub id; None: the newest
        adapter: a PEFT LoRA adapter's id or folder
        dtype: of the weights: "bfloat16", "float16" or "float32"
        device_map: "auto", "cpu", "cuda", "cuda:1" ...
        attention: "sdpa", "flash_attention_2" or "eager"
        frames_per_sec, max_pixels: how a clip is sampled (`sample_frames`)
        max_think_tokens: 0 asks for no thoughts
        max_text_chars: bound of one string in the answer
    """

    model: str
    revision: str | None = None
    adapter: str | None = None
    dtype: str = "bfloat16"
    device_map: str = "auto"
    attention: str = "sdpa"
    frames_per_sec: float = 4.0
    max_pixels: int = 8_388_608
    max_think_tokens: int = 1024
    max_text_chars: int = 600


class LocalModel:
    """A loaded model with its processor; its answers are constrained to the assessment's schema.

    Raises:
        BackendError: the weights cannot be had, or are not a model that this class can use.
    """

    name = "transformers"
    concurrency = 1

    def __init__(self, settings: LocalModelSettings) -> None:
        self.settings = settings
        self.adapter = settings.adapter
        try:
            config = AutoConfig.from_pretrained(settings.model, revision=settings.revision)
            self._model: Any = AutoModelForImageTextToText.from_pretrained(
                settings.model,
                revision=settings.revision,
                dtype=getattr(torch, settings.dtype),
                device_map=settings.device_map,
                attn_implementation=settings.attention,
                use_safetensors=True,
            ).eval()
            self._processor: Any = AutoProcessor.from_pretrained(settings.model, revision=settings.revision)
            if settings.adapter is not None:
                from peft import PeftModel

                self._model = PeftModel.from_pretrained(self._model, settings.adapter).eval()
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            raise BackendError(_why_not_loaded(settings, error)) from error
        self.random_weights = bool(getattr(config, "random_weights", False))
        self.model_id = (
            settings.model if "/" in settings.model and not Path(settings.model).exists() else Path(settings.model).name
        )
        if self.random_weights:
            self.model_id += " (random weights)"
        self.model_revision = getattr(config, "_commit_hash", None) or fingerprint_of(Path(settings.model))
        if settings.adapter is not None and Path(settings.adapter).is_dir():
            self.adapter = f"{Path(settings.adapter).name}@{fingerprint_of(Path(settings.adapter))}"
        # Qwen's processor knows it, and warns where it is not said; Cosmos3-Edge's does not.
        knows_cap = hasattr(self._processor.video_processor, "cap_pixels_per_frame")
        self._frame_cap = {"cap_pixels_per_frame": True} if knows_cap else {}
        self._grammars: dict[tuple[str, ...], JsonGrammar] = {}
        self._grammar(ASKED)  # a tokenizer that cannot be constrained is said now, not after the first clip
        tokenizer = self._processor.tokenizer
        self._letters: dict[str, int] = {}
        for letter, severity in LETTERS.items():
            tokens = tokenizer.encode(letter, add_special_tokens=False)
            if len(tokens) != 1:
                raise BackendError(f"{settings.model}: {letter!r} is {len(tokens)} tokens; letters must be one each")
            self._letters[severity] = tokens[0]

    def answer(
        self, clip: Path, duration_sec: float, prompt: Prompt, sampling: Sampling, fields: Sequence[str] = ASKED
    ) -> Answer:
        """Think and answer; the part after `</think>` holds the schema of `fields`.

        Raises:
            VideoError: the clip cannot be read.
            BackendError: out of memory, however small the clip is shown.
        """
        began = time.monotonic()

        def ask(frames: ClipFrames) -> tuple[int, str, int]:
            inputs = self.encode(frames, prompt)
            text, answer_tokens = self._generate(inputs, sampling, self._grammar(fields))
            return int(inputs["input_ids"].shape[1]), text, answer_tokens

        (prompt_tokens, text, answer_tokens), notes = self.within_memory(clip, duration_sec, ask)
        if prompt.thinking and self._opens_thought(prompt):
            text = f"{THINK}\n{text}"  # the tag stood in the prompt: without it thoughts would read as an answer
        return Answer(text, prompt_tokens, answer_tokens, time.monotonic() - began, notes)

    def letters(self, clip: Path, duration_sec: float, prompt: Prompt) -> LetterReading:
        """Log-probability of each severity's letter as the first token of the answer, in one forward pass.

        Raises:
            VideoError, BackendError: as `answer`.
        """
        began = time.monotonic()
        reading, notes = self.within_memory(clip, duration_sec, lambda frames: self.letters_of(frames, prompt))
        return replace(reading, seconds=time.monotonic() - began, notes=notes)

    def letters_of(self, frames: ClipFrames, prompt: Prompt) -> LetterReading:
        """`letters` for frames that are sampled already."""
        inputs = self.encode(frames, prompt)
        with torch.inference_mode():
            logits = self._model(**inputs, logits_to_keep=1).logits[0, -1].float()
        log_probability = torch.log_softmax(logits, dim=-1)
        return LetterReading(
            {severity: float(log_probability[token]) for severity, token in self._letters.items()},
            prompt_tokens=int(inputs["input_ids"].shape[1]),
        )

    def within_memory(
        self, clip: Path, duration_sec: float, make: Callable[[ClipFrames], Made]
    ) -> tuple[Made, tuple[str, ...]]:
        """What `make` makes of the clip's frames, and what is to be said of them: with half the pixels, and half of
        these again, where it ran out of memory.

        Raises:
            VideoError: the clip cannot be read.
            BackendError: out of memory even so.
        """
        notes: list[str] = []
        pixels = self.settings.max_pixels
        for attempt in range(_OUT_OF_MEMORY_TRIES):
            if attempt:
                # Not in the handler: until it is left, the error's traceback keeps the tensors that did not fit.
                free_memory()
                pixels //= 2
                notes.append(f"out of memory: shown again with {pixels} pixels")
                _LOG.warning("%s: %s", clip.name, notes[-1])
            frames = sample_frames(clip, duration_sec, frames_per_sec=self.settings.frames_per_sec, max_pixels=pixels)
            try:
                return make(frames), tuple(notes)
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                told = str(error).splitlines()[0]
        raise BackendError(
            f"{self.model_id} ran out of memory over {clip.name} with {pixels} pixels; lower reasoner.max_pixels, take "
            f"a smaller model or quantise ({told})"
        )

    def encode(self, frames: ClipFrames, prompt: Prompt) -> dict[str, Any]:
        """The model's inputs for a clip and a prompt, on its device."""
        text = self._templated(prompt)
        if self._opens_thought(prompt) and not prompt.thinking:
            text += f"\n{END_OF_THINK}\n\n"  # the answer, or its letter, is to be the next token
        metadata = VideoMetadata(
            total_num_frames=max(1, round(frames.duration_sec * _TICKS_A_SEC)),
            fps=float(_TICKS_A_SEC),
            duration=frames.duration_sec,
            height=frames.rgb.shape[1],
            width=frames.rgb.shape[2],
            frames_indices=[round(t * _TICKS_A_SEC) for t in frames.timestamps_sec.tolist()],
        )
        encoded = self._processor(
            text=[text.replace(_WRAPPED, _BARE)],
            videos=[np.ascontiguousarray(frames.rgb)],
            video_metadata=[metadata],
            do_sample_frames=False,
            videos_kwargs={
                "size": {"shortest_edge": _MIN_PIXELS, "longest_edge": self.settings.max_pixels},
                "return_metadata": True,  # Cosmos3-Edge writes the times from it
                **self._frame_cap,
            },
            return_mm_token_type_ids=True,
            return_tensors="pt",
        )
        device = self._model.device
        return {name: value.to(device) for name, value in encoded.items() if isinstance(value, torch.Tensor)}

    def _templated(self, prompt: Prompt) -> str:
        messages = [
            {"role": "system", "content": [{"type": "text", "text": prompt.system}]},
            {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": prompt.user}]},
        ]
        text: str = self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return text

    def _opens_thought(self, prompt: Prompt) -> bool:
        """The chat template has written <think> already."""
        return self._templated(prompt).rstrip().endswith(THINK)

    def close(self) -> None:
        """Give back the memory."""
        self._model = self._processor = None
        free_memory()

    @property
    def network(self) -> Any:
        """The loaded network, for gradients."""
        return self._model

    @property
    def processor(self) -> Any:
        """The loaded processor."""
        return self._processor

    @property
    def letter_tokens(self) -> dict[str, int]:
        """Token of each severity's letter."""
        return dict(self._letters)

    def _text_config(self) -> Any:
        return self._model.config.get_text_config()

    def _grammar(self, fields: Sequence[str]) -> JsonGrammar:
        key = tuple(fields)
        if key not in self._grammars:
            vocabulary = self._text_config().vocab_size
            schema = answer_schema(fields)
            self._grammars[key] = JsonGrammar(
                schema, self._processor.tokenizer, vocabulary, self.settings.max_text_chars
            )
        return self._grammars[key]

    def _generate(self, inputs: dict[str, Any], sampling: Sampling, grammar: JsonGrammar) -> tuple[str, int]:
        prompt_tokens = inputs["input_ids"].shape[1]
        drawn = (
            {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
            if sampling.temperature > 0
            else {"do_sample": False}
        )
        tokenizer = self._processor.tokenizer
        own = self._model.generation_config
        # A configuration of its own: what a repository sets as default (temperature, penalties) must not leak in.
        settings = GenerationConfig(
            max_new_tokens=self.settings.max_think_tokens + 1 + grammar.max_tokens,
            eos_token_id=own.eos_token_id or tokenizer.eos_token_id,
            pad_token_id=own.pad_token_id or tokenizer.pad_token_id,
            **drawn,
        )
        mask = ThinkThenJson(grammar, prompt_tokens, self.settings.max_think_tokens)
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.inference_mode():
            torch.manual_seed(sampling.seed)
            output = self._model.generate(**inputs, generation_config=settings, logits_processor=[mask])
        tokens = output[0, prompt_tokens:]
        return tokenizer.decode(tokens, skip_special_tokens=True), int(tokens.shape[0])


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Of a GPU, or of this machine, for which PyTorch has no error of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def free_memory() -> None:
    """Return what is no longer referenced to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def fingerprint_of(folder: Path) -> str:
    """16 hex digits of a model folder's files: names, sizes, small files whole, of large ones the first and last MB."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".json", ".safetensors", ".jinja", ".txt"):
            continue
        size = path.stat().st_size
        digest.update(json.dumps([path.name, size]).encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
            if size > 1 << 20:
                file.seek(max(1 << 20, size - (1 << 20)))
                digest.update(file.read())
    return digest.hexdigest()[:16]


def _why_not_loaded(settings: LocalModelSettings, error: Exception) -> str:
    if Path(settings.model).is_dir() or Path(settings.model).is_absolute():
        fix = "give a folder written by save_pretrained, with safetensors weights"
    else:
        fix = (
            f"accept its licence on the hub and fetch it once: HF_TOKEN=... hf download {settings.model}; "
            "or give a folder"
        )
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"model {settings.model!r} cannot be loaded ({type(error).__name__}: {first}); {fix}"
