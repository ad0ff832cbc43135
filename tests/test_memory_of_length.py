"""The script that makes long videos out of short ones: their timestamps must be true."""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from autorisk_dagster.video.clips import Mp4Writer

SCRIPT = Path(__file__).parents[1] / "scripts" / "memory_of_length.py"


def test_repetitions_follow_each_other_without_gap_or_overlap(tmp_path: Path) -> None:
    specification = importlib.util.spec_from_file_location("memory_of_length", SCRIPT)
    assert specification is not None and specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)

    source, target = tmp_path / "one.mp4", tmp_path / "many.mp4"
    with Mp4Writer(source, 64, 48, audio_rate_hz=16_000) as writer:
        for index in range(10):
            writer.write(np.full((48, 64, 3), 20 * index, np.uint8), index / 10)
            writer.write_audio(np.full(1600, 0.1, np.float32))
        writer.close(last_frame_sec=0.1)
    script.repeated(source, target, minutes=3 / 60)  # 1 s, three times

    with av.open(str(target)) as video:
        times = [frame.time for frame in video.decode(video=0)]
    assert times == pytest.approx([index / 10 for index in range(30)])
    with av.open(str(target)) as video:
        sound = [(frame.time, frame.samples / frame.sample_rate) for frame in video.decode(audio=0)]
    assert sum(seconds for _, seconds in sound) == pytest.approx(3.0, abs=0.2)
    assert all(later > earlier for (earlier, _), (later, _) in pairwise(sound))
