"""Generated videos: what is burnt in and written into the file; whether the measures of quality tell good from bad."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from autorisk_dagster.perception.detections import Detections
from autorisk_dagster.prediction import quality, video_file
from autorisk_dagster.prediction.animation import Scene, animate
from autorisk_dagster.prediction.contact import Contact
from autorisk_dagster.prediction.forecast import NO_REACTION, carried_forward
from autorisk_dagster.prediction.picture import (
    LABELS,
    STRIP_PX,
    label_region,
    letterbox,
    letterboxed,
    read_condition,
    with_strip,
)
from autorisk_dagster.prediction.quality import Actor
from tests.prediction.world import NO_CONFLICTS, NO_EGO_MOTION, SIZE, driven
from tests.video_factory import counter_picture, read_counter, steady, write_video

PICTURE = (832, 480)
Image = NDArray[np.uint8]


def textured(seed: int = 0) -> Image:
    """A frame of SIZE with structure everywhere."""
    coarse = np.random.default_rng(seed).integers(0, 255, (SIZE[1] // 20, SIZE[0] // 20, 3), dtype=np.uint8)
    picture: Image = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
    return picture


@pytest.fixture(scope="module")
def forecast() -> tuple[Image, list[Image]]:
    """A red car that drives to the right at 4 m/s, 15 m ahead: the frame and its animation of 1 s."""
    tracks = driven(-3.0, 15.0, 4.0, 0.0)
    (user,) = carried_forward(tracks, NO_CONFLICTS, NO_EGO_MOTION, SIZE, 1.5)
    frame = textured() // 2 + 60
    left, top, right, bottom = np.round(user.box_px).astype(int)
    frame[top:bottom, left:right] = (20, 20, 220)
    contact = Contact(0.5, 0.4, 0.7, (3,), "own vehicle and car #3")
    free = animate(Scene(frame, [user], [], NO_REACTION, PICTURE), np.arange(17) / 16)
    stopped = animate(Scene(frame, [user], [contact], NO_REACTION, PICTURE), np.arange(17) / 16)
    assert len(free) == len(stopped) == 17
    assert np.abs(free[16].astype(int) - stopped[16]).max() > 50
    return frame, free


def red_middle(picture: Image) -> float:
    """Column of the middle of what is red."""
    red = (picture[..., 2].astype(int) - picture[..., 1] > 90) & (picture[..., 0] < 90)
    return float(np.flatnonzero(red.sum(axis=0) > 10).mean())


def test_the_first_picture_is_the_frame_and_the_road_user_moves_as_measured(
    forecast: tuple[Image, list[Image]],
) -> None:
    frame, pictures = forecast
    assert (pictures[0] == letterboxed(frame, PICTURE)).all()
    # 4 m/s at 15 m with 832 px focal length is 222 px/s, and 0.65 of that in the letterboxed picture
    scale = letterbox(SIZE, PICTURE).scale
    assert red_middle(pictures[16]) - red_middle(pictures[0]) == pytest.approx(832 * 4 / 15 * scale, abs=8)


def test_where_the_road_user_was_the_ground_is_filled_in_and_the_background_is_held(
    forecast: tuple[Image, list[Image]],
) -> None:
    _, pictures = forecast
    gone = pictures[16][300:310, 120:160].astype(int)
    assert (gone[..., 2] - gone[..., 1]).max() < 60  # no red is left where it stood
    colour = [np.ptp(picture[60:120, 600:800].astype(int), axis=2).mean() for picture in (pictures[0], pictures[16])]
    assert colour[1] < colour[0] / 2


@pytest.mark.parametrize(
    ("frame", "inside"), [((1280, 720), (832, 468)), ((720, 1280), (270, 480)), ((640, 480), (640, 480))]
)
def test_a_frame_keeps_its_shape_in_the_picture(frame: tuple[int, int], inside: tuple[int, int]) -> None:
    place = letterbox(frame, PICTURE)
    assert (place.width_px, place.height_px) == inside
    corners = place.boxes(np.array([[0.0, 0.0, *map(float, frame)]]))[0]
    assert corners == pytest.approx(
        [place.left_px, place.top_px, place.left_px + inside[0], place.top_px + inside[1]], abs=1.0
    )


def test_every_frame_says_synthetic_in_its_pixels_and_the_file_in_its_tags(tmp_path: Path) -> None:
    """Read back from the file: pixels by comparison with the label as it is drawn, tags by PyAV."""
    frames = [
        with_strip(letterboxed(textured(n), PICTURE), LABELS["kinematic"], f"t +{n / 16:.2f} s") for n in range(9)
    ]
    made = {"label": LABELS["kinematic"], "clip_id": "c01", "seed": None, "prompt": 'a "b" <c>'}
    path = tmp_path / "made.mp4"
    video_file.write(frames, 16.0, path, made)
    drawn = label_region(with_strip(np.zeros((480, 832, 3), np.uint8), LABELS["kinematic"], "")).astype(int)
    other = label_region(with_strip(np.zeros((480, 832, 3), np.uint8), LABELS["cosmos"], "")).astype(int)
    stored = video_file.read(path)
    assert len(stored) == 9
    for picture in stored:
        here = label_region(picture).astype(int)
        assert np.abs(here - drawn).mean() < 6 < np.abs(here - other).mean()
    with av.open(str(path)) as file:
        assert file.metadata["title"] == "Synthetic: Kinematic forecast - synthetic"
        assert file.metadata["description"].startswith("Synthetic video.")
        assert json.loads(file.metadata["comment"]) == {"synthetic": True, **made}
        assert file.streams.video[0].codec_context.name == "h264"


def test_the_strip_covers_nothing_but_its_rows() -> None:
    picture = letterboxed(textured(), PICTURE)
    shown = with_strip(picture, LABELS["cosmos"], "a text that is far too long for the room that is left " * 3)
    assert (shown[:-STRIP_PX] == picture[:-STRIP_PX]).all()
    assert not (shown[-STRIP_PX:] == picture[-STRIP_PX:]).all()
    narrow = with_strip(np.zeros((96, 160, 3), np.uint8), LABELS["cosmos"], "text")
    assert narrow[-STRIP_PX:, -12:].std(axis=(0, 1)).max() == 0  # a label reaches no border


def test_the_condition_is_the_frame_of_its_time(tmp_path: Path) -> None:
    times = steady(20, 10)
    moving = write_video(tmp_path / "a.mp4", times, pictures=[counter_picture(n) for n in range(20)])
    found = read_condition(moving, 1.2)
    assert found.at_sec == pytest.approx(1.2)
    assert read_counter(cv2.cvtColor(found.frame_bgr, cv2.COLOR_BGR2GRAY)) == 12


def test_the_original_is_shown_at_the_true_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", steady(20, 10), pictures=[counter_picture(n) for n in range(20)])
    shown = video_file.read_original(path, 1.0, [0.0, 0.05, 0.1, 0.35, 2.0], (160, 90))
    numbers = [read_counter(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)) for picture in shown]
    assert numbers == [10, 10, 11, 13, 19]  # after its end the last one stays


def test_side_by_side_holds_all_three_and_says_which_are_synthetic() -> None:
    original, danger, safe = ([letterboxed(textured(n), PICTURE)] for n in (1, 2, 3))
    (row,) = video_file.side_by_side(original, danger, safe, "Original, danger, safe")
    assert row.shape == (26 + 240 + STRIP_PX, 3 * 416, 3)
    for number, picture in enumerate((original, danger, safe)):
        half = cv2.resize(picture[0], (416, 240), interpolation=cv2.INTER_AREA)
        assert (row[26 : 26 + 220, number * 416 : (number + 1) * 416] == half[:220]).all()


def test_similarity_of_the_first_frame_tells_the_condition_from_another() -> None:
    condition, other = letterboxed(textured(0), PICTURE), letterboxed(textured(1), PICTURE)
    assert quality.first_frame_ssim([with_strip(condition, "label", "")], condition) == pytest.approx(1.0)
    assert quality.first_frame_ssim([other], condition) < quality.FIRST_FRAME_SSIM


def test_motion_holds_together_and_a_jump_does_not() -> None:
    wide = textured(0)
    moving = [letterboxed(np.roll(wide, 4 * n, axis=1), PICTURE) for n in range(9)]
    assert quality.lowest_neighbour_ssim(moving) > 0.85 > quality.NEIGHBOUR_SSIM
    jump = [*moving[:5], *[letterboxed(textured(n), PICTURE) for n in range(5, 9)]]
    assert quality.lowest_neighbour_ssim(jump[4:]) < quality.NEIGHBOUR_SSIM


def test_a_pair_that_is_the_same_is_told() -> None:
    one = [letterboxed(textured(n // 3), PICTURE) for n in range(9)]
    assert quality.pair_ssim(one, one) > quality.PAIR_SSIM
    other = [one[0], *[letterboxed(textured(n), PICTURE) for n in range(10, 18)]]
    assert quality.pair_ssim(one, other) < 0.9


class Follower:
    """Finds a car that moves 10 px a look, and from look `lost` on nothing."""

    model_id, model_revision, input_long_edge_px = "test", "1", 416

    def __init__(self, lost: int) -> None:
        self.looks, self.lost = 0, lost

    def detect(self, frames_bgr: list[Image]) -> list[Detections]:
        found = []
        for _ in frames_bgr:
            box = np.array([[100.0, 100.0, 200.0, 160.0]]) + 10.0 * self.looks * np.array([1, 0, 1, 0])
            there = int(self.looks < self.lost)
            found.append(Detections(box[:there], np.ones(there), ("car",) * there))
            self.looks += 1
        return found


def test_an_actor_is_found_where_it_can_be_followed_through_half_of_the_looks() -> None:
    pictures = [np.zeros((480, 832, 3), np.uint8)] * 49
    there = Actor(np.array([100.0, 100.0, 200.0, 160.0]), "vehicle")
    elsewhere = Actor(np.array([600.0, 300.0, 700.0, 360.0]), "vehicle")
    person = Actor(np.array([100.0, 100.0, 200.0, 160.0]), "pedestrian")
    assert quality.actors_found(pictures, [there, elsewhere, person], Follower(7)) == 1
    assert quality.actors_found(pictures, [there], Follower(4)) == 1
    assert quality.actors_found(pictures, [there], Follower(3)) == 0
    assert quality.actors_found(pictures, [], Follower(7)) == 0
