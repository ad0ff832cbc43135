"""The `/media` mount of the UI over a bucket: the same addresses, ranges and refusals as over a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from autorisk_dagster.cli.webserver import media_route
from autorisk_dagster.storage import data_storage
from tests.storage.faulty_s3 import faulty_s3
from tests.storage.s3 import machine

FILM = bytes(range(256)) * 4096 * 2  # two mebibytes: sent in pieces
SECRET = b"not to be seen"


@pytest.fixture
def media(bucket: str) -> Iterator[TestClient]:
    data = data_storage()
    assert data.root == bucket
    data.write("media/drive/clips/a b.mp4", FILM)
    data.write("media/drive/report.html", b"<p>report</p>")
    data.write("media/drive/empty.txt", b"")
    data.write("media/drive/.hidden/a.mp4", SECRET)
    data.write("media/.1a2b.tmp.mp4", SECRET)
    data.write("sources/drive.json", SECRET)
    data.write("media-of-another/a.mp4", SECRET)
    with TestClient(Starlette(routes=[media_route()]), base_url="http://127.0.0.1") as client:
        yield client


def test_a_clip_goes_out_whole_and_in_ranges_with_its_type(media: TestClient, tmp_path: Path) -> None:
    address = "/media/drive/clips/a%20b.mp4"
    whole = media.get(address)
    assert (whole.status_code, whole.content == FILM) == (200, True)
    assert whole.headers["content-type"] == "video/mp4" and whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["x-content-type-options"] == "nosniff"
    size = len(FILM)
    for asked, part in (
        ("bytes=10-19", slice(10, 20)),
        ("bytes=2097000-", slice(2097000, size)),
        ("bytes=-5", slice(size - 5, size)),
        ("bytes=1048570-1048590", slice(1048570, 1048591)),  # over the border of two pieces
        ("bytes=0-99999999", slice(0, size)),
    ):
        got = media.get(address, headers={"Range": asked})
        assert (got.status_code, got.content == FILM[part]) == (206, True), asked
        assert got.headers["content-range"] == f"bytes {part.start}-{part.stop - 1}/{size}"
    beyond = media.get(address, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    head = media.head(address)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(size))
    known = media.get(address, headers={"If-None-Match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    stale = media.get(address, headers={"Range": "bytes=0-3", "If-Range": '"another"'})
    assert (stale.status_code, stale.content == FILM) == (200, True)
    assert media.get("/media/drive/empty.txt").content == b""
    assert not list((tmp_path / "local").rglob("*.mp4"))  # it passes through, and is kept nowhere


@pytest.mark.parametrize(
    "path",
    [
        *("", "drive", "drive/", "none.mp4", "drive/.hidden/a.mp4", ".1a2b.tmp.mp4", "drive/%2ehidden/a.mp4"),
        *("../sources/drive.json", "%2e%2e/sources/drive.json", "drive/..%2f..%2fsources/drive.json", "%2fetc/passwd"),
        *("../media-of-another/a.mp4", "drive/%00"),
    ],
)
def test_nothing_else_goes_out(media: TestClient, path: str) -> None:
    found = media.get(f"/media/{path}")
    assert found.status_code == 404 and SECRET not in found.content


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(media: TestClient, method: str) -> None:
    assert media.request(method, "/media/drive/report.html").status_code == 405


def test_a_bucket_that_does_not_answer_is_a_503(
    media: TestClient, bucket: str, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    with faulty_s3(s3_address) as way:
        machine(monkeypatch, way.address, tmp_path / "local", bucket)
        way.fails(".", "busy")
        found = media.get("/media/drive/report.html")
    assert found.status_code == 503 and "127.0.0.1" not in found.text


def test_a_folder_without_media_yet_has_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORISK_DATA", str(tmp_path / "not made yet"))
    with TestClient(Starlette(routes=[media_route()]), base_url="http://127.0.0.1") as client:
        assert client.get("/media/fleet/dashboard/index.html").status_code == 404
