"""How much work the one pass does, counted: speed that a slow machine cannot hide and a fast one cannot fake."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from autorisk_dagster.mining import motion
from autorisk_dagster.mining.one_pass import Perception, perceive
from autorisk_dagster.perception.detections import Detections
from autorisk_dagster.profile import PerceptionSettings
from autorisk_dagster.video import frames as frames_module
from tests.video_factory import steady, tone, write_video

RATE_HZ, SECONDS = 30.0, 4.0
SETTINGS = PerceptionSettings(flow_rate_hz=10.0, detection_rate_hz=5.0)


class CountingDetector:
    model_id = model_revision = "counts"
    input_long_edge_px = 160

    def __init__(self) -> None:
        self.pictures = 0

    def detect(self, frames_bgr: list[Any]) -> list[Detections]:
        self.pictures += len(frames_bgr)
        nothing = Detections(np.zeros((0, 4)), np.zeros(0), ())
        return [nothing for _ in frames_bgr]


class CountingContainer:
    """A container that counts the packets it hands out; all else is the real one."""

    def __init__(self, inner: Any, packets: Counter[tuple[str, int]]) -> None:
        self._inner, self._packets = inner, packets

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def demux(self, *streams: Any) -> Any:
        for packet in self._inner.demux(*streams):
            if packet.size:
                self._packets[packet.stream.type, packet.dts] += 1
            yield packet


class Work:
    """What one pass over four seconds at 30 frames a second, with sound, did."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        self.opened = self.flows = 0
        self.packets: Counter[tuple[str, int]] = Counter()
        self.conversions: Counter[str] = Counter()
        detector = CountingDetector()
        open_file, flow = av.open, motion.coarse_flow
        work = self

        def opening(*args: Any, **kwargs: Any) -> CountingContainer:
            work.opened += 1
            return CountingContainer(open_file(*args, **kwargs), work.packets)

        def flowing(*args: Any, **kwargs: Any) -> Any:
            work.flows += 1
            return flow(*args, **kwargs)

        class CountingReformatter:
            def __init__(self) -> None:
                self._inner = VideoReformatter()

            def reformat(self, *args: Any, **kwargs: Any) -> Any:
                work.conversions[str(kwargs["format"])] += 1
                return self._inner.reformat(*args, **kwargs)

        patch.setattr(av, "open", opening)
        patch.setattr(motion, "coarse_flow", flowing)
        patch.setattr(frames_module, "VideoReformatter", CountingReformatter)
        self.found: Perception = perceive(path, SECONDS, detector, SETTINGS)
        self.detected = detector.pictures


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    path = tmp_path_factory.mktemp("work") / "drive.mp4"
    count = int(RATE_HZ * SECONDS)
    texture = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    drifting = [np.roll(texture, number, axis=1) for number in range(count)]  # no frame looks like a scene cut
    write_video(path, steady(count, RATE_HZ), pictures=drifting, sound=tone(SECONDS))
    with pytest.MonkeyPatch.context() as patch:
        return Work(path, patch)


def test_the_file_is_opened_once_and_every_packet_is_read_once(work: Work):
    assert work.opened == 1
    assert set(work.packets.values()) == {1}
    kinds = Counter(kind for kind, _ in work.packets)
    assert kinds["video"] == RATE_HZ * SECONDS
    assert kinds["audio"] > 0


def test_every_packet_gives_one_frame(work: Work):
    assert work.found.frames_decoded == RATE_HZ * SECONDS
    assert work.found.corrupt_frames == 0


def test_the_detector_sees_its_rate_and_no_more(work: Work):
    assert work.detected == work.found.frames_processed == math.ceil(SECONDS * SETTINGS.detection_rate_hz)


def test_flow_is_computed_once_between_two_of_its_frames(work: Work):
    assert work.flows == math.ceil(SECONDS * SETTINGS.flow_rate_hz) - 1


def test_only_the_detectors_frames_become_colour_pictures(work: Work):
    # The grey pictures are the decoder's own luma plane: nothing is converted for them.
    assert work.conversions == {"bgr24": work.detected}
