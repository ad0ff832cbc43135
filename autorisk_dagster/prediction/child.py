"""The process that makes one Cosmos video: `python -m autorisk_dagster.prediction.child REQUEST.json`.

It reads the request, writes the pictures and `answer.json` beside it, and ends. A fault of the accelerator takes this
process and one video, nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.prediction.cosmos_request import ANSWER, CosmosAnswer, CosmosRequest
from autorisk_dagster.prediction.guardrail import real_guardrail


def main(arguments: list[str], make_guardrail: Callable[[], Any] = real_guardrail) -> int:
    """Make the video of the request at `arguments[0]`."""
    path = Path(arguments[0])
    try:
        from autorisk_dagster.prediction.cosmos import make_video

        answer = make_video(path.parent, CosmosRequest.read(path), make_guardrail)
    except ModuleNotFoundError as error:
        answer = CosmosAnswer(
            "failed",
            f"prediction.world_model is cosmos, which needs {error.name}: pip install 'autorisk-dagster[models]'",
        )
    except AutoRiskError as error:
        answer = CosmosAnswer("failed", str(error))
    answer.write(path.parent / ANSWER)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
