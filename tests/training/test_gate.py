"""The gate: the statistics by hand, and each reason to refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("torch", reason="training needs the extra `models`")

from autorisk_dagster import tables
from autorisk_dagster.profile import TrainingSettings
from autorisk_dagster.training.gate import compare, decide, decision_table, gain_interval, mcnemar
from tests.training.labelled import sha

SETTINGS = TrainingSettings(min_test_clips=20, min_test_groups=10)
LOG_HALF = float(np.log(0.5))


def answers(base: str, adapter: str, question: str = "high", groups: int | None = None) -> pl.DataFrame:
    """One clip a letter: r right, w wrong. The truth is A and B in turn; the commonest answer is A."""
    rows = []
    for n, (one, other) in enumerate(zip(base, adapter, strict=True)):
        right, wrong = ("A", "B") if n % 2 == 0 else ("B", "A")
        said = {"r": right, "w": wrong}
        rows.append(
            {
                "sample_id": f"{question}-{n}",
                "video_id": "v",
                "clip_id": f"c{n}",
                "clip_sha256": sha(str(n)),
                "group": n % groups if groups else n,
                "question": question,
                "answer": right,
                "majority_answer": "A",
                "base_answer": said[one],
                "adapter_answer": said[other],
                "base_log_probability": {"A": LOG_HALF, "B": LOG_HALF, "C": None, "D": None},
                # 3 to 1 for the answer
                "adapter_log_probability": {"A": -0.2, "B": -0.2, "C": None, "D": None}
                | {said[other]: -0.2 + float(np.log(3))},
                "adapter_revision": "r",
                "base_model": "m",
                "base_revision": "b",
            }
        )
    return tables.frame(rows, tables.ADAPTER_EVALUATION)


def shadow(*outcomes: tuple[str, str]) -> pl.DataFrame:
    rows = [
        dict.fromkeys(tables.ADAPTER_SHADOW)
        | {"video_id": "v", "clip_id": f"c{n}", "base_outcome": base, "adapter_outcome": adapter}
        | {"base_severity": "LOW" if base == "severity" else None, "adapter_revision": "r"}
        | {"adapter_severity": "HIGH" if adapter == "severity" else None}
        for n, (base, adapter) in enumerate(outcomes)
    ]
    return tables.frame(rows, tables.ADAPTER_SHADOW)


BOTH = shadow(("severity", "severity"), ("severity", "severity"))


def test_mcnemar_is_the_binomial_by_hand() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(0, 7) == pytest.approx(2 / 2**7)
    # 1 against 5: twice the chance of at most 1 of 6 heads, 2 (1 + 6) / 64
    assert mcnemar(5, 1) == pytest.approx(14 / 64)
    assert mcnemar(3, 3) == pytest.approx(1.0)


def test_the_interval_draws_whole_groups() -> None:
    """20 clips in 2 groups, one all gains and one all none: whole groups give 0, 1/2 or 1; single clips would not."""
    gains, groups = np.repeat([0.0, 1.0], 10), np.repeat([0, 1], 10)
    assert gain_interval(gains, groups, 0.9) == (0.0, 1.0)
    low, high = gain_interval(gains, np.arange(20), 0.9)
    assert low is not None and high is not None and 0.2 < low < 0.4 < 0.6 < high < 0.8
    assert gain_interval(gains, np.zeros(20), 0.9) == (None, None)
    assert gain_interval(np.ones(6), np.arange(6), 0.95) == (1.0, 1.0)


def test_a_comparison_counts_what_differs() -> None:
    found = compare(answers("rrrrrrrrrrwwwwwwwwww", "rrrrrrrrrwrrrrrrrrww", groups=10), "high", 0.05)
    assert (found.clips, found.groups) == (20, 10)
    assert (found.base_accuracy, found.adapter_accuracy, found.majority_accuracy) == (0.5, 0.85, 0.5)
    assert (found.only_base_right, found.only_adapter_right) == (1, 8)
    assert found.p_value == pytest.approx(2 * (1 + 9) / 2**9)  # 0.039: not under 0.05 / 3
    assert found.finding == "no difference shown"
    assert found.changed_share == pytest.approx(9 / 20)
    assert found.max_probability_change == pytest.approx(0.25)  # 1/2 and 1/2 become 3/4 and 1/4
    assert found.gain == pytest.approx(0.35)
    assert found.gain_over_majority == pytest.approx(0.35)


def decided(base: str, adapter: str, seen: pl.DataFrame = BOTH, **changes: Any) -> Any:
    """Two types of question that do not change, and one that does."""
    same = "rw" * (len(base) // 2)
    comparisons = [compare(answers(same, same, name), name, SETTINGS.significance) for name in ("severity", "evasive")]
    comparisons.append(compare(answers(base, adapter), "high", SETTINGS.significance))
    return decide(comparisons, seen, SETTINGS.model_copy(update=changes))


def test_a_proven_gain_without_a_loss_is_promoted_and_says_what_changes() -> None:
    decision = decided("w" * 10 + "r" * 10, "r" * 20)
    assert decision.promoted
    assert decision.reason.startswith("gains on high (0.50 to 1.00, ")
    assert decision.reason.endswith("no loss; 2 of 2 recent clips get another severity")


@pytest.mark.parametrize(
    ("base", "adapter", "seen", "changes", "reason"),
    [
        ("r" * 20, "r" * 20, BOTH, {}, "the adapter changes no answer"),
        ("w" * 10 + "r" * 10, "r" * 20, BOTH, {"min_test_clips": 30}, "too little is held out to decide: 20 clips"),
        ("r" * 20, "w" * 10 + "r" * 10, BOTH, {}, "significantly worse on high (1.00 to 0.50"),
        ("wwww" + "r" * 16, "r" * 20, BOTH, {}, "no proven gain of 0.05 or more on any type of question"),
        # better than before, and still no better than to say A each time
        ("w" * 20, "r" * 10 + "w" * 10, BOTH, {}, "is no better than the commonest answer (0.50)"),
        ("w" * 10 + "r" * 10, "r" * 20, BOTH, {"min_gain": 0.6}, "no proven gain of 0.6 or more"),
        ("w" * 10 + "r" * 10, "r" * 20, shadow(), {"shadow_clips": 0}, "no recent clip was judged by both (training."),
        (
            "w" * 10 + "r" * 10,
            "r" * 20,
            shadow(("severity", "parse_failure"), ("abstained", "abstained")),
            {},
            "2 of 2 recent clips get no severity with the adapter, 1 with the base",
        ),
    ],
    ids=["no change", "too few", "a loss", "no proof", "the commonest answer", "too small", "no shadow", "worse words"],
)
def test_what_is_refused_says_why(
    base: str, adapter: str, seen: pl.DataFrame, changes: dict[str, Any], reason: str
) -> None:
    decision = decided(base, adapter, seen, **changes)
    assert not decision.promoted
    assert reason in decision.reason


def test_the_decision_is_a_table() -> None:
    found = compare(answers("w" * 10 + "r" * 10, "r" * 20), "high", 0.05)
    table = decision_table([found], decide([found], BOTH, SETTINGS), "r")
    tables.check(table, tables.ADAPTER_PROMOTION)
    assert table.item(0, "finding") == "gain"
