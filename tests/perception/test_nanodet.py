"""The shipped detector: decoding by hand, the weights file, and real frames."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from autorisk_dagster.errors import BackendError
from autorisk_dagster.perception import nanodet
from autorisk_dagster.perception.detections import is_own_vehicle
from autorisk_dagster.perception.nanodet import NanoDetDetector, decode, letterbox
from autorisk_dagster.profile import Profile
from resources.detectors import Detectors

VIDEOS = Path(__file__).parents[2].parent / "shared" / "data" / "video"


def real_frame(name: str, index: int = 0) -> NDArray[np.uint8]:
    import av

    path = VIDEOS / name
    if not path.exists():
        pytest.skip(f"test footage {name} is not on this machine")
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == index:
                return frame.to_ndarray(format="bgr24")
    raise AssertionError(f"{name} has no frame {index}")


@pytest.fixture(scope="module")
def detector() -> NanoDetDetector:
    return NanoDetDetector()


def outputs() -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Six silent outputs; each side's distribution is sharp at bin 0."""
    cells = [52 * 52, 26 * 26, 13 * 13]
    scores = [np.zeros((1, n, 80), np.float32) for n in cells]
    distances = [np.zeros((1, n, 4, 11), np.float32) for n in cells]
    for level in distances:
        level[..., 0] = 50.0
    return scores, [level.reshape(1, -1, 44) for level in distances]


def set_sides(level: NDArray[np.float32], cell: int, bins: tuple[int, int, int, int]) -> None:
    sides = level[0, cell].reshape(4, 11)
    sides[:] = 0.0
    sides[range(4), bins] = 50.0


def test_decode_by_hand() -> None:
    scores, distances = outputs()
    # Stride 16 has 26 cells a row: cell 2 * 26 + 3 is column 3, row 2, centre (3.5 * 16, 2.5 * 16) = (56, 40).
    scores[1][0, 55, 7] = 0.75  # column 7 of COCO: truck
    # Left 1, top 2, right 3, bottom 4 bins of 16 px: 16, 32, 48, 64 px.
    set_sides(distances[1], 55, (1, 2, 3, 4))
    boxes, confidence, labels = decode(scores, distances, 416, 0.3)
    assert boxes == pytest.approx(np.array([[40, 8, 104, 104]]))
    assert confidence == pytest.approx([0.75])
    assert labels == ["truck"]


def test_a_side_is_the_mean_of_its_distribution() -> None:
    scores, distances = outputs()
    scores[2][0, 0, 0] = 0.5  # first cell of stride 32, person; centre (16, 16)
    distances[2][0, 0, :11] = 0.0  # left: all 11 bins alike, mean (0 + ... + 10) / 11 = 5 bins = 160 px
    boxes, _, labels = decode(scores, distances, 416, 0.3)
    assert boxes == pytest.approx(np.array([[16 - 160, 16, 16, 16]]), abs=1e-6)
    assert labels == ["person"]


def test_other_classes_and_weak_scores_give_no_box() -> None:
    scores, distances = outputs()
    scores[0][0, 10, 9] = 0.9  # traffic light
    scores[0][0, 11, 2] = 0.29  # car, too weak
    boxes, confidence, labels = decode(scores, distances, 416, 0.3)
    assert boxes.shape == (0, 4)
    assert confidence.shape == (0,)
    assert labels == []


def test_letterbox_puts_a_wide_frame_in_the_middle_of_black() -> None:
    picture = np.zeros((208, 832, 3), np.uint8)
    picture[:] = (255, 128, 0)
    tensor, scale, offset = letterbox(picture)
    # 832 -> 416 is a half; 208 -> 104 rows, 128 is the next multiple of 32: (128 - 104) / 2 = 12 black rows above.
    assert (scale, offset) == (0.5, (0, 12))
    assert tensor.shape == (1, 3, 128, 416)
    assert tensor[0, :, 11, 0] == pytest.approx([-103.53 / 57.375, -116.28 / 57.12, -123.675 / 58.395], abs=1e-5)
    shown = [(255 - 103.53) / 57.375, (128 - 116.28) / 57.12, -123.675 / 58.395]
    assert tensor[0, :, 12, 0] == pytest.approx(shown, abs=1e-5)
    assert tensor[0, :, 115, 415] == pytest.approx(shown, abs=1e-5)
    assert tensor[0, :, 116, 415] == pytest.approx([-103.53 / 57.375, -116.28 / 57.12, -123.675 / 58.395], abs=1e-5)


def test_letterbox_enlarges_a_small_upright_frame() -> None:
    # 104 x 208 -> 208 x 416; 224 is the next multiple of 32: (224 - 208) / 2 = 8 black columns on the left.
    tensor, scale, offset = letterbox(np.zeros((208, 104, 3), np.uint8))
    assert (scale, offset, tensor.shape) == (2.0, (8, 0), (1, 3, 416, 224))


def test_decode_in_a_picture_that_is_no_square() -> None:
    scores, distances = outputs()
    # Stride 32 in an input 224 px wide has 7 cells a row: cell 9 is column 2, row 1, centre (80, 48).
    scores[2][0, 9, 2] = 0.5
    boxes, _, _ = decode(scores, distances, 224, 0.3)
    assert boxes == pytest.approx(np.array([[80, 48, 80, 48]]), abs=1e-6)


def test_boxes_come_back_in_pixels_of_the_frame(detector: NanoDetDetector) -> None:
    """The same picture at half the size, and with a black band above, gives the same cars at the matching place."""
    import cv2

    frame = real_frame("highway_two_cars_negative.mp4", 10)
    half = cv2.resize(frame, (640, 360), interpolation=cv2.INTER_AREA)
    whole, small = detector.detect([frame, half])
    assert whole.label[:2] == small.label[:2] == ("car", "car")
    assert np.sort(small.xyxy_px[:2] * 2, axis=0) == pytest.approx(np.sort(whole.xyxy_px[:2], axis=0), abs=15)


def test_finds_the_two_cars_where_they_are(detector: NanoDetDetector) -> None:
    # Read off the frame by eye: white car x 1030-1230, dark car x 820-950, both y 400-500, of 1280 x 720.
    frame = real_frame("highway_two_cars_negative.mp4", 10)
    (found,) = detector.detect([frame])
    cars = sorted(found.xyxy_px[found.confidence > 0.5].tolist())
    assert len(cars) == 2
    assert cars[0] == pytest.approx([820, 410, 950, 495], abs=25)
    assert cars[1][0] == pytest.approx(1030, abs=35)


def test_the_own_windscreen_is_told_from_the_cars_seen_through_it(detector: NanoDetDetector) -> None:
    """Frame 484 (16.1 s): NanoDet sees a car as large as the frame, and it must not suppress the real ones."""
    frame = real_frame("merge_near_miss_horn.mp4", 484)
    (found,) = detector.detect([frame])
    widths = found.xyxy_px[:, 2] - found.xyxy_px[:, 0]
    own = is_own_vehicle(found.xyxy_px, (640, 360))
    assert (widths[own] >= 0.9 * 640).sum() == 1
    assert (~own).sum() >= 2
    assert (widths[~own] < 0.9 * 640).all()


def test_a_batch_is_its_frames_one_by_one(detector: NanoDetDetector) -> None:
    frames = [real_frame("residential_parked.mp4", index) for index in (0, 5)]
    together = detector.detect(frames)
    apart = [detector.detect([frame])[0] for frame in frames]
    for a, b in zip(together, apart, strict=True):
        assert a.xyxy_px.tolist() == b.xyxy_px.tolist()
        assert a.label == b.label
    assert detector.detect([]) == []


def test_black_frame_holds_nothing(detector: NanoDetDetector) -> None:
    assert len(detector.detect([np.zeros((360, 640, 3), np.uint8)])[0]) == 0


def test_model_revision_is_the_hash_of_the_shipped_file(detector: NanoDetDetector) -> None:
    weights = files("autorisk_dagster.perception") / "weights" / nanodet.WEIGHTS_NAME
    assert detector.model_revision == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_notice_and_licence_travel_with_the_weights() -> None:
    folder = files("autorisk_dagster.perception") / "weights"
    notice = (folder / "NOTICE").read_text()
    assert nanodet.WEIGHTS_SHA256 in notice
    assert "RangiLyu" in notice
    assert "converted" in notice
    assert "Apache License" in (folder / "LICENSE-nanodet.txt").read_text()


@pytest.mark.parametrize("content", [None, b"not the model"])
def test_missing_or_changed_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    (tmp_path / "weights").mkdir()
    if content is not None:
        (tmp_path / "weights" / nanodet.WEIGHTS_NAME).write_bytes(content)
    monkeypatch.setattr(nanodet, "files", lambda _package: tmp_path)
    with pytest.raises(BackendError, match=r"nanodet_g_416_coco\.onnx.*convert_nanodet\.py"):
        NanoDetDetector()


def test_the_detector_uses_only_the_cores_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container or `taskset` leaves one core of the machine's two: a second thread would only be in the way."""
    import os

    asked = []
    build = NanoDetDetector.__init__
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {3}, raising=False)
    monkeypatch.setattr(
        NanoDetDetector, "__init__", lambda self, **given: asked.append(given["threads"]) or build(self, **given)
    )
    Detectors().get(Profile(name="test"))
    Detectors(threads=2).get(Profile(name="test"))
    assert asked == [1, 2]
