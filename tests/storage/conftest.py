"""One S3 server for the tests of a process; each test has a bucket of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("moto.server", reason="needs the extra dev: an S3 server")
pytest.importorskip("s3fs", reason="needs the extra fleet")

from tests.storage.s3 import machine, new_bucket, s3_server


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """Where the server is."""
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty prefix, on a machine that reaches it."""
    url = f"s3://{new_bucket(s3_address)}/prefix"
    machine(monkeypatch, s3_address, tmp_path / "local", url)
    return url
