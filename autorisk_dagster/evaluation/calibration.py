"""Does the measured confidence mean what it says?

Confidence exists only where it was measured: the probabilities of the four severities' letters in one forward pass
(`letter_log_probability` of tables.REASON_OUTPUTS), normalised. Words such as "confident" are none, and a reasoner
that measures nothing gets no figure.

- expected calibration error: over bins of equal mass, the mean of |share right - mean confidence| (Guo et al. 2017). It
  is biased upwards, and so are its resamples: with few clips a perfect judge has one too, and `ece_if_calibrated` says
  how large (the mean and the 95 % range over clips whose answers are drawn from the stated probabilities themselves).
- Brier score: mean squared distance of the four probabilities from the label, 0 to 2 (Brier 1950)
- temperature: one number that all log-probabilities are divided by, by likelihood. What it gives is measured on groups
  that had no say in it (whole groups left out in at most `FOLDS` folds). It is recommended only where it lowers the
  log-loss of left-out clips with an interval that excludes 0 *and* calibration is refuted; on fewer than `LEAST_CLIPS`
  clips or `MIN_GROUPS` groups nothing is recommended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.evaluation import scores
from autorisk_dagster.evaluation.figures import Row, figure, table_of
from autorisk_dagster.evaluation.intervals import (
    MIN_GROUPS,
    SEED,
    Array,
    Estimate,
    Groups,
    bootstrapped,
    exact,
    proportion,
    unknown,
)
from autorisk_dagster.evaluation.metrics import NO_LABELS, Codes
from autorisk_dagster.severity.intervals import CONFIDENCE, RESAMPLES

CLIPS_PER_BIN: Final = 10
MOST_BINS: Final = 10
LEAST_CLIPS: Final = 50
"""Under this many clips the error of a perfectly calibrated judge is as large as that of a bad one: `ece_if_calibrated`
is about 0.1 with 20 clips in two bins."""
FOLDS: Final = 10
COLDEST, HOTTEST = 0.05, 20.0
NO_CONFIDENCE: Final = "no confidence is measured: this reasoner gives no probabilities of the severities' letters"


@dataclass(frozen=True)
class Probabilities:
    """What the reasoner gave each severity, and what it was.

    Attributes:
        log_p: (n, 4) log-probabilities, normalised
        label: (n,) position in `tables.SEVERITIES`
        groups: (n,)
    """

    log_p: Array
    label: Codes
    groups: Groups

    def __len__(self) -> int:
        return len(self.label)

    def at(self, temperature: float | Array) -> Array:
        """(n, 4) probabilities at a temperature, or at one a clip."""
        from scipy.special import softmax

        found: Array = softmax(self.log_p / np.reshape(temperature, (-1, 1)), axis=1)
        return found


def probabilities(labelled: pl.DataFrame) -> Probabilities:
    """Of those rows whose letters were measured; a letter of probability 0 gets the smallest there is.

    Args:
        labelled: `video_id`, `clip_id`, `label`, `group`, `letter_log_probability`
    """
    from scipy.special import log_softmax

    rows = labelled.drop_nulls("letter_log_probability").sort("video_id", "clip_id")
    given = rows.select(pl.col("letter_log_probability").struct.field(*tables.SEVERITIES)).to_numpy().astype(np.float64)
    whole = ~np.isnan(given).any(axis=1)
    bounded = np.maximum(given[whole].reshape(-1, scores.LEVELS), -700.0)
    log_p = log_softmax(bounded, axis=1) if len(bounded) else bounded
    return Probabilities(
        log_p, scores.codes(rows["label"].to_list())[whole], rows["group"].to_numpy().astype(np.int64)[whole]
    )


def calibration(labelled: pl.DataFrame) -> pl.DataFrame:
    """Every figure, as measured and with temperature, by origin of the labels.

    Returns:
        tables.CALIBRATION; where there are no labels or no confidence one row says so
    """
    rows: list[Row] = []
    for origin in tables.LABEL_ORIGINS:
        part = labelled.filter(pl.col("label_origin") == origin)
        if part.is_empty():
            continue
        clips = probabilities(part)
        if not len(clips):
            rows.append(figure("ece", "measured", unknown(NO_CONFIDENCE, 0, 0), origin=origin))
            continue
        without = part.height - len(clips)
        note = f"{without} labelled clips have no measured confidence" if without else ""
        rows += [row | {"label_origin": origin} for row in _all_figures(clips, note)]
    return table_of(rows or [figure("ece", "measured", unknown(NO_LABELS))], tables.CALIBRATION)


def _all_figures(clips: Probabilities, note: str) -> list[Row]:
    tempered = left_out_temperatures(clips)
    rows = _of_stage("measured", clips, clips.at(1.0), note)
    refuted = _refuted(clips, clips.at(1.0))
    if tempered is None:
        few = unknown("one group only: none can be left out", len(clips), 1)
        return [*rows, figure("temperature", "tempered", few)]
    rows += _of_stage("tempered", clips, clips.at(tempered), "of clips whose group had no say in the temperature")
    gain = bootstrapped(lambda w: _weighted(w, _log_loss(clips, tempered) - _log_loss(clips, 1.0)), clips.groups)
    rows.append(figure("log_loss_difference", "tempered", gain.noted("tempered less measured, on left-out groups")))
    rows.append(figure("temperature", "tempered", _temperature(clips, gain, refuted)))
    return rows


def _of_stage(stage: str, clips: Probabilities, given: Array, note: str) -> list[Row]:
    confidence, right = given.max(axis=1), given.argmax(axis=1) == clips.label
    bins = bins_of(confidence)
    small = f"under {LEAST_CLIPS} clips: too few to say anything of calibration" if len(clips) < LEAST_CLIPS else ""
    spread = f"{bins.max() + 1} bins of equal mass"
    ece = bootstrapped(lambda w: _weighted_ece(w, confidence, right), clips.groups)
    by_chance = ece_if_calibrated(given)
    size = (len(clips), ece.groups)
    low, high = np.quantile(by_chance, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    chance = Estimate(
        float(by_chance.mean()), float(low), float(high), f"{100 * CONFIDENCE:.0f} % of simulated clips", *size
    )
    brier = np.sum((given - np.eye(scores.LEVELS)[clips.label]) ** 2, axis=1)
    loss = -np.log(np.maximum(given[np.arange(len(clips)), clips.label], 1e-300))
    rows = [
        figure("ece", stage, ece.noted(spread, small, note)),
        figure("ece_if_calibrated", stage, chance.noted("what chance gives a judge whose confidence is right")),
        figure("brier", stage, bootstrapped(lambda w: _weighted(w, brier), clips.groups).noted(small)),
        figure("log_loss", stage, bootstrapped(lambda w: _weighted(w, loss), clips.groups).noted(small)),
        figure("mean_confidence", stage, bootstrapped(lambda w: _weighted(w, confidence), clips.groups)),
        figure("accuracy", stage, proportion(right, clips.groups).noted("of the most probable letter")),
    ]
    for number in range(int(bins.max()) + 1):
        inside = bins == number
        found = proportion(right[inside], clips.groups[inside])
        rows.append(figure("reliability", stage, found, bin=number, mean_confidence=float(confidence[inside].mean())))
    return rows


def bins_of(confidence: Array) -> Codes:
    """(n,) bin of each clip: bins of equal mass by rising confidence, at least `CLIPS_PER_BIN` in each.

    Clips of one confidence are in one bin, so that the order of the rows cannot matter.
    """
    n = len(confidence)
    count = max(1, min(MOST_BINS, n // CLIPS_PER_BIN))
    place = np.searchsorted(np.sort(confidence), confidence, side="left")
    _, number = np.unique(place * count // n, return_inverse=True)
    found: Codes = number.astype(np.intp)
    return found


def ece_of(confidence: Array, right: Array) -> float:
    """Expected calibration error, 0 to 1."""
    return float(_weighted_ece(np.ones((1, len(confidence))), confidence, right)[0])


def ece_if_calibrated(given: Array, draws: int = RESAMPLES) -> Array:
    """(draws,) expected calibration errors of the same probabilities where they are true: labels drawn from them."""
    confidence = given.max(axis=1)
    drawn = np.random.default_rng(SEED).random((draws, len(confidence))) < confidence
    bins = np.eye(int(bins_of(confidence).max()) + 1)[bins_of(confidence)]
    gap = np.abs((drawn - confidence) @ bins)
    found: Array = gap.sum(axis=1) / len(confidence)
    return found


def best_temperature(log_p: Array, label: Codes) -> float:
    """The temperature of greatest likelihood, within 0.05 to 20."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(log_t: float) -> float:
        return -float(log_softmax(log_p / np.exp(log_t), axis=1)[np.arange(len(label)), label].mean())

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def left_out_temperatures(clips: Probabilities) -> Array | None:
    """(n,) for each clip the temperature that is best on the folds without its group; None with one group only."""
    names = np.unique(clips.groups)
    if len(names) < 2:
        return None
    fold_of = dict(zip(names.tolist(), (np.arange(len(names)) % FOLDS).tolist(), strict=True))
    fold = np.array([fold_of[group] for group in clips.groups.tolist()])
    found = np.ones(len(clips))
    for number in np.unique(fold):
        rest = fold != number
        found[~rest] = best_temperature(clips.log_p[rest], clips.label[rest])
    return found


def _temperature(clips: Probabilities, gain: Estimate, refuted: bool) -> Estimate:
    best = best_temperature(clips.log_p, clips.label)
    size = (len(clips), len(np.unique(clips.groups)))
    if size[0] < LEAST_CLIPS or size[1] < MIN_GROUPS:
        few = f"under {LEAST_CLIPS} clips or {MIN_GROUPS} groups: a temperature would fit chance, none is recommended"
        return unknown(few, *size)
    if gain.high is None or gain.high >= 0:
        return exact(1.0, *size, f"the best, {best:.2f}, does not help on left-out groups: none is recommended")
    if not refuted:
        return exact(1.0, *size, f"the best is {best:.2f}, but calibration is not refuted: none is recommended")
    return exact(best, *size, "recommended: it lowers the log-loss of left-out groups, and calibration is refuted")


def _refuted(clips: Probabilities, given: Array) -> bool:
    right = given.argmax(axis=1) == clips.label
    limit = np.quantile(ece_if_calibrated(given), CONFIDENCE)
    return bool(ece_of(given.max(axis=1), right) > limit)


def _log_loss(clips: Probabilities, temperature: float | Array) -> Array:
    given = clips.at(temperature)
    found: Array = -np.log(np.maximum(given[np.arange(len(clips)), clips.label], 1e-300))
    return found


def _weighted(weights: Array, values: Array) -> Array:
    found: Array = weights @ values / weights.sum(axis=1)
    return found


def _weighted_ece(weights: Array, confidence: Array, right: Array) -> Array:
    """The bins stay those of all clips, so that resamples differ in their clips only."""
    bins = np.eye(int(bins_of(confidence).max()) + 1)[bins_of(confidence)]
    gap = np.abs((weights * (right - confidence)) @ bins)
    found: Array = gap.sum(axis=1) / weights.sum(axis=1)
    return found
