"""Footage from an address: only by acknowledgement, with its licence, whole or not at all. All servers are local."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

yt_dlp = pytest.importorskip("yt_dlp", reason="needs the extra web")

from autorisk_dagster import tables
from autorisk_dagster.cli import main
from autorisk_dagster.definitions import defs
from autorisk_dagster.errors import AutoRiskError, EndpointError, InputError, StorageError, VideoError
from autorisk_dagster.intake.sources import Origin, SourceLedger
from autorisk_dagster.intake.web_sources import Request, fetch, without_secrets
from autorisk_dagster.io import stored_table
from autorisk_dagster.storage import open_storage
from autorisk_dagster.storage.folder import Folder
from tests.blob_world import film_crossing

PAGE = b"<html><body><p>no video here</p></body></html>"


class Site:
    """A web server whose paths are files and faults; counts what was asked."""

    def __init__(self, video: bytes) -> None:
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                site.asked.append(self.path)
                if path == "/moved":
                    self._answer(302, b"", {"Location": "/drive.mp4"})
                elif path.endswith("page") or path == "/page.mp4":
                    self._answer(200, PAGE, {"Content-Type": "text/html"})
                elif path == "/cut.mp4":
                    self._answer(200, video[: len(video) // 2], {"Content-Type": "video/mp4"}, announced=len(video))
                elif path == "/untold.mp4":  # its length is not announced
                    self._answer(200, video, {"Content-Type": "video/mp4"}, announced=None)
                elif path == "/broken.mp4":
                    self._answer(200, b"\0" * 5000, {"Content-Type": "video/mp4"})
                elif path == "/busy.mp4":
                    self._answer(503, b"later", {"Content-Type": "text/plain"})
                elif path.endswith(".mp4") and "none" not in path:
                    self._answer(200, video, {"Content-Type": "video/mp4"})
                else:
                    self._answer(404, b"no", {"Content-Type": "text/plain"})

            do_HEAD = do_GET

            def _answer(self, status: int, body: bytes, headers: dict[str, str], announced: Any = "all") -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if announced is not None:
                    self.send_header("Content-Length", str(len(body) if announced == "all" else announced))
                self.close_connection = announced != "all"
                self.end_headers()
                if self.command == "GET":
                    try:
                        self.wfile.write(body)
                    except OSError:  # the client had enough
                        self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(OSError):  # the client went away
                    super().handle()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return film_crossing(tmp_path_factory.mktemp("site") / "a.mp4", seconds=1.0, horn=False).read_bytes()


@pytest.fixture
def site(video: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("autorisk_dagster.intake.web_sources.TRIES", 1)
    made = Site(video)
    yield made
    made.close()


def request(address: str, licence: str | None = "CC BY 4.0", max_bytes: int = 10**9) -> Request:
    return Request(address, licence, "anna@desk", max_bytes)


def left_over(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"]


@pytest.mark.parametrize("path", ["/drive.mp4", "/moved", "/untold.mp4"])
def test_a_video_is_fetched_whole_and_registered_with_its_origin(
    site: Site, video: bytes, tmp_path: Path, path: str
) -> None:
    data = open_storage(str(tmp_path / "data"))
    record = fetch(request(site.address + path), data, tmp_path / "scratch", "winter")
    assert Path(record.path).read_bytes() == video
    assert Path(record.path).parent == tmp_path / "data" / "footage"
    assert Path(record.path).stem == record.video_id
    assert record == SourceLedger(data.at("sources")).get(record.video_id) and record.profile == "winter"
    origin = record.origin
    assert origin is not None and (origin.url, origin.licence) == (site.address + path, "CC BY 4.0")
    assert (origin.licence_from, origin.acknowledged_by) == ("operator", "anna@desk")
    assert not left_over(tmp_path / "scratch")


def test_what_was_fetched_before_is_the_same_video_and_keeps_its_origin_when_it_moves(
    site: Site, tmp_path: Path
) -> None:
    data = open_storage(str(tmp_path / "data"))
    first = fetch(request(f"{site.address}/drive.mp4"), data, tmp_path, None)
    again = fetch(request(f"{site.address}/other-name.mp4"), data, tmp_path, None)
    assert again.video_id == first.video_id and SourceLedger(data.at("sources")).keys() == [first.video_id]
    moved = SourceLedger(data.at("sources")).register(Path(again.path).rename(tmp_path / "elsewhere.mp4"))
    assert moved.video_id == first.video_id and moved.origin == again.origin


@pytest.mark.parametrize(
    ("path", "max_bytes", "kind", "words"),
    [
        ("/none.mp4", 10**9, InputError, r"the site refuses it .*404.*Check the address"),
        ("/a/page", 10**9, InputError, "is a page without a video"),
        ("/page.mp4", 10**9, InputError, "is a page without a video"),
        ("/cut.mp4", 10**9, EndpointError, "could not be fetched .*more expected.*Nothing was kept; try again later"),
        ("/busy.mp4", 10**9, EndpointError, "could not be fetched .*503"),
        ("/drive.mp4", 1000, InputError, r"is larger than 1e-06 GB, and was not kept. Allow more with --max-gb"),
        ("/untold.mp4", 1000, InputError, "is larger than 1e-06 GB"),
        ("/broken.mp4", 10**9, VideoError, "what came from there is no video that can be read"),
    ],
)
def test_a_fault_keeps_nothing_and_says_what_it_is(
    site: Site, tmp_path: Path, path: str, max_bytes: int, kind: type[AutoRiskError], words: str
) -> None:
    with pytest.raises(kind, match=words) as error:
        fetch(request(site.address + path, max_bytes=max_bytes), open_storage(str(tmp_path / "data")), tmp_path, None)
    assert type(error.value) is kind
    assert not left_over(tmp_path) and not (tmp_path / "data").exists()


def test_a_full_disk_is_told_as_one(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise yt_dlp.utils.DownloadError("ERROR: unable to write data: [Errno 28] No space left on device")

    monkeypatch.setattr(yt_dlp.YoutubeDL, "process_ie_result", full)
    with pytest.raises(StorageError, match="no space left"):
        fetch(request(f"{site.address}/drive.mp4"), open_storage(str(tmp_path / "data")), tmp_path, None)


@pytest.mark.parametrize(
    "address",
    ["file:///etc/passwd", "ftp://host/a.mp4", "/etc/passwd", "http://", "http://anna:secret@127.0.0.1/a.mp4"],
)
def test_other_addresses_are_refused_and_no_password_is_repeated(address: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        fetch(request(address), open_storage(str(tmp_path / "data")), tmp_path, None)
    assert "secret" not in str(error.value)


def test_without_any_licence_nothing_is_fetched_and_the_site_s_own_comes_first(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_storage(str(tmp_path / "data"))
    with pytest.raises(InputError, match=r"states no licence.*--licence TEXT"):
        fetch(request(f"{site.address}/drive.mp4", licence=None), data, tmp_path, None)
    assert not (tmp_path / "data").exists()
    real = yt_dlp.YoutubeDL.extract_info

    def licensed(self: Any, url: str, **named: Any) -> Any:  # as its extractors of sites with licences do
        return real(self, url, **named) | {"license": "Creative Commons Attribution", "title": "../../../evil\n/x"}

    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", licensed)
    record = fetch(request(f"{site.address}/drive.mp4", licence="as I think"), data, tmp_path / "scratch", None)
    assert record.origin is not None and record.origin.licence == "Creative Commons Attribution"
    assert record.origin.licence_from == "site"
    assert record.video_id.startswith("evil-x-")
    assert [path.parent for path in left_over(tmp_path)] == [tmp_path / "data" / "footage"]


def test_a_list_of_videos_is_refused(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", lambda *_, **__: {"_type": "playlist", "entries": []})
    with pytest.raises(InputError, match="is a list of videos"):
        fetch(request(f"{site.address}/drive.mp4"), open_storage(str(tmp_path / "data")), tmp_path, None)


def test_keys_in_an_address_are_not_kept() -> None:
    assert (
        without_secrets("https://a.example/v?id=7&X-Amz-Signature=abc&access_token=def#t=3")
        == "https://a.example/v?id=7&X-Amz-Signature=removed&access_token=removed"
    )


def test_the_command_refuses_without_the_acknowledgement_and_the_table_says_what_it_was_given(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTORISK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("getpass.getuser", lambda: "anna")
    refused = CliRunner().invoke(main, ["ingest", f"{site.address}/drive.mp4", "--licence", "CC0"])
    assert refused.exit_code == 2 and "--ack-data-rights" in refused.output and site.asked == []
    done = CliRunner().invoke(main, ["ingest", f"{site.address}/drive.mp4", "--ack-data-rights", "--licence", "CC0"])
    assert done.exit_code == 0, done.output
    (record,) = SourceLedger(Folder(tmp_path / "data" / "sources")).all()
    assert isinstance(record.origin, Origin) and record.origin.acknowledged_by.startswith("anna@")
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        assert instance.get_dynamic_partitions("videos") == [record.video_id]
        job = defs().resolve_job_def("process_video")
        result = job.execute_in_process(
            instance=instance, partition_key=record.video_id, asset_selection=[dg.AssetKey("source_video")]
        )
    (made,) = result.asset_materializations_for_node("source_video")
    table = stored_table("source_video", record.video_id)
    assert table is not None
    tables.check(table, tables.SOURCE_VIDEO)
    told = {"origin_url": f"{site.address}/drive.mp4", "licence": "CC0", "licence_from": "operator"}
    told |= {"rights_acknowledged_by": record.origin.acknowledged_by, "fetched_at": record.origin.fetched_at}
    assert {name: table.item(0, name) for name in told} == told
    assert {name: made.metadata[name].value for name in told} == told
    assert table.item(0, "footage_url") is None


def test_into_a_bucket(site: Site, video: bytes, bucket: str, tmp_path: Path) -> None:
    data = open_storage(bucket)
    record = fetch(request(f"{site.address}/drive.mp4"), data, tmp_path / "scratch", None)
    assert record.path == f"{bucket}/footage/{record.video_id}.mp4"
    assert data.read(f"footage/{record.video_id}.mp4") == video
