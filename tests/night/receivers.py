"""Real receivers of alerts on this machine: a web server and a mail server, each on a free port."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """What arrived. `refuse`: so many of the next are answered with an error."""

    port: int = 0
    posts: list[dict[str, Any]] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    refuse: int = 0

    def takes(self) -> bool:
        if self.refuse:
            self.refuse -= 1
            return False
        return True


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def web_server() -> Iterator[Received]:
    found = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken = found.takes()
            if taken:
                found.posts.append(json.loads(body))
            self.send_response(204 if taken else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    with serving(server):
        yield found


@contextmanager
def mail_server() -> Iterator[Received]:
    """SMTP as far as a client's hand-over goes: EHLO, AUTH PLAIN, MAIL, RCPT, DATA, QUIT (RFC 5321)."""
    found = Received()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def handle(self) -> None:
            self.say("220 test")
            while line := self.rfile.readline().decode().strip():
                word = line.split(" ")[0].upper()
                if word == "EHLO":
                    self.say("250-test")
                    self.say("250 AUTH PLAIN")
                elif word == "AUTH":
                    found.logins.append(base64.b64decode(line.split(" ")[2]).decode().replace("\0", " ").strip())
                    self.say("235 welcome")
                elif word == "DATA":
                    self.say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    found.mails.append(message_from_bytes(b"".join(lines), policy=policy.default))
                    self.say("250 taken")
                elif word == "MAIL" and not found.takes():
                    self.say("451 not now")
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 well")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.port = server.server_address[1]
    with serving(server):
        yield found
