"""Profiles: the files that ship, and what happens to a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from autorisk_dagster.errors import ProfileError
from autorisk_dagster.profile import MiningSettings, Profile, known_profiles, load_profile

CONFIGS = Path(__file__).parents[1] / "configs"
SHIPPED = ["default", "japan", "public", "us_highway", "winter"]


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping to dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def written(folder: Path, name: str, text: str) -> Path:
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def test_the_shipped_profiles_are_known_and_load() -> None:
    assert known_profiles(CONFIGS) == SHIPPED
    for name in SHIPPED:
        profile = load_profile(name, CONFIGS)
        assert profile.name == name
        assert profile.description
        weights = profile.mining.weight_audio + profile.mining.weight_motion + profile.mining.weight_proximity
        assert weights == pytest.approx(1.0)


def test_default_yaml_spells_out_every_setting_at_the_value_the_code_has() -> None:
    in_code = flat(Profile(name="default").model_dump(mode="json", exclude={"name", "description"}))
    in_file = flat(yaml.safe_load((CONFIGS / "default.yaml").read_text(encoding="utf-8")))
    del in_file["description"]
    assert in_file == in_code


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "default"])
def test_the_others_change_something_and_keep_the_rest(name: str) -> None:
    own = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
    assert own.pop("extends") == "default"
    loaded = flat(load_profile(name, CONFIGS).model_dump(mode="json", exclude={"name"}))
    default = flat(load_profile("default", CONFIGS).model_dump(mode="json", exclude={"name"}))
    assert loaded == default | flat(own)
    assert loaded != default | {"description": loaded["description"]}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("minning: {top_n: 3}", "minning"),  # a typo in a section
        ("mining: {top_m: 3}", "mining.top_m"),  # a typo in a setting
        ("mining: {top_n: 0}", "mining.top_n"),  # at least one clip
        ("mining: {top_n: many}", "mining.top_n"),
        ("perception: {min_confidence: 1.5}", "perception.min_confidence"),
        ("perception: {window_sec: 0}", "perception.window_sec"),
        ("detector: {backend: yolo}", "detector.backend"),
        ("mining: {weight_audio: 0.5}", "weight_audio"),  # 0.5 + 0.4 + 0.3 = 1.2
        ("mining: 3", "mining"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ProfileError, match=named):
        load_profile("mine", written(tmp_path, "mine", text))


def test_the_message_about_weights_says_what_they_add_up_to(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"must be 1, got 1\.2"):
        load_profile("mine", written(tmp_path, "mine", "mining: {weight_audio: 0.5}"))


def test_an_unknown_profile_lists_the_known_ones() -> None:
    with pytest.raises(ProfileError, match="'wintre'; known: default, japan, public, us_highway, winter"):
        load_profile("wintre", CONFIGS)


def test_a_profile_that_extends_an_unknown_one_or_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no profile 'gone'"):
        load_profile("orphan", written(tmp_path, "orphan", "extends: gone"))
    written(tmp_path, "hen", "extends: egg")
    with pytest.raises(ProfileError, match="extends itself: hen -> egg -> hen"):
        load_profile("hen", written(tmp_path, "egg", "extends: hen"))


@pytest.mark.parametrize(("text", "message"), [("a: [1", "not YAML"), ("- 1\n- 2", "must be a mapping, got list")])
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        load_profile("mine", written(tmp_path, "mine", text))


def test_a_profile_may_extend_one_that_extends_another(tmp_path: Path) -> None:
    written(tmp_path, "base", "mining: {top_n: 7, clip_sec: 5.0}")
    written(tmp_path, "middle", "extends: base\nmining: {top_n: 8}")
    written(tmp_path, "leaf", "extends: middle\nmining: {min_score: 0.2}")
    mining = load_profile("leaf", tmp_path).mining
    assert (mining.top_n, mining.clip_sec, mining.min_score) == (8, 5.0, 0.2)


def test_dagster_settings_in_the_folder_are_no_profiles(tmp_path: Path) -> None:
    written(tmp_path, "dagster_local", "telemetry: {enabled: false}")
    assert known_profiles(written(tmp_path, "mine", "")) == ["mine"]


def test_a_digest_changes_with_its_own_section_only() -> None:
    plain = Profile(name="a")
    changed = Profile(name="b", mining=MiningSettings(top_n=3))
    assert plain.mining.digest() != changed.mining.digest()
    assert plain.perception.digest() == changed.perception.digest()
    assert len(plain.mining.digest()) == 16
