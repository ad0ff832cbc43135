"""One measured process: `python -m tests.benchmarks.child ORDER`, where ORDER is JSON.

    {"job": name in `jobs.JOBS`, "core": number or null, "target": file for the answer, ...the job's own arguments}

It binds itself to the core before anything is imported that counts cores or starts threads.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.benchmarks.laps import Laps


def main() -> None:
    order = json.loads(sys.argv[1])
    if order["core"] is not None:
        os.sched_setaffinity(0, {order["core"]})
    laps = Laps()

    from tests.benchmarks.jobs import JOBS

    facts = JOBS[order["job"]](order, laps)
    Path(order["target"]).write_text(json.dumps({"steps": laps.steps, "facts": facts}))


if __name__ == "__main__":
    main()
