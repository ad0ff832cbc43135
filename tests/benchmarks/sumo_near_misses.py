"""Near misses against a known truth: runs the benchmark and writes its page.

    python -m tests.benchmarks.sumo_near_misses                              # everything, into docs/
    python -m tests.benchmarks.sumo_near_misses --quick --into /some/folder  # one short simulation of each kind

Needs the extra `sumo`. `run` measures without writing anything.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.benchmarks.sumo_benchmark import (
    CAMERA_GIVEN,
    CONDITIONS,
    DURATION_SEC,
    KINDS,
    ROADS,
    ROOT,
    SEEDS,
    Benchmark,
    Moment,
    run,
)
from tests.benchmarks.sumo_dashcam import LEVELS as NOISE_LEVELS
from tests.benchmarks.sumo_dashcam import NORMAL, Camera
from tests.benchmarks.sumo_measures import joined
from tests.benchmarks.sumo_methods import METHODS, READ_CAMERA
from tests.benchmarks.sumo_pictures import draw_curves, draw_moment, step_index
from tests.benchmarks.sumo_scoring import (
    LEVELS,
    DriveScore,
    Value,
    average_precision,
    curve,
    false_alarms_per_hour,
    lead_sec,
    precision,
    recall,
    with_interval,
)

MEDIUM: Final = LEVELS.index("Medium")
BEFORE_PEAK_SEC: Final = 0.8
LEVELLESS: Final = ("nearest box",)  # ranks only

INTRODUCTION: Final = """# Near misses against a known truth

Simulated traffic in which the dangerous moments are known, seen through a virtual dashcam, judged by the product.
Written by `python -m tests.benchmarks.sumo_near_misses` (extra `sumo`); do not edit by hand.

**What it is not.** The drivers are SUMO's, and their mistakes are provoked: conflicts are many times as frequent as in
real driving, so that precision and false alarms an hour say which method is better, not what a fleet will see. There
are no pictures: boxes are projected, with a detector's noise drawn from a model. Nothing here tests the detector,
night, rain, hills, parked cars or bends tighter than a town's corners.

## How

- **World** ({cpu_total:.0f} CPU s in all). A motorway (three lanes in bends of 950 m radius, two on-ramps, an exit,
  oncoming traffic behind the median) and a town (nine crossings 130 m apart, two with lights, the others by priority,
  zebra crossings, people on foot), {seeds} seeds each. A third of the drivers is brisk: 0.7 s of headway, 0.7 s between
  two looks, fast, takes others' right of way. Around the camera cars leaders brake at 7 m/s2, neighbours cut in, others
  ignore right of way, and the camera car's driver reacts up to 2 s late.
- **Truth**. SUMO's own SSM device on every vehicle: a conflict is a time to collision under 1.5 s (Hayward 1972; van
  der Horst 1990), a needed deceleration (DRAC) over 3.4 m/s2 (AASHTO; Archer 2005), or a post-encroachment time under
  1 s where ways cross (Peesapati et al. 2013). The device knows no people on foot; with them a conflict is, by the true
  positions, a course that meets within 1.5 s and needs over 3.4 m/s2. It counts when the camera sees both for half a
  second before the worst moment.
- **Camera**. 1280 x 720, 1000 px focal length, 1.3 m up, 10 frames a second. Noise none: true boxes and identities.
  Normal: edges off by 0.5 px + 1.2 % of the box, correlated over 0.3 s, small boxes missed for several frames running,
  identities by the product's own tracker. Harsh: 1 px + 3 %, three times the misses.
- **Scoring**. An alarm finds a conflict when it names the same two road users within 1 s of the encounter. Its best
  alarm is the hit, further ones count neither way, alarms of one pair within 3 s are one. Average precision ranks all
  alarms by their risk; conflicts that no alarm names are missed. A close cut-in (somebody comes into the own path less
  than 0.5 s ahead, by the true positions) is no conflict to SUMO unless the gap closes; alarms of one count neither
  way. Brackets: 95 % bootstrap intervals over whole drives.
"""


# What the figures mean, in words; to be looked at again whenever they change.
READING: Final = """\
- **Version 1.0 cannot say it.** It looks at pairs of others only, in pixels. Most conflicts are the own vehicle's,
  which are not its subject, and two cars that overlap in the picture are near to it however far apart they are. Its
  filters take away nearly all of its false alarms, and its hits with them.
- **Own vehicle.** By average precision v2 and the kinematic severity do not differ beyond their intervals, and both
  are several times better than the largest box. They stand at different points: at Medium, v2 gives a sixth of the
  false alarms and misses nearly every second conflict; the kinematic severity misses one in eleven.
- **Two others.** No method finds them. Most are one behind the other in the line of sight, or far, and one of the two
  is often hidden. v2's own pairs are false here, at Medium all of them: mostly opposing streams 50 to 100 m away,
  whose distances one camera does not know to a lane's width.
- **The camera's height and focal length** bring headways, and with them close cut-ins: v2 names three quarters of
  those, without them none; the price at Medium is three times the false alarms. SUMO counts no cut-in
  unless the gap closes, so that how much a cut-in is worth cannot be read here.
- **Lead** is short for all, about half a second before the worst moment: these conflicts are provoked and begin late,
  and a measure needs three to eight boxes. It is no warning time for a driver.
- **Measured quantities.** Time to contact by expansion is good to a twelfth from the lens with perfect boxes, and to
  a fifth with a detector's. DRAC goes with the square of the closing speed and is low by a quarter where nothing is
  known of the camera: distances are from the lens. With the camera and its way to the bumper given it has no bias; v2
  then finds a little more at Medium and has 28 false alarms an hour, 9 without. What is given
  with the camera is from the bumper: against times from the lens it must read low (-0.14).
- **Harsh noise** costs v2 a third of its average precision on the own vehicle, the kinematic severity a quarter.
- **Small numbers.** A few dozen conflicts of the own vehicle and 15 of others, one with a person on foot: intervals
  are wide, and differences within them are none.
"""


REAL: Final = """\
NanoDet's boxes, no settings of the camera, frames and events looked at side by side; and KITTI's labels with the own
turning that parked cars show (neither speed nor camera). v2's events of any level:

| footage | events | right |
|---|---|---|
| intersection_crash (fixed camera) | 0.7 s, two cars, High | the crash |
| merge_near_miss_horn | none | missed, see below |
| highway_day, highway_two_cars, residential_parked | none | nothing happens in them |
| KITTI 0000 | own vehicle: 13.4 s, Medium, TTC 1.3 s | a parked car in the path until 12.9 s |
| KITTI 0001, 0003, 0009, 0012, 0014 | none of the own vehicle | nothing in the path closes |

- **Time to contact over time** in the five videos (`python -m tests.benchmarks.video_series FOLDER`: curves with
  their intervals and events, and frames with boxes and times drawn in; looked at one by one). Version 1.0 has no
  event in any of them.
  - **intersection_crash** (a fixed camera, no own path). v2's event at 0.7 s is right, 0.1 s before the boxes touch and
    0.2 s before the impact. The car that is struck is thrown at the camera: 2.2 s (1.5 to 3.7) at 0.4 s, 1.4 s (1.0 to
    2.0) at 1.3 s, and at 2.8 s it goes out under the frame: right, though it rolls and its height is no longer that of
    a car. Wrong: the other car at 1.4 to 1.6 s, 2.7 s (1.9 to 4.6), because its box takes in the wreck before it (300
    to 340 px wide for 200); a car cut by the left border at 1.4 to 1.9 s, 3.3 s (2.0 to 8), and one half behind the
    lorry at 3.2 s, 3.4 s (1.8 to 31): both stand, and more of them comes into view.
  - **merge_near_miss_horn**. The red car that is passed on the left: 3.7 s (2.4 to 8.1) at 7.4 s falling to 1.05 s
    (0.87 to 1.34) at 8.8 s, where its height puts it 7.5 m ahead, closing at 7 m/s; it leaves the frame at 9.1 s.
    Right, and with 2 to 2.5 m of room at the side no event. The white car far to the left: 2.5 s (1.9 to 3.6) at 11.4
    s, then none: it keeps level, 5 to 7 m aside; as far as the eye tells, right. The car that merges is cut by the left
    border all the time and does not grow significantly, see below. Wrong: at 10.9 s a reflection in the windscreen,
    followed since 9.0 s, whose track goes over to the dark shape at the lower right: 1.1 s (1.0 to 1.4), 2 m aside;
    from 12.4 to 13.6 s a box that spans a bridge and three cars under it, a "truck" in the own path: 1.8 s (1.2 to
    3.7). Two of its samples have all of a collision course; a third would have been a false event.
  - **highway_day**. Nobody closes. Wrong: two cars that overtake on the left read 1.5 s (1.1 to 2.8) at 3.7 s and 1.45
    s (0.9 to 3.5) at 5.9 s while they come in over the left border, which uncovers their height, too; 6 and 8 m aside,
    no event. Two far ones at 5.2 to 5.6 s, 3.0 s (2.1 to 5.8): one box takes in its neighbour, 43 to 56 px wide.
  - **highway_two_cars**. 8 to 21 s for the white car, surely under 19 s at the end only, and its box does grow from 98
    to 105 px in 0.9 s; none for the black one, whose box stays. Right.
  - **residential_parked** (4 frames a second). From the fourth box on: 7 to 45 s, no lower end under 2.5 s and hardly
    an upper one: the own car rolls at walking pace. Right. A house is followed as a truck and gets no time surely under
    any limit.
  What is wrong in them is of one kind: more of something comes into view, from behind the border, from behind
  something else, or as the box takes in a neighbour, and nothing in the boxes tells it from coming nearer. A height
  is believed where only the side is cut, because else nobody who is passed closely would be measured at all. The room
  at the side, and three samples running, are what keep these times from becoming events.
- **Two that are gone.** In the crash a wreck spins beside a lorry that stands; its box widens, and one sample of it was
  a Low. An encounter now needs two samples under the time at which it begins. In KITTI 0009 an oncoming car in a bend,
  3 m aside and turning with its lane, was a Medium by the braking needed for it. Braking now counts for who is in the
  own path, as in SUMO, where DRAC is of one behind or opposite the other. In 55 of the 67 drives above, normal noise,
  own vehicle: average precision 0.54 before, 0.58 after; at Medium recall 0.57 both times, false alarms 13 and 10 an
  hour. With the time to contact of before and in all drives v2 had 0.493 / 0.504 / 0.296 (none, normal, harsh), the
  kinematic severity 0.562 / 0.599 / 0.452; with today's, and without the standard error of the room at contact, 0.474 /
  0.548 / 0.256 and 0.542 / 0.547 / 0.424, at Medium 11 and 66 false alarms for 10 and 63. What changed lies within the
  intervals of the tables above.
- **A fixed camera** has no own path: in the crash the background stands still in 0.35 to 0.69 of the texture
  (10th to 90th percentile of the pairs), in slow motorway traffic in 0.01 to 0.17. An own-vehicle event at 2.2 s, the
  wreck that slides past under the camera, is gone with it. A car that waits all the video long counts as fixed too.
- **KITTI needs the own motion.** Without the turning the path is taken as straight: in 0000 the car stands beside it
  and is no event, in 0009 the oncoming car is a High. With the turning 0000 is found, half a second late, and 0009 is
  none, which is right: its car does pass.
- **The merge cannot be told from its boxes.** The SUV enters the picture beside the own car and stays there: from 5.9
  to 8.6 s it measures 3 m ahead of the lens with 1.3 to 1.8 m of free room to the side (two cars in the middles of
  their lanes have 1.8 m), its speed into that room is -0.6 to +0.4 m/s, and the least room over speed is 3.5 s, with
  no growth. What a person sees, the front wheel turned in on the lane line 1 m from the own flank, is within the box:
  its height is that of the rear end, its edge that of the front, and only for a car along the road does the one tell
  where the other is. Followed by eye on the ground, that wheel is 2.4 m left of the lens at 6.9 s, 2.1 m at 7.6 s and
  1.9 m from 8.0 s on, where it stands on the lane line (2.2 m): 0.4 m/s, 2.5 s to the own flank, half of what the
  box gives. A limit that finds it by the box, 1.5 m of room, 4.5 s to the side, was tried on 55 of the drives: 69 false
  alarms an hour at recall 0.07, 8 of 34 close cut-ins named, average precision 0.002 (3 s: the same; with three
  standard errors for two: 60 an hour). The own car gives way to the right at
  7.7 to 8.0 s with 0.04 rad/s, as much as a bend of 500 m at 20 m/s. The horn tells: mining and the reasoner
  (Medium) have it, v2 looks at boxes only.
- **Collision courses** on KITTI, sample by sample, own motion known: recall 0.25 at precision 0.55 with exact boxes,
  0.13 at 0.52 with 1 px, 0.05 at 0.33 with 2 px; 55, 33 and 29 false samples. Before the room at contact had to hold
  with a standard error added (of the drift, and of the path's curvature with the square of the distance): 0.29 at 0.55,
  0.15 at 0.48 and 0.08 at 0.37; 65 and 42 false. So measured: 0.87 of the true ones have a significant time to contact,
  0.50 a room under 0.3 m, and three samples running must have both. Two samples instead of three: 0.38 at 0.56 (1 px
  0.21 at 0.49), and 9 false ones under 2 s for 7. A room of 0.6 m: 0.34 at 0.48, 22 false ones; 1 m: 0.40 at 0.37, 50
  false ones. Half of the truth is a bend's, which points at each parked car in turn for an instant. Kept.
  Two corrections that hold for a steady bend were tried and not taken. The drift is 0.35 s old, w V 0.35 s off in a
  bend; taken where it was fitted: 0.27 at 0.55. Road users turned along the own bend instead of along the axis: right
  for a row parked beside it (1.4 m of room for a true 1.2, 0.4 without), but 0.26 at 0.46 here, where the own car turns
  at crossings and nobody stands along its arc.
  Of the 20 courses that last half a second or more 14 are found with exact boxes, 7 with 1 px. The longest two that are
  not (0001, 34 s) are oncoming cars in a bend, 8 to 16 m aside, whose straight ways meet the own in 2 to 3 s.
- **Two others far away.** The ratio of two distances is known to 0.08 (sizes vary by 0.2, a foot row by 0.11 m of
  1.3 m of camera height): at 50 m that is 4 m, more than a lane, and it may become another 4 m within a second. So two
  that close along the line of sight must do so by 10 m/s to be significant there. From a mast the same two are told at
  once (the crash): it is the height of the camera that is missing, not the method.
  Of the 13 conflicts of two others in 55 drives, 5 are farther than 50 m, 4 are half hidden, 7 have both boxes in ten
  frames or fewer, and 6 never have a time to collision under 1.5 s: those are by post-encroachment time, which needs to
  know to half a metre where two ways cross.
"""


def write_page(result: Benchmark, seeds: Sequence[int], folder: Path) -> None:
    """`near_misses.md` and its pictures into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = _draw(result, folder)
    parts = [
        INTRODUCTION.format(cpu_total=sum(result.cpu_sec.values()), seeds=len(seeds)),
        "## What was simulated\n\n" + _amounts(result),
        "## Average precision\n\n" + _ranking(result),
        "## At the level Medium or worse, normal noise\n\n" + _at_level(result),
        "![Precision against recall](sumo_precision_recall.png)\n",
        "## Measured quantities against SUMO's\n\n" + _quantities(result),
        "## Reading\n\n" + READING,
        "## On real footage\n\n" + REAL,
        "## Three of the conflicts\n\nThe two in conflict are red, the camera car is blue; boxes at the normal level.\n"
        + drawn,
    ]
    (folder / "near_misses.md").write_text("\n".join(parts), encoding="utf-8")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def _amounts(result: Benchmark) -> str:
    rows = [
        [
            road,
            str(result.drives[road]),
            f"{result.hours[road]:.2f}",
            str(result.conflicts[road, "own vehicle"]),
            str(result.conflicts[road, "others"]),
        ]
        for road in ROADS
    ]
    table = _table(["road", "drives", "hours", "conflicts of the own vehicle", "conflicts of two others in view"], rows)
    switched = ", ".join(
        f"{noise.name} {result.switches[noise.name]} of {result.tracks[noise.name]}" for noise in NOISE_LEVELS
    )
    return (
        f"{table}\n{result.with_people} of the conflicts are with people on foot. SUMO counted {result.collisions} "
        f"collisions in the simulations. Seen besides: {result.mild} milder encounters, over SUMO's default thresholds "
        f"only (3 s, 3 m/s2, PET 2 s), and {result.cut_ins} close cut-ins. Tracks that stood for more than one "
        f"road user: {switched}.\n"
    )


def _ranking(result: Benchmark) -> str:
    text = []
    for kind in KINDS:
        rows = []
        for name in METHODS:
            cells = []
            for condition in CONDITIONS:
                drives = result.scores.get((condition, name, kind))
                if drives is None:
                    cells.append("as normal")
                    continue
                cells.append(_shown(with_interval(drives, average_precision, _conflicts(drives)), 3))
            rows.append([name, *cells])
        count = _conflicts(result.scores[NORMAL.name, next(iter(METHODS)), kind])
        heading = f"**{kind[0].upper()}{kind[1:]}** (n = {count})"
        text.append(f"{heading}\n\n" + _table(["method", *(f"noise {condition}" for condition in CONDITIONS)], rows))
    return "\n".join(text)


def _at_level(result: Benchmark) -> str:
    judged = [(name, NORMAL.name) for name in METHODS if name not in LEVELLESS]
    judged += [(name, CAMERA_GIVEN) for name in READ_CAMERA]
    head = ["method", "alarms", "recall", "precision", "false alarms an hour", "of these not even mild", "lead, s"]
    text = []
    for kind in KINDS[:2]:
        rows = []
        for name, condition in sorted(judged, key=lambda one: list(METHODS).index(one[0])):
            drives = result.scores[condition, name, kind]
            counted = sum(int((one.level >= MEDIUM).sum()) for one in drives)
            found = sum(any(level >= MEDIUM for _, level in one) for drive in drives for one in drive.found)
            figures: list[tuple[Callable[[Sequence[DriveScore]], float], int, int]] = [
                (partial(recall, level=MEDIUM), _conflicts(drives), 2),
                (partial(precision, level=MEDIUM), counted, 2),
                (partial(false_alarms_per_hour, level=MEDIUM), counted, 0),
                (partial(false_alarms_per_hour, level=MEDIUM, not_even_mild=True), counted, 0),
                (partial(lead_sec, level=MEDIUM), found, 1),
            ]
            cells = [_shown(with_interval(drives, figure, count), digits) for figure, count, digits in figures]
            if kind == KINDS[0]:
                cells.append(f"{sum(one.cut_ins_named for one in drives)} of {sum(one.cut_ins for one in drives)}")
            rows.append([name if condition == NORMAL.name else f"{name}, camera given", str(counted), *cells])
        columns = [*head, "close cut-ins named, any level"] if kind == KINDS[0] else head
        text.append(f"**{kind[0].upper()}{kind[1:]}** (n = {_conflicts(drives)})\n\n" + _table(columns, rows))
    text.append(
        "Lead: mean time from when a found conflict's first alarm could be raised to its least time to collision. The "
        "level is\nthat of the alarm's worst moment, known only then.\n"
    )
    return "\n".join(text)


def _quantities(result: Benchmark) -> str:
    rows = []
    for (noise, name), parts in result.measures.items():
        found = joined(parts)
        cells = [f"{found.coverage:.2f}", f"{found.median_error(found.truth):.2f}"]
        of_lens = math.isfinite(found.from_lens[0]) if len(found.from_lens) else False
        cells += (
            [f"{found.median_error(found.from_lens):.2f}", f"{found.median_bias(found.from_lens):+.2f}"]
            if of_lens
            else ["", f"{found.median_bias(found.truth):+.2f}"]
        )
        rows.append([name, noise, str(len(found.truth)), *cells])
    head = ["quantity", "noise", "moments", "measured", "median relative error", "from the lens", "bias"]
    return (
        "The own vehicle behind another, closing in, true time to collision under 5 s. SUMO measures from bumper to "
        "bumper;\n`from the lens` adds the 1.5 m between bumper and camera to the true gap.\n\n"
        + _table(head, sorted(rows))
    )


def _conflicts(drives: Sequence[DriveScore]) -> int:
    return sum(one.conflicts for one in drives)


def _shown(value: Value, digits: int) -> str:
    if math.isnan(value.value):
        return "none"
    return f"{value.value:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _draw(result: Benchmark, folder: Path) -> str:
    curves = {name: curve(result.scores[NORMAL.name, name, "all"]) for name in METHODS}
    draw_curves(curves, "All conflicts in view, normal noise", folder / "sumo_precision_recall.png")
    lines = []
    for name, moment in _chosen(result).items():
        at = step_index(moment.drive, moment.conflict.peak_sec - BEFORE_PEAK_SEC)
        file = folder / f"sumo_{name}.png"
        text = _told(moment)
        draw_moment(moment.drive, moment.footage, Camera(), moment.conflict, at, text, file)
        lines.append(f"![{text}]({file.name})\n")
    return "\n".join(lines)


def _chosen(result: Benchmark) -> dict[str, Moment]:
    """The first clear conflict of each sort: on the motorway, in town, and one between two others."""
    found: dict[str, Moment] = {}
    for moment in result.moments:
        conflict, world = moment.conflict, moment.drive.world
        if not 0.3 < conflict.min_ttc_sec < 1.5:
            continue
        road = world.name.split("-")[0]
        found.setdefault(road if moment.drive.ego in conflict.pair else "others", moment)
    return found


def _told(moment: Moment) -> str:
    labels = [
        "own vehicle" if number == moment.drive.ego else moment.drive.world.road_users[number].label
        for number in moment.conflict.pair
    ]
    labels.sort(key=lambda label: label != "own vehicle")
    return (
        f"{moment.drive.world.name}: {labels[0]} and {labels[1]}, {BEFORE_PEAK_SEC} s before the least time "
        f"to collision, {moment.conflict.min_ttc_sec:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed and 60 s each")
    parser.add_argument("--into", type=Path, default=ROOT / "docs", help="folder of the page and its pictures")
    options = parser.parse_args()
    seeds, duration_sec = ((1,), 60.0) if options.quick else (SEEDS, DURATION_SEC)
    result = run(seeds, duration_sec)
    write_page(result, seeds, options.into)
    for part, spent_sec in sorted(result.cpu_sec.items(), key=lambda item: -item[1]):
        print(f"{part}: {spent_sec:.0f} CPU s")
    print(f"written: {options.into / 'near_misses.md'}")


if __name__ == "__main__":
    main()
