"""The optional back end: refuses clearly where it cannot work, and speaks the same language where it can."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

from autorisk_dagster.errors import BackendError
from autorisk_dagster.perception.detections import ROAD_USER_OF_LABEL
from autorisk_dagster.perception.ultralytics_yolo import UltralyticsDetector

SHARED = Path(__file__).parents[2].parent / "shared"


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(BackendError, match=r"pip install 'autorisk-dagster\[models\]'"):
        UltralyticsDetector("yolo11n.pt")


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YOLO11n with random weights, saved: same interface as the trained one, no download."""
    ultralytics = pytest.importorskip("ultralytics", reason="ultralytics is an optional extra")
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    model = ultralytics.YOLO("yolo11n.yaml")
    model.model.names = {index: str(index) for index in range(80)} | dict(enumerate(("person", "bicycle", "car")))
    model.save(path)
    return path


def test_boxes_hold_the_contract_whatever_the_network_says(random_weights: Path) -> None:
    """Random weights at the lowest threshold: many boxes of all classes; batches of 2 over 3 frames of two sizes."""
    detector = UltralyticsDetector(random_weights, min_confidence=1e-6, nms_iou=0.5, batch=2)
    rng = np.random.default_rng(0)
    sizes = [(240, 320), (320, 240), (240, 320)]
    found = detector.detect([rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes])
    assert len(found) == 3
    for detections, (height_px, width_px) in zip(found, sizes, strict=True):
        assert set(detections.label) <= set(ROAD_USER_OF_LABEL)
        assert (detections.xyxy_px >= 0).all()
        assert (detections.xyxy_px <= [width_px, height_px, width_px, height_px]).all()
    assert sum(map(len, found)) > 0
    assert detector.detect([]) == []


def test_the_revision_is_the_hash_of_the_file(random_weights: Path) -> None:
    detector = UltralyticsDetector(str(random_weights))
    assert detector.model_id == "random"
    assert detector.model_revision == hashlib.sha256(random_weights.read_bytes()).hexdigest()


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics", reason="ultralytics is an optional extra")
    path = tmp_path / "broken.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(BackendError, match=r"broken\.pt: cannot be loaded as YOLO weights"):
        UltralyticsDetector(path)


def test_an_untrained_network_is_refused() -> None:
    pytest.importorskip("ultralytics", reason="ultralytics is an optional extra")
    with pytest.raises(BackendError, match="untrained"):
        UltralyticsDetector("yolo11n.yaml")


def test_weights_that_know_no_road_user_are_refused(tmp_path: Path) -> None:
    """A network from a bare description calls its classes "0", "1", "2"."""
    ultralytics = pytest.importorskip("ultralytics", reason="ultralytics is an optional extra")
    ultralytics.YOLO("yolo11n.yaml").save(tmp_path / "numbers.pt")
    with pytest.raises(BackendError, match="hold none of the road users person, bicycle"):
        UltralyticsDetector(tmp_path / "numbers.pt")


def test_a_device_that_is_not_there_is_named(random_weights: Path) -> None:
    detector = UltralyticsDetector(random_weights, device="cuda:7")
    with pytest.raises(BackendError, match="cuda:7"):
        detector.detect([np.zeros((64, 64, 3), np.uint8)])


def test_trained_weights_find_the_two_cars() -> None:
    pytest.importorskip("ultralytics", reason="ultralytics is an optional extra")
    weights = SHARED / "weights" / "yolo11n_coco.pt"
    video = SHARED / "data" / "video" / "highway_two_cars_negative.mp4"
    if not (weights.exists() and video.exists()):
        pytest.skip("test weights or footage are not on this machine")
    import av

    with av.open(str(video)) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="bgr24")
    (found,) = UltralyticsDetector(weights).detect([frame])
    assert found.label == ("car", "car")
