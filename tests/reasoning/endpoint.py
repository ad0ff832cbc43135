"""An OpenAI-compatible endpoint on loopback that answers, or fails, as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "nvidia/cosmos-reason2-2b"
GOOD = {
    "severity": "HIGH",
    "hazards": [{"type": "Cut-in", "actors": ["white van"], "spatial_relation": "ahead"}],
    "causal_reasoning": "A van pulls in.",
    "short_term_prediction": "Contact within 2 s.",
    "recommended_action": "Brake.",
}


@dataclass
class Script:
    """What the endpoint does with each request, in turn; the last one is repeated. It keeps what it was asked."""

    steps: list[Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]]
    models: list[dict[str, Any]] | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def reply(
    content: str | None = None, *, logprobs: dict[str, float] | None = None, finish: str = "stop", **message: Any
) -> Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]:
    """A well-formed answer with `content`."""

    def send(handler: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        top = [{"token": token, "logprob": value, "bytes": None} for token, value in (logprobs or {}).items()]
        choice = {
            "index": 0,
            "finish_reason": finish,
            "message": {"role": "assistant", "content": content, **message},
            "logprobs": {"content": [{**top[0], "top_logprobs": top}]} if top else None,
        }
        body = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": asked["model"],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 20, "total_tokens": 1020},
            "choices": [choice],
        }
        raw(200, json.dumps(body).encode())(handler, asked)

    return send


def raw(
    status: int, body: bytes, kind: str = "application/json", **headers: str
) -> Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]:
    """Any answer at all."""

    def send(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
        handler.send_response(status)
        handler.send_header("content-type", kind)
        handler.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return send


def cut(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
    """Promise more than is sent, and hang up."""
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"id": "x", "choices": [')
    handler.wfile.flush()
    handler.close_connection = True


def silent(released: threading.Event) -> Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]:
    """Say nothing until the test is over."""

    def wait(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
        released.wait(20)
        handler.close_connection = True

    return wait


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """The endpoint's base URL, while it runs."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            if script.models is None:
                raw(404, b'{"detail": "not found"}')(self, {})
            else:
                raw(200, json.dumps({"object": "list", "data": script.models}).encode())(self, {})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            script.asked.append(asked)
            script.keys.append(self.headers.get("authorization"))
            script.paths.append(self.path)
            step = script.steps[min(len(script.asked), len(script.steps)) - 1]
            step(self, asked)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
