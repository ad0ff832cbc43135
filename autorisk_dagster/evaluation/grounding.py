"""Do the words of an answer go with the signals of its clip? Agreement, beside what chance alone would give.

A signal is high where its absolute score (profile section `mining`: 1 is a full signal) reaches `HIGH_SCORE`; the
seed's min-max scores would call something high in every video. An answer names a signal where one of its words, whole
and not negated, is about it. They agree where both say so or neither does. With shares p of high and q of named clips,
answers that know nothing of the clip agree in p q + (1 - p)(1 - q); seed 000's grounding rate leaves that out. Cohen's
kappa is the share of what is left above it.

A reasoner that reads the signals itself (`kinematic`) is bound to agree; one that sees no sound is not bound to hear.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster import tables
from autorisk_dagster.evaluation.figures import Row, figure, table_of
from autorisk_dagster.evaluation.intervals import Array, Groups, bootstrapped, proportion, unknown
from autorisk_dagster.evaluation.lexicon import Concept, events, named, things
from autorisk_dagster.reasoning.rules import ALONGSIDE_GAP_M, NEAR_M

HIGH_SCORE: Final = 0.5
# Words that speak of a signal. Proximity is named by nearness, not by a road user alone: one may be far away.
SIGNAL_WORDS: Final[dict[str, dict[str, Concept]]] = {
    "audio": {
        "thing": things("horn siren bang sound noise screech thud", "loud audible loudly"),
        "event": events("honk hear beep screech hoot", "heard"),
    },
    "motion": {
        "event": events(
            "swerve brake accelerate veer skid cut merge turn cross rush speed shake jerk lurch overtake",
            "sudden suddenly abrupt abruptly rapid rapidly fast quickly swift swiftly sharp sharply burst",
        ),
    },
    "proximity": {
        "event": events("tailgate encroach", "close closely near nearby nearest beside alongside adjacent proximity"),
        "thing": things("gap distance clearance flank", "inches"),
    },
}


_METRES: Final = re.compile(r"\b(\d+(?:\.\d+)?)\s*(?:m|metres?|meters?)\s+(away|ahead|beside)(?: the own flank)?\b")


def signal_words(text: str) -> set[str]:
    """The signals that a text speaks of; a distance in metres is near or not, whatever word follows it."""

    def near(match: re.Match[str]) -> str:
        limit = ALONGSIDE_GAP_M if match[2] == "beside" else NEAR_M
        return "near" if float(match[1]) <= limit else ""

    text = _METRES.sub(near, text)
    return {signal for signal, concepts in SIGNAL_WORDS.items() if named(text, concepts)}


def answer_text(row: dict[str, object]) -> str:
    """What an answer says of its clip: hazards and reasoning, not the prediction or the advice."""
    parts: list[str] = []
    for hazard in row["hazards"] or ():  # type: ignore[attr-defined]
        parts += [hazard["type"] or "", *(hazard["actors"] or ()), hazard["spatial_relation"] or ""]
    return ". ".join([*parts, str(row["causal_reasoning"] or "")])


def grounded(answers: pl.DataFrame) -> pl.DataFrame:
    """Per clip and signal: whether it is high and whether the answer names it.

    Args:
        answers: `video_id`, `clip_id`, `group`, `outcome`, `hazards`, `causal_reasoning` and the three `*_score` of
            tables.MINED_CLIPS, one row a clip

    Returns:
        `video_id`, `clip_id`, `group`, `signal`, `score`, `high` (null: not measured), `named`; clips with an answer
    """
    rows = []
    for row in answers.filter(pl.col("outcome") == "severity").sort("video_id", "clip_id").iter_rows(named=True):
        said = signal_words(answer_text(row))
        for signal in tables.SIGNALS:
            score = row[f"{signal}_score"]
            rows.append(
                {name: row[name] for name in ("video_id", "clip_id", "group")}
                | {"signal": signal, "score": score, "high": None if score is None else score >= HIGH_SCORE}
                | {"named": signal in said}
            )
    kinds = {"video_id": pl.String, "clip_id": pl.String, "group": pl.Int64, "signal": pl.String, "score": pl.Float64}
    return pl.DataFrame(rows, schema={**kinds, "high": pl.Boolean, "named": pl.Boolean})


def grounding_metrics(per_clip: pl.DataFrame) -> pl.DataFrame:
    """Agreement of `grounded` by signal and over all three.

    Returns:
        tables.GROUNDING_METRICS
    """
    rows: list[Row] = []
    for signal in (*tables.SIGNALS, None):
        part = per_clip.filter(pl.col("signal") == signal) if signal else per_clip
        known = part.drop_nulls("high")
        high, said = known["high"].to_numpy().astype(bool), known["named"].to_numpy().astype(bool)
        groups = known["group"].to_numpy()
        unmeasured = part.height - known.height
        rows += _of_signal(signal or "all", high, said, groups, f"{unmeasured} not measured" if unmeasured else "")
    return table_of(rows, tables.GROUNDING_METRICS)


def _of_signal(
    signal: str, high: NDArray[np.bool_], said: NDArray[np.bool_], groups: Groups, unmeasured: str
) -> list[Row]:
    if not len(high):
        return [
            figure("agreement", signal, unknown("no clip has an answer and this signal measured").noted(unmeasured))
        ]

    def shares(weights: Array) -> tuple[Array, Array]:
        total = weights.sum(axis=1)
        agree = weights @ (high == said) / total
        p, q = weights @ high / total, weights @ said / total
        return agree, p * q + (1 - p) * (1 - q)

    def by_chance(weights: Array) -> Array:
        return shares(weights)[1]

    def above(weights: Array) -> Array:
        agree, chance = shares(weights)
        return agree - chance

    def kappa(weights: Array) -> Array:
        agree, chance = shares(weights)
        undefined = np.full(len(agree), np.nan)
        found: Array = np.divide(agree - chance, 1 - chance, out=undefined, where=chance < 1 - 1e-12)
        return found

    missed, invented = int(np.sum(high & ~said)), int(np.sum(~high & said))
    told = f"{missed} high and not named, {invented} named and not high"
    return [
        figure("signal_high", signal, proportion(high, groups).noted(f"score at least {HIGH_SCORE:g}", unmeasured)),
        figure("named", signal, proportion(said, groups)),
        figure("agreement", signal, proportion(high == said, groups).noted(told, unmeasured)),
        figure("expected_by_chance", signal, bootstrapped(by_chance, groups)),
        figure("above_chance", signal, bootstrapped(above, groups)),
        figure("kappa", signal, bootstrapped(kappa, groups)),
    ]
