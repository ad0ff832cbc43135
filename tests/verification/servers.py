"""Real HTTP servers in threads: an OpenAI-compatible endpoint that answers, and one that fails in every known way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import uvicorn

APPROVAL = {
    "version": "1.0",
    "proposed_intent": "SWITCH_RIGHT",
    "final_intent": "SWITCH_RIGHT",
    "intentional": True,
    "confidence": 0.87,
    "reason_category": "intentional_command",
    "rationale": "Facing the screen, deliberate lateral motion.",
}
REJECTION = APPROVAL | {
    "final_intent": "NONE",
    "intentional": False,
    "reason_category": "self_grooming",
    "rationale": "Scratching the head.",
}
GOOD = json.dumps(APPROVAL)
# What the endpoint sends as the message's content; the names are what the tests ask for.
CONTENTS: dict[str, Any] = {
    "good": GOOD,
    "rejection": json.dumps(REJECTION),
    "fence": f"```json\n{GOOD}\n```",
    "think": f"<think>The user looks here.</think>\n{GOOD}",
    "null content": None,
    "list content": [{"type": "text", "text": GOOD}],
    "prose": f"Sure! {GOOD}",
    "cut": GOOD[:-20],
    "two": f"{GOOD}{GOOD}",
    "NaN": GOOD.replace("0.87", "NaN"),
    "twice": GOOD.replace('"intentional": true', '"intentional": false, "intentional": true'),
    "other intent": GOOD.replace("SWITCH_RIGHT", "SWITCH_LEFT"),
    "deep": "[" * 30_000,
}
RAW: dict[str, bytes] = {
    "no JSON": b'{"choices": [',
    "no completion": b'{"error": {"message": "model is loading"}}',
    "no choices": b'{"choices": []}',
    "deep envelope": b"[" * 100_000,
    "not UTF-8": b'{"choices": [{"message": {"content": "\xff"}}]}',
}


Reply = Callable[[dict[str, Any]], str]  # from what the model was told to its text


class FaultyEndpoint:
    """An ASGI application; each request takes the next of `plan`, the last one for ever.

    A step is a name in CONTENTS or RAW, an HTTP status, or: "slow" never answers, "cut off" closes the connection in
    the body, "drip" sends one byte and stalls, "huge" sends 4 MiB, "HTML" is no JSON, "redirect" points elsewhere.
    A function gives the content for the context that it was sent.
    """

    def __init__(self, plan: Sequence[str | int | Reply]) -> None:
        self.plan = list(plan)
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        with self._lock:
            self.requests.append({"path": scope["path"], **json.loads(body)})
            self.headers.append({key.decode(): value.decode() for key, value in scope["headers"]})
            step = self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]
        if callable(step):
            told = json.loads(json.loads(body)["messages"][1]["content"][-1]["text"])
            await _send(send, completion(step(told)))
        else:
            await self._answer(step, receive, send)

    async def _answer(self, step: str | int, receive: Any, send: Any) -> None:
        status, kind, content = 200, b"application/json", b""
        extra: list[tuple[bytes, bytes]] = []
        if isinstance(step, int):
            status, content = step, b'{"error": "busy"}'
        elif step in CONTENTS:
            content = completion(CONTENTS[step])
        elif step in RAW:
            content = RAW[step]
        elif step == "HTML":
            kind, content = b"text/html; charset=utf-8", b"<html>gateway</html>"
        elif step == "redirect":
            status, extra = 307, [(b"location", b"http://127.0.0.1:9/")]
        elif step == "huge":
            content = b" " * (4 * 1024 * 1024)
        elif step in ("slow", "drip", "cut off"):
            if step != "slow":
                start = [(b"content-type", kind), (b"content-length", b"1000")]
                await send({"type": "http.response.start", "status": 200, "headers": start})
                await send({"type": "http.response.body", "body": b"{", "more_body": True})
            if step != "cut off":
                while (await receive())["type"] != "http.disconnect":
                    pass
            return  # uvicorn closes the connection of an application that leaves its answer unfinished
        else:
            raise AssertionError(step)
        await _send(send, content, status, [(b"content-type", kind), *extra])


def completion(content: Any) -> bytes:
    """The body of a chat completion."""
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice]}).encode()


JSON = ((b"content-type", b"application/json"),)


async def _send(send: Any, body: bytes, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = JSON) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def serving(application: Any) -> Iterator[str]:
    """The address of `application`, served by uvicorn in a thread of its own."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(256)  # requests wait here until the server runs
    server = uvicorn.Server(uvicorn.Config(application, log_level="critical", lifespan="off", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        listening.close()


def jpegs(count: int = 8) -> list[bytes]:
    """Small grey JPEG pictures, each of its own brightness."""
    pictures = [np.full((16, 16, 3), 20 * index, np.uint8) for index in range(count)]
    return [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]


async def gather_limited(limit: int, calls: Sequence[Any]) -> list[Any]:
    """Results of coroutine functions, at most `limit` of them at once."""
    gate = asyncio.Semaphore(limit)

    async def one(call: Any) -> Any:
        async with gate:
            return await call()

    return await asyncio.gather(*(one(call) for call in calls))
