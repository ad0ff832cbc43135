"""Where the project lies on this machine: its configuration, and the folder its data goes to."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = Path(os.environ.get("AUTORISK_CONFIGS", ROOT / "configs"))

EMBEDDING_MODEL = "AUTORISK_EMBEDDING_MODEL"  # names the folder of a sentence model; unset: search is by words


def data_folder() -> Path:
    """`AUTORISK_DATA`, or `data` in the project's folder."""
    return Path(os.environ.get("AUTORISK_DATA", ROOT / "data")).resolve()
