"""The road-user detector, built on first use and shared by every video of the process."""

from __future__ import annotations

import dagster as dg
from pydantic import PrivateAttr

from autorisk_dagster.errors import BackendError
from autorisk_dagster.perception.detections import Detector
from autorisk_dagster.profile import Profile
from autorisk_dagster.threads import thread_budget


class Detectors(dg.ConfigurableResource["Detectors"]):
    """Builds the detector a profile asks for, and no other. `device` and `threads` are settings of the machine.

    `threads` 0: the process's budget (`autorisk_dagster.threads`). onnxruntime's own 0 counts the machine's cores, also
    those that a container or `taskset` keeps from it.
    """

    device: str = "cpu"
    threads: int = 0

    _built: dict[str, Detector] = PrivateAttr(default_factory=dict)

    def get(self, profile: Profile) -> Detector:
        """The detector of `profile`, warm if it was used before in this process.

        Raises:
            BackendError: the back end is not installed, or its weights are missing or not the expected file.
        """
        key = f"{profile.detector.digest()}-{profile.perception.min_confidence}-{profile.perception.nms_iou}"
        if key not in self._built:
            self._built[key] = self._build(profile)
        return self._built[key]

    def _build(self, profile: Profile) -> Detector:
        limits, threads = profile.perception, self.threads or thread_budget().detector
        if profile.detector.backend == "nanodet":
            from autorisk_dagster.perception.nanodet import NanoDetDetector

            return NanoDetDetector(
                min_confidence=limits.min_confidence,
                nms_iou=limits.nms_iou,
                threads=threads,
            )
        if profile.detector.backend == "openvino":
            from autorisk_dagster.perception.openvino_nanodet import OpenVinoNanoDetDetector

            return OpenVinoNanoDetDetector(
                min_confidence=limits.min_confidence,
                nms_iou=limits.nms_iou,
                threads=threads,
            )
        from autorisk_dagster.perception.ultralytics_yolo import UltralyticsDetector

        if profile.detector.weights is None:
            raise BackendError("detector.backend is ultralytics: set detector.weights to a file or a model name")
        return UltralyticsDetector(
            profile.detector.weights, device=self.device, min_confidence=limits.min_confidence, nms_iou=limits.nms_iou
        )
