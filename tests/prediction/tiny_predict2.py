"""A Cosmos Predict 2 of one megabyte with random weights: the classes that the real one loads by, without a download.

It makes noise that begins with the condition. No guardrail is saved with it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    ConfigMixin,
    Cosmos2VideoToWorldPipeline,
    CosmosTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    ModelMixin,
)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import T5Config, T5EncoderModel, T5TokenizerFast


class GuardrailDouble(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """TEST DOUBLE, for random weights alone: NVIDIA's licence asks for the real guardrail with the real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("_somewhere", torch.zeros(1), persistent=False)

    def check_text_safety(self, prompt: str) -> bool:
        return "forbidden" not in prompt

    def check_video_safety(self, frames: Any) -> Any:
        return frames


def build(folder: Path) -> Path:
    """Save the pipeline to `folder`."""
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    pipeline = Cosmos2VideoToWorldPipeline(
        text_encoder=T5EncoderModel(
            T5Config(
                vocab_size=max(128, len(tokenizer)),
                d_model=32,
                d_kv=8,
                d_ff=37,
                num_layers=2,
                num_heads=4,
                decoder_start_token_id=0,
            )
        ),
        tokenizer=tokenizer,
        transformer=CosmosTransformer3DModel(
            in_channels=17,
            out_channels=16,
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=2,
            mlp_ratio=2,
            text_embed_dim=32,
            adaln_lora_dim=4,
            max_size=(24, 96, 160),
            patch_size=(1, 2, 2),
            rope_scale=(1.0, 3.0, 3.0),
            concat_padding_mask=True,
            extra_pos_embed_type=None,
        ),
        vae=AutoencoderKLWan(
            base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True),
        safety_checker=GuardrailDouble(),
    )
    pipeline.register_modules(safety_checker=None)
    pipeline.save_pretrained(folder)
    return folder


def _tokenizer() -> T5TokenizerFast:
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", "always")]
    )
    corpus = ["a dashcam view of a car braking hard behind a truck on a wet road", "low quality, jerky movements"] * 4
    trainer = trainers.UnigramTrainer(
        vocab_size=100, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    trained.train_from_iterator(corpus, trainer)
    vocabulary = [tuple(entry) for entry in json.loads(trained.to_str())["model"]["vocab"]]
    return T5TokenizerFast(vocab=vocabulary, extra_ids=0)
