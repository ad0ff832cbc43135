"""A Cosmos Predict 2 or 2.5 of one megabyte with random weights: what the real one loads by, without a download.

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
    Cosmos2_5_PredictBasePipeline,
    Cosmos2VideoToWorldPipeline,
    CosmosTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    ModelMixin,
    UniPCMultistepScheduler,
)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from tests import tiny_cosmos


class GuardrailDouble(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """TEST DOUBLE, for random weights alone: NVIDIA's licence asks for the real guardrail with the real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("_somewhere", torch.zeros(1), persistent=False)

    def check_text_safety(self, prompt: str) -> bool:
        return "forbidden" not in prompt

    def check_video_safety(self, frames: Any) -> Any:
        return frames


def build(folder: Path, family: str = "predict2") -> Path:
    """Save the pipeline to `folder`."""
    torch.manual_seed(0)
    pipeline = _predict2() if family == "predict2" else _predict2_5()
    pipeline.register_modules(safety_checker=None)
    pipeline.save_pretrained(folder)
    return folder


def _predict2() -> Any:
    tokenizer = _tokenizer()
    return Cosmos2VideoToWorldPipeline(
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
        transformer=_transformer(),
        vae=_vae(),
        scheduler=FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True),
        safety_checker=GuardrailDouble(),
    )


def _predict2_5() -> Any:
    """Its text encoder is a Qwen2.5-VL, whose layers it puts side by side: 2 x 16 numbers a token here."""
    tokenizer = tiny_cosmos.build_tokenizer()
    number = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6},
            "bos_token_id": None,
            "eos_token_id": number("<|im_end|>"),
        },
        vision_config={"depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16},
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
    )
    return Cosmos2_5_PredictBasePipeline(
        text_encoder=Qwen2_5_VLForConditionalGeneration(config).eval(),
        tokenizer=tokenizer,
        transformer=_transformer(
            use_crossattn_projection=True, crossattn_proj_in_channels=32, encoder_hidden_states_channels=32
        ),
        vae=_vae(),
        scheduler=UniPCMultistepScheduler(
            use_karras_sigmas=True, use_flow_sigmas=True, prediction_type="flow_prediction"
        ),
        safety_checker=GuardrailDouble(),
    )


def _transformer(**more: Any) -> Any:
    return CosmosTransformer3DModel(
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
        **more,
    )


def _vae() -> Any:
    return AutoencoderKLWan(
        base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )


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
