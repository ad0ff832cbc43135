"""Labels and verdicts in a bucket: worked on as a folder, given back, and never overwritten by another machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from autorisk_dagster.errors import InputError
from autorisk_dagster.review.log import review_log
from autorisk_dagster.storage import open_storage
from tests.storage.s3 import machine


def test_a_log_goes_on_from_machine_to_machine(
    bucket: str, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = open_storage(bucket)
    review_log(here.pull("review")).append({"kind": "note", "text": "one"})
    here.push("review")
    machine(monkeypatch, s3_address, tmp_path / "other")
    there = open_storage(bucket)
    log = review_log(there.pull("review"))
    log.append({"kind": "note", "text": "two"})
    there.push("review")
    found = review_log(here.pull("review"))
    assert [record["text"] for record in found.records()] == ["one", "two"]
    assert found.verify() is None
    assert sorted(here.names("review")) == ["verdicts.head.json", "verdicts.jsonl"]  # no lock, no record of pulls


def test_two_machines_at_once_do_not_overwrite_each_other(
    bucket: str, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = open_storage(bucket)
    (here.pull("labels") / "labels" / "anna.csv").write_text("by here")
    machine(monkeypatch, s3_address, tmp_path / "other")
    there = open_storage(bucket)
    (there.pull("labels") / "labels" / "anna.csv").write_text("by there")
    there.push("labels")
    for act in (here.push, here.pull, here.push):
        with pytest.raises(InputError, match=r"labels/anna\.csv was changed by another machine, and here too"):
            act("labels")
    assert here.read("labels/anna.csv") == b"by there"
    assert (tmp_path / "local" / "worked_on").exists()  # and what was written here is still here
    assert [path.read_text() for path in (tmp_path / "local").rglob("anna.csv")] == ["by here"]


def test_what_was_not_pushed_stays_and_is_pushed_later(bucket: str) -> None:
    storage = open_storage(bucket)
    storage.write("labels/old.csv", b"old")
    folder = storage.pull("labels") / "labels"
    (folder / "new.csv").write_text("written, then killed")
    assert (storage.pull("labels") / "labels" / "new.csv").read_text() == "written, then killed"
    storage.push("labels")
    assert storage.read("labels/new.csv") == b"written, then killed"


def test_a_push_whose_answer_was_lost_is_no_conflict(bucket: str) -> None:
    """The other machine that wrote the same content was this one."""
    storage = open_storage(bucket)
    folder = storage.pull("labels") / "labels"
    (folder / "a.csv").write_text("same")
    storage.write("labels/a.csv", b"same")
    storage.push("labels")
    (folder / "a.csv").write_text("more")
    storage.push("labels")
    assert storage.read("labels/a.csv") == b"more"


def test_what_was_deleted_elsewhere_goes_and_what_was_lost_here_comes_back(bucket: str) -> None:
    storage = open_storage(bucket)
    storage.write("labels/a.csv", b"a")
    storage.write("labels/b.csv", b"b")
    folder = storage.pull("labels") / "labels"
    storage.remove("labels/a.csv")
    (folder / "b.csv").unlink()
    storage.pull("labels")
    assert sorted(path.name for path in folder.glob("*.csv")) == ["b.csv"]


def test_names_in_a_bucket_lead_nowhere(bucket: str, tmp_path: Path) -> None:
    storage = open_storage(bucket)
    from autorisk_dagster.storage.bucket import Bucket

    assert isinstance(storage, Bucket)
    key = storage.root.removeprefix("s3://").partition("/")[2]
    storage._files().call_s3(
        "put_object", Bucket=storage.root.split("/")[2], Key=f"{key}/labels/../../../../evil", Body=b"x"
    )
    storage.write("labels/.pulled.json", b"{}")
    storage.write("labels/a.csv", b"a")
    folder = storage.pull("labels") / "labels"
    assert [path.name for path in folder.iterdir() if path.name[0] != "."] == ["a.csv"]
    assert (folder / ".pulled.json").read_bytes() != b"{}"
    assert not list(tmp_path.rglob("evil"))
