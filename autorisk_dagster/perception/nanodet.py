"""NanoDet-g on the CPU: the embedded detector, which needs no download, no GPU and no licence fee.

The model (RangiLyu/nanodet, Apache-2.0; COCO mAP 22.9 by upstream's figure) ships as `weights/nanodet_g_416_coco.onnx`;
`weights/NOTICE` says where it comes from and `scripts/convert_nanodet.py` makes it again. Input: n x 3 x height x width
BGR, edges in multiples of 32, normalised with ImageNet's mean and deviation; the long edge is 416, as in training.
Output, for each of the strides 8, 16 and 32: class scores (cells, 80), already through a sigmoid, and box distances
(cells, 4 x 11): for each side a distribution over 0..10 strides, whose mean is the distance from the cell's centre (Li
et al. 2020, Generalized Focal Loss, eq. 5).

The network computes what the frame needs, not a square: 416 x 256 for 16 : 9 costs 26 ms on one core, 416 x 416 42 ms.
Against YOLO11n's boxes (below) on 324 frames of five videos recall / precision are 0.78 / 0.65 so, 0.76 / 0.67 in the
square. Frames in batches of 2, 4 or 8 cost the same each, so they are run one by one.

What it misses, against YOLO11n's boxes (confidence 0.35, IoU 0.5) on six videos: of vehicles over a tenth of the frame
high 416 of 467 are found (the rest mostly in the side views of one video), of all boxes 75 %; of people far off,
35-56 px high in a 720 px frame, 16 of 85. Use the Ultralytics back end where that matters.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.errors import BackendError
from autorisk_dagster.perception.detections import Detections, select_road_users

WEIGHTS_NAME = "nanodet_g_416_coco.onnx"
WEIGHTS_SHA256 = "73166535efd5661c00e7a6798954b12561cec0de59d2952996d4aa81f5900ab4"

INPUT_PX = 416
STRIDES_PX = (8, 16, 32)
BINS = 11
MEAN_BGR = np.array([103.53, 116.28, 123.675], np.float32)
STD_BGR = np.array([57.375, 57.12, 58.395], np.float32)
# (3, 256): what each of the 256 values of a channel becomes.
_NORMAL = np.ascontiguousarray(((np.arange(256, dtype=np.float32)[:, None] - MEAN_BGR) / STD_BGR).T)
COLUMN_OF_LABEL = {"person": 0, "bicycle": 1, "car": 2, "motorcycle": 3, "bus": 5, "train": 6, "truck": 7}


class NanoDetDetector:
    """The shipped NanoDet-g under onnxruntime's CPU provider.

    Args:
        min_confidence: boxes under this score are dropped
        nms_iou: overlap over which two boxes of one kind of road user are one
        threads: CPU threads a frame may use

    Raises:
        BackendError: the weights file is missing or is not the one this decoder was written for.
    """

    model_id = "nanodet-g-416-coco"
    input_long_edge_px = INPUT_PX

    def __init__(self, min_confidence: float = 0.3, nms_iou: float = 0.5, threads: int = 1) -> None:
        import onnxruntime

        self.min_confidence = min_confidence
        self.nms_iou = nms_iou
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take the core from the decoder.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        weights = read_weights()
        self.model_revision = WEIGHTS_SHA256
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def detect(self, frames_bgr: list[NDArray[np.uint8]]) -> list[Detections]:
        """Road users in each frame: (h, w, 3) uint8 BGR in, boxes in px of that frame out."""
        return [detect_one(frame, self._run, self.min_confidence, self.nms_iou) for frame in frames_bgr]

    def _run(self, tensor: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = self._session.run(None, {self._input: tensor})
        return outputs


def detect_one(
    frame_bgr: NDArray[np.uint8],
    run: Callable[[NDArray[np.float32]], list[NDArray[np.float32]]],
    min_confidence: float,
    nms_iou: float,
) -> Detections:
    """Road users in a frame, (h, w, 3) uint8 BGR, in px of that frame; `run` gives the network's six outputs."""
    tensor, scale, offset_px = letterbox(frame_bgr)
    outputs = run(tensor)
    boxes, scores, labels = decode(outputs[:3], outputs[3:], tensor.shape[3], min_confidence)
    height_px, width_px = frame_bgr.shape[:2]
    return select_road_users(
        (boxes - np.tile(offset_px, 2)) / scale,
        scores,
        labels,
        frame_size=(width_px, height_px),
        min_confidence=min_confidence,
        nms_iou=nms_iou,
    )


def read_weights() -> bytes:
    """The shipped model file, checked against its SHA-256.

    Raises:
        BackendError: missing, or other bytes than this decoder was written for.
    """
    resource = files("autorisk_dagster.perception").joinpath("weights", WEIGHTS_NAME)
    fix = "Reinstall autorisk-dagster, or make the file again with scripts/convert_nanodet.py."
    try:
        content = resource.read_bytes()
    except OSError as error:
        raise BackendError(f"{WEIGHTS_NAME}: the package's detector weights cannot be read ({error}). {fix}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != WEIGHTS_SHA256:
        raise BackendError(f"{WEIGHTS_NAME}: SHA-256 is {found}, expected {WEIGHTS_SHA256}. {fix}")
    return content


def letterbox(frame_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float, tuple[int, int]]:
    """The frame as the network wants it: long edge 416 px, aspect kept, in the middle of the smallest black border
    (black before normalisation) that makes both edges multiples of 32.

    Upstream trains with the picture in the middle, and it shows: in a square of 416 px, against YOLO11n's boxes on six
    real videos, recall / precision at confidence 0.3 are 0.75 / 0.77 in the middle, 0.72 / 0.72 at the top left, 0.64 /
    0.65 stretched to the square.

    Returns:
        (1, 3, h, w) float32, the scale applied, and (left, top) of the picture in px of the network's input.
    """
    import cv2

    height_px, width_px = frame_bgr.shape[:2]
    scale = INPUT_PX / max(height_px, width_px)
    width, height = max(1, round(width_px * scale)), max(1, round(height_px * scale))
    if (width, height) != (width_px, height_px):
        smaller = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        frame_bgr = cv2.resize(frame_bgr, (width, height), interpolation=smaller)  # type: ignore[assignment]
    grid = STRIDES_PX[-1]
    columns, rows = math.ceil(width / grid) * grid, math.ceil(height / grid) * grid
    left, top = (columns - width) // 2, (rows - height) // 2
    tensor = np.empty((1, 3, rows, columns), np.float32)
    tensor[0] = _NORMAL[:, 0, None, None]
    for plane, normal, values in zip(tensor[0], _NORMAL, cv2.split(frame_bgr), strict=True):
        # A table look-up is eight times faster than to convert, subtract, divide and transpose the whole picture.
        plane[top : top + height, left : left + width] = cv2.LUT(values, normal)
    return tensor, scale, (left, top)


def decode(
    class_scores: list[NDArray[np.float32]],
    distances: list[NDArray[np.float32]],
    input_width_px: int,
    min_confidence: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Boxes out of the network's six outputs.

    Args:
        class_scores: for each stride (1, cells, 80)
        distances: for each stride (1, cells, 44): left, top, right, bottom, each 11 logits
        input_width_px: of the network's input, which gives the cells in a row
        min_confidence: scores under it give no box

    Returns:
        boxes (n, 4) in px of the network's input, scores (n,), n labels; road users only, doubles not yet suppressed.
    """
    labels = list(COLUMN_OF_LABEL)
    columns = list(COLUMN_OF_LABEL.values())
    boxes: list[NDArray[np.float64]] = []
    scores: list[NDArray[np.float64]] = []
    names: list[str] = []
    for stride_px, level_scores, level_distances in zip(STRIDES_PX, class_scores, distances, strict=True):
        cell, column = np.nonzero(level_scores[0][:, columns] >= min_confidence)
        logits = level_distances[0][cell].reshape(-1, 4, BINS).astype(np.float64)
        weight = np.exp(logits - logits.max(axis=2, keepdims=True))
        side_px = (weight @ np.arange(BINS)) / weight.sum(axis=2) * stride_px
        cells_a_row = input_width_px // stride_px
        centre = np.stack([cell % cells_a_row, cell // cells_a_row], axis=1) * stride_px + stride_px / 2
        boxes.append(np.hstack([centre - side_px[:, :2], centre + side_px[:, 2:]]))
        scores.append(level_scores[0][cell, np.take(columns, column)].astype(np.float64))
        names.extend(labels[index] for index in column)
    return np.concatenate(boxes), np.concatenate(scores), names
