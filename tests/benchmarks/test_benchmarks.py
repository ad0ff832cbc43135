"""The benchmarks still run: every job once, on two seconds of made-up video, and the page they are written to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import page
from tests.benchmarks.__main__ import mining_orders
from tests.benchmarks.machine import machine_facts
from tests.benchmarks.measure import ONE_CORE, Order, Run, loaded, run_interleaved, run_once, stored
from tests.video_factory import steady, tone, write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (90, 160, 3), dtype=np.uint8)
    pictures = [np.roll(texture, 2 * index, axis=1) for index in range(50)]
    folder = tmp_path_factory.mktemp("bench")
    return write_video(folder / "noise.mp4", steady(50, 25.0), pictures=pictures, sound=tone(2.0))


@pytest.fixture(scope="module")
def kept(video: Path) -> dict[str, dict]:
    """Every group, one run each, as `make bench` would keep it."""
    orders = {
        "long": [order for cores in (ONE_CORE, "all cores") for order in mining_orders("noise", video, cores, True)],
        "over_floor": [Order("noise", "over_floor", ONE_CORE, 1, {"video": str(video), "times": 2})],
        "memory": [Order("2 s", "memory", ONE_CORE, 1, {"video": str(video)})],
        "choices": [Order("choices", "choices", ONE_CORE, 1, {"videos": [str(video)]})],
        "rules": [Order("20 clips, 30 draws", "rules", ONE_CORE, 1, {"clips": 20, "draws": 30, "records": True})],
        "near_miss": [
            Order("8 road users, 40 frames", job, ONE_CORE, 1, {"objects": 8, "frames": 40})
            for job in ("near_miss", "tracker")
        ],
    }
    runs = {name: list(run_interleaved(group, lambda _: None))[-1] for name, group in orders.items()}
    runs["videos"] = [run for run in runs["long"] if run.cores == ONE_CORE]
    return {name: json.loads(json.dumps(stored(found, machine_facts()))) for name, found in runs.items()}


def test_every_job_runs_and_the_page_shows_it(kept, tmp_path):
    text = page.write(kept, tmp_path)
    assert (tmp_path / "performance.md").read_text(encoding="utf-8") == text
    assert (tmp_path / "performance.png").stat().st_size > 1000
    for heading in (
        "A minute of footage",
        "Where the time goes",
        "The test videos",
        "Rule search",
        "Near misses",
        "Everything but the detector",
        "Memory",
        "How cheaper flow",
        "What fewer detections",
        "What was tried",
    ):
        assert f"## {heading}" in text
    assert str(Path(__file__).parents[2]) not in text  # no path of this machine
    assert str(tmp_path) not in text


def test_the_stages_of_the_pass_are_seen(kept):
    runs = loaded(kept["long"])
    stages = runs.stages("noise")
    # 20 detector frames and 19 pairs of flow in two seconds: none of them can cost nothing.
    assert all(seconds > 0 for seconds in stages.values()), stages
    assert sum(stages.values()) <= runs.steps("noise", "ours")["perceive"]
    assert runs.facts("noise", "ours")["frames"] == runs.facts("noise", "decode")["frames"] == 50


def test_variants_differ_in_what_they_look_at(kept):
    """A texture that drifts changes everywhere: no variant may skip any of the ten pictures a second."""
    detections = loaded(kept["choices"]).runs[0].facts["detections"]
    assert [row["looked"] for row in detections] == [20, 10, 7, 20, 20, 20, 20]


def test_both_sides_give_the_same_answers(kept):
    assert loaded(kept["rules"]).facts("20 clips, 30 draws", "rules")["identical"]
    assert loaded(kept["over_floor"]).facts("noise", "over_floor")["identical"]
    assert loaded(kept["near_miss"]).facts("8 road users, 40 frames", "near_miss")["identical"]


def test_a_child_that_fails_is_said(video):
    with pytest.raises(RuntimeError, match="decode on nothing failed"):
        run_once("nothing", "decode", ONE_CORE, {"video": str(video.with_name("missing.mp4"))})


def test_medians_are_taken_over_the_runs_of_one_job():
    def run(job: str, *seconds: float) -> Run:
        return Run("s", job, ONE_CORE, [{"name": f"step {i}", "cpu_sec": s} for i, s in enumerate(seconds)], {})

    runs = loaded(stored([run("ours", 1, 10), run("other", 9, 9), run("ours", 3, 30), run("ours", 2, 60)], {}))
    assert runs.steps("s", "ours") == {"step 0": 2, "step 1": 30}
    assert runs.total("s", "ours", ("step 0", "step 1")) == [11, 33, 62]
