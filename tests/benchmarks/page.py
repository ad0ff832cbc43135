"""docs/performance.md and its picture, from the figures of the groups that were run."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.choices_page import choices_tables
from tests.benchmarks.measure import ALL_CORES, ALL_CORES_RUNS, ONE_CORE, REFERENCE_RUNS, RUNS, Runs, loaded

TRIED = Path(__file__).with_name("tried.md")

REFERENCE = ("sound", "motion", "proximity", "candidates", "clips", "clip_ttc")
OURS = ("probe", "perceive", "candidates", "clips", "clip_ttc", "near_miss")
SAME_WINDOWS = ("clips of the reference's windows", "clip_ttc of the reference's windows")
OURS_SAME_CLIPS = ("probe", "perceive", "candidates", *SAME_WINDOWS, "near_miss")
READING = "reading and decoding"

INTRO = """# Performance

Written by `make bench`; every figure was measured in the runs listed below. CPU seconds are user and system time of a
process of its own, all its threads, after its imports; processes are interleaved (A B C A B C ...). Medians of {runs}
runs on one core and {all_runs} on all; the reference, which takes most of the time, runs {reference_runs} times on one
core and once on all, `memory` and `choices` once. In brackets: lowest to highest. *Load* is what else the machine did
in the minute before the command: with 0.0 there was nothing, with 2 and more wall seconds say little and CPU seconds
are higher than on an idle machine; ratios are of processes that ran in turn. *One core*: the process may only use one
(`sched_setaffinity`, before its first import). Detector threads are as many as the process has cores, in both programs
(`autorisk_dagster/threads.py`).

*Reference* is the method of seed 000 written plainly for this comparison (`tests/benchmarks/reference.py`; its
docstring lists each choice): three readings of the file, for sound, motion and proximity, min-max fusion, clips decoded
and encoded again, clips decoded and detected again for TTC. It has the product's detector, decoder and tracker.
*Floor* is PyAV decoding the same file once, and nothing else.

To repeat: `make bench` (about 40 minutes on two cores), `make bench ONLY=rules` for one group, `make bench QUICK=1` to
see that it works. Where the project's shared test videos are missing, `long` and `memory` run on the demo's street
sample, and `videos` and `choices` are left out.

| group | measured on | load | date | commit |
|---|---|---|---|---|
{groups}
"""


def write(kept: dict[str, dict[str, Any]], folder: Path) -> str:
    """Write performance.md and performance.png into `folder`, from what `measure.stored` kept of each group.

    Returns:
        the page
    """
    groups = "\n".join(f"| {name} | {_machine(content['facts'])} |" for name, content in kept.items())
    parts = [INTRO.format(groups=groups, runs=RUNS, all_runs=ALL_CORES_RUNS, reference_runs=REFERENCE_RUNS)]
    runs = {name: loaded(content) for name, content in kept.items()}
    if "long" in runs:
        parts += [_mining(runs["long"]), _profile(runs["long"])]
        _picture(runs["long"], folder / "performance.png")
    if "over_floor" in runs:
        parts.append(_over_floor(runs["over_floor"]))
    if "videos" in runs:
        parts.append(_videos(runs["videos"]))
    if "rules" in runs:
        parts.append(_rules(runs["rules"]))
    if "near_miss" in runs:
        parts.append(_near_miss(runs["near_miss"]))
    if "memory" in runs:
        parts.append(_memory(runs["memory"]))
    if "choices" in runs:
        parts += choices_tables(runs["choices"].runs[0].facts)
    parts.append("## What was tried\n\n" + TRIED.read_text(encoding="utf-8").strip() + "\n")
    text = "\n".join(parts)
    (folder / "performance.md").write_text(text, encoding="utf-8")
    return text


def _machine(facts: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    what = f"{facts['cpu']}, {facts['cores']} cores, {facts['system']}, Python {facts['python']}; {versions}"
    return f"{what} | {facts['load']:.1f} | {facts['date']} | {facts['commit']}"


def _mining(runs: Runs) -> str:
    lines = ["## A minute of footage, from the file to near misses\n", "![CPU seconds by step](performance.png)\n"]
    for subject in _compared(runs):
        facts, theirs = runs.facts(subject, "ours"), runs.facts(subject, "reference")
        lines += [
            f"### {subject}\n",
            f"{facts['duration_sec']:.1f} s, {facts['picture']}, {'with' if facts['sound'] else 'without'} sound; the "
            f"detector saw {facts['detector_frames']} of {facts['frames']} frames. Candidates: reference "
            f"{theirs['clips']} clips of {theirs['clip_sec']:.0f} s in all, ours {facts['clips']} of "
            f"{facts['clip_sec']:.0f} s. *Same clips*: ours, with the clips and TTC of the reference's windows; "
            f"{facts['copied']} of them were copied packet by packet, the others encoded.\n",
            "| | floor | reference | ours, same clips | ours, own clips | reference / ours, same clips |",
            "|---|---|---|---|---|---|",
        ]
        for cores, what, label in (
            (ONE_CORE, "cpu_sec", "one core, CPU s"),
            (ALL_CORES, "cpu_sec", "all cores, CPU s"),
            (ALL_CORES, "wall_sec", "all cores, wall s"),
        ):
            floor = runs.total(subject, "decode", ("decode",), cores, what)
            reference = runs.total(subject, "reference", REFERENCE, cores, what)
            same = runs.total(subject, "ours", OURS_SAME_CLIPS, cores, what)
            own = runs.total(subject, "ours", OURS, cores, what)
            row = [_spread(values) for values in (floor, reference, same, own)]
            lines.append(f"| {label} | {' | '.join(row)} | **{median(reference) / median(same):.1f}** |")
        memory = [
            runs.steps(subject, job, ONE_CORE, "peak_mb")[step]
            for job, step in (
                ("decode", "decode"),
                ("reference", "clip_ttc"),
                ("ours", SAME_WINDOWS[1]),
                ("ours", "near_miss"),
            )
        ]
        started = runs.steps(subject, "ours", ONE_CORE, "peak_mb")["start"]
        peaks = " | ".join(f"{value:.0f}" for value in memory)
        lines += [
            f"| one core, peak memory MB | {peaks} | {memory[1] / memory[2]:.1f} |\n",
            f"Ours begins at {started:.0f} MB, before the file is opened: interpreter, libraries, detector.\n",
        ]
    return "\n".join(lines)


def _compared(runs: Runs) -> list[str]:
    """Subjects that the reference ran on too."""
    return [subject for subject in runs.subjects if runs.of(subject, "reference")]


def _over_floor(runs: Runs) -> str:
    lines = [
        "## Everything but the detector and the clips, over the floor\n",
        "CPU seconds from the file to near misses with the detector's answers of before, and without the clips: probe, "
        "sound, flow, own motion, scene cuts, the detector's pictures, tracking, candidates, TTC, near misses. Medians "
        "of five; floor and product in turn in one process.\n",
        "| | picture | cores | floor, CPU s | pass but detector / floor | all but detector and clips / floor |",
        "|---|---|---|---|---|---|",
    ]
    for subject in runs.subjects:
        for cores in (ONE_CORE, ALL_CORES):
            if runs.of(subject, "over_floor", cores):
                steps, facts = runs.steps(subject, "over_floor", cores), runs.facts(subject, "over_floor", cores)
                rest = steps["probe"] + steps["pass"] + steps["after"]
                lines.append(
                    f"| {subject} | {facts['picture']} | {cores} | {steps['floor']:.2f} | "
                    f"{steps['pass'] / steps['floor']:.2f} | **{rest / steps['floor']:.2f}** |"
                )
    return "\n".join([*lines, ""])


def _profile(runs: Runs) -> str:
    lines = ["## Where the time goes: ours on one core\n"]
    for subject in runs.subjects:
        floor = median(runs.total(subject, "decode", ("decode",)))
        steps, stages = runs.steps(subject, "ours"), _all_stages(runs, subject)
        detecting = stages["detector"]
        rows = [(f"pass: {name}", seconds) for name, seconds in stages.items()]
        rows += [
            ("**the whole pass**", steps["perceive"]),
            ("**the pass but its detector**", steps["perceive"] - detecting),
            ("probe", steps["probe"]),
            ("fusion and candidates", steps["candidates"]),
            ("own clips", steps["clips"]),
            ("their TTC", steps["clip_ttc"]),
            ("clips, the reference's windows", steps[SAME_WINDOWS[0]]),
            ("clip_ttc, the reference's windows", steps[SAME_WINDOWS[1]]),
            ("near misses 1.0", steps["near_miss"]),
            ("**end to end, same clips**", median(runs.total(subject, "ours", OURS_SAME_CLIPS))),
            (
                "**end to end but detector and clips**",
                median(runs.total(subject, "ours", OURS)) - detecting - steps["clips"],
            ),
        ]
        if subject in _compared(runs):
            rows += [
                (f"reference: {name}", seconds)
                for name, seconds in runs.steps(subject, "reference").items()
                if name in REFERENCE
            ]
        lines += [f"### {subject}\n", "| step | CPU s | times the floor |", "|---|---|---|"]
        lines += [f"| floor: decoding once | {floor:.2f} | 1.00 |"]
        lines += [f"| {name} | {seconds:.2f} | {seconds / floor:.2f} |" for name, seconds in rows]
        lines.append("")
    return "\n".join(lines)


def _all_stages(runs: Runs, subject: str) -> dict[str, float]:
    """The stages of the pass, and what is left of it."""
    stages = runs.stages(subject)
    return {READING: runs.steps(subject, "ours")["perceive"] - sum(stages.values()), **stages}


def _videos(runs: Runs) -> str:
    lines = [
        "## The test videos as they are, one core\n",
        "| video | s | floor | ours, the pass | ours, same clips | reference | reference / ours | peak MB, both |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for subject in runs.subjects:
        floor, the_pass = (
            median(runs.total(subject, job, (step,))) for job, step in (("decode", "decode"), ("ours", "perceive"))
        )
        same = runs.total(subject, "ours", OURS_SAME_CLIPS)
        reference = runs.total(subject, "reference", REFERENCE)
        memory = (
            runs.steps(subject, "reference", what="peak_mb")["clip_ttc"],
            runs.steps(subject, "ours", what="peak_mb")["near_miss"],
        )
        lines.append(
            f"| {subject} | {runs.facts(subject, 'ours')['duration_sec']:.1f} | {floor:.2f} | {the_pass:.2f} | "
            f"{_spread(same)} | {_spread(reference)} | **{median(reference) / median(same):.1f}** | "
            f"{memory[0]:.0f} / {memory[1]:.0f} |"
        )
    return "\n".join([*lines, ""])


def _rules(runs: Runs) -> str:
    lines = [
        "## Rule search, one core\n",
        "For each draw, for each clip, the rules, then the scores; leave-one-out searches once more for every clip. "
        "Seed 000's size is 20 clips; its program draws 5,000 times. *Published*: as that program does it, over deep "
        "copies of the clips' records; *records*: the same with shallow copies; *tight loop*: the least work a plain "
        "loop can do (`tests/benchmarks/reference_rules.py`). *Identical*: accuracy and macro-F1 of every draw, and "
        "the best accuracy of every fold, are the same in all.\n",
        "| | published, s | records, s | tight loop, s | ours, ms | published / ours | records / ours | "
        "tight loop / ours | identical |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for subject in runs.subjects:
        steps = runs.steps(subject, "rules")
        same = "yes" if all(run.facts["identical"] for run in runs.of(subject, "rules")) else "**no**"
        parts = {"search": ("search",), "leave one out": ("leave one out",), "both": ("search", "leave one out")}
        for label, names in parts.items():
            ours = sum(steps[f"{name}, ours"] for name in names)
            times, ratios = [], []
            for who in ("published", "records", "tight loop"):
                if all(f"{name}, {who}" in steps for name in names):
                    seconds = sum(steps[f"{name}, {who}"] for name in names)
                    times.append(f"{seconds:.2f}")
                    ratios.append(f"**{seconds / ours:.0f}**")
                else:
                    times.append("not run")
                    ratios.append("")
            figures = " | ".join([*times, f"{ours * 1000:.1f}", *ratios])
            lines.append(f"| {subject}: {label} | {figures} | {same} |")
    return "\n".join([*lines, ""])


def _near_miss(runs: Runs) -> str:
    lines = [
        "## Near misses 1.0 and tracking, one core\n",
        "`NearMissDetector` against the pair loop that its tests hold it to "
        "(`tests/kinematics/near_miss_reference.py`); `RoadUserTracker` against one bare ByteTrack of the `trackers` "
        "package on the same boxes: what following people and vehicles apart, and their rows, cost.\n",
        "| | reference, ms a frame | ours, ms a frame | reference / ours | |",
        "|---|---|---|---|---|",
    ]
    for subject in runs.subjects:
        frames = int(subject.split(", ")[1].split()[0].replace(",", ""))
        for job, label, other in (("near_miss", "near misses", "reference"), ("tracker", "tracker", "bare")):
            if found := runs.of(subject, job):
                steps = runs.steps(subject, job)
                reference, ours = (steps[f"{label}, {who}"] / frames * 1000 for who in (other, "ours"))
                note = (
                    ""
                    if job == "tracker"
                    else f"{found[-1].facts['events']} events, "
                    + ("identical" if all(run.facts["identical"] for run in found) else "**not identical**")
                )
                lines.append(
                    f"| {label}, {subject} | {reference:.3f} | {ours:.3f} | **{reference / ours:.2f}** | {note} |"
                )
    return "\n".join([*lines, ""])


def _memory(runs: Runs) -> str:
    lines = [
        "## Memory and length, one core\n",
        "Highest resident memory of one pass; the detector looks at the first minute, and what it saw is repeated. "
        "What grows is what comes out: the rows of the three tables, once while they are collected and once more "
        "while they are finished.\n",
        "| video | at the start, MB | after `probe`, MB | **highest, MB** | boxes | tables, MB |",
        "|---|---|---|---|---|---|",
    ]
    for subject in runs.subjects:
        peaks, facts = runs.steps(subject, "memory", what="peak_mb"), runs.facts(subject, "memory")
        figures = " | ".join(f"{peaks[step]:.0f}" for step in ("start", "probe"))
        lines.append(
            f"| {subject} | {figures} | **{peaks['perceive']:.0f}** | {facts['boxes']:,} | {facts['tables_mb']:.1f} |"
        )
    return "\n".join([*lines, ""])


def _spread(values: list[float]) -> str:
    middle = f"{median(values):.2f}"
    return middle if len(values) == 1 else f"{middle} ({values[0]:.2f} - {values[-1]:.2f})"


def _picture(runs: Runs, target: Path) -> None:
    """Stacked bars of CPU seconds on one core: the floor, ours and the reference, for each clip."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    colours = {
        READING: "#4c78a8",
        "motion": "#72b7b2",
        "detector and tracking": "#f58518",
        "clips": "#e45756",
        "TTC, near misses": "#b279a2",
        "other": "#9d9d9d",
    }
    subjects = _compared(runs)
    figure, axes = pyplot.subplots(len(subjects), 1, figsize=(9, 1.0 + 1.5 * len(subjects)), squeeze=False)
    for axis, subject in zip(axes[:, 0], subjects, strict=True):
        for row, parts in enumerate(_bars(runs, subject).values()):
            left = 0.0
            for part, seconds in parts.items():
                axis.barh(row, seconds, left=left, color=colours[part], label=part)
                left += seconds
            axis.text(left, row, f" {left:.1f} s", va="center", fontsize=9)
        axis.set_yticks(range(3), list(_bars(runs, subject)), fontsize=9)
        axis.invert_yaxis()
        axis.set_title(subject, fontsize=10, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.12)
    axes[-1, 0].set_xlabel("CPU seconds on one core, the same clips cut by both")
    found = {
        label: handle for axis in axes[:, 0] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        [found[name] for name in colours if name in found],
        [name for name in colours if name in found],
        loc="lower center",
        ncols=6,
        fontsize=8,
        frameon=False,
    )
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(target, dpi=110, metadata={"Software": ""})
    pyplot.close(figure)


def _bars(runs: Runs, subject: str) -> dict[str, dict[str, float]]:
    """Seconds by kind of work. The reference's readings of the file are part of its motion and proximity: they are told
    apart by the floor, once each."""
    floor = median(runs.total(subject, "decode", ("decode",)))
    theirs, ours, stages = runs.steps(subject, "reference"), runs.steps(subject, "ours"), _all_stages(runs, subject)
    return {
        "floor": {READING: floor},
        "ours": {
            READING: stages[READING],
            "motion": stages["grey"] + stages["scene cuts"] + stages["flow"] + stages["own motion"],
            "detector and tracking": stages["detector frames"] + stages["detector"] + stages["tracking"],
            "clips": ours[SAME_WINDOWS[0]],
            "TTC, near misses": ours[SAME_WINDOWS[1]] + ours["near_miss"],
            "other": stages["sound"] + ours["probe"] + ours["candidates"],
        },
        "reference": {
            READING: 2 * floor,
            "motion": theirs["motion"] - floor,
            "detector and tracking": theirs["proximity"] - floor,
            "clips": theirs["clips"],
            "TTC, near misses": theirs["clip_ttc"],
            "other": theirs["sound"] + theirs["candidates"],
        },
    }
