"""`autorisk night`, in this process: the plan, what is broken, a test of the alerts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from autorisk_dagster.cli.instance import local_instance
from autorisk_dagster.cli.night import night
from autorisk_dagster.definitions import defs
from autorisk_dagster.intake.sources import SourceLedger
from autorisk_dagster.night.delivery import WEBHOOK
from autorisk_dagster.storage.folder import Folder
from tests.night.receivers import web_server


@pytest.fixture
def torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fleet of one file that is no video, and whose run failed."""
    monkeypatch.setenv("AUTORISK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    file = tmp_path / "it is torn.mp4"
    file.write_bytes(b"no video")
    key = SourceLedger(Folder(tmp_path / "data" / "sources")).register(file).video_id
    with local_instance() as instance:
        instance.add_dynamic_partitions("videos", [key])
        job = defs().resolve_job_def("process_video")
        only = [dg.AssetKey("source_video")]
        job.execute_in_process(instance=instance, partition_key=key, asset_selection=only, raise_on_error=False)
    yield file


def told(*arguments: str) -> Result:
    return CliRunner().invoke(night, list(arguments), env={"COLUMNS": "120"})


def test_what_is_broken_is_listed_with_the_command_that_makes_it_again(torn: Path) -> None:
    found = told("broken")
    assert found.exit_code == 0, found.output
    assert found.output.startswith("1 broken: <video>: is not a video")
    assert "source_video of it-is-torn-" in found.output
    assert f"autorisk run '{torn}'" in found.output
    plan = told("plan")
    assert plan.exit_code == 0, plan.output
    assert "tonight: 1 of 1" in plan.output and plan.output.count("no history yet") == 5
    assert "1. it-is-torn-" in plan.output


def test_nothing_is_broken_in_a_fleet_without_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORISK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    assert told("broken").output == "nothing is broken; 0 videos are registered\n"


def test_a_test_alert_arrives_or_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WEBHOOK, raising=False)
    assert "no alert is configured" in told("test-alert").output
    with web_server() as server:
        monkeypatch.setenv(WEBHOOK, f"http://127.0.0.1:{server.port}/hook")
        assert (told("test-alert").output, server.posts[0]["subject"]) == ("webhook: sent\n", "AutoRisk: a test")
        server.refuse = 1
        failed = told("test-alert")
        assert failed.exit_code == 1 and "answered 503" in failed.output


def test_how_new_results_must_be_is_said_where_it_is_shown() -> None:
    graph = defs().resolve_asset_graph()
    said = {
        key.to_user_string()
        for key in graph.materializable_asset_keys
        if graph.get(dg.AssetKey(key.path)).freshness_policy is not None
    }
    assert said == {"source_video", "safety_report", "fleet_dashboard", "broken_videos"}
