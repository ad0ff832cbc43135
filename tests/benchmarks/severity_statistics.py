"""What is said of thresholds and severity sets, against the truth of simulated fleets.

python -m tests.benchmarks.severity_statistics --write     200 fleets of each kind; writes docs/severity.md, about 4 min
python -m tests.benchmarks.severity_statistics             fewer, to see that it works; writes nothing
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.profile import ReviewSettings
from autorisk_dagster.severity.adoption import study
from autorisk_dagster.severity.conformal import SeveritySet, calibrate, scores
from autorisk_dagster.severity.correction import CorrectionRules
from autorisk_dagster.severity.policy import set_asks
from autorisk_dagster.severity.search import RuleDraws, correct_all, draw_rules, leave_one_out, search_rules
from autorisk_dagster.tables import SET_SCORES, SEVERITIES
from tests.benchmarks.severity_fleets import Fleet, fleet, kept_to, words_of

FLEETS = 200
DRAWS = 5000
COVERAGE = 0.9
# (drives, clips a drive) of the labelled clips
SHAPES = ((20, 1), (7, 3), (20, 3), (6, 10), (20, 10))
CALIBRATION_DRIVES, NEW_DRIVES = 60, 100

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """Mean over fleets with its 95 % interval, of the standard error."""

    value: float
    low: float
    high: float


def mean_of(values: Sequence[float] | Floats) -> Mean:
    """Mean and interval; fleets that have no value (NaN) are left out."""
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    if not len(known):
        return Mean(math.nan, math.nan, math.nan)
    half = 1.96 * float(known.std(ddof=1)) / math.sqrt(len(known)) if len(known) > 1 else math.nan
    return Mean(float(known.mean()), float(known.mean()) - half, float(known.mean()) + half)


@dataclass(frozen=True)
class Leak:
    """One shape of fleet: mean over fleets.

    Attributes:
        same_clips, clip_out, group_out: what each way says of the searched thresholds
        truth: how often those thresholds, searched on all clips, are right on new drives
        bias_clip_out, bias_group_out: what it says less the truth of the very thresholds that it chose, fold by fold
        default, commonest: on the labelled clips
        adopted: share of fleets in which searched thresholds are adopted
        adopted_worse: share of fleets in which they are adopted and no better than the default on new drives
        nested: what nesting says of choosing
        truth_of_choice: how often what stands after choosing is right on new drives
    """

    drives: int
    clips: int
    same_clips: Mean
    clip_out: Mean
    group_out: Mean
    truth: Mean
    bias_clip_out: Mean
    bias_group_out: Mean
    default: Mean
    commonest: Mean
    adopted: float
    adopted_worse: float
    nested: Mean
    truth_of_choice: Mean


def truths(draws: RuleDraws, alike: float, generator: np.random.Generator) -> Floats:
    """How often each draw is right on new drives: 4,000 drives of 3 clips."""
    many = fleet(generator, np.full(4000, 3), alike)
    label = np.array([SEVERITIES.index(name) for name in many.clips.label], dtype=np.int8)
    found: Floats = (correct_all(many.clips, draws) == label).mean(axis=1)
    return found


def leak(drives: int, each: int, fleets: int, draws: RuleDraws, truth: Floats, generator: np.random.Generator) -> Leak:
    """Search, leave out and choose on `fleets` fleets of one shape."""
    rows = []
    for _ in range(fleets):
        world = fleet(generator, np.full(drives, each))
        group = world.group.tolist()
        best = int(search_rules(world.clips, draws).item(0, "draw"))
        plain, grouped = leave_one_out(world.clips, draws), leave_one_out(world.clips, draws, group)
        chosen = study(world.clips, draws, group)
        stands = truth[best] if chosen.adopted else truth[0]
        rows.append(
            (
                chosen.accuracy["searched_same_clips"].value,
                plain.accuracy,
                grouped.accuracy,
                truth[best],
                plain.accuracy - truth[plain.draw].mean(),
                grouped.accuracy - truth[grouped.draw].mean(),
                chosen.accuracy["default"].value,
                chosen.accuracy["always_commonest"].value,
                float(chosen.adopted),
                float(chosen.adopted and truth[best] <= truth[0]),
                chosen.accuracy["nested"].value,
                stands,
            )
        )
    columns = np.array(rows).T
    means = [mean_of(column) for column in columns]
    return Leak(
        drives, drives * each, *means[:8], float(columns[8].mean()), float(columns[9].mean()), means[10], means[11]
    )


@dataclass(frozen=True)
class Promise:
    """Severity sets of one kind: mean over fleets.

    Attributes:
        held: share of clips of new drives, by drive, whose set holds the truth, of sets that promise it
        held_by_severity: the same by final severity
        size: severities in such a set
        single: share of such sets with one severity
        asked: share of such sets that ask for a review by the default profile
        promised: share of clips with such a set; the others have all four for want of labels
        fleets_under: share of fleets in which less than `COVERAGE` - 0.05 is held
    """

    kind: str
    thresholds: str
    drives: int
    held: Mean
    held_by_severity: dict[str, Mean]
    size: Mean
    single: Mean
    asked: Mean
    promised: Mean
    fleets_under: float


def promises(
    fleets: int,
    drives: int,
    thresholds: str,
    draws: RuleDraws,
    generator: np.random.Generator,
    *,
    by_drive: bool = True,
) -> Iterator[Promise]:
    """Calibrate on `fleets` fleets and look at new drives, for each kind of score.

    Args:
        thresholds: "default"; "chosen" between default and searched on the same clips; "always searched" on them
        by_drive: False: every clip counted singly, for comparison
    """
    found: dict[str, list[tuple[Floats, float, float, float, float, float]]] = {kind: [] for kind in SET_SCORES}
    for _ in range(fleets):
        world = fleet(generator, generator.integers(1, 9, drives))
        new = fleet(generator, generator.integers(1, 9, NEW_DRIVES))
        group = world.group.tolist()
        rules = CorrectionRules()
        stood: Sequence[str | None] = words_of(world.clips, rules)
        if thresholds == "chosen":
            chosen = study(world.clips, draws, group)
            rules, stood = chosen.rules, chosen.standing
        elif thresholds == "always searched":
            rules = draws.rules(search_rules(world.clips, draws).item(0, "draw"))
            stood = leave_one_out(world.clips, draws, group).severity
        units = group if by_drive else list(range(len(group)))
        final = words_of(new.clips, rules)
        for kind in SET_SCORES:
            calibration = calibrate(world.clips.label, stood, kept_to(world.judgements, kind), units)
            limits = {name: calibration.limit(name, COVERAGE).score for name in SEVERITIES}
            found[kind].append(_held(new, final, kind, limits))
    for kind, rows in found.items():
        by_severity = np.array([row[0] for row in rows])
        held = np.array([row[1] for row in rows])
        yield Promise(
            kind,
            thresholds,
            drives,
            mean_of(held),
            {name: mean_of(by_severity[:, at]) for at, name in enumerate(SEVERITIES)},
            *(mean_of([row[at] for row in rows]) for at in (2, 3, 4, 5)),
            float((held < COVERAGE - 0.05).mean()),
        )


def _held(
    new: Fleet, final: Sequence[str], kind: str, limits: dict[str, float]
) -> tuple[Floats, float, float, float, float, float]:
    """Held by final severity and over all, mean size, share of single ones, of those that ask for a review, of clips
    with a promise."""
    judgements = kept_to(new.judgements, kind)
    held: dict[tuple[str, int], list[bool]] = {}
    sizes, asked = [], []
    policy = ReviewSettings()
    for clip, severity in enumerate(final):
        if math.isinf(limits[severity]):
            continue
        far = scores(severity, judgements[clip], kind)
        assert far is not None
        inside = tuple(name for name, score in zip(SEVERITIES, far, strict=True) if score <= limits[severity])
        sizes.append(len(inside))
        asked.append(set_asks(SeveritySet(inside, calibrated=True), severity, policy))
        true = far[SEVERITIES.index(new.clips.label[clip])] <= limits[severity]
        held.setdefault((severity, int(new.group[clip])), []).append(true)
    if not sizes:
        return np.full(4, math.nan), math.nan, math.nan, math.nan, math.nan, 0.0
    by_drive = {key: float(np.mean(found)) for key, found in held.items()}
    by_severity = [[share for (name, _), share in by_drive.items() if name == severity] for severity in SEVERITIES]
    return (
        np.array([np.mean(shares) if shares else math.nan for shares in by_severity]),
        float(np.mean(list(by_drive.values()))),
        float(np.mean(sizes)),
        float(np.mean([size == 1 for size in sizes])),
        float(np.mean(asked)),
        len(sizes) / len(final),
    )


def main() -> None:
    """Measure and, with --write, write the page and its picture."""
    from tests.benchmarks import severity_page

    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    fleets = FLEETS if write else 10
    generator = np.random.default_rng(6)
    draws = draw_rules(DRAWS, np.random.default_rng(0))
    truth = truths(draws, 0.8, generator)
    leaks = [leak(drives, each, fleets, draws, truth, generator) for drives, each in SHAPES]
    sets = [
        *promises(fleets, CALIBRATION_DRIVES, "default", draws, generator),
        *promises(fleets, CALIBRATION_DRIVES, "chosen", draws, generator),
        *promises(fleets, CALIBRATION_DRIVES, "always searched", draws, generator),
        *promises(fleets, 12, "default", draws, generator),
    ]
    singly = list(promises(fleets, CALIBRATION_DRIVES, "default", draws, generator, by_drive=False))
    page = severity_page.text(leaks, sets, singly, truth, fleets)
    print(page)
    if write:
        severity_page.write(page, leaks, sets)


if __name__ == "__main__":
    main()
