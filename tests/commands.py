"""`autorisk` in a process of its own for each command, with the libraries of others imported once for all of them.

A new interpreter imports Dagster, Polars and what a run calls for in some seconds. Here a fork server imports them, and
each command is a fork of it: this project's own modules, its settings and the environment are read anew each time.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

# None of them reads a setting of this project. A library that is not installed is passed over.
LIBRARIES = [
    *("dagster", "polars", "pandera.polars", "pydantic", "yaml", "click", "rich.console", "rich.table"),
    *("numpy", "scipy.optimize", "scipy.signal", "scipy.stats", "scipy.ndimage", "cv2", "av", "soundfile"),
    *("onnxruntime", "supervision", "trackers", "plotly.graph_objects", "matplotlib.pyplot", "jinja2", "PIL.Image"),
    *("skimage.metrics", "c2pa", "securesystemslib.signer", "jsonschema", "httpx"),
]


def anew(environment: Mapping[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a new interpreter, as a person starts it."""
    command = [sys.executable, "-c", "from autorisk_dagster.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)


def forked(environment: Mapping[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a fork of a process that has imported the libraries."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    words = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = context.Process(target=_command, args=(words, dict(environment), out, err))
        process.start()
        process.join()
        return subprocess.CompletedProcess(words, process.exitcode or 0, out.read_text(), err.read_text())


def _command(words: list[str], environment: dict[str, str], out: Path, err: Path) -> None:
    assert not any(name.startswith("autorisk_dagster") for name in sys.modules), "settings would be those of before"
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), number)
    from autorisk_dagster.cli import main
    from tests.databases import quicken

    quicken()
    main(words)
