"""`autorisk doctor` on a bare set-up and on a broken one, and its checks one by one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest

from autorisk_dagster.audit.keys import new_keys
from autorisk_dagster.doctor import machine, records
from autorisk_dagster.doctor.finding import redacted
from autorisk_dagster.intake.sources import SourceLedger, SourceRecord
from autorisk_dagster.night.failures import Failure, broken_now, by_cause
from autorisk_dagster.paths import CONFIGS
from autorisk_dagster.profile import Profile, ReasonerSettings
from autorisk_dagster.review.log import review_log
from autorisk_dagster.storage.folder import Folder

KEY = "nvapi-do-not-show-me"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server that wants KEY and serves one model."""

    class Models(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = self.headers.get("Authorization") == f"Bearer {KEY}" and self.path == "/v1/models"
            body = json.dumps({"data": [{"id": "reason"}]}).encode()
            self.send_response(200 if right else 401)
            self.end_headers()
            self.wfile.write(body if right else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Models)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("key", "model", "state", "said"),
    [
        (KEY, "reason", "ok", "serves reason"),
        (KEY, "cosmos", "broken", "does not serve cosmos, but: reason"),
        ("wrong-key", "reason", "broken", "refuses the key (HTTP 401)"),
    ],
)
def test_an_endpoint_is_asked_what_it_serves(endpoint: str, key: str, model: str, state: str, said: str) -> None:
    (found,) = machine.endpoint("e", model, {"COSMOS_NIM_URL": endpoint, "COSMOS_NIM_API_KEY": key})
    assert found.state == state and said in found.found and key not in str(found)


def test_an_endpoint_that_is_not_there_is_broken_and_its_address_s_password_is_not_shown() -> None:
    (unset,) = machine.endpoint("e", "m", {})
    assert (unset.state, unset.found) == ("broken", "COSMOS_NIM_URL is not set")
    (silent,) = machine.endpoint("e", "m", {"COSMOS_NIM_URL": "http://user:hunter22@127.0.0.1:9/v1"})
    assert silent.state == "broken" and "does not answer (ConnectError)" in silent.found
    assert "hunter22" not in str(silent)


def test_secrets_and_users_in_addresses_are_not_shown_and_folders_are() -> None:
    environment = {"COSMOS_NIM_API_KEY": KEY, "AUTORISK_AUDIT_KEYS": "/srv/keys", "HOME": "/home/me"}
    text = f"{KEY} at http://me:secret@host/ in /srv/keys"
    assert redacted(text, environment) == "[COSMOS_NIM_API_KEY] at http://host/ in /srv/keys"


def test_weights_are_sought_on_this_disk_alone(tmp_path: Path) -> None:
    (absent,) = machine.model_weights("m", "nobody/nothing-of-the-kind", None)
    assert absent.state == "broken" and absent.mend.endswith("hf download nobody/nothing-of-the-kind")
    (bare,) = machine.model_weights("m", str(tmp_path), None)
    assert bare.state == "broken" and "no safetensors" in bare.found
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert machine.model_weights("m", str(tmp_path), None)[0].state == "ok"
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (torn,) = machine.model_weights("m", str(tmp_path), None)
    assert torn.state == "broken" and "model-2.safetensors is missing" in torn.found


def test_a_profile_s_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = Profile(name="mine", reasoner=ReasonerSettings(backend="transformers"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "llguidance" else object())
    (found,) = machine.needs(profile, {})
    assert found.found == "not installed: llguidance" and found.mend.endswith("'.[models]'")


@pytest.mark.parametrize(("free_gb", "state"), [(0.5, "broken"), (5.0, "warn"), (50.0, "ok")])
def test_room_on_the_disk(tmp_path: Path, free_gb: float, state: str) -> None:
    (found,) = machine.data_folder_is_usable(tmp_path / "not made yet", int(free_gb * 1e9))
    assert found.state == state and not (tmp_path / "not made yet").exists()


def test_a_data_folder_that_cannot_be_written_to_or_is_full_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.data_folder_is_usable(tmp_path)[0].state != "broken" and not list(tmp_path.iterdir())
    (full,) = machine.data_folder_is_usable(Path("/dev/full"))  # no folder at all, to any user
    assert full.state == "broken" and full.found == "/dev/full: cannot be written to (Not a directory)"
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"something else")
    (other,) = machine.data_folder_is_usable(tmp_path)
    assert other.state == "broken" and "does not give back what was written" in other.found


def test_packages_are_held_against_their_pins(tmp_path: Path) -> None:
    pins = tmp_path / "constraints.txt"
    pins.write_text("click==0.0.1\nnot-installed-at-all==1\npolars==0.1 ; python_version < '3'\n", encoding="utf-8")
    (found,) = machine.packages(pins)
    assert found.state == "warn" and found.found.startswith("not as tested: click ") and "polars" not in found.found
    assert machine.python_version((3, 12))[0].state == "broken"


@pytest.mark.parametrize(
    ("on", "silent_sec", "has_inbox", "state"),
    [
        ([], None, False, "ok"),
        (["nightly"], 20.0, False, "ok"),
        (["nightly"], 900.0, False, "broken"),
        (["nightly"], None, False, "broken"),
        (["nightly"], 20.0, True, "warn"),
        (["inbox"], 20.0, True, "ok"),
    ],
)
def test_what_is_on_needs_a_daemon(on: list[str], silent_sec: float | None, has_inbox: bool, state: str) -> None:
    assert records.automation(on, silent_sec, has_inbox=has_inbox)[0].state == state


def test_footage_that_is_gone_is_broken_until_its_report_is_made() -> None:
    gone = SourceRecord("a-00000001", "/nowhere/a.mp4", "default", "2026-01-01")
    assert records.footage([gone], lambda _: False)[0].state == "broken"
    assert records.footage([gone], {"a-00000001": True}.__contains__)[0].state == "warn"


def test_what_is_broken_names_the_asset_its_error_and_the_command_and_many_of_a_cause_are_counted() -> None:
    failures = [
        Failure("r", f"a-{number}", ("tracks",), "torn", f"torn file {number}", 0.0, number) for number in range(7)
    ] + [Failure("r", None, ("fleet_dashboard",), "full", "disk full", 0.0, 9)]
    broken = broken_now(failures, {}, "now", {}, [f"a-{number}" for number in range(7)])
    *torn, more, fleet = records.broken_now(by_cause(broken), {"a-0": "/in/a b.mp4"}, ("tracks",))
    assert (torn[0].name, torn[0].found) == ("video a-0", "tracks: torn file 0")
    assert [one.mend for one in torn[:2]] == ["autorisk run '/in/a b.mp4'", "autorisk job process_video a-1"]
    assert len(torn) == records.SHOWN and more.found.startswith("2 more")
    assert (fleet.name, fleet.found, fleet.mend) == ("fleet", "fleet_dashboard: disk full", "autorisk job after_night")
    assert {one.state for one in (*torn, more, fleet)} == {"broken"}
    assert records.broken_now([], {}, ())[0].state == "ok"


def test_keys_that_others_can_read_and_a_log_that_was_cut_are_broken(tmp_path: Path) -> None:
    new_keys(tmp_path / "keys", "Fleet")
    environment = {"AUTORISK_AUDIT_KEYS": str(tmp_path / "keys")}
    assert [one.state for one in records.audit_keys(environment)] == ["ok"]
    (tmp_path / "keys" / "c2pa.pem").chmod(0o644)
    (found,) = records.audit_keys(environment)
    assert found.state == "broken" and "mode 0644" in found.found and found.mend.startswith("chmod 600 ")
    log = review_log(tmp_path)
    log.append({"verdict": "HIGH"})
    assert records.review_log_is_whole(tmp_path)[0].state == "ok"
    log.path.write_bytes(b"")
    assert records.review_log_is_whole(tmp_path)[0].state == "broken"


class SetUp:
    """A project of its own; `doctor` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.home = folder, folder / "data", folder / "home"
        shutil.copytree(CONFIGS, folder / "configs")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUTORISK_", "COSMOS_"))}
        self.environment = {
            **kept,
            "AUTORISK_CONFIGS": str(folder / "configs"),
            "AUTORISK_DATA": str(self.data),
            "DAGSTER_HOME": str(self.home),
        }

    def doctor(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = (
            "import sys, atexit; atexit.register(lambda: print([name for name in "
            "('torch', 'cv2', 'transformers', 'onnxruntime') if name in sys.modules], file=sys.stderr)); "
            "from autorisk_dagster.cli.doctor import doctor; doctor()"
        )
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)


def test_a_bare_set_up_is_in_order_and_nothing_is_made_or_loaded(tmp_path: Path) -> None:
    bare = SetUp(tmp_path)
    found = bare.doctor("--json")
    told = json.loads(found.stdout)
    assert (found.returncode, told["broken"]) == (0, 0), found.stdout
    states = {one["name"]: one["state"] for one in told["findings"]}
    assert states["Dagster home"] == "warn" and states["audit keys"] == "warn" and states["default: detector"] == "ok"
    assert not bare.data.exists() and not bare.home.exists()
    assert found.stderr.splitlines()[-1] == "[]"


def test_a_broken_set_up_says_what_is_broken_how_to_mend_it_and_no_secret(tmp_path: Path) -> None:
    pytest.importorskip("openai")  # else its absence is what is told of the endpoint
    broken = SetUp(tmp_path)
    (tmp_path / "configs" / "served.yaml").write_text("extends: default\nreasoner: {backend: openai}\n")
    (tmp_path / "configs" / "typo.yaml").write_text("extends: default\nmining: {wieght_audio: 1}\n")
    new_keys(tmp_path / "keys", "Fleet")
    (tmp_path / "keys" / "signing.pem").chmod(0o640)
    video = tmp_path / "Drive 1.mp4"
    video.write_bytes(b"no video")
    key = SourceLedger(Folder(broken.data / "sources")).register(video, "served").video_id
    broken.home.mkdir()
    shutil.copyfile(CONFIGS / "dagster_local.yaml", broken.home / "dagster.yaml")
    failing = dg.define_asset_job("fail", selection="source_video")
    with dg.DagsterInstance.from_config(str(broken.home)) as instance:
        instance.add_dynamic_partitions("videos", [key])

        @dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="videos"))
        def source_video() -> None:
            raise ValueError(f"torn, and the key {KEY} is in the message")

        job = dg.Definitions(assets=[source_video], jobs=[failing]).resolve_job_def("fail")
        assert not job.execute_in_process(instance=instance, partition_key=key, raise_on_error=False).success
    video.unlink()
    broken.environment |= {
        "AUTORISK_AUDIT_KEYS": str(tmp_path / "keys"),
        "AUTORISK_INBOX": str(tmp_path / "no such inbox"),
        "COSMOS_NIM_API_KEY": KEY,
    }
    found = broken.doctor()
    assert found.returncode == 1
    for said in (
        "profile typo: profile typo: mining.wieght_audio: Extra inputs are not permitted",
        "served: endpoint: COSMOS_NIM_URL is not set",
        "signing.pem has mode 0640",
        f"footage: gone before its report was made: {key}",
        f"video {key}: source_video: ValueError: torn, and the key [COSMOS_NIM_API_KEY] is in the message",
        f"-> autorisk run '{video}'",
        "cannot be listed (No such file or directory)",
    ):
        assert said in found.stdout, (said, found.stdout)
    assert KEY not in found.stdout + found.stderr
    assert found.stdout.splitlines()[-1].startswith("6 broken, ")
