"""A served model: what is sent, what is made of the answer, and what is said when the endpoint fails."""

from __future__ import annotations

import base64
import json
import math
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("openai", reason="the served back end needs the extra `models`")

from autorisk_dagster.errors import BackendError
from autorisk_dagster.reasoning import prompts
from autorisk_dagster.reasoning.parsing import parse_assessment
from autorisk_dagster.reasoning.schema import SUPPLEMENTED, answer_schema
from autorisk_dagster.reasoning.served_vlm import KEY_VARIABLE, ServedModel, ServedModelSettings
from autorisk_dagster.reasoning.vlm import Sampling
from autorisk_dagster.video.reader import VideoFrame, VideoReader
from tests.reasoning.endpoint import GOOD, MODEL, Script, cut, raw, reply, serving, silent
from tests.video_factory import read_counter, steady, write_video

PROMPT = prompts.assessment_prompt(thinking=True)
SAMPLING = Sampling(temperature=0.6, seed=7)
SECRET = "nvapi-not-to-be-seen"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "clip.mp4", steady(20, 10))


def client(url: str, **changes: Any) -> ServedModel:
    values: dict[str, Any] = {"url": url, "model": MODEL, "max_pixels": 200_000, "timeout_sec": 5.0, "retries": 2}
    return ServedModel(ServedModelSettings(**(values | changes)), {KEY_VARIABLE: SECRET})


def test_a_request_holds_clip_prompt_schema_and_key(clip: Path) -> None:
    script = Script([reply(json.dumps(GOOD))])
    with serving(script) as url:
        answer = client(url).answer(clip, 2.0, PROMPT, SAMPLING)
    assert json.loads(answer.text) == GOOD
    assert (answer.prompt_tokens, answer.answer_tokens, answer.notes) == (1000, 20, ())
    asked = script.asked[0]
    assert asked["response_format"]["json_schema"]["schema"] == answer_schema()
    assert (asked["temperature"], asked["seed"], asked["model"]) == (0.6, 7, MODEL)
    system, user = asked["messages"]
    assert system["content"][0]["text"] == PROMPT.system
    assert [part["type"] for part in user["content"]] == ["video_url", "text"]  # media first, as it was trained
    assert user["content"][1]["text"] == PROMPT.user
    assert script.keys == [f"Bearer {SECRET}"]


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_the_address_may_hold_the_protocols_version_or_not(clip: Path, ending: str) -> None:
    script = Script([reply(json.dumps(GOOD))])
    with serving(script) as url:
        client(url.removesuffix("/v1") + ending).answer(clip, 2.0, PROMPT, SAMPLING)
    assert script.paths == ["/v1/chat/completions"]


def test_the_video_sent_is_the_sampled_frames_at_their_times(clip: Path, tmp_path: Path) -> None:
    script = Script([reply(json.dumps(GOOD))])
    with serving(script) as url:
        client(url).answer(clip, 2.0, PROMPT, SAMPLING)
    sent = script.asked[0]["messages"][1]["content"][0]["video_url"]["url"]
    file = tmp_path / "sent.mp4"
    file.write_bytes(base64.b64decode(sent.removeprefix("data:video/mp4;base64,")))
    with VideoReader(file, audio=False) as reader:
        frames = [(item.timestamp_sec, read_counter(item.gray(90))) for item in reader if isinstance(item, VideoFrame)]
    assert [number for _, number in frames] == [0, 2, 5, 7, 10, 12, 15, 17]  # shown at 0, 0.25, 0.5 .. s of 10 fps
    assert [time for time, _ in frames] == pytest.approx([0.1 * number for _, number in frames], abs=1e-3)


def test_frames_are_sent_each_after_its_time(clip: Path) -> None:
    script = Script([reply(json.dumps(GOOD))])
    with serving(script) as url:
        client(url, video_as="frames", dialect="openai").answer(clip, 2.0, PROMPT, SAMPLING)
    parts = script.asked[0]["messages"][1]["content"]
    assert [part["text"] for part in parts[:4:2]] == ["<0.0 seconds>", "<0.2 seconds>"]
    picture = base64.b64decode(parts[3]["image_url"]["url"].removeprefix("data:image/jpeg;base64,"))
    assert read_counter(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE)) == 2
    assert "mm_processor_kwargs" not in script.asked[0]  # a field that only vLLM knows


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_thoughts_split_off_by_the_server_are_kept_before_the_answer(clip: Path, name: str) -> None:
    with serving(Script([reply(json.dumps(GOOD), **{name: "A van pulls in."})])) as url:
        text = client(url).answer(clip, 2.0, PROMPT, SAMPLING).text
    assert text == f"<think>\nA van pulls in.\n</think>\n\n{json.dumps(GOOD)}"


def test_a_second_pass_asks_for_its_fields_alone(clip: Path) -> None:
    script = Script([reply("{}")])
    with serving(script) as url:
        client(url).answer(clip, 2.0, PROMPT, SAMPLING, SUPPLEMENTED)
    assert script.asked[0]["response_format"]["json_schema"]["schema"] == answer_schema(SUPPLEMENTED)


def test_letters_come_from_the_first_tokens_log_probabilities(clip: Path) -> None:
    found = {"D": math.log(0.6), " C": math.log(0.2), "B": math.log(0.1), "The": math.log(0.05)}
    script = Script([reply("D", logprobs=found)])
    with serving(script) as url:
        reading = client(url).letters(clip, 2.0, prompts.letter_prompt())
    assert reading is not None
    assert reading.mass == pytest.approx(0.9)
    assert reading.share("HIGH") == pytest.approx(0.6 / 0.9)
    assert reading.log_probability["NONE"] == -math.inf  # not among the tokens given
    assert (script.asked[0]["max_tokens"], script.asked[0]["top_logprobs"]) == (1, 20)
    assert reading.prompt_tokens == 1000 and reading.seconds > 0


def test_an_endpoint_without_log_probabilities_measures_nothing(clip: Path) -> None:
    with serving(Script([reply("D")])) as url:
        assert client(url).letters(clip, 2.0, prompts.letter_prompt()) is None


def test_a_busy_endpoint_is_asked_again(clip: Path) -> None:
    soon = {"retry_after_ms": "1"}
    script = Script([raw(503, b"{}", **soon), raw(429, b"{}", **soon), reply(json.dumps(GOOD))])
    with serving(script) as url:
        assert json.loads(client(url).answer(clip, 2.0, PROMPT, SAMPLING).text) == GOOD
    assert len(script.asked) == 3


def test_a_cut_answer_is_asked_for_again(clip: Path) -> None:
    script = Script([cut, reply(json.dumps(GOOD))])
    with serving(script) as url:
        assert json.loads(client(url).answer(clip, 2.0, PROMPT, SAMPLING).text) == GOOD


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (raw(503, b'{"error": {"message": "loading"}}', retry_after_ms="1"), r"HTTP 503 after 3 tries"),
        (raw(400, b'{"error": {"message": "bad video"}}'), r"HTTP 400.*bad video"),
        (raw(401, b"{}"), rf"refused the key.*{KEY_VARIABLE}"),
        (raw(200, b"<html>proxy</html>", "text/html"), "without a choice|not JSON"),
        (raw(200, b'{"choices": []}'), "without a choice"),
        (raw(200, b'{"choi'), "not JSON"),
    ],
    ids=["503", "400", "401", "html", "no choice", "half JSON"],
)
def test_what_cannot_be_had_is_said(clip: Path, step: Any, told: str) -> None:
    with serving(Script([step])) as url, pytest.raises(BackendError, match=told) as error:
        client(url).answer(clip, 2.0, PROMPT, SAMPLING)
    assert SECRET not in str(error.value)


def test_an_endpoint_that_says_nothing_is_given_up(clip: Path) -> None:
    over = threading.Event()
    with serving(Script([silent(over)])) as url:
        try:
            with pytest.raises(BackendError, match=r"did not answer within 0\.2 s, 1 times"):
                client(url, timeout_sec=0.2, retries=0).answer(clip, 2.0, PROMPT, SAMPLING)
        finally:
            over.set()


def test_no_content_is_an_answer_that_cannot_be_read_not_an_error(clip: Path) -> None:
    with serving(Script([reply(None)])) as url:
        answer = client(url).answer(clip, 2.0, PROMPT, SAMPLING)
    assert (answer.text, answer.notes) == ("", ("the endpoint answered without content",))


def test_an_answer_cut_by_its_length_says_so(clip: Path) -> None:
    with serving(Script([reply('{"severity": "HI', finish="length")])) as url:
        assert client(url).answer(clip, 2.0, PROMPT, SAMPLING).notes == ("cut off at 4096 tokens",)


@pytest.mark.parametrize(
    ("content", "severity"),
    [
        ('The van... at first {"severity": "LOW"}, but then', None),  # a draft: the template opened the thought
        ('The van pulls in.</think>\n{"severity": "HIGH", "haz', "HIGH"),
        ('{"severity": "HIGH", "haz', "HIGH"),
        ('```json\n{"severity": "HIGH", "haz', "HIGH"),
        ('<think>\nAt first {"severity": "LOW"}, but', None),
    ],
)
def test_a_draft_in_thoughts_that_were_cut_is_no_answer(clip: Path, content: str, severity: str | None) -> None:
    with serving(Script([reply(content, finish="length")])) as url:
        read = parse_assessment(client(url).answer(clip, 2.0, PROMPT, SAMPLING).text).assessment
    assert (read.severity if read else None) == severity


def test_a_server_gone_astray_does_not_fill_the_disk(clip: Path) -> None:
    with serving(Script([reply("x" * 300_000)])) as url:
        answer = client(url).answer(clip, 2.0, PROMPT, SAMPLING)
    assert len(answer.text) == 200_000
    assert answer.notes == ("answer of 300000 characters cut to 200000",)


def test_an_endpoint_that_serves_something_else_is_refused_at_once() -> None:
    other = [{"id": "llama", "object": "model", "created": 1, "owned_by": "x"}]
    with serving(Script([], models=other)) as url, pytest.raises(BackendError, match="it serves: llama"):
        client(url)


def test_nobody_there_says_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(BackendError, match="is the endpoint up"):
        client(f"http://127.0.0.1:{port}/v1", retries=0)


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "host:8000/v1"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BackendError, match="COSMOS_NIM_URL must be"):
        client(url)


@pytest.fixture(scope="module")
def transformers_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """`transformers serve` with the random-weight model: another program's server of the same protocol."""
    pytest.importorskip("torch", reason="transformers serve needs torch")
    pytest.importorskip("fastapi", reason="transformers serve needs fastapi")
    from tests import tiny_cosmos

    folder = tmp_path_factory.mktemp("served")
    weights = str(tiny_cosmos.build(folder / "tiny-random-weights"))
    (folder / "hub").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = str(Path(sys.executable).with_name("transformers"))
    command = [program, "serve", weights, "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    log = folder / "log.txt"
    with log.open("wb") as file, subprocess.Popen(command, env=environment, stdout=file, stderr=file) as server:
        try:
            for _ in range(3000):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                    break
                except OSError:
                    assert server.poll() is None, log.read_text()
                    threading.Event().wait(0.1)
            else:
                raise AssertionError(f"transformers serve did not come up: {log.read_text()}")
            yield f"http://127.0.0.1:{port}/v1", weights
        finally:
            server.terminate()


def test_another_programs_server_takes_the_frames(transformers_serve: tuple[str, str], clip: Path) -> None:
    # It has neither response_format nor log-probabilities, and decodes video by torchcodec with a system FFmpeg:
    # so frames, and whatever random weights say.
    url, weights = transformers_serve
    model = client(url, model=weights, video_as="frames", dialect="openai", max_tokens=16, timeout_sec=60.0)
    answer = model.answer(clip, 2.0, PROMPT, SAMPLING)
    assert answer.prompt_tokens is not None and answer.prompt_tokens > 100  # eight pictures and the prompt
    assert answer.answer_tokens is not None and 0 < answer.answer_tokens <= 16
    assert model.letters(clip, 2.0, prompts.letter_prompt()) is None
