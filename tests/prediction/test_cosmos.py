"""Cosmos behind its guardrail: a tiny Predict 2 with random weights, loaded and run by the code of the real one."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="Cosmos needs the extra `models`")
pytest.importorskip("diffusers", reason="Cosmos needs the extra `models`")

from autorisk_dagster.errors import BackendError, InputError
from autorisk_dagster.prediction import child, cosmos
from autorisk_dagster.prediction.cosmos import make_video
from autorisk_dagster.prediction.cosmos_request import ANSWER, CONDITION, PICTURES, CosmosAnswer, CosmosRequest
from autorisk_dagster.prediction.cosmos_world import CosmosWorld, Machine
from autorisk_dagster.prediction.guardrail import GuardrailRefusalError, WatchedGuardrail
from autorisk_dagster.prediction.picture import LABELS, label_region, with_strip
from autorisk_dagster.profile import PredictionSettings
from resources.world_models import WorldModels
from tests.prediction import tiny_predict2
from tests.prediction.tiny_predict2 import GuardrailDouble


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_predict2.build(tmp_path_factory.mktemp("weights") / "tiny-predict2")


@pytest.fixture
def request_(weights: Path, tmp_path: Path) -> CosmosRequest:
    """A video of nine pictures, 160 x 96; its condition lies in `tmp_path`."""
    waves = 127 + 100 * np.sin(np.mgrid[0:96, 0:160][1] / 9.0)
    cv2.imwrite(str(tmp_path / CONDITION), np.repeat(waves[..., None], 3, axis=2).astype(np.uint8))
    return CosmosRequest(
        family="predict2",
        weights=str(weights),
        dtype="float32",
        device="cpu",
        offload="none",
        vae_tiling=True,
        embeddings=str(tmp_path / "embeddings"),
        prompt="a car brakes hard",
        negative="low quality",
        width_px=160,
        height_px=96,
        frames=9,
        fps=16.0,
        steps=2,
        guidance=3.0,
        seed=42,
    )


@pytest.mark.parametrize("family", ["predict2", "predict2.5"])
def test_the_same_seed_makes_the_same_video_and_another_another(
    tmp_path: Path, request_: CosmosRequest, family: str
) -> None:
    looked_at = []

    class Looks(GuardrailDouble):
        def check_video_safety(self, frames: Any) -> Any:
            looked_at.append(frames.shape)
            return frames

    if family == "predict2.5":
        folder = tiny_predict2.build(tmp_path / "tiny-predict2.5", family)
        request_ = dataclasses.replace(request_, weights=str(folder), family="predict2.5")
    made = []
    for seed in (42, 42, 137):
        answer = make_video(tmp_path, dataclasses.replace(request_, seed=seed), Looks)
        assert answer.outcome == "generated"
        assert answer.embeddings_kept == bool(made)  # computed once, by prompt
        assert answer.peak_memory_mb and answer.peak_memory_mb > 50
        made.append(np.load(tmp_path / PICTURES))
    assert made[0].shape == (9, 96, 160, 3) and made[0].dtype == np.uint8
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()
    assert looked_at == [(9, 96, 160, 3)] * 3  # each video once
    # labelled before it leaves the process
    label = label_region(with_strip(np.zeros((96, 160, 3), np.uint8), LABELS["cosmos"], ""))
    assert all((label_region(picture) == label).all() for picture in made[0])


def test_a_prompt_whose_embeddings_are_kept_is_looked_at_all_the_same(tmp_path: Path, request_: CosmosRequest) -> None:
    assert make_video(tmp_path, request_, GuardrailDouble).outcome == "generated"
    (tmp_path / PICTURES).unlink()

    class Stricter(GuardrailDouble):
        def check_text_safety(self, prompt: str) -> bool:  # noqa: ARG002
            return False

    answer = make_video(tmp_path, request_, Stricter)
    assert answer.outcome == "refused" and "refused the prompt" in str(answer.error)
    assert not (tmp_path / PICTURES).exists()


def test_a_refused_prompt_is_not_even_encoded(tmp_path: Path, request_: CosmosRequest) -> None:
    answer = make_video(tmp_path, dataclasses.replace(request_, prompt="something forbidden"), GuardrailDouble)
    assert answer.outcome == "refused"
    assert not (tmp_path / "embeddings").exists()


def test_a_refused_video_is_an_outcome(tmp_path: Path, request_: CosmosRequest) -> None:
    class Unseen(GuardrailDouble):
        def check_video_safety(self, frames: Any) -> None:  # noqa: ARG002
            logging.getLogger("cosmos_guardrail.test").critical("GUARDRAIL BLOCKED: unsafe frames")

    answer = make_video(tmp_path, request_, Unseen)
    assert answer.outcome == "refused"
    assert answer.error == "the guardrail refused the video: GUARDRAIL BLOCKED: unsafe frames"
    assert not (tmp_path / PICTURES).exists()


def test_a_guardrail_that_could_not_look_has_not_said_yes() -> None:
    """cosmos_guardrail 0.3.2 logs that its language model failed, and answers "safe"."""

    class Broken(GuardrailDouble):
        def check_text_safety(self, prompt: str) -> bool:  # noqa: ARG002
            logging.getLogger("cosmos_guardrail.cosmos_guardrail").error("Unexpected error occurred: out of memory")
            return True

    with pytest.raises(BackendError, match="could not judge the text: Unexpected error"):
        WatchedGuardrail(Broken()).check_text("a car")


def test_faces_blurred_by_the_guardrail_stay_blurred() -> None:
    class Blurs(GuardrailDouble):
        def check_video_safety(self, frames: Any) -> Any:
            return frames // 2

    watched = WatchedGuardrail(Blurs())
    frames = np.full((2, 8, 8, 3), 200, np.uint8)
    assert (watched.checker.check_video_safety(frames) == 100).all()  # what the pipeline calls
    assert watched.videos_checked == 1


def test_a_refusal_from_within_the_pipeline_is_a_refusal() -> None:
    class Refuses(GuardrailDouble):
        def check_video_safety(self, frames: Any) -> None:  # noqa: ARG002
            return None

    with pytest.raises(GuardrailRefusalError, match="no reason given"):
        WatchedGuardrail(Refuses()).checker.check_video_safety(np.zeros((1, 8, 8, 3), np.uint8))


def test_no_setting_leads_around_the_guardrail() -> None:
    """Neither a profile nor the machine's settings nor a request has a word on it, or on which program is started."""
    words = ("guard", "safety", "check", "child", "entry", "module", "unsafe")
    for fields in (
        PredictionSettings.model_fields,
        WorldModels.model_fields,
        {field.name for field in dataclasses.fields(CosmosRequest)},
        {field.name for field in dataclasses.fields(Machine)},
    ):
        assert not [name for name in fields if any(word in name for word in words)]
    assert child.main.__defaults__ is not None
    assert child.main.__defaults__[0].__name__ == "real_guardrail"


def test_a_folder_with_other_weights_is_said(tmp_path: Path, request_: CosmosRequest) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BackendError, match=r"holds no weights that prediction\.family predict2 can load"):
        make_video(tmp_path, dataclasses.replace(request_, weights=str(tmp_path / "empty")), GuardrailDouble)


def test_the_process_answers_by_file_whatever_goes_wrong(tmp_path: Path, request_: CosmosRequest) -> None:
    path = tmp_path / "request.json"
    dataclasses.replace(request_, weights=str(tmp_path)).write(path)
    assert child.main([str(path)], GuardrailDouble) == 0
    answer = CosmosAnswer.read(tmp_path / ANSWER)
    assert answer.outcome == "failed" and "holds no weights" in str(answer.error)
    path.write_text('{"seed": 1}')
    with pytest.raises(InputError, match=r"request\.json is no request for a video"):
        CosmosRequest.read(path)


def test_the_tiny_pipeline_saves_no_guardrail_and_real_code_asks_for_the_real_one(weights: Path) -> None:
    index = (weights / "model_index.json").read_text()
    assert "GuardrailDouble" not in index
    assert set(cosmos.PIPELINES) == {"predict2", "predict2.5"}


def test_weights_that_are_not_on_this_disk_are_asked_for_before_anything_runs(tmp_path: Path) -> None:
    settings = PredictionSettings(world_model="cosmos", model="nobody/no-such-model", revision="abc")
    with pytest.raises(BackendError, match=r"HF_TOKEN=\.\.\. hf download nobody/no-such-model --revision abc"):
        CosmosWorld(settings, Machine(embeddings=tmp_path))


def test_the_revision_follows_the_weights(tmp_path: Path, weights: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(weights, tmp_path / "tiny-predict2"))
    settings = PredictionSettings(world_model="cosmos", model=str(copy))
    machine = Machine(embeddings=tmp_path)
    first = CosmosWorld(settings, machine)
    assert first.model_id == "tiny-predict2"
    assert first.model_revision == CosmosWorld(settings, machine).model_revision
    config = copy / "transformer" / "config.json"
    config.write_text(config.read_text() + " ")
    assert CosmosWorld(settings, machine).model_revision != first.model_revision


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"frames": 48}, "frames must be 4 k"), ({"width_px": 850}, "multiples of 16")],
    ids=["frames", "width"],
)
def test_sizes_that_the_library_would_cut_silently_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PredictionSettings(**changes)
