"""The process that makes one video, as the tests start it: with the guardrail's double, and a way to be killed.

`KILL` in the environment names a file that lists seeds: a process that is to make a video with one of them takes the
seed off the list and kills itself, as the accelerator's driver would.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from autorisk_dagster.prediction import child

if __name__ == "__main__":
    listed = Path(os.environ.get("KILL", os.devnull))
    seeds = listed.read_text().split()
    seed = str(json.loads(Path(sys.argv[1]).read_text())["seed"])
    if seed in seeds:
        seeds.remove(seed)
        listed.write_text(" ".join(seeds))
        os.kill(os.getpid(), signal.SIGKILL)

    from tests.prediction.tiny_predict2 import GuardrailDouble

    sys.exit(child.main(sys.argv[1:], GuardrailDouble))
