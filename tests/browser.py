"""Pages in a real browser: a small server hands them out, headless Chromium opens one and posts what it found.

A page ends its work with `fetch("/found", {method: "POST", body: JSON.stringify(...)})`.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CHROMIUM = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
WAIT_SEC = 60
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required --window-size=1200,900 "
    "--remote-debugging-port=0"
)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",  # a style sheet of another type is not used
    ".js": "text/javascript; charset=utf-8",
    ".mp4": "video/mp4",
    ".webp": "image/webp",
}


class Site(ThreadingHTTPServer):
    """Serves pages by path, with byte ranges for media; remembers every path that was asked for."""

    def __init__(self, pages: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages = dict(pages)
        self.asked: list[str] = []
        self.found: queue.Queue[Any] = queue.Queue()

    def visit(self, path: str, user_folder: Path) -> Any:
        """Open a page in Chromium and return what it posts."""
        assert CHROMIUM is not None
        command = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={user_folder}"]
        address = f"http://127.0.0.1:{self.server_port}{path}"
        browser = subprocess.Popen([*command, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return self.found.get(timeout=WAIT_SEC)
        finally:
            browser.terminate()
            browser.wait()


class Handler(BaseHTTPRequestHandler):
    """GET of the pages, POST of what was found."""

    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        page = self.server.pages.get(self.path)
        body = page or b""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if page is not None and wanted and int(wanted[1]) < len(page):
            first, last = int(wanted[1]), min(int(wanted[2] or len(page)), len(page) - 1)
            body = page[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(page)}")
        else:
            self.send_response(404 if page is None else 200)
        self.send_header("Content-Type", TYPES.get(Path(self.path).suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a player that has enough hangs up
            self.wfile.write(body)

    def do_POST(self) -> None:
        self.server.found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextlib.contextmanager
def serving(pages: Mapping[str, bytes]) -> Iterator[Site]:
    """The pages on a local port."""
    site = Site(pages)
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    try:
        yield site
    finally:
        site.shutdown()
        thread.join()
        site.server_close()
