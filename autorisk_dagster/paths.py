"""Where the project lies on this machine: its configuration, and the folder its data goes to."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = Path(os.environ.get("AUTORISK_CONFIGS", ROOT / "configs"))

EMBEDDING_MODEL = "AUTORISK_EMBEDDING_MODEL"  # names the folder of a sentence model; unset: search is by words


def data_root() -> str:
    """Where data lies: the folder or URL that `AUTORISK_DATA` names, else `data` in the project's folder. A folder is
    absolute, a URL without a slash at its end."""
    named = os.environ.get("AUTORISK_DATA", "")
    return named.rstrip("/") if "://" in named else str(Path(named or ROOT / "data").resolve())


def local_folder() -> Path:
    """What stays on this machine: the data folder, or, where data lies in a bucket, the folder that `AUTORISK_LOCAL`
    names (else `~/.cache/autorisk`): copies of files in use, the memory of the inbox, logs of the verifiers."""
    if "://" not in data_root():
        return Path(data_root())
    return Path(os.environ.get("AUTORISK_LOCAL") or Path.home() / ".cache" / "autorisk").resolve()
