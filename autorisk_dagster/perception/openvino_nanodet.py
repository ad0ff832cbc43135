"""The shipped NanoDet-g under OpenVINO, for CPUs that compute in bfloat16.

Same weights, same letterbox and decoding as `nanodet`; only the arithmetic differs. The precision follows the CPU: bf16
where it has instructions for it (AVX-512 BF16 or AMX), else f32. There is no int8: it needs calibration on footage.

CPU time a 16 : 9 frame on an AMD EPYC with AVX-512 BF16, one thread: bf16 19 ms, onnxruntime 27 ms, f32 34 ms. So it
pays where there is bf16 only. How near the boxes are: `tests/perception/test_openvino_nanodet.py`.

OpenVINO is an extra of this package, imported when a detector is built, and is used only where a profile asks for it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.errors import BackendError
from autorisk_dagster.perception.detections import Detections
from autorisk_dagster.perception.nanodet import (
    INPUT_PX,
    WEIGHTS_SHA256,
    NanoDetDetector,
    detect_one,
    read_weights,
)

INSTALL = "pip install 'autorisk-dagster[openvino]'"

Precision = Literal["bf16", "f32"]


class OpenVinoNanoDetDetector:
    """NanoDet-g run by OpenVINO's CPU plugin.

    Args:
        min_confidence: boxes under this score are dropped
        nms_iou: overlap over which two boxes of one kind of road user are one
        threads: CPU threads a frame may use, 0 for one a core
        precision: of the arithmetic; None: bf16 where this CPU has it, else f32

    Raises:
        BackendError: `openvino` is missing, this CPU does not have `precision`, or the weights file is not the one
            that the decoder was written for.
    """

    input_long_edge_px = INPUT_PX

    def __init__(
        self,
        min_confidence: float = 0.3,
        nms_iou: float = 0.5,
        threads: int = 1,
        precision: Precision | None = None,
    ) -> None:
        try:
            import openvino
        except ImportError as error:
            raise BackendError(f"the openvino back end needs the openvino package ({error}). {INSTALL}") from error
        self.min_confidence = min_confidence
        self.nms_iou = nms_iou
        self._threads = threads
        self._core = openvino.Core()
        self.precision = self._checked(precision)
        self._model = self._core.read_model(read_weights())
        self._requests: dict[tuple[int, ...], Any] = {}
        self.model_id = (
            f"{NanoDetDetector.model_id} by openvino {openvino.__version__.split('-')[0]} in {self.precision}"
        )
        self.model_revision = WEIGHTS_SHA256

    def detect(self, frames_bgr: list[NDArray[np.uint8]]) -> list[Detections]:
        """Road users in each frame: (h, w, 3) uint8 BGR in, boxes in px of that frame out."""
        return [detect_one(frame, self._run, self.min_confidence, self.nms_iou) for frame in frames_bgr]

    def _run(self, tensor: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        request = self._requests.get(tensor.shape)
        if request is None:
            request = self._requests[tensor.shape] = self._compiled(tensor.shape)
        request.infer([tensor], share_inputs=True)
        return [request.get_output_tensor(index).data for index in range(len(self._model.outputs))]

    def _compiled(self, shape: tuple[int, ...]) -> Any:
        """A request for inputs of one shape: a fifth cheaper than one for any shape, and a video has one."""
        from openvino import Type, properties
        from openvino.properties import hint

        self._model.reshape(list(shape))
        settings: dict[Any, Any] = {
            hint.inference_precision: {"bf16": Type.bf16, "f32": Type.f32}[self.precision],
            hint.enable_cpu_pinning: False,  # the decoder and the tracker want the cores too
            properties.num_streams: 1,
        }
        if self._threads:
            settings[properties.inference_num_threads] = self._threads
        return self._core.compile_model(self._model, "CPU", settings).create_infer_request()

    def _checked(self, precision: Precision | None) -> Precision:
        has_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not has_bf16:
            raise BackendError("this CPU has no bfloat16 instructions (AVX-512 BF16 or AMX). Leave the precision open.")
        return precision or ("bf16" if has_bf16 else "f32")
