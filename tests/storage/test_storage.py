"""What folder and bucket have in common, and what two machines see of one bucket."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from autorisk_dagster.errors import BucketError, InputError, StorageError
from autorisk_dagster.storage import Storage, open_storage
from tests.storage.s3 import machine


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(str(tmp_path / "data"))
    return open_storage(request.getfixturevalue("bucket"))


def test_what_is_written_is_read_listed_and_removed(storage: Storage) -> None:
    assert (storage.read("a/b.json"), storage.exists("a/b.json"), storage.path("a/b.json").exists()) == (
        None,
        False,
        False,
    )
    assert (storage.names("a"), storage.sizes("a"), storage.versions("a")) == ([], {}, {})
    storage.write("a/b.json", b"{}")
    with storage.writing("a/c/film.mp4") as temporary:
        assert temporary.suffix == ".mp4"  # a muxer looks at it
        temporary.write_bytes(b"film")
    assert storage.read_all(["a/b.json", "a/none.json"]) == {"a/b.json": b"{}"}
    assert (storage.names("a"), storage.at("a").names()) == (["b.json"], ["b.json"])
    assert storage.sizes() == {"a/b.json": 2, "a/c/film.mp4": 4}
    assert storage.path("a/c/film.mp4").read_bytes() == b"film"
    before = storage.versions("a/c")
    with storage.writing("a/c/film.mp4") as temporary:
        temporary.write_bytes(b"cut!")
    assert storage.path("a/c/film.mp4").read_bytes() == b"cut!"
    assert storage.versions("a/c").keys() == before.keys() and storage.versions("a/c") != before
    storage.remove("a/c/film.mp4")
    storage.remove("a/c/film.mp4")
    assert not storage.exists("a/c/film.mp4") and not storage.path("a/c/film.mp4").exists()
    assert storage.url("a/b.json") == f"{storage.root}/a/b.json"


@pytest.mark.parametrize("relative", ["../x", "/etc/passwd", "a/../../x", "", "a\0b"])
def test_no_path_leaves_it(storage: Storage, relative: str) -> None:
    for use in (storage.read, storage.path, storage.exists, storage.remove, storage.url, storage.at):
        with pytest.raises(InputError, match="leaves the storage"):
            use(relative)


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_what_fails_while_it_is_written_leaves_the_old_file(
    storage: Storage, failure: BaseException, tmp_path: Path
) -> None:
    storage.write("v/a.mp4", b"old")
    expected = StorageError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected), storage.writing("v/a.mp4") as temporary:
        temporary.write_bytes(b"half")
        raise failure
    assert storage.read("v/a.mp4") == b"old"
    assert storage.names("v") == ["a.mp4"]
    assert not list(tmp_path.rglob("*.tmp*"))


def test_an_address_of_another_kind_or_with_a_password_is_refused() -> None:
    with pytest.raises(InputError, match=r"ftp:// is no storage this project knows; give a folder or s3://"):
        open_storage("ftp://host/x")
    with pytest.raises(InputError, match="credentials come from the environment") as error:
        open_storage("s3://key:secret@bucket/x")
    assert "secret" not in str(error.value)


def test_another_machine_sees_what_was_written_at_once(
    bucket: str, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = open_storage(bucket)
    with here.writing("clip.mp4") as temporary:
        temporary.write_bytes(b"first")
    machine(monkeypatch, s3_address, tmp_path / "other")
    there = open_storage(bucket)
    assert there.path("clip.mp4").read_bytes() == b"first"
    assert there.path("clip.mp4") != here.path("clip.mp4")
    with there.writing("clip.mp4") as temporary:
        temporary.write_bytes(b"other")  # of the same length
    assert here.path("clip.mp4").read_bytes() == b"other"
    there.remove("clip.mp4")
    assert not here.path("clip.mp4").exists()


def test_a_copy_that_somebody_changed_is_fetched_again(bucket: str) -> None:
    storage = open_storage(bucket)
    storage.write("clip.mp4", b"as it was")
    storage.path("clip.mp4").write_bytes(b"tampered!")
    assert storage.path("clip.mp4").read_bytes() == b"as it was"


def test_missing_bucket_and_credentials_are_named_with_the_way_out(
    s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, s3_address, tmp_path / "local")
    with pytest.raises(BucketError, match=r"s3://no-such-bucket: there is no such bucket.*create it, or correct"):
        open_storage("s3://no-such-bucket/x").read("a")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(BucketError, match=r"there are no credentials.*set AWS_ACCESS_KEY_ID"):
        open_storage("s3://any/x").read("a")
