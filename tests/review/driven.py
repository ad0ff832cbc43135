"""Real servers of the command line, and a real browser driven by keys, over Chromium's debugging protocol."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

from autorisk_dagster.cli.reviewing import label_desk, review_desk
from autorisk_dagster.reporting.desk.guard import new_token
from autorisk_dagster.reporting.desk.labelling import label_app
from autorisk_dagster.reporting.desk.reviewing import review_app
from autorisk_dagster.storage.folder import Folder
from tests.browser import CHROMIUM, FLAGS, WAIT_SEC
from tests.verification.servers import serving


@contextlib.contextmanager
def labelling(data: Path, labeller: str = "anna") -> Iterator[str]:
    """A labelling desk served in this process; its address."""
    token = new_token()
    app = label_app(label_desk(Folder(data), data / "labels" / f"{labeller}.csv", labeller), token)
    with serving(app) as address:
        yield f"{address}/?token={token}"


@contextlib.contextmanager
def reviewing(data: Path, *reviewers: str) -> Iterator[list[str]]:
    """A review desk served in this process; the address of each reviewer."""
    people = {new_token(): name for name in reviewers}
    with serving(review_app(review_desk(Folder(data)), people)) as address:
        yield [f"{address}/?token={token}" for token in people]


@contextlib.contextmanager
def autorisk(data: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A server of the command line, with the addresses that it prints: one a person."""
    environment = {**os.environ, "AUTORISK_DATA": str(data)}
    people = max(1, arguments.count("--reviewer"))
    command = [sys.executable, "-c", "from autorisk_dagster.cli import main; main()", *arguments]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(people)]
        yield server, [line.partition(": ")[2].strip() for line in lines]
    finally:
        server.kill()
        server.communicate()


class Session(httpx.Client):
    """A browser's session at a desk, without the browser: the cookie, and the token of its pages."""

    def __init__(self, address: str) -> None:
        super().__init__(base_url=address.partition("/?")[0], follow_redirects=True, timeout=WAIT_SEC)
        self.home = self.get(address).text
        self.csrf = self.token_of(self.home)

    def token_of(self, page: str) -> str:
        """The token in a page's head; empty where it writes nothing."""
        found = re.search(r'name="csrf" content="([0-9a-f]+)"', page)
        return found[1] if found else ""

    def tell(self, path: str, body: Any) -> httpx.Response:
        """POST as the page does."""
        return self.post(path, json=body, headers={"x-autorisk-token": self.csrf})


class Browser:
    """A page in headless Chromium. Every wait is for a condition in the page, up to WAIT_SEC."""

    def __init__(self, user_folder: Path) -> None:
        assert CHROMIUM is not None
        command = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={user_folder}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        port = next(found[1] for line in self._process.stderr if (found := re.search(r"127\.0\.0\.1:(\d+)/", line)))
        threading.Thread(
            target=self._process.stderr.read, daemon=True
        ).start()  # so that it never blocks on a full pipe
        pages = httpx.get(f"http://127.0.0.1:{port}/json/list", timeout=WAIT_SEC).json()
        address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self._open = contextlib.ExitStack()
        self._socket = self._open.enter_context(connect(address, max_size=None))
        self._numbers = itertools.count(1)
        self.problems: list[str] = []  # what the console said against the page
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        self._open.close()
        self._process.kill()
        self._process.communicate()

    def call(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol, and its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=WAIT_SEC))
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.problems.append(message["params"]["entry"]["text"])
            if message.get("method") == "Runtime.exceptionThrown":
                self.problems.append(str(message["params"]["exceptionDetails"].get("exception")))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def look(self, expression: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + WAIT_SEC
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError):  # the page is being left
                if self.look(condition):
                    return
            with contextlib.suppress(TimeoutError):
                self._socket.recv(timeout=0.02)
        raise AssertionError(f"never true: {condition}; {self.problems}")

    def open(self, address: str) -> None:
        """Go to an address and wait for the page."""
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def press(self, key: str) -> None:
        """A key on the keyboard, down and up."""
        named = {" ": "Space", "Escape": "Escape", "Enter": "Enter"}
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        code = {"ArrowLeft": 37, "ArrowRight": 39, "Enter": 13, "Escape": 27}.get(key, ord(key[0].upper()))
        values = {"key": key, "code": named.get(key, key), "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **values, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **values)

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """The window, as a phone's where it is narrow."""
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, target: Path) -> None:
        """The whole page as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        target.write_bytes(base64.b64decode(shot["data"]))
