"""Cosmos Reason 2 with random weights: what is loaded, what the model sees, and that its answers always hold."""

from __future__ import annotations

import gc
import json
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

torch = pytest.importorskip("torch", reason="the local back end needs the extra `models`")

from autorisk_dagster.errors import BackendError
from autorisk_dagster.reasoning import prompts
from autorisk_dagster.reasoning.clip_frames import sample_frames
from autorisk_dagster.reasoning.constrained import bounded
from autorisk_dagster.reasoning.local_vlm import LocalModel, LocalModelSettings, fingerprint_of
from autorisk_dagster.reasoning.schema import SUPPLEMENTED, answer_schema
from autorisk_dagster.reasoning.vlm import Sampling
from tests import tiny_cosmos
from tests.video_factory import write_video

TEXT_CHARS = 24  # random weights never close a string by themselves
PROMPT = prompts.assessment_prompt(thinking=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cosmos.build(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # variable rate: the model is to be told the true times
    times = [0.0, 0.1, 0.35, 0.5, 0.62, 0.75, 1.3, 1.5, 1.75]
    return write_video(tmp_path_factory.mktemp("clips") / "clip.mp4", times)


def settings(weights: Path, **changes: Any) -> LocalModelSettings:
    values: dict[str, Any] = {
        "model": str(weights),
        "dtype": "float32",
        "device_map": "cpu",
        "max_pixels": 100_000,
        "max_think_tokens": 12,
        "max_text_chars": TEXT_CHARS,
    }
    return LocalModelSettings(**(values | changes))


@pytest.fixture(scope="module")
def model(weights: Path) -> LocalModel:
    return LocalModel(settings(weights))


def test_random_weights_are_called_so(model: LocalModel, weights: Path) -> None:
    assert model.model_id == "tiny (random weights)"
    assert model.random_weights
    assert model.model_revision == fingerprint_of(weights)


def test_other_weights_have_another_revision(weights: Path, tmp_path: Path) -> None:
    assert fingerprint_of(tiny_cosmos.build(tmp_path / "again")) == fingerprint_of(weights)
    assert fingerprint_of(tiny_cosmos.build(tmp_path / "other", seed=1)) != fingerprint_of(weights)


def test_the_model_reads_true_times_and_the_clip_before_the_words(model: LocalModel, clip: Path) -> None:
    frames = sample_frames(clip, 2.0, frames_per_sec=4, max_pixels=100_000)
    assert frames.timestamps_sec == pytest.approx([0.0, 0.1, 0.5, 0.75, 1.5, 1.75], abs=1e-3)
    text = model.processor.tokenizer.decode(model.encode(frames, PROMPT)["input_ids"][0])
    # two frames a token group, at the mean of their times
    times = [float(part.split(">")[0]) for part in text.replace(" seconds", "").split("<")[1:] if part[0].isdigit()]
    assert times == pytest.approx([0.05, 0.625, 1.625], abs=0.051)  # written with one decimal
    assert text.count("<|vision_start|>") == len(times)  # bare, as the model was trained
    assert text.index("<|video_pad|>") < text.index("Severities:")


def test_the_budget_of_pixels_is_kept(weights: Path, model: LocalModel, clip: Path) -> None:
    def patches(which: LocalModel) -> int:
        budget = which.settings.max_pixels
        frames = sample_frames(clip, 2.0, frames_per_sec=4, max_pixels=budget)
        return int(which.encode(frames, PROMPT)["video_grid_thw"].prod())

    small = LocalModel(settings(weights, max_pixels=40_000))
    assert patches(model) * 16 * 16 * 2 <= 100_000  # a patch is 16 x 16 px of two frames
    assert patches(small) < patches(model) / 2


@pytest.mark.parametrize("seed", range(12))
def test_every_answer_holds_the_schema_whatever_the_weights_say(model: LocalModel, clip: Path, seed: int) -> None:
    answer = model.answer(clip, 2.0, PROMPT, Sampling(temperature=1.5, seed=seed, top_p=1.0, top_k=0))
    thoughts, said = answer.text.split("</think>")
    jsonschema.validate(json.loads(said), bounded(answer_schema(), TEXT_CHARS))
    assert answer.answer_tokens is not None and answer.answer_tokens > 0
    assert len(model.processor.tokenizer.encode(thoughts)) <= 3 * 12  # half a character is told as one of three tokens


def test_without_thinking_the_answer_begins_at_once(weights: Path, clip: Path) -> None:
    model = LocalModel(settings(weights, max_think_tokens=0))
    prompt = prompts.assessment_prompt(thinking=False)
    answer = model.answer(clip, 2.0, prompt, Sampling(temperature=1.5, seed=3))
    jsonschema.validate(json.loads(answer.text), bounded(answer_schema(), TEXT_CHARS))


def test_a_second_pass_is_constrained_to_what_it_is_asked(model: LocalModel, clip: Path) -> None:
    answer = model.answer(clip, 2.0, PROMPT, Sampling(temperature=1.0, seed=0), SUPPLEMENTED)
    assert set(json.loads(answer.text.split("</think>")[1])) == set(SUPPLEMENTED)


def test_the_seed_decides_and_the_callers_random_state_is_left_alone(model: LocalModel, clip: Path) -> None:
    def ask(seed: int) -> str:
        return model.answer(clip, 2.0, PROMPT, Sampling(temperature=1.5, seed=seed)).text

    before = torch.get_rng_state()
    first, other, again = ask(1), ask(2), ask(1)
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), before)


def test_greedy_answers_are_the_same_for_every_seed(model: LocalModel, clip: Path) -> None:
    assert (
        model.answer(clip, 2.0, PROMPT, Sampling(temperature=0.0, seed=1)).text
        == model.answer(clip, 2.0, PROMPT, Sampling(temperature=0.0, seed=2)).text
    )


def test_letters_are_read_from_the_next_token_of_one_pass(model: LocalModel, clip: Path) -> None:
    question = prompts.letter_prompt()
    reading = model.letters(clip, 2.0, question)
    # the same by hand: every logit of the last place, and the softmax over all of them
    inputs = model.encode(sample_frames(clip, 2.0, frames_per_sec=4, max_pixels=100_000), question)
    with torch.inference_mode():
        logits = model.network(**inputs).logits[0, -1].double()
    total = float(logits.exp().sum())
    for letter, severity in prompts.LETTERS.items():
        token = model.processor.tokenizer.convert_tokens_to_ids(letter)
        assert math.exp(reading.log_probability[severity]) == pytest.approx(
            float(logits[token].exp()) / total, rel=1e-3
        )
    assert 0 < reading.mass < 1
    assert sum(reading.share(severity) for severity in prompts.LETTERS.values()) == pytest.approx(1)


def no_gpu_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")


def no_memory() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)  # really asked for: an exbibyte


@contextmanager
def memory_for(model: LocalModel, patches: int, fail: Callable[[], None]) -> Iterator[list[int]]:
    """The model, with a vision tower that holds so many patches and else runs out of memory; what it was shown."""
    seen: list[int] = []

    def shown(_: Any, given: tuple[Any, ...]) -> None:
        seen.append(int(given[0].shape[0]))
        if seen[-1] > patches:
            fail()

    hook = model.network.model.visual.register_forward_pre_hook(shown)
    try:
        yield seen
    finally:
        hook.remove()


@pytest.mark.parametrize("fail", [no_gpu_memory, no_memory])
def test_out_of_memory_is_met_with_half_the_pixels_and_said(
    model: LocalModel, clip: Path, fail: Callable[[], None]
) -> None:
    # 100,000 px are 192 patches of 16 x 16 px and two frames; a half fits, with what the edges are rounded to
    with memory_for(model, 100, fail) as seen:
        answer = model.answer(clip, 2.0, PROMPT, Sampling(temperature=1.0, seed=0))
        reading = model.letters(clip, 2.0, prompts.letter_prompt())
    assert answer.notes == reading.notes == ("out of memory: shown again with 50000 pixels",)
    jsonschema.validate(json.loads(answer.text.split("</think>")[1]), bounded(answer_schema(), TEXT_CHARS))
    assert seen[0] == seen[2] > 100 >= seen[1] == seen[3]
    assert reading.prompt_tokens is not None and answer.prompt_tokens is not None
    assert model.letters(clip, 2.0, prompts.letter_prompt()).notes == ()  # the next clip is shown in full


def test_out_of_memory_for_good_says_what_to_change(model: LocalModel, clip: Path) -> None:
    told = r"over clip\.mp4 with 25000 pixels; lower reasoner\.max_pixels.*Tried to allocate 2\.00 GiB\.\)$"
    with memory_for(model, 0, no_gpu_memory) as seen:
        with pytest.raises(BackendError, match=told):
            model.answer(clip, 2.0, PROMPT, Sampling(temperature=1.0, seed=0))
        assert len(seen) == 3 and seen[0] > seen[1] > seen[2]
        with pytest.raises(BackendError, match=told):
            model.letters(clip, 2.0, prompts.letter_prompt())


def test_what_did_not_fit_is_gone_before_the_clip_is_shown_again(model: LocalModel, clip: Path) -> None:
    """A handler that tries again keeps the first try's tensors alive by the error's traceback: then nothing fits."""
    held: list[weakref.ref[Any]] = []

    def make(frames: Any) -> int:
        gc.collect()
        assert all(tensor() is None for tensor in held)
        made = torch.zeros(8)
        held.append(weakref.ref(made))
        if len(held) == 1:
            no_gpu_memory()
        return int(frames.pixels)

    pixels, notes = model.within_memory(clip, 2.0, make)
    assert pixels <= 50_000 and len(notes) == 1


def test_another_error_is_not_taken_for_a_full_memory(model: LocalModel, clip: Path) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        model.within_memory(clip, 2.0, broken)


def test_a_template_that_opens_the_thought_is_told_from_one_that_does_not(weights: Path, clip: Path) -> None:
    model = LocalModel(settings(weights))
    template = model.processor.chat_template
    model.processor.chat_template = f"{template}{{%- if add_generation_prompt %}}{{{{- '<think>\n' }}}}{{%- endif %}}"
    answer = model.answer(clip, 2.0, PROMPT, Sampling(temperature=1.0, seed=0))
    assert answer.text.startswith("<think>\n") and answer.text.count("<think>") == 1  # put back: thoughts are no answer
    frames = sample_frames(clip, 2.0, frames_per_sec=4, max_pixels=100_000)
    asked = model.processor.tokenizer.decode(model.encode(frames, prompts.letter_prompt())["input_ids"][0])
    assert asked.endswith("<think>\n\n</think>\n\n")  # the letter is the next token, not the thought's first


@pytest.mark.parametrize("family", ["cosmos3_omni", "cosmos3_edge"])
def test_cosmos_3_is_a_setting(tmp_path: Path, clip: Path, family: tiny_cosmos.Family) -> None:
    model = LocalModel(settings(tiny_cosmos.build(tmp_path / family, family=family)))
    network = {"cosmos3_omni": "Cosmos3OmniForConditionalGeneration"}.get(family, "Cosmos3EdgeForConditionalGeneration")
    assert type(model.network).__name__ == network
    assert model.model_id == f"{family} (random weights)"
    answer = model.answer(clip, 2.0, PROMPT, Sampling(temperature=1.5, seed=1))
    jsonschema.validate(json.loads(answer.text.split("</think>")[1]), bounded(answer_schema(), TEXT_CHARS))
    assert 0 < model.letters(clip, 2.0, prompts.letter_prompt()).mass < 1
    frames = sample_frames(clip, 2.0, frames_per_sec=4, max_pixels=100_000)
    inputs = model.encode(frames, PROMPT)
    text = model.processor.tokenizer.decode(inputs["input_ids"][0])
    times = [float(part.split(">")[0]) for part in text.replace(" seconds", "").split("<")[1:] if part[0].isdigit()]
    shown = frames.timestamps_sec.reshape(-1, model.processor.video_processor.temporal_patch_size).mean(axis=1)
    assert times == pytest.approx(shown.tolist(), abs=0.051)  # true times, of each frame (Edge) or pair
    assert text.count("<|vision_start|>") == len(times)
    video = model.processor.video_processor
    pixels = int(inputs["video_grid_thw"].prod()) * video.temporal_patch_size * video.patch_size**2
    assert pixels <= 100_000


def test_an_adapter_is_laid_over_the_model_and_named(
    weights: Path, model: LocalModel, clip: Path, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    base = LocalModel(settings(weights))
    wrapped = get_peft_model(
        base.network, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    wrapped.save_pretrained(tmp_path / "adapter")
    adapted = LocalModel(settings(weights, adapter=str(tmp_path / "adapter")))
    assert adapted.adapter == f"adapter@{fingerprint_of(tmp_path / 'adapter')}"
    question = prompts.letter_prompt()
    plain, changed = (which.letters(clip, 2.0, question).log_probability for which in (model, adapted))
    assert any(abs(plain[severity] - changed[severity]) > 1e-3 for severity in plain)


def test_weights_that_are_not_there_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="give a folder written by save_pretrained"):
        LocalModel(settings(tmp_path))
    with pytest.raises(BackendError, match="hf download nvidia/Cosmos-Reason2-2B"):
        LocalModel(settings(tmp_path, model="nvidia/Cosmos-Reason2-2B"))


def test_pickled_weights_are_not_loaded(weights: Path, tmp_path: Path) -> None:
    model = LocalModel(settings(weights))
    model.processor.save_pretrained(tmp_path)
    model.network.config.save_pretrained(tmp_path)
    torch.save(model.network.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(BackendError, match="safetensors"):
        LocalModel(settings(tmp_path))
