"""How probable each severity's letter is."""

from __future__ import annotations

import math

import pytest

from autorisk_dagster.reasoning.vlm import LetterReading


def test_mass_and_shares_by_hand() -> None:
    reading = LetterReading({"NONE": math.log(0.1), "LOW": math.log(0.2), "MEDIUM": math.log(0.1), "HIGH": -math.inf})
    assert reading.mass == pytest.approx(0.4)
    assert reading.share("LOW") == pytest.approx(0.5)
    assert reading.share("HIGH") == 0.0


def test_letters_that_are_all_but_impossible_still_have_shares() -> None:
    reading = LetterReading({"NONE": -900.0, "LOW": -900.0 + math.log(3), "MEDIUM": -math.inf, "HIGH": -math.inf})
    assert reading.mass == 0.0
    assert reading.share("LOW") == pytest.approx(0.75)


def test_letters_that_are_impossible_have_none() -> None:
    assert math.isnan(LetterReading(dict.fromkeys(("NONE", "LOW", "MEDIUM", "HIGH"), -math.inf)).share("LOW"))
