"""A client for one OpenAI-compatible endpoint: NIM or vLLM, `/v1/chat/completions`.

Bounded in every direction: one deadline for a call with all its tries, so many tries, so many bytes of answer. What
may pass (429, 5xx of a gateway, a connection that is refused, cut or slow) is tried again with growing pauses; what
will not is not. The key comes from the environment and is in no message, log or representation.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from autorisk_dagster.errors import BackendError

URL_VARIABLE: Final = "COSMOS_NIM_URL"  # seed 001
MODEL_VARIABLE: Final = "COSMOS_NIM_MODEL"
KEY_VARIABLE: Final = "COSMOS_NIM_API_KEY"
DEFAULT_MODEL: Final = "nvidia/cosmos-reason2"  # seed 001; servers name it differently, so MODEL_VARIABLE sets it

_TRY_AGAIN: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Endpoint:
    """Where a model answers, and how long it may take.

    Attributes:
        url: base address, with or without "/v1"
        model: model id that the server knows
        api_key: sent as bearer token; None sends none
        deadline_sec: for one call, all tries and pauses included. A verdict was reported to take 6 to 8 s on a
            desktop GPU.
        tries: at most so many requests a call
        backoff_sec: pause before the second try; doubles each time
        max_answer_bytes: a longer answer is cut off and refused
    """

    url: str
    model: str = DEFAULT_MODEL
    api_key: str | None = field(default=None, repr=False)
    deadline_sec: float = 30.0
    tries: int = 3
    backoff_sec: float = 0.5
    max_answer_bytes: int = 1024 * 1024

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BackendError(
                f"{URL_VARIABLE} must be an address such as http://localhost:8000, got scheme {parts.scheme!r}"
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self | None:
        """The endpoint that the environment names; None where `URL_VARIABLE` is not set."""
        given = os.environ if environment is None else environment
        url = given.get(URL_VARIABLE, "").strip()
        if not url:
            return None
        return cls(url, given.get(MODEL_VARIABLE) or DEFAULT_MODEL, given.get(KEY_VARIABLE) or None)

    @property
    def completions_url(self) -> str:
        """Address of the chat completions."""
        base = self.url.rstrip("/")
        return f"{base.removesuffix('/v1')}/v1/chat/completions"


@dataclass(frozen=True)
class Completion:
    """A model's answer: its text, why it ended ("stop", "length"), and after how many tries it came."""

    content: str
    finish_reason: str | None
    tries: int


class NoAnswerError(BackendError):
    """No answer could be had. `raw_text`: what the server said, cut to the allowed bytes; `tries`: requests sent."""

    def __init__(self, failure: str, raw_text: str = "", tries: int = 0) -> None:
        super().__init__(failure)
        self.raw_text = raw_text
        self.tries = tries


class _PassingError(Exception):
    """A failure that may pass: `failure`, what the server said, and the pause that it asks for."""

    def __init__(self, failure: str, raw_text: str = "", pause_sec: float = 0.0) -> None:
        super().__init__(failure)
        self.raw_text = raw_text
        self.pause_sec = pause_sec


class ChatClient:
    """Asks one endpoint; safe to use from several threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._http = httpx.Client(follow_redirects=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def complete(self, messages: Sequence[Mapping[str, Any]], *, max_tokens: int, temperature: float) -> Completion:
        """The model's answer to `messages`.

        Raises:
            NoAnswerError: no text came, with what was tried and received.
        """
        body = json.dumps(
            {
                "model": self.endpoint.model,
                "messages": messages,
                "max_tokens": max_tokens,
                "temperature": temperature,
            }
        ).encode()
        end = time.monotonic() + self.endpoint.deadline_sec
        for tried in range(1, self.endpoint.tries + 1):
            try:
                return _completion(self._answer(body, end), tried)
            except _PassingError as error:
                pause_sec = max(self.endpoint.backoff_sec * 2 ** (tried - 1), error.pause_sec)
                if tried == self.endpoint.tries or time.monotonic() + pause_sec >= end:
                    raise NoAnswerError(f"{error} (tries: {tried})", error.raw_text, tried) from error
            except NoAnswerError as error:
                error.tries = tried
                raise
            time.sleep(pause_sec)
        raise AssertionError("unreachable: the last try returns or raises")

    def _answer(self, body: bytes, end: float) -> bytes:
        """The body of a good answer, by `end` of the monotonic clock."""
        # "identity": a compressed answer could grow over the bound after it was counted.
        headers = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
        if self.endpoint.api_key is not None:
            headers["authorization"] = f"Bearer {self.endpoint.api_key}"
        left = end - time.monotonic()
        if left <= 0:
            raise _PassingError("the deadline passed")
        try:
            with self._http.stream(
                "POST", self.endpoint.completions_url, content=body, headers=headers, timeout=left
            ) as response:
                received = self._received(response, end)
        except httpx.TimeoutException as error:
            raise _PassingError(f"no answer within {self.endpoint.deadline_sec:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _PassingError(f"the connection failed ({type(error).__name__})") from error
        if response.status_code in _TRY_AGAIN:
            raise _PassingError(f"the server answered {response.status_code}", _text(received), _asked_pause(response))
        if response.status_code != 200:
            raise NoAnswerError(f"the server answered {response.status_code}", _text(received))
        kind = response.headers.get("content-type", "none").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise NoAnswerError(f"the answer is {kind[:60]}, not application/json", _text(received))
        return received

    def _received(self, response: httpx.Response, end: float) -> bytes:
        received = bytearray()
        for chunk in response.iter_raw():
            received += chunk
            if len(received) > self.endpoint.max_answer_bytes:
                kept = bytes(received[: self.endpoint.max_answer_bytes])
                raise NoAnswerError(f"the answer is over {self.endpoint.max_answer_bytes} bytes", _text(kept))
            if time.monotonic() > end:
                raise _PassingError(f"no whole answer within {self.endpoint.deadline_sec:g} s", _text(bytes(received)))
        return bytes(received)


def _completion(received: bytes, tried: int) -> Completion:
    """The text in a chat completion."""
    text = _text(received)
    try:
        choice = json.loads(received)["choices"][0]
        content, finish = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, RecursionError) as error:
        raise NoAnswerError("the answer is not JSON", text) from error
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise NoAnswerError("the answer is no chat completion", text) from error
    if not isinstance(content, str):
        said = "null" if content is None else type(content).__name__
        raise NoAnswerError(f"the content of the answer is {said}, not text", text)
    return Completion(content, finish if isinstance(finish, str) else None, tried)


def _asked_pause(response: httpx.Response) -> float:
    """Seconds that the server asks to wait (Retry-After), 0 where it does not say or says it as a date."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 7 else 0.0


def _text(received: bytes) -> str:
    return received.decode("utf-8", "replace")
