"""Which words name what: whole words, their forms, negation."""

from __future__ import annotations

from pathlib import Path

import pytest

from autorisk_dagster.evaluation.lexicon import ROAD_USERS, events, named, names, things

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "cosmos_reason2"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Be careful: the scared cardinal", set()),  # "car" in "careful", "scared", "cardinal"
        ("business abuses mankind, a cabinet", set()),  # bus, man, cab
        ("Two cars and the bus's mirror", {"car", "bus"}),
        ("Lorries, SUVs; buses.", {"truck", "car", "bus"}),
        ("CHILDREN and a Cyclist", {"person", "bicycle"}),
        ("A pedestrian-heavy street", {"person"}),
        ("our car brakes; the ego vehicle stops; own car", set()),  # the own vehicle is nobody else
        ("stopped at the bus stop by the pedestrian crossing, in the bike lane, at a traffic light", set()),
        ("a bus at the bus stop", {"bus"}),
        ("no pedestrians", set()),
        ("No cars, buses or trucks are near, but a cyclist is", {"bicycle"}),
        ("no car. A truck ahead", {"truck"}),
        ("no pedestrian is near the car", {"car"}),  # the car has its own article
        ("without a car", set()),
        ("without the car", set()),
        ("the road is clear of cars", set()),
        ("there are not any pedestrians", set()),
        ("it is not a bus but a truck", {"truck"}),
        ("neither cars nor cyclists", set()),
        ("The pedestrian is not visible", set()),
        ("Pedestrians are absent.", set()),
        ("does not yield to the pedestrian", {"person"}),
        ("not only a car", {"car"}),
        ("if a child ran out", set()),
        ("watch for any vehicle", set()),
        ("", set()),
    ],
)
def test_road_users(text: str, found: set[str]) -> None:
    assert named(text, ROAD_USERS) == found


@pytest.mark.parametrize(
    ("text", "happens"),
    [
        ("it merges", True),
        ("merging", True),
        ("an emergent merger", False),
        ("it stopped", True),
        ("stopping", True),
        ("it does not merge", False),
        ("it doesn't merge", False),
        ("it never stops", False),
        ("it cannot stop", False),
        ("it avoids merging", False),
        ("nothing in the picture that could be seen there stops", False),
        ("it does not brake, and the other merges", True),  # another clause
        ("not only merges", True),
        ("no doubt it merges", True),
    ],
)
def test_events(text: str, happens: bool) -> None:
    assert names(text, events("merge stop")) is happens


@pytest.mark.parametrize("name", ["sample.log", "caption.log"])
def test_a_real_answer_about_parked_cars_names_no_person(name: str) -> None:
    """Cosmos Reason 2 on a quiet street: "a crosswalk ... indicating a pedestrian crossing area", "no visible
    pedestrians or moving vehicles"; sedans and SUVs are parked."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} of the shared data is not on this machine")
    text = " ".join(path.read_text(encoding="utf-8").split())
    assert "pedestrian" in text
    assert named(text, ROAD_USERS) == {"car", "vehicle"}


def test_forms_follow_spelling() -> None:
    assert things("lorry bus child").forms >= {"lorries", "buses", "bus's", "childs"}
    assert events("brake hit carry veer").forms >= {"braking", "braked", "hitting", "hits", "carried", "veering"}
    assert "veerring" not in events("veer").forms


@pytest.mark.parametrize("text", ["no " * 4000, ", or" * 3000, "no car, or " * 2000, "#" * 9000])
def test_long_nonsense_ends(text: str) -> None:
    assert named(text, ROAD_USERS) == set()
