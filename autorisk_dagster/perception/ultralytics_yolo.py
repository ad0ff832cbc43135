"""Ultralytics YOLO as a detector, for machines that have it: any weights by file or by name, any device.

Ultralytics is AGPL-3.0 and brings torch, so it is an extra of this package, imported when a detector is built. Labels
are read from the model itself: weights trained on other classes work if they use COCO's words for road users.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.errors import BackendError
from autorisk_dagster.perception.detections import ROAD_USER_OF_LABEL, Detections, select_road_users

INSTALL = "pip install 'autorisk-dagster[models]'"


class UltralyticsDetector:
    """A YOLO model run by `ultralytics`.

    Args:
        weights: a weights file, or a name such as "yolo11n.pt", which Ultralytics downloads where there is internet
        device: "cpu", "cuda:0", "mps"; what torch understands
        min_confidence: boxes under this score are dropped
        nms_iou: overlap over which two boxes of one kind of road user are one
        batch: frames in one forward pass

    Raises:
        BackendError: `ultralytics` is missing, the weights cannot be loaded or downloaded, or know no road user.
    """

    input_long_edge_px = 640  # what `predict` scales to when nothing else is said

    def __init__(
        self,
        weights: str | Path,
        *,
        device: str = "cpu",
        min_confidence: float = 0.3,
        nms_iou: float = 0.5,
        batch: int = 8,
    ) -> None:
        self.model_id = Path(weights).stem
        self.min_confidence = min_confidence
        self.nms_iou = nms_iou
        self._device = device
        self._batch = batch
        self._model = _load(str(weights))
        self.model_revision = _sha256_of_weights(self._model, str(weights))
        self._names: dict[int, str] = dict(self._model.names)
        self._classes = [index for index, name in self._names.items() if name in ROAD_USER_OF_LABEL]
        if not self._classes:
            raise BackendError(
                f"{weights}: its classes {sorted(self._names.values())[:8]} hold none of the road users "
                f"{', '.join(ROAD_USER_OF_LABEL)}. Give weights that were trained on COCO."
            )

    def detect(self, frames_bgr: list[NDArray[np.uint8]]) -> list[Detections]:
        """Road users in each frame: (h, w, 3) uint8 BGR in, boxes in px of that frame out.

        Raises:
            BackendError: the model failed, for instance because the device does not exist or has no memory left.
        """
        found: list[Detections] = []
        for start in range(0, len(frames_bgr), self._batch):
            frames = frames_bgr[start : start + self._batch]
            found.extend(self._to_detections(result) for result in self._predict(frames))
        return found

    def _predict(self, frames: list[NDArray[np.uint8]]) -> list[Any]:
        try:
            results: list[Any] = self._model.predict(
                frames,
                conf=self.min_confidence,
                iou=self.nms_iou,
                classes=self._classes,
                device=self._device,
                verbose=False,
            )
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"{self.model_id} on device {self._device!r} failed: {error}") from error
        return results

    def _to_detections(self, result: Any) -> Detections:
        boxes = result.boxes.cpu()
        height_px, width_px = result.orig_shape
        return select_road_users(
            boxes.xyxy.numpy(),
            boxes.conf.numpy(),
            [self._names[int(index)] for index in boxes.cls],
            frame_size=(width_px, height_px),
            min_confidence=self.min_confidence,
            nms_iou=self.nms_iou,
        )


def _load(weights: str) -> Any:
    try:
        from ultralytics import YOLO
    except ImportError as error:
        raise BackendError(f"the ultralytics back end needs the ultralytics package ({error}). {INSTALL}") from error
    if Path(weights).suffix in (".yaml", ".yml"):
        raise BackendError(f"{weights}: describes an untrained network, whose boxes are noise. Give a weights file.")
    try:
        model = YOLO(weights)
        model.names  # noqa: B018  for exported formats this is what opens the file
        return model
    except Exception as error:  # Ultralytics, torch and the downloader each raise their own kinds
        raise BackendError(
            f"{weights}: cannot be loaded as YOLO weights ({type(error).__name__}: {error}). "
            "Give an existing file, or one of Ultralytics' names (yolo11n.pt) on a machine with internet access."
        ) from error


def _sha256_of_weights(model: Any, weights: str) -> str:
    """SHA-256 of the file the model came from; a name may have been downloaded beside or into Ultralytics' folder."""
    path = Path(getattr(model, "ckpt_path", None) or weights)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BackendError(f"{weights}: loaded, but its file {path} cannot be read to record its SHA-256") from error
