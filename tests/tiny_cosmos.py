"""A Qwen3-VL of one megabyte with random weights: the classes that Cosmos-Reason2 loads by, built without a download;
and the reasoner classes of Cosmos 3 in the same size.

Its tokenizer has the special tokens of the real one; its words are trained on a few sentences. It answers noise.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    Cosmos3EdgeConfig,
    Cosmos3EdgeForConditionalGeneration,
    Cosmos3EdgeImageProcessor,
    Cosmos3EdgeProcessor,
    Cosmos3EdgeVideoProcessor,
    Cosmos3OmniConfig,
    Cosmos3OmniForConditionalGeneration,
    GenerationConfig,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    set_seed,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
_ADDED = ("<think>", "</think>")
_TEMPLATE = """{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}{{- message.content }}{%- else %}{%- for part in message.content %}
{%- if part.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- elif part.type == 'video' %}{{- '<|vision_start|><|video_pad|><|vision_end|>' }}
{%- else %}{{- part.text }}{%- endif %}{%- endfor %}{%- endif %}{{- '<|im_end|>\\n' }}
{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
_CORPUS = [
    "You are a helpful assistant. Answer the question using the following format: your reasoning.",
    "How severe is the danger in this video? A. NONE B. LOW C. MEDIUM D. HIGH",
    '{"severity": "HIGH", "hazards": [], "causal_reasoning": "the lead vehicle brakes", "recommended_action": ""}',
    "pedestrian vehicle cyclist braking lane cut-in near miss collision seconds ahead left right",
] * 4


# reason2: Cosmos-Reason2-2B and 8B; cosmos3_omni: Cosmos3-Nano and Super; cosmos3_edge: Cosmos3-Edge
Family = Literal["reason2", "cosmos3_omni", "cosmos3_edge"]
FAMILIES: tuple[Family, ...] = ("reason2", "cosmos3_omni", "cosmos3_edge")


def build(folder: Path, seed: int = 0, family: Family = "reason2") -> Path:
    """Save model and processor to `folder`; the configuration says `random_weights`."""
    set_seed(seed)
    tokenizer = build_tokenizer()
    number = tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5_000_000, "mrope_section": [4, 2, 2]},
        "bos_token_id": None,
        "eos_token_id": number("<|im_end|>"),
        "pad_token_id": number("<|endoftext|>"),
    }
    tokens = {
        "image_token_id": number("<|image_pad|>"),
        "video_token_id": number("<|video_pad|>"),
        "vision_start_token_id": number("<|vision_start|>"),
        "vision_end_token_id": number("<|vision_end|>"),
    }
    if family == "cosmos3_edge":
        vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        config = Cosmos3EdgeConfig(text_config=text, vision_config=vision, projector_hidden_size=64, **tokens)
        model = Cosmos3EdgeForConditionalGeneration(config).eval()
        processor = Cosmos3EdgeProcessor(
            image_processor=Cosmos3EdgeImageProcessor(),
            tokenizer=tokenizer,
            video_processor=Cosmos3EdgeVideoProcessor(),
            chat_template=_TEMPLATE,
        )
    else:
        text["rope_parameters"] |= {"mrope_interleaved": True}
        vision = {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 16,
            "temporal_patch_size": 2,
            "spatial_merge_size": 2,
            "out_hidden_size": 64,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [0, 1],
        }
        known_as, network = (
            (Qwen3VLConfig, Qwen3VLForConditionalGeneration)
            if family == "reason2"
            else (Cosmos3OmniConfig, Cosmos3OmniForConditionalGeneration)
        )
        config = known_as(text_config=text, vision_config=vision, tie_word_embeddings=True, **tokens)
        model = network(config).eval()
        normal = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        processor = Qwen3VLProcessor(
            image_processor=Qwen2VLImageProcessor(
                size={"shortest_edge": 4096, "longest_edge": 64 * 96}, patch_size=16, **normal
            ),
            tokenizer=tokenizer,
            video_processor=Qwen3VLVideoProcessor(
                size={"shortest_edge": 4096, "longest_edge": 64 * 64 * 96}, cap_pixels_per_frame=False, **normal
            ),
            chat_template=_TEMPLATE,
        )
    config.random_weights = True
    with torch.no_grad():  # the default initialisation makes every answer the same
        model.model.language_model.embed_tokens.weight.normal_(0, 0.35)
        for name, weight in model.named_parameters():
            if name.endswith("weight") and weight.dim() > 1 and "embed_tokens" not in name:
                weight.normal_(0, 0.8 / weight[0].numel() ** 0.5)
    model.generation_config = GenerationConfig(
        eos_token_id=[number("<|im_end|>"), number("<|endoftext|>")], pad_token_id=number("<|endoftext|>")
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def build_tokenizer() -> Qwen2Tokenizer:
    """Its special tokens and chat template are those of the real ones."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.NFC()
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    trained.train_from_iterator(_CORPUS, trainer)
    model = json.loads(trained.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        extra_special_tokens={
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "vision_start_token": "<|vision_start|>",
            "vision_end_token": "<|vision_end|>",
        },
    )
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in _SPECIAL])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in _ADDED])
    tokenizer.chat_template = _TEMPLATE
    tokenizer.model_max_length = 262144
    return tokenizer
