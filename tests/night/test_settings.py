"""The night's settings: the file says what the code has, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from autorisk_dagster.errors import ProfileError
from autorisk_dagster.night.settings import NightSettings, load_night

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_file_spells_out_every_setting_at_the_value_the_code_has() -> None:
    in_file = yaml.safe_load((CONFIGS / "night.yaml").read_text(encoding="utf-8"))
    assert in_file == NightSettings().model_dump(mode="json")
    assert load_night(CONFIGS) == NightSettings()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("budgets: {}", "budgets"),
        ("budget: {machine_hours: 3}", "budget.machine_hours"),
        ("budget: {tokens: -1}", "budget.tokens"),
        ("timezone: Berlin", "Europe/Berlin"),
        ("start: '25:00'", "start"),
        ("start: 7200", "start"),
        ("alerts: {email: {host: h, sender: s, recipients: []}}", "alerts.email.recipients"),
        ("alerts: {email: {host: h, sender: s, recipients: [a], password: p}}", "alerts.email.password"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "night.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError, match=named):
        load_night(tmp_path)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert load_night(tmp_path) == NightSettings()
    (tmp_path / "night.yaml").write_text("start: '22:30'\ntimezone: Europe/Berlin", encoding="utf-8")
    found = load_night(tmp_path)
    assert (found.cron, found.timezone) == ("30 22 * * *", "Europe/Berlin")
