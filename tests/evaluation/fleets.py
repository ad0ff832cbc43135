"""Simulated labelled clips whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from autorisk_dagster import tables

SEVERITIES = tables.SEVERITIES
# The label file of seed 000: 4 NONE, 9 LOW, 4 MEDIUM, 3 HIGH; answers with the published recalls per class, before
# (0 of 4, 3 of 9, 2 of 4, 2 of 3: 7 of 20 right) and after correction (3, 4, 4, 2: 13 of 20).
PUBLISHED_LABELS = ["NONE"] * 4 + ["LOW"] * 9 + ["MEDIUM"] * 4 + ["HIGH"] * 3
PUBLISHED_BEFORE = ["LOW"] * 4 + ["LOW"] * 3 + ["MEDIUM"] * 6 + ["MEDIUM"] * 2 + ["HIGH"] * 2 + ["HIGH"] * 2 + ["LOW"]
PUBLISHED_AFTER = ["NONE"] * 3 + ["LOW"] + ["LOW"] * 4 + ["MEDIUM"] * 5 + ["MEDIUM"] * 4 + ["HIGH"] * 2 + ["LOW"]

SHARES = np.array([0.3, 0.3, 0.2, 0.2])
ANSWERS = np.array(  # by label: NONE, LOW, MEDIUM, HIGH, no severity
    [
        [0.60, 0.25, 0.10, 0.03, 0.02],
        [0.20, 0.50, 0.20, 0.05, 0.05],
        [0.05, 0.25, 0.50, 0.15, 0.05],
        [0.03, 0.07, 0.30, 0.55, 0.05],
    ]
)


def labelled(
    label: Sequence[str],
    raw: Sequence[str | None],
    corrected: Sequence[str | None] | None = None,
    groups: Sequence[int] | None = None,
    origin: str = "label_file",
    **more: Sequence[object],
) -> pl.DataFrame:
    """Labelled clips as `metrics.eval_metrics` takes them; what was not judged was abstained from."""
    n = len(label)
    columns = {
        "video_id": ["v"] * n,
        "clip_id": [f"{origin}-{number:04d}" for number in range(n)],
        "label_origin": [origin] * n,
        "label": list(label),
        "outcome": ["abstained" if said is None else "severity" for said in raw],
        "raw_severity": list(raw),
        "severity": list(raw if corrected is None else corrected),
        "group": list(range(n) if groups is None else groups),
    }
    return pl.DataFrame({**columns, **more}, schema_overrides={"raw_severity": pl.String, "severity": pl.String})


def published() -> pl.DataFrame:
    return labelled(PUBLISHED_LABELS, PUBLISHED_BEFORE, PUBLISHED_AFTER)


def simulated_codes(
    generator: np.random.Generator, groups: int, most: int, alike: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, answer and group of clips in groups of 1 to `most`; a clip is a copy of its group's with chance `alike`.

    Whatever `alike` is, a clip drawn at random is distributed by SHARES and ANSWERS.
    """
    label, given, group = [], [], []
    for number in range(groups):
        shared = generator.choice(4, p=SHARES)
        said = generator.choice(5, p=ANSWERS[shared])
        for _ in range(generator.integers(1, most + 1)):
            if generator.random() >= alike:
                own = generator.choice(4, p=SHARES)
                label.append(own), given.append(generator.choice(5, p=ANSWERS[own]))
            else:
                label.append(shared), given.append(said)
            group.append(number)
    return np.array(label), np.array(given), np.array(group)


def row(table: pl.DataFrame, metric: str, stage: str, of: str | None = None) -> dict[str, object]:
    """The one row of a table of figures."""
    same = pl.col("class").is_null() if of is None else pl.col("class") == of
    return table.filter((pl.col("metric") == metric) & (pl.col("stage") == stage) & same).row(0, named=True)
