"""docs/ttc.md and its figure, from what the benchmark measured. Aggregate figures only, nothing of KITTI's data."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from tests.benchmarks import jaad_people
from tests.benchmarks.kitti_ttc import Readings

ERRORS = {
    "case": "",
    "samples": "samples",
    "ours error": "ours",
    "plain error": "plain fit",
    "formula error": "seed's formula",
}
INTERVAL = {"covered": "in 90 % interval", "answered": "answered"}
EDGES_SEC = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.5, 8.0)

PAGE = """# Time to contact: how well, on KITTI

Made by `python -m tests.benchmarks.kitti_ttc --write` from the tracking labels of six KITTI sequences (10 Hz, boxes
drawn by people, distances from a laser; CC BY-NC-SA 3.0, not in this repository). Definitions are in that module;
in short:

- *error*: median of |measured - true| / true where the true time is 1 to 5 s;
- *critical at C*: read under C. *False*: the true time is at least 2 C (*strictly*: 1.5 C) or nothing approaches.
  *Missed*: it is under C / 1.5 and the reading is not under C. *For sure*: the upper end of the 90 % interval is
  under C;
- *plain fit*: least squares of log height over 0.8 s. *Seed's formula*: A / (dA / dt) from raw differences;
- *N px*: independent normal errors of every box edge. *Detector*: errors of 0.5 px + 1.5 % of the size at each
  edge, correlated over 0.1 s, 5 % of the samples lost, as measured on NanoDet. *Slow detector*: 2 %, over 0.4 s.

## Time to what

A box follows the face of an object that is nearest: with exact boxes 1 / size as a straight line is off the time to
that face by under half a percent. Labels measure the middle. For KITTI's closing cars it arrives {depth:.2f} s later
(mean of the sequences' medians). Added to the estimate is half of that time, HALFWAY_SEC, so that it lies halfway, and
the interval allows for the whole. Truth below is the middle, z / -(dz / dt) from a line through the labels 0.4 s before
and after; then the near face. The own car's front is nearer than either by an unknown 1 to 2 m.

How deep a car is could be read off its box (distance by its height, depth by its shape: on KITTI 0.88 of the true
one, correlation 0.90). Aiming at the middle that way takes the error of exact boxes from 0.048 to 0.033, and that to
the near face from 0.059 to 0.080, a second too late in a slow approach: not done, because it is the face that hits.

## Cars, time to the middle

{noise}

Critical, % of the samples that should not (false) or should (missed):

{critical}

## Cars, time to the near face

{near}

## People

{people}

Few: some ten people. Two pedestrians of sequence 0014 and one of 0009, a quarter of the samples, are passed while the
own car turns sharply. Their z changes by the turn, sooner than a backward-looking fit of 1.2 s can follow, and theirs
are nearly all the misses of the interval.

## Cars by sequence

{sequences}

## A sequence left out

Two constants come from KITTI: HALFWAY_SEC, 0.12, and the DRIFT of cars, 0.08. Here both are set by the cars of the
other sequences and measured on the one left out, three draws of the noise each (sequence 0012 has no closing car);
DRIFT by the median of the sequences' interval scores, which chooses the same whichever sequence is left out. By their
mean, 0014 alone, a sharp turn, would have it 0.10 to 0.12. The last rows are of all samples, each read with the
constants of the other sequences. What people's speeds drift by is not fitted: 2 m/s in a second for each of two,
against their distance.

For how long box errors stay alike, and whether a speed drifts by half or by twice the usual, is judged on each history
(Bayesian model averaging). Before, one mixture of white and correlated errors and one drift were assumed for all: 0.966
of the cars held out at 1 px were covered, 0.857 of all with the slow detector, at errors up to 0.005 larger. Noise that
nothing was set by: with the detector's errors correlated over 0.03, 0.2 and 0.8 s (2 %) 0.956, 0.917 and 0.875 were
covered, before width and height shared their degrees of freedom (next paragraph).

White errors of 1 and 2 px are covered a little more often than promised, slow ones a little less. A dozen boxes in 1.2
s do not tell which supposition holds (errors correlated by 0.37 from box to box differ from white ones by one unit of
log evidence), so that the average is right for all suppositions together and too wide for the narrowest of them. One
draw of the noise differs from another by 0.005. Measured on closing cars, another draw, 2 px / slow detector: 0.949 /
0.869 with the degrees of freedom of width and height averaged; 0.945 / 0.862 counted together as Welch and
Satterthwaite do, which is kept. On top of that, and not kept: the quantile of the mixture itself for Student's t of its
variance, 0.947 / 0.864; evidence of width and height judged together, 0.951 / 0.871; an interval as if the truth were
always at one end of the depth, 0.956 / 0.891, but 0.964 of exact boxes; evidence of the whole track so far, 0.955 /
0.892, but only 0.807 of people with the detector's errors.

{held_out}

## Cars by rate

Under 10 Hz the nearest labels, unevenly spaced; at 30 Hz boxes are interpolated before they get their noise: errors of
labels that are smooth, and white ones on top, which none of the suppositions is; the interval is too wide then.

{rates}

## Whole tracks through `clip_ttc`

*Near*: under 2 s for five scored samples or more. *Far*: never under 6 s.

{clips}

## People of real dashcam clips, without distances

JAAD's labels (15 clips, MIT; `python -m tests.benchmarks.jaad_people`) say what the own car does and who crosses before
it. *Approaching*: the upper bound under 10 s for 0.4 s or more.

{actions}

{crossing}

Nobody comes nearer to a car that stands; most of those who cross are in the own path at some time, of the others one.
On a collision course is hardly anybody: drivers brake early, and who crosses has left the path before the car is there.

![Error and coverage against time to contact](ttc_kitti.png)
"""


def write(found: Mapping[str, pl.DataFrame], readings: Mapping[str, Readings], folder: Path) -> None:
    """Write the page and its figure to `folder`."""
    from tests.benchmarks.kitti import Track, read_tracks
    from tests.benchmarks.kitti_ttc import half_depth_sec

    people = jaad_people.read()
    actions, crossing = jaad_people.by_action(people), jaad_people.by_crossing(people)
    errors = ERRORS | INTERVAL
    of: dict[str, list[Track]] = {}
    for track in read_tracks():
        if track.kind == "cars":
            of.setdefault(track.sequence, []).append(track)
    page = PAGE.format(
        depth=2 * half_depth_sec(of),
        noise=_markdown(found["noise"], errors),
        critical=_critical(found["noise"]),
        near=_markdown(found["near"], errors),
        people=_markdown(found["people"], errors),
        sequences=_markdown(found["sequences"], errors),
        held_out=_markdown(found["held out"], errors | {"halfway_sec": "HALFWAY_SEC", "drift": "DRIFT"}),
        rates=_markdown(found["rates"], errors),
        actions=_markdown(
            actions,
            {
                "action": "the own car",
                "samples": "samples",
                "approaching": "share approaching",
                "median_ttc_sec": "median TTC of these, s",
            },
        ),
        crossing=_markdown(
            crossing,
            {
                "crosses": "crosses",
                "people": "people",
                "approaches": "approach",
                "in_own_path": "in the own path",
                "on_collision_course": "on a collision course",
            },
        ),
        clips=_markdown(found["clips"], {name: name for name in found["clips"].columns} | {"case": ""}),
    )
    folder.mkdir(exist_ok=True)
    (folder / "ttc.md").write_text(page, encoding="utf-8")
    _plot(readings, folder / "ttc_kitti.png")


def _markdown(table: pl.DataFrame, columns: Mapping[str, str]) -> str:
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    for row in table.iter_rows(named=True):
        lines.append("| " + " | ".join(_text(row[name]) for name in columns) + " |")
    return "\n".join(lines)


def _critical(table: pl.DataFrame) -> str:
    lines = [
        "| C | | ours false | strictly | missed | ours, for sure, false | missed |"
        " plain false | strictly | missed | seed's false |"
    ]
    lines.append("|" + "---|" * 11)
    for limit in (1.5, 3.0):
        for row in table.iter_rows(named=True):
            keys = ["ours false", "ours strictly false", "ours missed", "sure false", "sure missed"]
            keys += ["plain false", "plain strictly false", "plain missed", "formula false"]
            cells = [f"{100 * row[f'{key} {limit}']:.2f}" for key in keys]
            lines.append(f"| {limit:g} s | {row['case']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if np.isnan(value):
            return "-"
        return f"{value:.0f}" if value == int(value) and value > 1 else f"{value:.3f}"
    return str(value)


def _plot(readings: Mapping[str, Readings], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        2, len(readings), figsize=(4 * len(readings), 6), sharex=True, sharey="row", squeeze=False
    )
    middles = [(low + high) / 2 for low, high in pairwise(EDGES_SEC)]
    for column, (name, one) in enumerate(readings.items()):
        groups = [(one.middle >= low) & (one.middle < high) for low, high in pairwise(EDGES_SEC)]
        for label, values in (("ours", one.ours), ("plain fit", one.plain), ("seed's formula", one.formula)):
            errors = [np.nanmedian(np.abs(values - one.middle)[group] / one.middle[group]) for group in groups]
            axes[0, column].plot(middles, errors, marker=".", label=label)
        for label, true in (("to the middle", one.middle), ("to the near face", one.near)):
            held = (one.low <= true) & (true <= one.high)
            axes[1, column].plot(middles, [held[group].mean() for group in groups], marker=".", label=label)
        axes[0, column].set_title(name)
        axes[1, column].axhspan(0.85, 0.95, color="0.9")
        axes[1, column].set_xlabel("true time to contact, s")
    axes[0, 0].set_ylabel("median relative error")
    axes[0, 0].set_ylim(0, 0.7)
    axes[1, 0].set_ylabel("truth in the 90 % interval")
    axes[1, 0].set_ylim(0.5, 1)
    axes[0, 0].legend()
    axes[1, 0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
