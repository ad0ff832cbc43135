"""How often the evaluation's intervals hold the truth, in simulated fleets.

`python -m tests.benchmarks.interval_coverage` prints the table of docs/evaluation.md. A fleet is drawn by
`tests.evaluation.fleets.simulated_codes`: whatever the groups are, a clip drawn at random is distributed by the same
table, of which all figures are known exactly.
"""

from __future__ import annotations

import numpy as np

from autorisk_dagster.evaluation import scores
from autorisk_dagster.evaluation.intervals import bootstrapped, f1_estimate, proportion
from autorisk_dagster.severity.intervals import wilson
from tests.evaluation.fleets import ANSWERS, SHARES, simulated_codes

FLEETS = 1000
SHAPES = {  # groups, most clips in one, chance that a clip is a copy of its group's
    "12 clips apart": (12, 1, 0.0),
    "20 clips apart": (20, 1, 0.0),
    "60 clips apart": (60, 1, 0.0),
    "12 groups of 1 to 7": (12, 7, 0.6),
    "24 groups of 1 to 5": (24, 5, 0.6),
    "60 groups of 1 to 4": (60, 4, 0.6),
}
STATISTICS = {
    "macro-F1": scores.macro_f1,
    "kappa": scores.quadratic_kappa,
    "mean absolute error": scores.mean_absolute_error,
    "mean signed error": scores.mean_signed_error,
}


def coverage(groups: int, most: int, alike: float, fleets: int = FLEETS) -> dict[str, float]:
    """Share of fleets whose interval holds the truth; an interval that cannot be given is left out."""
    truth = SHARES[:, None] * ANSWERS
    accuracy, f1 = float(scores.accuracy(truth)), float(scores.f1(truth)[3])
    held: dict[str, list[bool]] = {"accuracy": [], "accuracy, clips counted singly": [], "F1 of HIGH": []}
    held |= {name: [] for name in STATISTICS}
    generator = np.random.default_rng(2024)
    for _ in range(fleets):
        label, said, group = simulated_codes(generator, groups, most, alike)
        share = proportion(label == said, group)
        low, high = wilson(float(share.value or 0.0), share.n)
        held["accuracy, clips counted singly"].append(low <= accuracy <= high)
        found = {"accuracy": (share, accuracy), "F1 of HIGH": (f1_estimate(label == 3, said == 3, group), f1)}
        for name, statistic in STATISTICS.items():
            estimate = bootstrapped(scores.scored(statistic, label, said), group)
            found[name] = (estimate, float(statistic(truth)))
        for name, (estimate, true) in found.items():
            if estimate.low is not None and estimate.high is not None:
                held[name].append(estimate.low <= true <= estimate.high)
    return {name: float(np.mean(each)) for name, each in held.items()}


def main() -> None:
    """Print the table in Markdown."""
    for shape, numbers in SHAPES.items():
        found = coverage(*numbers)
        if shape == next(iter(SHAPES)):
            print(f"| {FLEETS} fleets of | {' | '.join(found)} |\n|---|{'---|' * len(found)}")
        print(f"| {shape} | {' | '.join(f'{100 * share:.1f} %' for share in found.values())} |", flush=True)


if __name__ == "__main__":
    main()
