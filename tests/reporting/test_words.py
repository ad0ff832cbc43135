import math

import pytest

from autorisk_dagster.profile import CorrectionSettings
from autorisk_dagster.reporting.words import clock, counted, quantity, rule_words, size_words, ttc_words


@pytest.mark.parametrize(
    ("seconds", "decimals", "text"),
    [
        (0.0, 1, "0:00.0"),
        (75.26, 1, "1:15.3"),
        (59.96, 1, "1:00.0"),  # never 0:60.0
        (3599.999, 2, "1:00:00.00"),
        (3661.0, 0, "1:01:01"),
    ],
)
def test_clock(seconds: float, decimals: int, text: str) -> None:
    assert clock(seconds, decimals) == text


def test_no_two_kinds_of_missing_time_read_alike() -> None:
    texts = {ttc_words(None), ttc_words(math.inf), ttc_words(1.42)}
    assert texts == {"cannot say", "nothing approaches", "1.4 s"}
    assert ttc_words(math.nan) == "cannot say"


def test_ttc_interval() -> None:
    assert ttc_words(1.42, 1.1, 2.0) == "1.4 s (1.1 to 2.0 s)"
    assert ttc_words(1.42, 1.1, math.inf) == "1.4 s (1.1 s or more)"
    assert ttc_words(1.42, None, 2.0) == "1.4 s"


def test_quantity_never_prints_nan() -> None:
    assert quantity(math.nan, "s") == quantity(None, "s") == "not measured"
    assert quantity(math.inf, "s") == "infinite"
    assert quantity(0.455, "px", 1) == "0.5 px"


@pytest.mark.parametrize(
    ("size", "text"),
    [(999, "999 B"), (1_000, "1.0 kB"), (999_949, "999.9 kB"), (999_960, "1.0 MB"), (2_500_000_000, "2.5 GB")],
)
def test_size(size: int, text: str) -> None:
    assert size_words(size) == text


def test_rules_are_told_with_the_thresholds_of_the_profile() -> None:
    settings = CorrectionSettings(r4_ttc_sec=1.75, r4_critical=5)
    assert rule_words("R4", settings) == "HIGH with TTC ≥ 1.75 s and critical tracks ≤ 5: lower to MEDIUM"


def test_counted() -> None:
    assert [counted(n, "near miss", "near misses") for n in (0, 1, 2)] == [
        "no near misses",
        "1 near miss",
        "2 near misses",
    ]
