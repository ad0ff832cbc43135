"""Settings of the machine come from the environment; and which models are warm for which profiles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from autorisk_dagster.errors import InputError
from autorisk_dagster.profile import Profile
from resources import model_slot
from resources.reasoners import Reasoners
from resources.verifiers import Verifiers
from tests.reasoning.endpoint import MODEL, Script, serving


def test_the_environment_sets_what_is_the_machines() -> None:
    environment = {
        "AUTORISK_REASONER_DEVICE": "cuda:1",
        "AUTORISK_REASONER_ATTENTION": "flash_attention_2",
        "AUTORISK_ENDPOINT_TIMEOUT_SEC": "300",
        "AUTORISK_ENDPOINT_RETRIES": "0",
        "AUTORISK_ENDPOINT_CONCURRENCY": "16",
    }
    found = Reasoners.on_this_machine("adapters", environment)
    assert (found.device_map, found.attention) == ("cuda:1", "flash_attention_2")
    assert (found.timeout_sec, found.retries, found.concurrency) == (300.0, 0, 16)
    assert Verifiers.on_this_machine("logs", environment).concurrency == 16
    usual = Reasoners.on_this_machine("adapters", {"AUTORISK_REASONER_DEVICE": ""})
    assert usual == Reasoners(adapters="adapters")


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("AUTORISK_REASONER_ATTENTION", "flash", "one of sdpa, flash_attention_2, eager"),
        ("AUTORISK_ENDPOINT_TIMEOUT_SEC", "0", "a number from 1 to 3600"),
        ("AUTORISK_ENDPOINT_TIMEOUT_SEC", "nan", "a number from 1 to 3600"),
        ("AUTORISK_ENDPOINT_RETRIES", "2.5", "a whole number from 0 to 20"),
        ("AUTORISK_ENDPOINT_CONCURRENCY", "many", "a whole number from 1 to 256"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_is_allowed(variable: str, value: str, allowed: str) -> None:
    with pytest.raises(InputError, match=f"{variable} is '{value}'; it must be {allowed}"):
        Reasoners.on_this_machine("adapters", {variable: value})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    pytest.importorskip("openai", reason="the served back end needs the extra `models`")
    script = Script([])
    with serving(script) as url:
        monkeypatch.setenv("COSMOS_NIM_URL", url)
        yield script
    model_slot.evict()


def profile(**reasoner: object) -> Profile:
    return Profile.model_validate({"name": "served", "reasoner": {"backend": "openai", "model": MODEL} | reasoner})


def test_profiles_that_ask_the_same_model_otherwise_share_it(served: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    reasoners = Reasoners()
    first = reasoners.judge(profile()).model
    for change in ({"temperatures": (0.6, 0.6)}, {"letters": False}, {"min_letter_mass": 0.1}, {"seed": 3}):
        judge = reasoners.judge(profile(**change))
        assert judge.model is first
    assert reasoners.judge(profile(max_pixels=100_000)).model is not first
    again = reasoners.judge(profile()).model
    with serving(served) as other:
        monkeypatch.setenv("COSMOS_NIM_URL", other)
        assert reasoners.judge(profile()).model is not again  # another endpoint is another model


def test_thoughts_have_their_tokens_beside_the_answers(served: Script, tmp_path: Path) -> None:  # noqa: ARG001
    from autorisk_dagster.reasoning.served_vlm import ServedModel

    for change, tokens in (({}, 4096), ({"thinking": False}, 3072), ({"max_think_tokens": 8192}, 11_264)):
        model = Reasoners().judge(profile(**change)).model
        assert isinstance(model, ServedModel) and model.settings.max_tokens == tokens
