"""The page that says where to find what the recipes describe: complete, and every name on it is real."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from autorisk_dagster.cli import main
from autorisk_dagster.definitions import defs
from autorisk_dagster.paths import ROOT
from autorisk_dagster.profile import Profile

PAGE = (ROOT / "docs" / "seeds.md").read_text(encoding="utf-8")
SEEDS = ROOT.parent / "shared" / "seeds"
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]


def rows(section: str) -> list[tuple[str, str, str]]:
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def named(kind: str) -> set[str]:
    return set(re.findall(rf"{kind} `([a-z_]+)`", PAGE))


def test_every_asset_job_schedule_and_section_exists() -> None:
    graph = {key.to_user_string() for key in defs().resolve_asset_graph().get_all_asset_keys()}
    jobs = {job.name for job in defs().resolve_all_job_defs()}
    schedules = {schedule.name for schedule in defs().schedules or []}
    assert named("asset") and named("asset") <= graph
    assert named("job") and named("job") | set(re.findall(r"autorisk job ([a-z_]+)", PAGE)) <= jobs
    assert named("schedule") <= schedules
    assert named("profile section") <= set(Profile.model_fields)
    for setting in re.findall(r"`([a-z_]+\.[a-z_]+)` ?(?:set|`|\||$)", PAGE):
        section, field = setting.split(".")
        if section in Profile.model_fields:
            assert field in Profile.model_fields[section].annotation.model_fields


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:autorisk_dagster|docs|configs)/[\w./]+)`", PAGE))))
def test_every_file_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("words", sorted({tuple(m.split()) for m in re.findall(r"`autorisk ([a-z][a-z ]*)", PAGE)}))
def test_every_command_exists(words: tuple[str, ...]) -> None:
    command: click.Command = main
    for word in words:
        if not isinstance(command, click.Group):
            break  # what follows is an argument
        found = command.commands.get(word)
        assert found is not None, f"autorisk {' '.join(words)}: no command {word}"
        command = found


@pytest.mark.skipif(not SEEDS.exists(), reason="the recipes are in ../shared, which is not here")
def test_no_command_and_no_section_of_the_recipes_is_left_out() -> None:
    recipe, guide, algorithm = (path.read_text(encoding="utf-8") for path in sorted(SEEDS.glob("*.txt")))
    table = recipe[recipe.index("## CLI Commands") :]
    commands = re.findall(r"^\| (?:\*\*\w[\w-]*\*\*)? *\| `([a-z-]+)` \|", table, flags=re.MULTILINE)
    assert len(commands) > 25
    assert [row[0].strip("`") for row in rows(SECTIONS[0])] == commands
    covered = " ".join(row[0].lower() for row in rows(SECTIONS[1]))
    for heading in re.findall(r"^## (.+)$", guide, flags=re.MULTILINE):
        words = [word for word in re.findall(r"[a-z]+", heading.lower()) if len(word) > 4]
        assert any(word in covered for word in words), heading
    covered = " ".join(row[0].lower() for row in rows(SECTIONS[2]))
    for heading in re.findall(r"^## (.+)$", algorithm, flags=re.MULTILINE)[1:]:
        words = [word for word in re.findall(r"[a-z]+", heading.lower()) if len(word) > 4 and word != "algorithm"]
        assert any(word in covered for word in words) or heading.startswith("Algorithm"), heading


def test_the_page_is_found_by_a_newcomer() -> None:
    assert "docs/seeds.md" in (Path(ROOT) / "README.md").read_text(encoding="utf-8")
