"""The Dagster UI's own questions: the GraphQL documents of the installed front end, put to a real `dagster-webserver`.

They are read out of the minified scripts that the package ships, by name, with the fragments they spread.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_OPENING = re.compile(r"\b(query|fragment) (\w+)[^{}`\"]*\{")
_SPREAD = re.compile(r"\.\.\.\s*(?!on\b)(\w+)")
STARTS_WITHIN_SEC = 90.0


@cache
def _documents() -> tuple[dict[str, str], dict[str, str]]:
    import dagster_webserver

    queries: dict[str, str] = {}
    fragments: dict[str, str] = {}
    scripts = Path(dagster_webserver.__file__).parent.joinpath("webapp", "build", "_next", "static", "chunks")
    for script in sorted(scripts.glob("*.js")):
        text = script.read_text("utf-8").replace("\\n", "\n")
        for opening in _OPENING.finditer(text):
            depth, at = 1, opening.end()
            while depth and at < len(text):
                depth += {"{": 1, "}": -1}.get(text[at], 0)
                at += 1
            (queries if opening[1] == "query" else fragments)[opening[2]] = text[opening.start() : at]
    return queries, fragments


def document(query: str) -> str:
    """The front end's query of this name with all fragments it needs.

    Raises:
        KeyError: the installed front end has no such query or fragment.
    """
    queries, fragments = _documents()
    parts, seen, waiting = [queries[query]], set[str](), _SPREAD.findall(queries[query])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            parts.append(fragments[name])
            waiting += _SPREAD.findall(fragments[name])
    return "\n".join(parts)


class Webserver:
    """A running `dagster-webserver`; `pid` is that of the process whose children it and its code server are."""

    def __init__(self, url: str, pid: int) -> None:
        import httpx

        self.pid = pid
        self._client = httpx.Client(base_url=url, timeout=3600.0)

    def ask(self, query: str, variables: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """The answer's data and its size in bytes.

        Raises:
            RuntimeError: the server answers with errors.
        """
        body = {"operationName": query, "query": document(query), "variables": dict(variables)}
        answer = self._client.post("/graphql", json=body)
        found = answer.json()
        if answer.status_code != 200 or found.get("errors") or not found.get("data"):
            raise RuntimeError(f"{query}: {answer.status_code} {str(found.get('errors'))[:600]}")
        return found["data"], len(answer.content)


@contextmanager
def webserver(environment: Mapping[str, str], module: str = "autorisk_dagster.definitions") -> Iterator[Webserver]:
    """Start one on a free port on loopback; take it down with its code server."""
    import httpx

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dagster_webserver", "-m", module, "-h", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, env=dict(environment), start_new_session=True) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            until = time.monotonic() + STARTS_WITHIN_SEC
            while True:
                try:
                    if httpx.get(f"{url}/server_info", timeout=5).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("dagster-webserver did not start: see its output above")
                time.sleep(0.2)
            yield Webserver(url, process.pid)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
