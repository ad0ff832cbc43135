"""Figures of severities: the published distribution, cases counted by hand, and scikit-learn."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, mean_absolute_error

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.evaluation import scores
from autorisk_dagster.evaluation.figures import words
from autorisk_dagster.evaluation.metrics import checklist_figures, eval_metrics
from tests.evaluation.fleets import labelled, published, row

severities = st.sampled_from(tables.SEVERITIES)
answers = st.lists(st.tuples(severities, st.one_of(st.none(), severities), severities), min_size=1, max_size=30)


def test_the_published_figures_beside_always_low() -> None:
    """Seed 000: 4 NONE, 9 LOW, 4 MEDIUM, 3 HIGH; 35 % before, 65 % after; "always LOW" is right on 9 of 20."""
    table = eval_metrics(published())
    tables.check(table, tables.EVAL_METRICS)
    assert [row(table, "labelled", "labels", name)["value"] for name in tables.SEVERITIES] == [4, 9, 4, 3]
    shown = {stage: words(row(table, "accuracy", stage)) for stage in ("majority", "reasoner", "corrected")}
    assert shown == {  # Wilson, from any table of it: 9, 7 and 13 of 20
        "majority": "0.45 (0.26 to 0.66; 20 clips, 20 groups)",
        "reasoner": "0.35 (0.18 to 0.57; 20 clips, 20 groups)",
        "corrected": "0.65 (0.43 to 0.82; 20 clips, 20 groups)",
    }
    assert 'always LOW", the most frequent of these same labels' in row(table, "accuracy", "majority")["note"]
    recall = [row(table, "recall", "corrected", name)["value"] for name in tables.SEVERITIES]
    assert recall == pytest.approx([3 / 4, 4 / 9, 4 / 4, 2 / 3])
    # Always LOW: F1 of LOW is 2 * 9 / (20 + 9), of the others 0.
    assert row(table, "macro_f1", "majority")["value"] == pytest.approx(18 / 29 / 4)
    # Off by one on 4 NONE and 4 MEDIUM, by two on 3 HIGH; too low on 4 + 2 * 3, too high on 4.
    assert row(table, "mean_absolute_error", "majority")["value"] == pytest.approx(14 / 20)
    assert row(table, "mean_signed_error", "majority")["value"] == pytest.approx(-6 / 20)


def test_65_per_cent_of_20_clips_is_not_shown_to_beat_always_low() -> None:
    table = eval_metrics(published())
    won = row(table, "accuracy", "corrected_less_majority")
    assert won["value"] == pytest.approx(0.2) and won["low"] < 0 < won["high"]
    assert row(table, "mcnemar_p", "corrected_less_majority")["value"] > 0.3
    gained = row(table, "accuracy", "difference")
    assert gained["value"] == pytest.approx(0.3) and gained["low"] > 0


@pytest.mark.parametrize("groups", [range(20), [0] * 10 + [1] * 10], ids=["apart", "two drives"])
def test_every_estimate_has_its_interval_or_the_reason_why_not(groups) -> None:
    table = eval_metrics(published().with_columns(group=pl.Series(list(groups))))
    exact = ("labelled", "confusion", "mcnemar_p", "sign_flip_p")
    for figure in table.filter(~pl.col("metric").is_in(exact)).iter_rows(named=True):
        assert (figure["low"] is not None and figure["interval"]) or figure["note"], figure
        assert figure["low"] is None or figure["low"] <= figure["value"] <= figure["high"]
    if len(set(groups)) == 2:
        assert "no interval" in row(table, "macro_f1", "corrected")["note"]


def test_what_was_not_judged_counts_as_wrong_and_is_shown_apart() -> None:
    """Four clips: right, wrong by one, parse failure, not run."""
    clips = labelled(["LOW", "HIGH", "NONE", "NONE"], ["LOW", "MEDIUM", None, None]).with_columns(
        outcome=pl.Series(["severity", "severity", "parse_failure", "not_run"])
    )
    table = eval_metrics(clips)
    assert row(table, "accuracy", "reasoner")["value"] == 0.25
    assert row(table, "accuracy", "reasoner")["note"] == "2 without a severity count as wrong"
    assert row(table, "accuracy_of_judged", "reasoner")["value"] == 0.5
    assert row(table, "mean_absolute_error", "reasoner")["value"] == 0.5
    assert row(table, "mean_absolute_error", "reasoner")["n"] == 2
    assert {name: row(table, "outcome", "reasoner", name)["value"] for name in tables.OUTCOMES} == {
        "severity": 0.5,
        "abstained": 0.0,
        "parse_failure": 0.25,
        "not_run": 0.25,
    }
    read = row(table, "parse_success", "reasoner")
    assert (read["value"], read["n"]) == (pytest.approx(2 / 3), 3)
    assert row(table, "confusion", "reasoner", "NONE -> NOT JUDGED")["value"] == 2
    assert row(table, "recall", "reasoner", "NONE")["value"] == 0


def test_labels_from_review_are_never_pooled_with_blind_ones() -> None:
    blind = labelled(["LOW"] * 3, ["HIGH"] * 3)
    review = labelled(["LOW"] * 5, ["LOW"] * 5, origin="review")
    table = eval_metrics(pl.concat([blind, review]))
    found = table.filter((pl.col("metric") == "accuracy") & (pl.col("stage") == "reasoner"))
    assert {one["label_origin"]: (one["value"], one["n"]) for one in found.to_dicts()} == {
        "label_file": (0.0, 3),
        "review": (1.0, 5),
    }


def test_without_labels_there_is_no_figure_but_the_reason() -> None:
    table = eval_metrics(published().clear())
    assert table["value"].null_count() == table.height == 2
    assert "autorisk label" in table.item(0, "note")


def test_the_order_of_the_clips_changes_nothing() -> None:
    clips = published().with_columns(group=pl.Series([number // 2 for number in range(20)]))
    assert eval_metrics(clips.sample(fraction=1.0, shuffle=True, seed=3)).equals(eval_metrics(clips))


def test_a_clip_with_two_labels_is_refused() -> None:
    with pytest.raises(InputError, match="label_file-0000 has more than one label"):
        eval_metrics(pl.concat([published(), published().head(1)]))


@settings(max_examples=15, deadline=None)
@given(st.lists(severities, min_size=1, max_size=30))
def test_a_perfect_judge_has_1_everywhere(label: list[str]) -> None:
    table = eval_metrics(labelled(label, label))
    for metric in ("accuracy", "macro_f1"):
        assert row(table, metric, "corrected")["value"] == 1.0
        assert row(table, metric, "difference")["value"] == 0.0
    kappa = row(table, "quadratic_kappa", "corrected")["value"]
    assert kappa == 1.0 if len(set(label)) > 1 else kappa is None  # labels that never vary have none
    assert row(table, "mean_absolute_error", "corrected")["value"] == 0.0


@settings(max_examples=80, deadline=None)
@given(answers)
def test_scores_are_those_of_scikit_learn(drawn: list[tuple[str, str | None, str]]) -> None:
    label = [true for true, _, _ in drawn]
    given_ = [said for _, said, _ in drawn]
    true, said = scores.codes(label), scores.codes(given_)
    counts = scores.confusion(true, said, np.ones((1, len(true))))
    assert scores.accuracy(counts)[0] == pytest.approx(accuracy_score(true, said))
    occurring = sorted(set(true.tolist()))
    f1 = f1_score(true, said, labels=occurring, average="macro", zero_division=0)
    assert scores.macro_f1(counts)[0] == pytest.approx(f1)
    judged = said < scores.LEVELS
    if not judged.any():
        assert np.isnan(scores.quadratic_kappa(counts)[0])
        return
    assert scores.mean_absolute_error(counts)[0] == pytest.approx(mean_absolute_error(true[judged], said[judged]))
    if len(set(true[judged]) | set(said[judged])) > 1:
        kappa = cohen_kappa_score(true[judged], said[judged], labels=range(4), weights="quadratic")
        assert scores.quadratic_kappa(counts)[0] == pytest.approx(kappa, abs=1e-12)


def test_weights_are_clips_drawn_so_often() -> None:
    generator = np.random.default_rng(2)
    label, said = generator.integers(0, 4, 12), generator.integers(0, 5, 12)
    times = generator.integers(0, 3, 12)
    weighted = scores.confusion(label, said, times[None].astype(float))
    repeated = scores.confusion(np.repeat(label, times), np.repeat(said, times), np.ones((1, times.sum())))
    assert (weighted == repeated).all()


def test_a_checklist_item_counts_only_where_it_can_be_checked() -> None:
    items = pl.DataFrame(
        {
            "video_id": ["v"] * 4,
            "clip_id": ["a", "b", "c", "d"],
            "group": [0, 1, 2, 3],
            "item": ["relation_holds"] * 4,
            "holds": [True, False, True, None],
        }
    )
    found = row(checklist_figures(items), "checklist", "reasoner", "relation_holds")
    assert (found["value"], found["n"]) == (pytest.approx(2 / 3), 3)
    assert found["note"] == "1 of 4 explanations cannot be checked"
    assert row(checklist_figures(items), "checklist", "reasoner", "cause_named")["value"] is None
