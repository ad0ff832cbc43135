"""Cosmos Reason 2 behind an OpenAI-compatible endpoint: NVIDIA NIM, vLLM, or any server that speaks the protocol.

The clip's sampled frames are sent, not the clip: as a small mp4 (base64) or as JPEG pictures with their times, within
the pixel budget. The answer's JSON schema goes along as `response_format`. Thoughts that a server splits off
(`reasoning` or `reasoning_content`) are put back before the answer, so that a stored answer reads the same from every
back end. Nothing else is tried when the endpoint fails: after the retries the clip has failed, with the cause.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import cv2
import openai

from autorisk_dagster.errors import BackendError, EndpointError
from autorisk_dagster.reasoning.clip_frames import ClipFrames, sample_frames
from autorisk_dagster.reasoning.prompts import LETTERS, Prompt
from autorisk_dagster.reasoning.schema import ASKED, response_format
from autorisk_dagster.reasoning.vlm import Answer, LetterReading, Sampling
from autorisk_dagster.video.clips import Mp4Writer

URL_VARIABLE, KEY_VARIABLE = "COSMOS_NIM_URL", "COSMOS_NIM_API_KEY"
THINK, END_OF_THINK = "<think>", "</think>"
MAX_REPLY_CHARS = 200_000  # 100 times a long answer; more is a server gone astray
_JPEG_QUALITY = 90
_TOP_LOG_PROBABILITIES = 20  # as many as the protocol gives


@dataclass(frozen=True)
class ServedModelSettings:
    """Where the endpoint is, and how a clip is sent.

    Attributes:
        url: base URL, with or without the `/v1` of the protocol, as seed 001 and the servers' own pages give it
        model: the name the endpoint knows it by
        video_as: "mp4" (a video of the sampled frames) or "frames" (pictures, each after its time)
        dialect: "vllm" (NIM too) adds the fields by which those sample a video; "openai" sends only the protocol's own
        frames_per_sec, max_pixels: how a clip is sampled (`sample_frames`)
        max_tokens: of one answer, thoughts included
        timeout_sec: of one request
        retries: of a request that timed out, was cut, or was answered 408, 409, 429 or 5xx
        concurrency: requests at a time
    """

    url: str
    model: str
    video_as: Literal["mp4", "frames"] = "mp4"
    dialect: Literal["vllm", "openai"] = "vllm"
    frames_per_sec: float = 4.0
    max_pixels: int = 8_388_608
    max_tokens: int = 4096
    timeout_sec: float = 120.0
    retries: int = 4
    concurrency: int = 4


class ServedModel:
    """A client of one endpoint. The key, if the endpoint wants one, comes from `COSMOS_NIM_API_KEY`.

    Raises:
        BackendError: the URL is none.
    """

    name = "openai"
    adapter: str | None = None

    def __init__(self, settings: ServedModelSettings, environment: Mapping[str, str] = os.environ) -> None:
        if not settings.url.startswith(("http://", "https://")):
            raise BackendError(f"{URL_VARIABLE} must be an http(s) URL such as http://host:8000/v1")
        self.settings = settings
        self.concurrency = settings.concurrency
        self._client = openai.OpenAI(
            base_url=f"{settings.url.rstrip('/').removesuffix('/v1')}/v1",
            api_key=environment.get(KEY_VARIABLE) or "none",
            timeout=settings.timeout_sec,
            max_retries=settings.retries,
        )
        served = self._served()
        self.model_id = settings.model
        self.model_revision = str(getattr(served, "root", None) or getattr(served, "created", None) or "unknown")
        self.random_weights = False  # an endpoint does not say

    def answer(
        self, clip: Path, duration_sec: float, prompt: Prompt, sampling: Sampling, fields: Sequence[str] = ASKED
    ) -> Answer:
        """One answer; its thoughts, where the endpoint gives them apart, first.

        Raises:
            VideoError: the clip cannot be read.
            BackendError: the endpoint failed after all retries, or refused the request.
        """
        began = time.monotonic()
        reply = self._ask(
            messages=self._messages(clip, duration_sec, prompt),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            max_tokens=self.settings.max_tokens,
            response_format=response_format(fields),
            extra_body=self._extra({"top_k": sampling.top_k}),
        )
        choice = _first_choice(reply)
        thoughts = getattr(choice.message, "reasoning", None) or getattr(choice.message, "reasoning_content", None)
        content = choice.message.content or ""
        text = f"<think>\n{thoughts}\n</think>\n\n{content}" if thoughts else content
        if prompt.thinking and choice.finish_reason == "length" and _is_open_thought(content):
            text = f"<think>\n{text}"  # the tag stood in the prompt: a draft in it is no answer
        notes = []
        if len(text) > MAX_REPLY_CHARS:
            text, notes = text[:MAX_REPLY_CHARS], [f"answer of {len(text)} characters cut to {MAX_REPLY_CHARS}"]
        if not content:
            notes.append("the endpoint answered without content")
        if choice.finish_reason == "length":
            notes.append(f"cut off at {self.settings.max_tokens} tokens")
        usage = reply.usage
        return Answer(
            text,
            usage.prompt_tokens if usage else None,
            usage.completion_tokens if usage else None,
            time.monotonic() - began,
            tuple(notes),
        )

    def letters(self, clip: Path, duration_sec: float, prompt: Prompt) -> LetterReading | None:
        """The letters' log-probabilities as first token; None where the endpoint gives no log-probabilities.

        A letter that is not among the tokens given is less probable than all of them: it counts as never.
        """
        began = time.monotonic()
        reply = self._ask(
            messages=self._messages(clip, duration_sec, prompt),
            temperature=0.0,
            max_tokens=1,
            logprobs=True,
            top_logprobs=_TOP_LOG_PROBABILITIES,
            extra_body=self._extra({}),
        )
        found = _first_choice(reply).logprobs
        if found is None or not found.content:
            return None
        by_token = {entry.token.strip(): entry.logprob for entry in reversed(found.content[0].top_logprobs)}
        return LetterReading(
            {severity: by_token.get(letter, -float("inf")) for letter, severity in LETTERS.items()},
            prompt_tokens=reply.usage.prompt_tokens if reply.usage else None,
            seconds=time.monotonic() - began,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _served(self) -> Any:
        """What the endpoint says of the model; None where it has no list of models."""
        try:
            models = self._client.models.list().data
        except (openai.NotFoundError, openai.InternalServerError):
            return None  # not every server lists its models; what matters is whether it answers
        except openai.OpenAIError as error:
            raise self._failure(error) from error
        if not models:
            return None
        for model in models:
            if model.id == self.settings.model:
                return model
        known = ", ".join(model.id for model in models)
        raise BackendError(f"{self.settings.url} does not serve {self.settings.model!r}; it serves: {known}")

    def _ask(self, **request: Any) -> Any:
        try:
            return self._client.chat.completions.create(model=self.settings.model, **request)
        except openai.OpenAIError as error:
            raise self._failure(error) from error
        except ValueError as error:  # a body that is not JSON
            raise EndpointError(f"{self.settings.url} answered something that is not JSON: {error}") from error

    def _failure(self, error: openai.OpenAIError) -> BackendError:
        url, tries = self.settings.url, self.settings.retries + 1
        if isinstance(error, openai.APITimeoutError):
            return EndpointError(f"{url} did not answer within {self.settings.timeout_sec:g} s, {tries} times")
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            return EndpointError(f"{url} cannot be reached ({cause}), {tries} tries; is the endpoint up?")
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return BackendError(f"{url} refused the key (HTTP {error.status_code}); set {KEY_VARIABLE}")
        if isinstance(error, openai.APIStatusError):
            busy = error.status_code == 429 or error.status_code >= 500
            kind = EndpointError if busy else BackendError
            return kind(f"{url} answered HTTP {error.status_code} after {tries} tries: {str(error.message)[:300]}")
        return BackendError(f"{url}: {type(error).__name__}: {str(error)[:300]}")

    def _extra(self, more: Mapping[str, Any]) -> dict[str, Any] | None:
        if self.settings.dialect == "openai":
            return None
        size = {"shortest_edge": 4096, "longest_edge": self.settings.max_pixels}
        return {
            **more,
            # The frames are sampled already: the server is to take all of them.
            "media_io_kwargs": {"video": {"num_frames": -1}},
            "mm_processor_kwargs": {"fps": self.settings.frames_per_sec, "do_sample_frames": False, "size": size},
        }

    def _messages(self, clip: Path, duration_sec: float, prompt: Prompt) -> list[dict[str, Any]]:
        frames = sample_frames(
            clip,
            duration_sec,
            frames_per_sec=self.settings.frames_per_sec,
            max_pixels=self.settings.max_pixels,
        )
        media = _as_mp4(frames) if self.settings.video_as == "mp4" else _as_pictures(frames)
        return [
            {"role": "system", "content": [{"type": "text", "text": prompt.system}]},
            {"role": "user", "content": [*media, {"type": "text", "text": prompt.user}]},
        ]


def _is_open_thought(content: str) -> bool:
    """A text that was cut and is neither JSON, fenced or not, nor behind a thought that was ended."""
    return END_OF_THINK not in content and THINK not in content and not content.lstrip().startswith(("{", "```", "~~~"))


def _first_choice(reply: Any) -> Any:
    choices = getattr(reply, "choices", None)
    if not choices:
        raise BackendError("the endpoint answered without a choice")
    return choices[0]


def _as_mp4(frames: ClipFrames) -> list[dict[str, Any]]:
    height, width = frames.rgb.shape[1:3]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with Mp4Writer(path, width, height) as writer:
            for picture, time_sec in zip(frames.rgb, frames.timestamps_sec.tolist(), strict=True):
                writer.write(picture[..., ::-1], time_sec)
            writer.close(last_frame_sec=max(1e-3, frames.duration_sec - float(frames.timestamps_sec[-1])))
        data = base64.b64encode(path.read_bytes()).decode("ascii")
    return [{"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{data}"}}]


def _as_pictures(frames: ClipFrames) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for picture, time_sec in zip(frames.rgb, frames.timestamps_sec.tolist(), strict=True):
        _, coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        data = base64.b64encode(coded.tobytes()).decode("ascii")
        parts.append({"type": "text", "text": f"<{time_sec:.1f} seconds>"})
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}})
    return parts
