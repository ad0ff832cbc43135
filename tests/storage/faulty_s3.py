"""A way to S3 that fails as asked: requests go through to the server behind it, or meet a fault."""

from __future__ import annotations

import contextlib
import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"

REFUSED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"

Kind = Literal["busy", "refused", "cut request", "cut answer", "silent"]


@dataclass
class Fault:
    """What happens to requests whose method and path match `request`, so many times.

    Attributes:
        kind: busy: 503; refused: 403; cut request: the connection ends in the middle of an upload, cut answer: of a
            download; silent: no answer until the test is over
    """

    request: str
    kind: Kind
    times: int = 1_000_000
    met: list[str] = field(default_factory=list)


class FaultyS3:
    """Forwards to the server at `address`; `faults` may be changed at any time."""

    def __init__(self, address: str) -> None:
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.over = threading.Event()
        self._behind = urlsplit(address)
        way = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                with contextlib.suppress(OSError):  # the client went away
                    super().handle()

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                way._forward(self)

            do_PUT = do_HEAD = do_DELETE = do_POST = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def fails(self, request: str, kind: Kind, times: int = 1_000_000) -> Fault:
        """Let requests fail from now on; return the fault, which remembers those that met it."""
        self.faults.append(Fault(request, kind, times))
        return self.faults[-1]

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def _forward(self, handler: Any) -> None:
        request = f"{handler.command} {handler.path}"
        self.asked.append(request)
        fault = next((f for f in self.faults if len(f.met) < f.times and re.search(f.request, request)), None)
        length = int(handler.headers.get("Content-Length", 0))
        if fault is not None:
            fault.met.append(request)
            if fault.kind == "silent":
                self.over.wait(30)
                handler.close_connection = True
                return
            if fault.kind == "cut request":
                handler.rfile.read(length // 2)
                handler.close_connection = True
                handler.connection.close()
                return
        body = handler.rfile.read(length)
        if fault is not None and fault.kind in ("busy", "refused"):
            status, said = (503, BUSY) if fault.kind == "busy" else (403, REFUSED)
            self._answer(handler, status, {"Content-Type": "application/xml"}, said, len(said))
            return
        client = http.client.HTTPConnection(self._behind.hostname or "", self._behind.port, timeout=30)
        with contextlib.closing(client):
            client.request(handler.command, handler.path, body, dict(handler.headers.items()))
            answer = client.getresponse()
            content = answer.read()
        announced = int(answer.headers.get("Content-Length", len(content)))
        if fault is not None and fault.kind == "cut answer":
            content = content[: len(content) // 2]
            handler.close_connection = True
        keep = {n: v for n, v in answer.headers.items() if n.lower() not in ("content-length", "connection", "date")}
        self._answer(handler, answer.status, keep, content, announced)

    @staticmethod
    def _answer(handler: Any, status: int, headers: dict[str, str], content: bytes, announced: int) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(announced))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)


@contextmanager
def faulty_s3(address: str) -> Iterator[FaultyS3]:
    """A way to the server at `address`, without a fault yet."""
    made = FaultyS3(address)
    try:
        yield made
    finally:
        made.close()
