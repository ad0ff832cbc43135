"""How many constrained answers of a model that says noise hold the schema: 100 of 100, or which did not.

    python -m tests.benchmarks.constrained_answers [COUNT]

The model has random weights; temperature 1.5, no nucleus, so that every token that the mask lets through comes up.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

TEMPERATURE = 1.5
TEXT_CHARS = 60


def main(count: int) -> int:
    """Ask `count` times; print what held, and return how many did not."""
    import jsonschema
    import torch

    from autorisk_dagster.reasoning import prompts
    from autorisk_dagster.reasoning.constrained import bounded
    from autorisk_dagster.reasoning.local_vlm import LocalModel, LocalModelSettings
    from autorisk_dagster.reasoning.parsing import parse_assessment
    from autorisk_dagster.reasoning.schema import answer_schema
    from autorisk_dagster.reasoning.vlm import Sampling
    from tests import tiny_cosmos
    from tests.video_factory import steady, write_video

    torch.set_num_threads(1)
    schema = bounded(answer_schema(), TEXT_CHARS)
    failed, tokens, severities = 0, 0, {}
    with TemporaryDirectory() as folder:
        weights = tiny_cosmos.build(Path(folder) / "tiny-random-weights")
        clip = write_video(Path(folder) / "clip.mp4", steady(20, 10))
        settings = LocalModelSettings(
            str(weights),
            dtype="float32",
            device_map="cpu",
            max_pixels=100_000,
            max_think_tokens=32,
            max_text_chars=TEXT_CHARS,
        )
        model = LocalModel(settings)
        began = time.process_time()
        for seed in range(count):
            sampling = Sampling(temperature=TEMPERATURE, seed=seed, top_p=1.0, top_k=0)
            answer = model.answer(clip, 2.0, prompts.assessment_prompt(thinking=True), sampling)
            tokens += answer.answer_tokens or 0
            read = parse_assessment(answer.text)
            try:
                jsonschema.validate(json.loads(answer.text.split("</think>", 1)[1]), schema)
                said = read.assessment.severity if read.assessment else f"not read: {read.error}"
            except (ValueError, IndexError, jsonschema.ValidationError) as error:
                failed, said = failed + 1, f"invalid: {error}"
            severities[said] = severities.get(said, 0) + 1
        seconds = time.process_time() - began
    print(
        f"{count - failed} of {count} answers hold the schema; {tokens} tokens, {1000 * seconds / tokens:.1f} ms each"
    )
    for said, times in sorted(severities.items()):
        print(f"  {times:4d}  {said}")
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]) if len(sys.argv) > 1 else 100) else 0)
