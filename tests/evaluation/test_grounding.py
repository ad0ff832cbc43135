"""Words against signals: what counts as naming one, and agreement beside chance."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.evaluation.grounding import grounded, grounding_metrics, signal_words
from tests.evaluation.fleets import row


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A horn sounded twice", {"audio"}),
        ("hornets in a thornbush", set()),
        ("no horn was heard", set()),
        ("A car cut in and braked abruptly", {"motion"}),
        ("nobody braked", set()),
        ("a cyclist close to the kerb, honking behind", {"audio", "proximity"}),
        ("the road is closed", set()),
        ("no measured motion brings any of them into the own path or up beside the own car", set()),
        ("car #3 ahead, 37 m away, 12.0 m beside the own flank", set()),  # told in metres, and far
        ("car #3 ahead, 5 m away", {"proximity"}),
        ("car #3 left, about 30 m away, 0.6 m beside the own flank", {"proximity"}),
    ],
)
def test_words_of_signals(text: str, found: set[str]) -> None:
    assert signal_words(text) == found


def answers(texts: list[str], audio: list[float | None], groups: list[int] | None = None) -> pl.DataFrame:
    n = len(texts)
    rows = {
        "video_id": ["v"] * n,
        "clip_id": [f"c{number:03d}" for number in range(n)],
        "group": groups or list(range(n)),
        "outcome": ["severity"] * n,
        "hazards": [[{"type": "Cut-in", "actors": ["car"], "spatial_relation": "left"}]] * n,
        "causal_reasoning": texts,
        "audio_score": audio,
        "motion_score": [0.0] * n,
        "proximity_score": [0.0] * n,
    }
    kinds = {"hazards": tables.REASON_OUTPUTS["hazards"], "audio_score": pl.Float64}
    return pl.DataFrame(rows, schema_overrides=kinds)


def test_agreement_beside_chance_counted_by_hand() -> None:
    """Ten clips, sound high in 4, a horn named in 5, of which 3 where it is high: agree 3 + 4 of 10. By chance
    0.4 * 0.5 + 0.6 * 0.5 = 0.5; kappa (0.7 - 0.5) / 0.5 = 0.4."""
    said = ["A horn.", "A horn.", "A horn.", "Quiet.", "A horn.", "A horn.", "Quiet.", "Quiet.", "Quiet.", "Quiet."]
    per_clip = grounded(answers(said, [0.9, 0.5, 0.7, 0.6, 0.1, 0.2, 0.49, 0.0, 0.0, 0.0]))
    table = grounding_metrics(per_clip)
    tables.check(table, tables.GROUNDING_METRICS)
    found = {metric: row(table, metric, "audio")["value"] for metric in table["metric"].unique()}
    assert found == pytest.approx(
        {
            "signal_high": 0.4,
            "named": 0.5,
            "agreement": 0.7,
            "expected_by_chance": 0.5,
            "above_chance": 0.2,
            "kappa": 0.4,
        }
    )
    assert row(table, "agreement", "audio")["note"] == "1 high and not named, 2 named and not high"


def test_a_signal_that_was_not_measured_is_neither_high_nor_low() -> None:
    table = grounding_metrics(grounded(answers(["A horn.", "Quiet."], [None, None])))
    found = row(table, "agreement", "audio")
    assert (found["value"], found["n"]) == (None, 0)
    assert found["note"].endswith("2 not measured")


def test_always_naming_everything_is_not_above_chance() -> None:
    """The seed's rate counts this as perfect wherever a signal is high; the interval of the gain holds 0."""
    generator = np.random.default_rng(4)
    table = grounding_metrics(grounded(answers(["A horn."] * 60, generator.random(60).tolist())))
    assert row(table, "named", "audio")["value"] == 1.0
    assert row(table, "above_chance", "audio")["value"] == pytest.approx(0.0)
    assert row(table, "kappa", "audio")["value"] == pytest.approx(0.0)


def test_answers_without_a_severity_say_nothing() -> None:
    silent = answers(["A horn."] * 3, [0.9] * 3).with_columns(outcome=pl.lit("abstained"))
    assert grounded(silent).is_empty()
    assert grounding_metrics(grounded(silent))["value"].null_count() == 4
