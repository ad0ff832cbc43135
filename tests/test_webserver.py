"""What leaves the media store through the UI's webserver, and what does not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from autorisk_dagster.cli.webserver import media_route
from autorisk_dagster.errors import InputError
from autorisk_dagster.fleet.one_daemon import FileLock

SECRET = b"not to be seen"
FILM = bytes(range(256)) * 4


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A media store beside things that are none of its business, with links of every kind out of it."""
    root = tmp_path_factory.mktemp("data")
    store = root / "media"
    (store / "drive" / "clips").mkdir(parents=True)
    (store / "drive" / ".hidden").mkdir()
    (root / "sources").mkdir()
    (store / "drive" / "clips" / "a b.mp4").write_bytes(FILM)
    (store / "drive" / "page.html").write_text("<p>page</p>")
    (store / "drive" / "odd.svg").write_text("<svg onload='hacked()'/>")
    (store / "drive" / "clips" / ".1a2b.tmp.mp4").write_bytes(SECRET)
    (store / "drive" / ".hidden" / "a.mp4").write_bytes(SECRET)
    (root / "sources" / "drive.json").write_bytes(SECRET)
    (root / "media-of-another").mkdir()
    (root / "media-of-another" / "a.mp4").write_bytes(SECRET)
    (store / "out").symlink_to(root / "sources")
    (store / "file.mp4").symlink_to(root / "sources" / "drive.json")
    (store / "loop").symlink_to(store / "loop")
    (store / "inside.mp4").symlink_to(store / "drive" / "clips" / "a b.mp4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTORISK_DATA", str(root))
        app = Starlette(routes=[media_route()])
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=True) as client:
        yield client


def ask(media: TestClient, path: str) -> tuple[int, bytes]:
    """Status and body for a path that no client has tidied up; a server hands it on with its escapes undone."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    plain = unquote(path)
    scope = {"type": "http", "method": "GET", "scheme": "http", "headers": [], "query_string": b""}
    scope |= {"path": f"/media/{plain}", "raw_path": b"", "root_path": "", "server": ("127.0.0.1", 80)}
    asyncio.run(media.app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def test_a_clip_goes_out_in_ranges_with_its_type(media: TestClient) -> None:
    whole = media.get("/media/drive/clips/a%20b.mp4")
    assert (whole.status_code, whole.content) == (200, FILM)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["accept-ranges"] == "bytes"
    part = media.get("/media/drive/clips/a%20b.mp4", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, FILM[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(FILM)}"
    assert part.headers["x-content-type-options"] == "nosniff"
    assert media.get("/media/drive/clips/a%20b.mp4", headers={"Range": "bytes=5000-"}).status_code == 416
    assert media.head("/media/drive/page.html").headers["content-type"].startswith("text/html")


def test_what_is_not_known_is_bytes_and_not_a_document(media: TestClient) -> None:
    odd = media.get("/media/drive/odd.svg")
    assert odd.headers["content-type"] == "application/octet-stream"
    assert odd.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(media: TestClient, method: str) -> None:
    assert media.request(method, "/media/drive/page.html").status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "drive", "drive/", "drive/clips/", "missing.mp4", "drive/clips/a b.mp4/x", "x" * 300),
        *("../sources/drive.json", "drive/../../sources/drive.json", "..%2fsources%2fdrive.json"),
        *("%2e%2e/sources/drive.json", "..%5csources%5cdrive.json", "....//sources/drive.json", "/etc/passwd"),
        *("//etc/passwd", "%2fetc/passwd", "../media-of-another/a.mp4", "drive/%00", "drive/page.html%00.mp4"),
        *("out/drive.json", "file.mp4", "loop", "loop/a.mp4"),
        *("drive/clips/.1a2b.tmp.mp4", "drive/.hidden/a.mp4", "drive/%2ehidden/a.mp4", ".ssh/id"),
    ],
)
def test_nothing_else_goes_out(media: TestClient, path: str) -> None:
    status, body = ask(media, path)
    assert status == 404
    assert SECRET not in body


def test_a_link_inside_the_store_is_followed(media: TestClient) -> None:
    assert media.get("/media/inside.mp4").content == FILM


PARTS = st.sampled_from(
    [
        *(
            "..",
            ".",
            "",
            "drive",
            "clips",
            "sources",
            "drive.json",
            "out",
            "file.mp4",
            "a b.mp4",
            "page.html",
            ".hidden",
        ),
        *(
            ".hidden",
            "a.mp4",
            "media-of-another",
            "media",
            "%2e%2e",
            "%2f",
            "..%2f",
            "%5c",
            "..\\",
            "%00",
            "etc",
            "passwd",
            "~",
        ),
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PARTS | st.text(max_size=4), max_size=7), st.sampled_from(["/", "//", "\\"]))
def test_no_path_leads_out(media: TestClient, parts: list[str], between: str) -> None:
    status, body = ask(media, between.join(parts))
    assert status in (200, 404)
    assert SECRET not in body and b"root:" not in body
    if status == 200:
        assert body in (FILM, b"<p>page</p>")


@pytest.mark.parametrize("options", [["--read-only"], []], ids=["viewer", "operator"])
def test_the_ui_serves_dagster_and_media_and_goes_down_with_all_it_started(tmp_path: Path, options: list[str]) -> None:
    """An operator's UI runs Dagster's daemon beside it; a viewer's can change nothing."""
    (tmp_path / "data" / "media" / "drive").mkdir(parents=True)
    (tmp_path / "data" / "media" / "drive" / "a.mp4").write_bytes(FILM)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "AUTORISK_DATA": str(tmp_path / "data"), "DAGSTER_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", "from autorisk_dagster.cli import main; main()"]
    program = subprocess.Popen([*command, "ui", "--port", str(port), *options], env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            _until_up(client, program)
            assert client.get("/media/drive/a.mp4", headers={"Range": "bytes=0-3"}).content == FILM[:4]
            assert "Dagster" in client.get("/locations").text
            asked = client.post("/graphql", json={"query": "{ assetNodes { assetKey { path } } }"}).json()
            names = {node["assetKey"]["path"][0] for node in asked["data"]["assetNodes"]}
            assert {"severity_ranking", "fleet_dashboard"} <= names
            allowed = client.post("/graphql", json={"query": "{ permissions { permission value } }"}).json()
            values = {one["permission"]: one["value"] for one in allowed["data"]["permissions"]}
            assert values["launch_pipeline_execution"] is values["wipe_assets"] is (not options)
        running = " ".join(_children_of(str(tmp_path / "home")))
        assert ("autorisk_dagster.fleet.daemon" in running) == (not options)
        if not options:
            with pytest.raises(InputError, match=r"a daemon of this history runs already, in process \d+ "):
                FileLock(tmp_path / "home").take()  # a second UI's daemon
    finally:
        program.send_signal(signal.SIGTERM)
        assert program.wait(timeout=60) == 0
    assert _children_of(str(tmp_path / "home")) == []


def _until_up(client: httpx.Client, program: subprocess.Popen[bytes]) -> None:
    for _ in range(3000):  # a busy machine: Dagster alone needs 12 s of processor time
        assert program.poll() is None, "the UI ended"
        with contextlib.suppress(httpx.TransportError):  # it is not listening yet
            if client.get("/server_info").status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the UI did not come up")


def _children_of(home: str) -> list[str]:
    """Programs that still run with this Dagster home."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"DAGSTER_HOME={home}\0".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
