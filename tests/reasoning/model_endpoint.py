"""An OpenAI-compatible endpoint with a real model of random weights behind it, which answers within the schema sent.

`transformers serve` takes pictures but neither `response_format` nor log-probabilities, and vLLM has no build for these
machines; this serves what a NIM does: a base64 mp4 in, constrained JSON, split-off thoughts and log-probabilities out.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from autorisk_dagster.reasoning.local_vlm import LocalModel
from autorisk_dagster.reasoning.prompts import LETTERS, Prompt
from autorisk_dagster.reasoning.vlm import Sampling
from autorisk_dagster.video.probe import probe
from tests.reasoning.endpoint import reply

_MP4 = "data:video/mp4;base64,"


def answering(model: LocalModel) -> Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]:
    """A step of `endpoint.Script` that lets `model` answer."""
    one_at_a_time = threading.Lock()

    def answer(handler: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        system, user = asked["messages"]
        video, text = user["content"]
        prompt = Prompt("as sent", system["content"][0]["text"], text["text"])
        with one_at_a_time, TemporaryDirectory() as folder:
            clip = Path(folder) / "clip.mp4"
            clip.write_bytes(base64.b64decode(video["video_url"]["url"].removeprefix(_MP4)))
            duration_sec = probe(clip).duration_sec
            if asked.get("logprobs"):
                reading = model.letters(clip, duration_sec, prompt).log_probability
                letters = {letter: reading[severity] for letter, severity in LETTERS.items()}
                reply("D", logprobs=letters)(handler, asked)
                return
            fields = list(asked["response_format"]["json_schema"]["schema"]["properties"])
            said = model.answer(clip, duration_sec, prompt, Sampling(asked["temperature"], asked["seed"]), fields)
        thoughts, content = said.text.split("</think>")
        reply(content, reasoning=thoughts)(handler, asked)

    return answer
