"""Where a severity's log-odds would move if a pixel did: the right number, at the right place, in the right frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="saliency needs the extra `models`")

from autorisk_dagster.errors import BackendError, InputError
from autorisk_dagster.reasoning.clip_frames import ClipFrames
from autorisk_dagster.reasoning.local_vlm import LocalModel, LocalModelSettings
from autorisk_dagster.reasoning.prompts import letter_prompt
from autorisk_dagster.reasoning.saliency import fold_padding, log_odds_gradient, saliency, unpatch
from tests import tiny_cosmos
from tests.video_factory import steady, write_video

SETTINGS: dict[str, Any] = {"dtype": "float32", "device_map": "cpu", "max_pixels": 64 * 96 * 8, "max_think_tokens": 0}


@pytest.fixture(scope="module", params=["reason2", "cosmos3_edge"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    """Of Cosmos3-Edge too: it lays its patches out in another order, one frame each."""
    weights = tiny_cosmos.build(tmp_path_factory.mktemp("models") / "tiny", family=request.param)
    return LocalModel(LocalModelSettings(str(weights), **SETTINGS))


def frames(count: int = 8) -> ClipFrames:
    """Noise in the processor's own size, so that nothing is resized."""
    pictures = np.random.default_rng(0).integers(0, 255, (count, 64, 96, 3), dtype=np.uint8)
    return ClipFrames(pictures, np.arange(count) / 4, count / 4)


def test_patches_go_back_to_where_they_came_from(model: LocalModel) -> None:
    shown = frames()
    inputs = model.encode(shown, letter_prompt())
    back = unpatch(inputs["pixel_values_videos"], inputs["video_grid_thw"][0].tolist(), model.processor.video_processor)
    as_seen = (back.permute(0, 2, 3, 1).numpy() * 0.5 + 0.5) * 255  # the tiny processor's mean and deviation are 0.5
    assert np.abs(as_seen - shown.rgb).max() < 1e-3


def test_a_planted_change_shows_in_its_own_block_and_frames_alone(model: LocalModel) -> None:
    shown = frames()
    changed = shown.rgb.copy()
    changed[4:6, 32:64, 64:96] = 0  # two frames, which Qwen's patches take together; lower right block
    grids = []
    for rgb in (shown.rgb, changed):
        inputs = model.encode(ClipFrames(rgb, shown.timestamps_sec, shown.duration_sec), letter_prompt())
        grid = inputs["video_grid_thw"][0].tolist()
        grids.append(unpatch(inputs["pixel_values_videos"], grid, model.processor.video_processor))
    moved = (grids[0] - grids[1]).abs().sum(1) > 0
    assert moved[4:6, 32:64, 64:96].float().mean() > 0.95
    moved[4:6, 32:64, 64:96] = False
    assert not moved.any()


def test_the_gradient_is_the_slope(model: LocalModel) -> None:
    with double(model) as inputs:
        patches = inputs["pixel_values_videos"]
        score, gradient = log_odds_gradient(model, inputs, "HIGH")
        direction = torch.randn(patches.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        step = 1e-3
        above, below = (
            log_odds_gradient(model, inputs | {"pixel_values_videos": patches + sign * step * direction}, "HIGH")[0]
            for sign in (1, -1)
        )
    assert np.isfinite(score)
    # the score is taken in single precision: that bounds what a difference of two can tell
    assert float((gradient * direction).sum()) == pytest.approx((above - below) / (2 * step), rel=0.02)


def test_a_planted_change_of_a_picture_moves_the_score_by_what_the_map_says(model: LocalModel) -> None:
    """From a frame's pixels to the score and back: brighten one place, and compare with the map there."""
    shown = frames()
    mean, deviation = 255 * 0.5, 255 * 0.5  # of both tiny processors
    step = 4.0
    with double(model) as inputs:
        grid, video = inputs["video_grid_thw"][0].tolist(), model.processor.video_processor
        _, gradient = log_odds_gradient(model, inputs, "HIGH")
        slope = unpatch(gradient, grid, video).sum(1)  # of every colour alike
        for frame, rows, columns in ((5, slice(32, 48), slice(80, 96)), (2, slice(0, 20), slice(7, 41))):
            expected = float(slope[frame, rows, columns].sum()) * 2 * step / deviation
            moved = []
            for sign in (1, -1):
                rgb = shown.rgb.astype(np.float64)
                rgb[frame, rows, columns] += sign * step
                normal = torch.from_numpy((rgb - mean) / deviation).permute(0, 3, 1, 2)[None]
                args = (video.patch_size, video.merge_size, video.temporal_patch_size)
                planted = inputs | {"pixel_values_videos": video.patchify(normal, *args)[0][0]}
                moved.append(log_odds_gradient(model, planted, "HIGH")[0])
            assert moved[0] - moved[1] == pytest.approx(expected, rel=0.05, abs=2e-5)


@contextmanager
def double(model: LocalModel) -> Iterator[dict[str, Any]]:
    """The inputs for `frames` in double precision, while the network is."""
    inputs = model.encode(frames(), letter_prompt())
    model.network.double()
    try:
        yield inputs | {"pixel_values_videos": inputs["pixel_values_videos"].double()}
    finally:
        model.network.float()


def test_the_weights_are_left_as_they_were(model: LocalModel) -> None:
    before = [(parameter.requires_grad, parameter.clone()) for parameter in model.network.parameters()]
    log_odds_gradient(model, model.encode(frames(), letter_prompt()), "LOW")
    assert not model.network.training
    for parameter, (wanted, value) in zip(model.network.parameters(), before, strict=True):
        assert parameter.requires_grad == wanted and parameter.grad is None
        assert torch.equal(parameter, value)


def test_a_clip_of_an_odd_number_of_frames_has_a_map_for_each(model: LocalModel, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", steady(14, 8))  # 1.75 s: seven frames at 4 a second
    found = saliency(model, clip, 1.75, "HIGH")
    assert len(found.map) == len(found.frames.rgb) == 7
    assert found.curve.sum() == pytest.approx(1.0)
    assert (found.curve > 0).all()


def test_what_fell_on_the_repeated_frame_belongs_to_the_last_one() -> None:
    pixels = np.array([1.0, 2.0, 4.0, 8.0], np.float32)[:, None, None] * np.ones((4, 1, 2), np.float32)
    assert fold_padding(pixels, 3)[:, 0, 0].tolist() == [1.0, 2.0, 12.0]
    assert fold_padding(pixels, 4)[:, 0, 0].tolist() == [1.0, 2.0, 4.0, 8.0]


def test_log_odds_are_against_the_other_severities(model: LocalModel, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", steady(16, 8))
    reading = model.letters(clip, 2.0, letter_prompt())
    share = reading.share("MEDIUM")
    assert saliency(model, clip, 2.0, "MEDIUM").log_odds == pytest.approx(np.log(share / (1 - share)), abs=1e-3)


def test_an_unknown_severity_is_said(model: LocalModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="known: NONE, LOW, MEDIUM, HIGH"):
        saliency(model, tmp_path / "clip.mp4", 1.0, "EXTREME")


def test_a_full_memory_makes_the_map_smaller_and_is_said(model: LocalModel, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", steady(8, 8))
    full = saliency(model, clip, 1.0, "HIGH")
    room = [full.frames.pixels // 2, 0]
    limit = room[0]

    def need(_: Any, given: tuple[Any, ...]) -> None:
        video = model.processor.video_processor
        if given[0].shape[0] * video.patch_size**2 * video.temporal_patch_size > limit:
            raise torch.OutOfMemoryError("no")

    hook = model.network.model.visual.register_forward_pre_hook(need)
    try:
        smaller = saliency(model, clip, 1.0, "HIGH")
        limit = room[1]
        with pytest.raises(BackendError, match=r"ran out of memory over clip\.mp4"):
            saliency(model, clip, 1.0, "HIGH")
    finally:
        hook.remove()
    assert full.notes == () and smaller.notes
    assert all(note.startswith("out of memory: shown again with") for note in smaller.notes)
    assert len(smaller.map) == len(full.map)
    assert smaller.map[0].size < full.map[0].size
    assert smaller.curve.sum() == pytest.approx(1.0)
    assert all(not parameter.grad_fn and parameter.requires_grad for parameter in model.network.parameters())
