"""The same network under OpenVINO: in f32 the same boxes, in bf16 boxes as near as was measured."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from autorisk_dagster.errors import BackendError
from autorisk_dagster.paths import local_folder
from autorisk_dagster.perception.detections import Detections, box_iou
from autorisk_dagster.perception.nanodet import NanoDetDetector
from autorisk_dagster.perception.openvino_nanodet import OpenVinoNanoDetDetector
from autorisk_dagster.profile import DetectorSettings, Profile
from resources.detectors import Detectors
from tests.video_factory import SHARED_VIDEO

SHARED = ("highway_day_negative", "highway_two_cars_negative", "merge_near_miss_horn", "intersection_crash")
EVERY = 30  # frames


@dataclass
class Comparison:
    """Boxes of one detector matched with another's, kind by kind, at IoU 0.5 or more."""

    iou: NDArray[np.float64]
    shift_px: NDArray[np.float64]  # of the centre
    confidence: NDArray[np.float64]  # absolute difference
    alone: list[float]  # confidences of boxes that only one of the two has


def compared(first: list[Detections], second: list[Detections]) -> Comparison:
    iou, shift, confidence, alone = [], [], [], []
    for one, other in zip(first, second, strict=True):
        same_kind = np.equal.outer(np.array(one.road_user), np.array(other.road_user))
        overlap = box_iou(one.xyxy_px, other.xyxy_px) * same_kind.reshape(len(one), len(other))
        pairs = [(i, j) for i, j in zip(*linear_sum_assignment(-overlap), strict=True) if overlap[i, j] >= 0.5]
        for i, j in pairs:
            iou.append(overlap[i, j])
            centres = [(box[:2] + box[2:]) / 2 for box in (one.xyxy_px[i], other.xyxy_px[j])]
            shift.append(float(np.hypot(*(centres[0] - centres[1]))))
            confidence.append(abs(one.confidence[i] - other.confidence[j]))
        alone += [one.confidence[i] for i in set(range(len(one))) - {i for i, _ in pairs}]
        alone += [other.confidence[j] for j in set(range(len(other))) - {j for _, j in pairs}]
    return Comparison(np.array(iou), np.array(shift), np.array(confidence), alone)


def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    import av

    with av.open(str(path)) as container:
        decoded = enumerate(container.decode(video=0))
        return [frame.to_ndarray(format="bgr24") for number, frame in decoded if number % EVERY == 0]


def shared_frames() -> list[list[NDArray[np.uint8]]]:
    paths = [SHARED_VIDEO / f"{name}.mp4" for name in SHARED]
    if not all(path.exists() for path in paths):
        pytest.skip("shared footage is not here")
    return [frames_of(path) for path in paths]


def sample_frames() -> list[list[NDArray[np.uint8]]]:
    path = local_folder() / "samples" / "bikes.mp4"
    if not path.exists():
        pytest.skip("the street sample is not here: `make demo` fetches it")
    return [frames_of(path)]


FOOTAGE = {"shared": shared_frames, "sample": sample_frames}


@functools.cache
def seen_by_onnxruntime(footage: str) -> list[tuple[list[NDArray[np.uint8]], list[Detections]]]:
    """The frames of each video, and what is to be found in them."""
    reference = NanoDetDetector()
    return [(frames, reference.detect(frames)) for frames in FOOTAGE[footage]()]


@pytest.fixture(scope="module")
def openvino() -> Any:
    return pytest.importorskip("openvino", reason="openvino is an optional extra")


@pytest.mark.usefixtures("openvino")
def test_the_network_says_the_same_of_noise() -> None:
    """At a confidence of 0.02 noise is full of boxes; one detector takes frames of several shapes in turn."""
    random = np.random.default_rng(0)
    frames = [
        random.integers(0, 256, (*size, 3), np.uint8) for size in ((234, 416), (416, 416), (720, 405), (234, 416))
    ]
    wanted = NanoDetDetector(min_confidence=0.02).detect(frames)
    found = OpenVinoNanoDetDetector(min_confidence=0.02, precision="f32").detect(frames)
    for own, other in zip(found, wanted, strict=True):
        assert own.label == other.label and len(own) > 10
        np.testing.assert_allclose(own.xyxy_px, other.xyxy_px, atol=0.01)
        np.testing.assert_allclose(own.confidence, other.confidence, atol=1e-4)


@pytest.mark.usefixtures("openvino")
@pytest.mark.parametrize("footage", FOOTAGE)
def test_f32_gives_the_boxes_of_onnxruntime(footage: str) -> None:
    # Measured on 216 frames of six videos: 921 boxes of 921, no centre off by 0.001 px.
    other = OpenVinoNanoDetDetector(precision="f32")
    for frames, wanted in seen_by_onnxruntime(footage):
        found = compared(wanted, other.detect(frames))
        assert len(found.iou) > 0 and found.alone == []
        assert found.shift_px.max() < 0.01
        assert found.confidence.max() < 1e-4


@pytest.mark.usefixtures("openvino")
@pytest.mark.parametrize("footage", FOOTAGE)
def test_bf16_gives_nearly_the_boxes_of_onnxruntime(footage: str) -> None:
    # Measured on 216 frames of six videos, 921 boxes: 915 matched at IoU 0.5, 907 at 0.9; centres 0.08 px apart in the
    # median, 0.44 px at the 95th percentile; confidences 0.0014 and 0.005. The 11 boxes that only one of the two has
    # have confidences of 0.300 to 0.345, beside the threshold of 0.3.
    other = OpenVinoNanoDetDetector()
    if other.precision != "bf16":
        pytest.skip("this CPU does not compute in bfloat16")
    parts = [compared(wanted, other.detect(frames)) for frames, wanted in seen_by_onnxruntime(footage)]
    iou, shift, confidence = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("iou", "shift_px", "confidence")
    )
    alone = [value for part in parts for value in part.alone]
    assert len(alone) <= 0.05 * len(iou)
    assert max(alone, default=0.0) < 0.4
    assert (iou >= 0.9).mean() > 0.95
    assert np.median(shift) < 0.25 and np.percentile(shift, 95) < 1.0
    assert np.percentile(confidence, 95) < 0.01


@pytest.mark.usefixtures("openvino")
def test_a_frame_without_road_users_and_no_frame_at_all() -> None:
    found = OpenVinoNanoDetDetector()
    assert len(found.detect([np.zeros((360, 640, 3), np.uint8)])[0]) == 0
    assert found.detect([]) == []


def test_the_name_says_engine_and_precision(openvino: Any) -> None:
    found = OpenVinoNanoDetDetector(precision="f32")
    assert found.model_id == f"nanodet-g-416-coco by openvino {openvino.__version__.split('-')[0]} in f32"
    assert found.model_revision == NanoDetDetector().model_revision


def test_the_precision_is_what_the_cpu_has(openvino: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = openvino.Core

    class OldCpu:
        def __init__(self) -> None:
            self._core = real()

        def get_property(self, _device: str, name: str) -> list[str]:
            assert name == "OPTIMIZATION_CAPABILITIES"
            return ["FP32", "INT8"]

        def __getattr__(self, name: str) -> Any:
            return getattr(self._core, name)

    monkeypatch.setattr(openvino, "Core", OldCpu)
    assert OpenVinoNanoDetDetector().precision == "f32"
    with pytest.raises(BackendError, match="no bfloat16 instructions"):
        OpenVinoNanoDetDetector(precision="bf16")


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BackendError, match=r"pip install 'autorisk-dagster\[openvino\]'"):
        OpenVinoNanoDetDetector()


@pytest.mark.usefixtures("openvino")
def test_a_profile_asks_for_it_and_nothing_else_does() -> None:
    detectors = Detectors(threads=1)
    asked = Profile(name="fast", detector=DetectorSettings(backend="openvino"))
    assert isinstance(detectors.get(asked), OpenVinoNanoDetDetector)
    assert isinstance(detectors.get(Profile(name="default")), NanoDetDetector)
