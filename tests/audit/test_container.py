"""The container: readable by anything, one possible form, and every zip trick a finding."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from autorisk_dagster.audit.container import MANIFEST, PackFile, read_container, write_container
from autorisk_dagster.errors import InputError

FILES = [PackFile("trace/a.json", b"{}"), PackFile(MANIFEST, b"manifest"), PackFile("clips/a.mp4", bytes(range(256)))]


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    write_container(FILES, tmp_path / "a.zip")
    return tmp_path / "a.zip"


def test_what_was_written_is_read(pack: Path) -> None:
    contents = read_container(pack)
    assert contents.findings == []
    assert [entry.name for entry in contents.entries] == [MANIFEST, "clips/a.mp4", "trace/a.json"]
    assert contents.entries[2].sha256 == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of "{}"


def test_ordinary_programs_read_it(pack: Path) -> None:
    with zipfile.ZipFile(pack) as archive:
        assert archive.testzip() is None
        assert archive.read("clips/a.mp4") == bytes(range(256))
    if shutil.which("unzip"):
        assert subprocess.run(["unzip", "-tq", str(pack)], capture_output=True, check=False).returncode == 0


def test_the_same_files_in_another_order_give_the_same_bytes(pack: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.bin"
    source.write_bytes(bytes(range(256)))
    write_container([PackFile("clips/a.mp4", source), FILES[1], FILES[0]], tmp_path / "b.zip")
    assert (tmp_path / "b.zip").read_bytes() == pack.read_bytes()


@pytest.mark.parametrize(
    "name",
    ["../a", "/a", "a//b", "A.json", "a\\b", "c:/a", "a/../b", ".hidden", "", "ä", "a/b/c/d/e", "a\x00b", "a" * 300],
)
def test_a_name_that_could_leave_its_folder_is_not_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no name for a file in a pack"):
        write_container([PackFile(name, b"")], tmp_path / "a.zip")


def test_two_files_of_one_name_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two files of one name"):
        write_container([PackFile("a", b"1"), PackFile("a", b"2")], tmp_path / "a.zip")
