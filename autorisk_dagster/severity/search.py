"""Random search for the thresholds of R1-R6, every draw times every clip at once, and what it is worth on unseen clips.

Source: seed 000, stage 3 ("random search with LOOCV validation"). The seed names no ranges; those of `SearchRanges` are
the grids of the program published with it (AutoRisk-RM), which also draws 5,000 times and keeps the best accuracy.

A threshold only ever answers yes or no for a clip. So each value of its grid is compared with all clips once, the
answers are packed as bits, and a draw picks one row of bits a threshold: R1-R6 are then bit operations on 64 clips at a
time. The answers are those of `correction.correct_severity`, clip by clip, None, NaN and infinity included.

Which draw is better: higher accuracy; then higher macro-F1; then nearer to the default thresholds; then drawn earlier.
A threshold that the labels do not speak about is therefore moved no further than it must be. Draw 0 is the defaults.

With as few labels as the seed's 20 clips the best accuracy is mostly luck of the draw. `leave_one_out` says what is
left of it on clips that had no say; clips of one drive share a danger, so that they must be left out together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.severity.correction import HIGH, LOW, MEDIUM, NONE, CorrectionRules

THRESHOLDS = tuple(field.name for field in fields(CorrectionRules))
NEVER_JUDGED = -1
# Draws worked on at once: 12 rows of bits for up to 64 clips are 0.8 MB, which stays in a core's cache.
_CHUNK_DRAWS = 8192

Bits = NDArray[np.uint64]
Grid = tuple[float, float, float]


@dataclass(frozen=True)
class SearchRanges:
    """What is drawn for each threshold of `CorrectionRules`: (lowest, highest, step), both ends included.

    Raises:
        InputError: a range that is empty, or a step that is not positive.
    """

    r1_ttc_sec: Grid = (0.6, 1.6, 0.1)
    r1_fused: Grid = (0.35, 0.65, 0.05)
    r1_critical: Grid = (0, 3, 1)
    r2_ttc_sec: Grid = (0.15, 0.45, 0.05)
    r2_critical: Grid = (2, 6, 1)
    r3_fused: Grid = (0.55, 0.80, 0.05)
    r3_ttc_sec: Grid = (0.3, 0.8, 0.1)
    r4_ttc_sec: Grid = (1.0, 2.0, 0.1)
    r4_critical: Grid = (1, 4, 1)
    r5_fused: Grid = (0.35, 0.60, 0.05)
    r5_ttc_sec: Grid = (0.4, 0.8, 0.1)
    r6_ttc_sec: Grid = (0.3, 0.7, 0.1)

    def __post_init__(self) -> None:
        for name in THRESHOLDS:
            low, high, step = getattr(self, name)
            if not (low <= high < np.inf and 0 < step < np.inf):
                raise InputError(
                    f"{name} must be (lowest, highest, step) with a positive step, got {(low, high, step)}"
                )

    def values(self, name: str) -> NDArray[np.float64]:
        """The values a threshold is drawn from, rising: decimals as written (0.55), not sums of steps."""
        low, high, step = getattr(self, name)
        found: NDArray[np.float64] = np.round(low + step * np.arange(round((high - low) / step) + 1), 9)
        return found


@dataclass(frozen=True)
class LabelledClips:
    """Clips that a person has labelled, with what the rules read; all of one length.

    Attributes:
        label: the true severity of each clip
        severity: what the reasoner said; None: never judged, which no rule changes and which counts as wrong
        min_ttc_sec, fused_score, critical_tracks: as `correct_severity` takes them; None or NaN: cannot say

    Raises:
        InputError: no clip, lengths that differ, an unknown severity.
    """

    label: Sequence[str]
    severity: Sequence[str | None]
    min_ttc_sec: Sequence[float | None] | NDArray[np.float64]
    fused_score: Sequence[float | None] | NDArray[np.float64]
    critical_tracks: Sequence[float | None] | NDArray[np.float64]

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if set(lengths.values()) != {len(self)} or not len(self):
            raise InputError(f"clips need one value each of all of {', '.join(lengths)}, and one clip; got {lengths}")
        strange = {*self.label} - {*tables.SEVERITIES} | {*self.severity} - {*tables.SEVERITIES, None}
        if strange:
            raise InputError(
                f"every clip needs a label of {', '.join(tables.SEVERITIES)}; got {sorted(map(str, strange))}"
            )

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class RuleDraws:
    """Sets of thresholds; set 0 is the defaults.

    Attributes:
        default: the thresholds that ties lean to
        grids: for each threshold what it may be: its default first, then the values of its range
        picks: for each threshold (draws,) positions in its grid
        distance: (draws,) mean over the thresholds of |value - default| / width of the range, 0 for the defaults
    """

    default: CorrectionRules
    grids: Mapping[str, NDArray[np.float64]]
    picks: Mapping[str, NDArray[np.intp]]
    distance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.distance)

    def rules(self, draw: int) -> CorrectionRules:
        """One set, as the scalar path takes it."""
        drawn = {name: float(self.grids[name][self.picks[name][draw]]) for name in THRESHOLDS}
        return CorrectionRules(**{name: type(getattr(self.default, name))(value) for name, value in drawn.items()})

    def values(self) -> dict[str, NDArray[np.float64]]:
        """For each threshold its value in every set, (draws,)."""
        return {name: self.grids[name][self.picks[name]] for name in THRESHOLDS}


@dataclass(frozen=True)
class LeftOut:
    """What the search predicts for clips that had no say in it.

    Attributes:
        draw: (clips,) the draw that was best on the clips outside this clip's group
        severity: for each clip what that draw makes of it; None: never judged
        accuracy, macro_f1: of those predictions
    """

    draw: NDArray[np.intp]
    severity: tuple[str | None, ...]
    accuracy: float
    macro_f1: float


def draw_rules(
    draws: int,
    generator: np.random.Generator,
    ranges: SearchRanges = SearchRanges(),
    default: CorrectionRules = CorrectionRules(),  # noqa: B008 (frozen)
) -> RuleDraws:
    """The defaults and `draws` random sets after them, each threshold uniform over the values of its range."""
    if draws < 0:
        raise InputError(f"draws must be 0 or more, got {draws}")
    grids: dict[str, NDArray[np.float64]] = {}
    picks: dict[str, NDArray[np.intp]] = {}
    distance = np.zeros(draws + 1)
    for name in THRESHOLDS:
        values = ranges.values(name)
        grids[name] = np.concatenate([[float(getattr(default, name))], values])
        drawn = generator.integers(1, len(values) + 1, draws)
        picks[name] = np.concatenate([[0], drawn]).astype(np.intp)
        width = values[-1] - values[0] or 1.0
        distance += (np.abs(grids[name] - grids[name][0]) / width)[picks[name]]
    return RuleDraws(default, grids, picks, distance / len(THRESHOLDS))


def search_rules(clips: LabelledClips, rules: RuleDraws) -> pl.DataFrame:
    """Every draw with its score on all clips, best first (order: see the module).

    Returns:
        `draw`, one column a threshold, `accuracy`, `macro_f1` (both 0..1) and `distance` to the defaults
    """
    everything = _packed(np.ones((1, len(clips)), dtype=bool))
    scores = [
        (_accuracy(_right(levels, truth), everything), _macro_f1(levels, truth, everything))
        for _, levels, truth in _chunks(clips, rules)
    ]
    accuracy, macro_f1 = (np.concatenate(part) for part in zip(*scores, strict=True))
    scored = {"draw": np.arange(len(rules)), **rules.values(), "accuracy": accuracy, "macro_f1": macro_f1}
    order = ["accuracy", "macro_f1", "distance", "draw"]
    return pl.DataFrame(scored | {"distance": rules.distance}).sort(order, descending=[True, True, False, False])


def leave_one_out(clips: LabelledClips, rules: RuleDraws, groups: Sequence[object] | None = None) -> LeftOut:
    """For each clip the draw that is best on the clips outside its group, and what it makes of the clip.

    Args:
        clips, rules: as for `search_rules`
        groups: (clips,) a key of each clip's group, such as its drive; clips of one group are left out together.
            None: every clip by itself.

    Raises:
        InputError: fewer than two groups, or not one key a clip.
    """
    keys = list(range(len(clips))) if groups is None else list(groups)
    names = list(dict.fromkeys(keys))
    if len(keys) != len(clips) or len(names) < 2:
        raise InputError(f"leaving out needs a group for each of {len(clips)} clips and two groups, got {keys}")
    member = np.array([[key == name for key in keys] for name in names])
    kept = _packed(~member)
    best = [(-np.inf, -np.inf, -np.inf, 0)] * len(names)  # accuracy, macro-F1, minus distance, minus draw
    for first, levels, truth in _chunks(clips, rules):
        right = _right(levels, truth)
        for index, found in enumerate(best):
            counted = kept[:, index, None]
            accuracy = _accuracy(right, counted)
            highest = accuracy.max()
            if highest < found[0]:
                continue
            level = np.flatnonzero(accuracy == highest)  # only these few need a macro-F1
            macro_f1 = _macro_f1([given.take(level, axis=1) for given in levels], truth, counted)
            distance = rules.distance[first + level]
            at = _best(macro_f1, -distance)
            best[index] = max(found, (highest, macro_f1[at], -distance[at], -int(first + level[at])))
    draw_of_group = np.array([-found[3] for found in best], dtype=np.intp)
    draw = draw_of_group[member.argmax(axis=0)]
    chosen = correct_all(clips, _picked(rules, draw_of_group))
    codes = chosen[member.argmax(axis=0), np.arange(len(clips))]
    everything = _packed(np.ones((1, len(clips)), dtype=bool))
    given, true = _levels_of(codes), _levels_of(_codes(clips.label))
    severity = tuple(None if code == NEVER_JUDGED else tables.SEVERITIES[code] for code in codes)
    accuracy, macro_f1 = _accuracy(_right(given, true), everything), _macro_f1(given, true, everything)
    return LeftOut(draw, severity, float(accuracy[0]), float(macro_f1[0]))


def correct_all(clips: LabelledClips, rules: RuleDraws) -> NDArray[np.int8]:
    """What every draw makes of every clip: (draws, clips) positions in `tables.SEVERITIES`, or `NEVER_JUDGED`.

    Equal to `correct_severity` with `rules.rules(draw)` on each clip.
    """
    corrected = np.full((len(rules), len(clips)), NEVER_JUDGED, dtype=np.int8)
    for first, levels, _ in _chunks(clips, rules):
        for code, bits in enumerate(levels):
            corrected[first : first + _CHUNK_DRAWS][_unpacked(bits, len(clips))] = code
    return corrected


def _chunks(clips: LabelledClips, rules: RuleDraws) -> Iterator[tuple[int, list[Bits], list[Bits]]]:
    """For some draws at a time: the first draw, for each severity (words, draws) bits of the clips the draws give it,
    and for each severity (words, 1) bits of the clips that truly are of it."""
    answers = _answers(clips, rules)
    measured = _measured(clips)
    raw, truth = _levels_of(_codes(clips.severity)), _levels_of(_codes(clips.label))
    for first in range(0, len(rules), _CHUNK_DRAWS):
        part = {n: answers[n].take(rules.picks[n][first : first + _CHUNK_DRAWS], axis=1) for n in THRESHOLDS}
        yield first, _corrected(part, measured, raw), truth


def _corrected(answer: Mapping[str, Bits], measured: Bits, raw: list[Bits]) -> list[Bits]:
    """R1-R6 on bits, in order; what a rule took is out of reach of those after it."""
    none, low, medium, high = raw
    r1 = answer["r1_ttc_sec"] & answer["r1_fused"] & answer["r1_critical"] & measured
    left = measured & ~r1
    r2 = answer["r2_ttc_sec"] & answer["r2_critical"] & left
    left &= ~r2
    # R3 to R6 ask for one raw severity each, each another: they cannot meet.
    r3: Bits = answer["r3_fused"] & answer["r3_ttc_sec"] & low & left
    r4: Bits = answer["r4_ttc_sec"] & answer["r4_critical"] & high & left
    r5: Bits = answer["r5_fused"] & answer["r5_ttc_sec"] & medium & left
    r6: Bits = answer["r6_ttc_sec"] & none & left
    kept = ~(r1 | r2)
    return [
        r1 | (none & kept & ~r6),
        r5 | r6 | (low & kept & ~r3),
        r3 | r4 | (medium & kept & ~r5),
        r2 | (high & kept & ~r4),
    ]


def _answers(clips: LabelledClips, rules: RuleDraws) -> dict[str, Bits]:
    """For each threshold (words, values): whether its comparison holds, for every value of its grid and every clip."""
    ttc, fused, critical = _quantities(clips)
    comparison = {
        "r1_ttc_sec": (np.greater_equal, ttc),
        "r1_fused": (np.less, fused),
        "r1_critical": (np.less_equal, critical),
        "r2_ttc_sec": (np.less_equal, ttc),
        "r2_critical": (np.greater_equal, critical),
        "r3_fused": (np.greater_equal, fused),
        "r3_ttc_sec": (np.less_equal, ttc),
        "r4_ttc_sec": (np.greater_equal, ttc),
        "r4_critical": (np.less_equal, critical),
        "r5_fused": (np.less, fused),
        "r5_ttc_sec": (np.greater_equal, ttc),
        "r6_ttc_sec": (np.less_equal, ttc),
    }
    return {name: _packed(compare(value, rules.grids[name][:, None])) for name, (compare, value) in comparison.items()}


def _quantities(clips: LabelledClips) -> tuple[NDArray[np.float64], ...]:
    """TTC, fused score and critical tracks, (clips,) each; None becomes NaN."""
    return tuple(
        np.array(read, dtype=np.float64) for read in (clips.min_ttc_sec, clips.fused_score, clips.critical_tracks)
    )


def _measured(clips: LabelledClips) -> Bits:
    """(words, 1) bits of the clips that rules may fire on: judged, and every quantity known; NaN fails `>= 0`."""
    ttc, fused, critical = _quantities(clips)
    judged = _codes(clips.severity) != NEVER_JUDGED
    return _packed((judged & (ttc >= 0) & ~np.isnan(fused) & ~np.isnan(critical))[None])


def _right(levels: list[Bits], truth: list[Bits]) -> Bits:
    """(words, draws) bits of the clips that each draw gets right."""
    right = np.zeros_like(levels[0])
    for given, true in zip(levels, truth, strict=True):
        right |= given & true
    return right


def _accuracy(right: Bits, counted: Bits) -> NDArray[np.float64]:
    """(draws,) share of the `counted` clips that are right."""
    found: NDArray[np.float64] = _count(right & counted) / int(np.bitwise_count(counted).sum())
    return found


def _macro_f1(levels: list[Bits], truth: list[Bits], counted: Bits) -> NDArray[np.float64]:
    """(draws,) mean over the severities that occur among the `counted` labels of 2 * hits / (given + true).

    The divisor is then the same for every draw, and a severity that nobody labelled neither helps nor hurts.
    """
    total = np.zeros(levels[0].shape[1])
    occurring = 0
    for given, true in zip(levels, truth, strict=True):
        support = int(np.bitwise_count(true & counted).sum())
        if support:
            given = given & counted
            total += 2 * _count(given & true) / (_count(given) + support)
            occurring += 1
    return total / occurring


def _count(bits: Bits) -> NDArray[np.uint32]:
    """(draws,) ones in (words, draws) bits."""
    found: NDArray[np.uint32] = np.bitwise_count(bits).sum(axis=0, dtype=np.uint32)
    return found


def _best(*scores: NDArray[np.float64]) -> int:
    """First draw with the highest first score, of those the highest second one, and so on."""
    left = np.arange(len(scores[0]))
    for score in scores:
        left = left[score[left] == score[left].max()]
    return int(left[0])


def _codes(severities: Sequence[str | None]) -> NDArray[np.int8]:
    position: dict[str | None, int] = {name: code for code, name in enumerate((NONE, LOW, MEDIUM, HIGH))}
    return np.array([position.get(severity, NEVER_JUDGED) for severity in severities], dtype=np.int8)


def _levels_of(codes: NDArray[np.int8]) -> list[Bits]:
    return [_packed((codes == code)[None]) for code in range(len(tables.SEVERITIES))]


def _packed(answers: NDArray[np.bool_]) -> Bits:
    """(rows, clips) answers as (words, rows): clip i is bit i % 64 of word i // 64; bits past the last clip are 0."""
    words = -(-answers.shape[1] // 64)
    packed = np.zeros((len(answers), words * 8), dtype=np.uint8)
    packed[:, : -(-answers.shape[1] // 8)] = np.packbits(answers, axis=1, bitorder="little")
    return np.ascontiguousarray(packed.view("<u8").T.astype(np.uint64, copy=False))


def _unpacked(bits: Bits, clips: int) -> NDArray[np.bool_]:
    """(words, rows) back to (rows, clips)."""
    raw = np.ascontiguousarray(bits.T.astype("<u8", copy=False)).view(np.uint8)
    return np.unpackbits(raw, axis=1, count=clips, bitorder="little").astype(bool)


def _picked(rules: RuleDraws, draws: NDArray[np.intp]) -> RuleDraws:
    picks = {name: values[draws] for name, values in rules.picks.items()}
    return RuleDraws(rules.default, rules.grids, picks, rules.distance[draws])
