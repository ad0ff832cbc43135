"""Threads add up to the cores that this process may use, whatever the machine has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import pytest

from autorisk_dagster.errors import InputError
from autorisk_dagster.mining.one_pass import perceive
from autorisk_dagster.profile import PerceptionSettings
from autorisk_dagster.threads import limit_libraries, opencv_threads, thread_budget, usable_cores
from autorisk_dagster.video import decoder, frames
from tests.mining.test_work_done import CountingDetector
from tests.video_factory import steady, write_video

NO_QUOTA = Path("no such file")


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 2, 4, 6}, raising=False)


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 4), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("900000 100000", 4)],
)
def test_a_containers_quota_counts(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert usable_cores({}, tmp_path / "cpu.max") == cores


@pytest.mark.usefixtures("four_cores")
def test_a_named_share_counts_before_all_else() -> None:
    assert usable_cores({}, NO_QUOTA) == 4
    assert usable_cores({"AUTORISK_CORES": "3"}, NO_QUOTA) == 3
    for wrong in ("0", "-1", "two", "1.5"):
        with pytest.raises(InputError, match="AUTORISK_CORES must be a positive number of cores"):
            usable_cores({"AUTORISK_CORES": wrong}, NO_QUOTA)


@pytest.mark.usefixtures("four_cores")
def test_libraries_are_told_only_where_they_would_count_too_many() -> None:
    whole: dict[str, str] = {}
    limit_libraries(whole, NO_QUOTA)
    assert whole == {}  # a child that is bound to fewer cores would inherit it
    shared = {"AUTORISK_CORES": "2", "OMP_NUM_THREADS": "1"}
    limit_libraries(shared, NO_QUOTA)
    assert shared == {"AUTORISK_CORES": "2", "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2"}


def test_a_wrong_number_of_cores_does_not_fail_an_import() -> None:
    wrong = {"AUTORISK_CORES": "many"}
    limit_libraries(wrong, NO_QUOTA)
    assert wrong == {"AUTORISK_CORES": "many"}


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64])
def test_no_library_has_more_threads_than_there_are_cores(cores: int) -> None:
    budget = thread_budget(cores)
    assert 1 <= budget.pictures <= budget.decoder <= cores
    assert budget.detector == cores  # the others wait while it works


def test_opencv_gets_its_threads_back() -> None:
    before = cv2.getNumThreads()
    with pytest.raises(ValueError, match="inside"), opencv_threads(1):
        assert cv2.getNumThreads() == 1
        raise ValueError("inside")
    assert cv2.getNumThreads() == before


def test_every_library_of_the_pass_gets_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORISK_CORES", "3")
    given: dict[str, Any] = {}
    build, scale = decoder.Decoder.__init__, frames.Scalers.__init__

    def decoding(self: Any, path: Path, *, audio: bool, threads: int) -> None:
        given["decoder"] = threads
        build(self, path, audio=audio, threads=threads)
        given["frame threads"] = self.video.thread_count

    def scaling(self: Any, threads: int) -> None:
        given["scaler"] = threads
        scale(self, threads)

    class Asks(CountingDetector):
        def detect(self, frames_bgr: list[Any]) -> Any:
            given["opencv"] = cv2.getNumThreads()
            return super().detect(frames_bgr)

    monkeypatch.setattr(decoder.Decoder, "__init__", decoding)
    monkeypatch.setattr(frames.Scalers, "__init__", scaling)
    write_video(tmp_path / "short.mp4", steady(4, 10.0))
    perceive(tmp_path / "short.mp4", 0.4, Asks(), PerceptionSettings())
    assert given == {"decoder": 3, "frame threads": 3, "scaler": 1, "opencv": 1}
