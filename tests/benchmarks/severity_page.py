"""docs/severity.md and its picture, from what the simulated fleets gave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autorisk_dagster.severity.intervals import wilson
from autorisk_dagster.tables import SEVERITIES
from tests.benchmarks.measure import ROOT

if TYPE_CHECKING:
    from tests.benchmarks.severity_statistics import Floats, Leak, Mean, Promise

PICTURE = "severity_leak.png"
PUBLISHED = {"NONE": 4, "LOW": 9, "MEDIUM": 4, "HIGH": 3}
HEADLINES = (("reasoner alone", 7), ("after correction, on the same clips", 13), ("leave-one-out", 9))

PAGE = """# Severity: what the figures can bear

Made by `python -m tests.benchmarks.severity_statistics --write`. Fleets are simulated, because only there the truth is
known: the model is `tests/benchmarks/severity_fleets.py`, and it is a model to test statistics on, not one of traffic.
Intervals of means over fleets are 95 %, from the standard error over {fleets} fleets.

## The published figures

20 clips: {published}. Always saying LOW is right on 9 of 20.

| | right | share | 95 % interval (Wilson, n = 20) |
|---|---|---|---|
{headlines}

The leave-one-out figure is what "always LOW" scores, and its interval reaches from {low:.0%} to {high:.0%}: of 20 clips
nobody can tell whether the rules help. The intervals take the clips for independent. Where clips share a drive they are
wider still.

## The leak: plain leave-one-out against drives left out

5,000 draws over the seed's ranges. A drive's clips show much the same (`alike` = 0.8). *Same clips*: accuracy on the
clips that chose the thresholds. *Clip out*: leave-one-out as the seed does it. *Drive out*: all clips of the drive left
out together. *Truth*: how often those thresholds are right on the clips of 4,000 new drives. *Bias*: what is said less
the truth of the very thresholds that were chosen, fold by fold. The default thresholds' truth is {default:.1%}; the
best of all 5,001 sets, which no one can know, has {best:.1%}.

| drives | clips | same clips | clip out | drive out | truth | bias, clip out | bias, drive out |
|---|---|---|---|---|---|---|---|
{leaks}

![What each way says of the searched thresholds, against their truth on new drives]({picture})

Where every drive has one clip the two are the same. Otherwise plain leave-one-out says too much, the more the more
clips a drive has, and labelling more clips of the same drives does not mend it.

## Choosing between default and searched

Adopted where the lower end of the 95 % interval (bootstrap by group) of the gain is over 0, both against the default
and against always saying the commonest label, no HIGH is lost, and there are 20 groups (`severity/adoption.py`).
*Nested* is the figure that is reported; *truth of choice* is how often what then stands is right on new drives.

| drives | clips | always the commonest | default | nested | truth of choice | adopted | adopted and no better |
|---|---|---|---|---|---|---|---|
{choices}

## Severity sets at 90 %

Drives have 1 to 8 clips; coverage is of clips of new drives, averaged by drive, among clips whose final severity has
enough labelled drives for a promise. *Set size*: severities in a set; *of one*: sets of one severity; *asked
for*: sets that ask for a review by the default profile (three severities or more, or HIGH among them where the final
severity is lower); *promised*: share of clips with such a set. The promise is at least 90 %. Scores with few values
(votes; distance, the steps from the final severity) cannot stop at 90 % and hold more. By final severity: % with half
the width of the interval; with 12 drives few fleets have 9 of one severity.

| score | thresholds | labelled drives | held | NONE | LOW | MEDIUM | HIGH | set size | of one | asked for | promised |
|---|---|---|---|---|---|---|---|---|---|---|---|
{sets}

For comparison, every clip counted singly, {drives} drives: {singly}.
Single fleets vary: with letters and {drives} drives {under:.0%} of the fleets hold less than 85 %. The promise is over
fleets and clips, not for one fleet.

With one clip a drive, at least 9 drives of a final severity are needed for any promise at 90 %; with fewer the set is
all four severities, and it is said that it is so for want of labels.

Thresholds chosen, or always searched, on the same clips have no exact promise (the final severities are those by
thresholds in which the drive had no say): the rows say what it comes to here. The default is seldom given up, so that
*chosen* is mostly the default; *always searched* is the hard case.

## The search itself

Identical to a plain implementation on the same draws, clip by clip and score by score
(`tests/severity/test_search.py`); how much faster it is stands in [performance.md](performance.md), from
`make bench ONLY=rules`.
"""


def text(leaks: Sequence[Leak], sets: Sequence[Promise], singly: Sequence[Promise], truth: Floats, fleets: int) -> str:
    """The page."""
    total = sum(PUBLISHED.values())
    low, high = wilson(9 / total, total)
    letters = next(each for each in sets if each.kind == "letters")
    return PAGE.format(
        fleets=fleets,
        published=", ".join(f"{count} {name}" for name, count in PUBLISHED.items()),
        headlines="\n".join(
            f"| {name} | {right} of {total} | {right / total:.0%} | {_range(*wilson(right / total, total))} |"
            for name, right in (*HEADLINES, ('"always LOW"', PUBLISHED["LOW"]))
        ),
        low=low,
        high=high,
        default=truth[0],
        best=truth.max(),
        leaks="\n".join(
            f"| {each.drives} | {each.clips} | {each.same_clips.value:.1%} | {each.clip_out.value:.1%} | "
            f"{each.group_out.value:.1%} | {each.truth.value:.1%} | {_points(each.bias_clip_out)} | "
            f"{_points(each.bias_group_out)} |"
            for each in leaks
        ),
        picture=PICTURE,
        choices="\n".join(
            f"| {each.drives} | {each.clips} | {each.commonest.value:.1%} | {each.default.value:.1%} | "
            f"{each.nested.value:.1%} | {each.truth_of_choice.value:.1%} | {each.adopted:.1%} | "
            f"{each.adopted_worse:.1%} |"
            for each in leaks
        ),
        sets="\n".join(_set_row(each) for each in sets),
        drives=letters.drives,
        singly=", ".join(f"{each.kind} {_share(each.held)}" for each in singly),
        under=letters.fleets_under,
    )


def write(page: str, leaks: Sequence[Leak], sets: Sequence[Promise]) -> None:
    """Write the page and its picture into `docs/`."""
    (ROOT / "docs" / "severity.md").write_text(page, encoding="utf-8")
    picture(ROOT / "docs" / PICTURE, leaks, sets)


def picture(path: Path, leaks: Sequence[Leak], sets: Sequence[Promise]) -> None:
    """What each way says against the truth, and what the sets hold against what they promise."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), width_ratios=(3, 2), layout="constrained")
    ways = (
        ("same_clips", "same clips (not held out)", "tab:red", "x", False),
        ("clip_out", "clip out (leaks)", "tab:orange", "o", False),
        ("group_out", "drive out (held out)", "tab:blue", "o", True),
        ("truth", "truth on new drives", "black", "D", True),
    )
    for offset, (name, label, colour, marker, filled) in enumerate(ways):
        means: list[Mean] = [getattr(each, name) for each in leaks]
        below = [100 * (mean.value - mean.low) for mean in means]
        above = [100 * (mean.high - mean.value) for mean in means]
        left.errorbar(
            [at + 0.17 * (offset - 1.5) for at in range(len(leaks))],
            [100 * mean.value for mean in means],
            yerr=[below, above],
            fmt=marker,
            color=colour,
            markerfacecolor=colour if filled else "white",
            capsize=3,
            label=label,
        )
    left.set_xticks(range(len(leaks)), [f"{each.drives} drives,\n{each.clips} clips" for each in leaks])
    left.set_ylabel("accuracy of the searched thresholds (%)")
    left.set_title("What is said of searched thresholds, and what is true")
    left.legend(loc="upper right", ncols=2, fontsize=8)
    left.set_ylim(top=80)
    left.grid(axis="y", alpha=0.3)

    names = [f"{each.kind}, {each.drives} drives\n{each.thresholds}" for each in sets]
    values = [each.held for each in sets]
    right.errorbar(
        [100 * mean.value for mean in values],
        range(len(sets)),
        xerr=[[100 * (mean.value - mean.low) for mean in values], [100 * (mean.high - mean.value) for mean in values]],
        fmt="o",
        color="tab:blue",
        capsize=3,
    )
    right.axvline(90, color="black", linestyle="--", label="promised: at least 90 %")
    right.set_yticks(range(len(sets)), names, fontsize=8)
    right.invert_yaxis()
    right.set_xlim(85, 100)
    right.set_xlabel("clips of new drives whose set holds the truth (%)")
    right.set_title("Severity sets")
    right.legend(loc="upper right", fontsize=8)
    right.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _set_row(each: Promise) -> str:
    by_severity = " | ".join(_give(each.held_by_severity[name]) for name in SEVERITIES)
    return (
        f"| {each.kind} | {each.thresholds} | {each.drives} | {_share(each.held)} | {by_severity} | "
        f"{each.size.value:.2f} | {each.single.value:.0%} | {each.asked.value:.0%} | {each.promised.value:.0%} |"
    )


def _share(mean: Mean) -> str:
    return f"{mean.value:.1%} ({_range(mean.low, mean.high, 1)})"


def _give(mean: Mean) -> str:
    return f"{100 * mean.value:.1f} ± {50 * (mean.high - mean.low):.1f}"


def _range(low: float, high: float, digits: int = 0) -> str:
    return f"{low:.{digits}%} to {high:.{digits}%}"


def _points(mean: Mean) -> str:
    return f"{100 * mean.value:+.1f} ({100 * mean.low:+.1f} to {100 * mean.high:+.1f})"
