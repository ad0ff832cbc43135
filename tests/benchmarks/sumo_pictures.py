"""Pictures of the simulated world: what the camera saw, the same moment from above, and precision against recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.sumo_dashcam import Camera, Drive, Footage
from tests.benchmarks.sumo_roads import STEP_SEC
from tests.benchmarks.sumo_truth import Conflict

Array = NDArray[np.float64]
INK, FAINT, ALARM, OWN = "#1f2933", "#b8c2cc", "#d64545", "#2f6fb0"
AROUND_M: Final = 45.0


def draw_moment(
    drive: Drive, footage: Footage, camera: Camera, conflict: Conflict, step_index: int, title: str, path: Path
) -> None:
    """The camera's view with the followed boxes, and the view from above, at one step of a drive."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6), layout="constrained")
    view, above = figure.subplots(1, 2, width_ratios=[16, 9])
    _camera_view(view, drive, footage, camera, conflict, step_index)
    _from_above(above, drive, camera, conflict, step_index)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=INK)
    figure.savefig(path, dpi=90)


def _camera_view(
    axes: Any, drive: Drive, footage: Footage, camera: Camera, conflict: Conflict, step_index: int
) -> None:
    from matplotlib.patches import Rectangle

    axes.axhspan(0, camera.height_px / 2, color="#e8eef4")
    axes.axhspan(camera.height_px / 2, camera.height_px, color="#dcdcd6")
    to_camera = _into_camera(drive, camera, step_index)
    for lane in drive.world.lanes_m:
        ahead, right = to_camera(_dense(lane))
        seen = (ahead > 1.0) & (ahead < 150.0)
        u = camera.width_px / 2 + camera.focal_px * right / np.where(seen, ahead, 1.0)
        v = camera.height_px / 2 + camera.focal_px * camera.height_m / np.where(seen, ahead, 1.0)
        axes.plot(np.where(seen, u, np.nan), np.where(seen, v, np.nan), color="white", linewidth=1)
    now = footage.tracks["frame_index"].to_numpy() == step_index
    boxes = footage.tracks.select("x1_px", "y1_px", "x2_px", "y2_px").to_numpy()[now]
    names = footage.tracks["label"].to_numpy()[now], footage.tracks["track_id"].to_list()
    ids = [number for number, here in zip(names[1], now, strict=True) if here]
    for box, label, number, who in zip(boxes, names[0], ids, footage.who[now], strict=True):
        color = ALARM if int(who) in conflict.pair else INK
        axes.add_patch(Rectangle(box[:2], box[2] - box[0], box[3] - box[1], fill=False, edgecolor=color, linewidth=1.6))
        text = label if number is None else f"{label} #{number}"
        axes.text(box[0], box[1] - 5, text, fontsize=7, color=color, clip_on=True)
    axes.set_xlim(0, camera.width_px)
    axes.set_ylim(camera.height_px, 0)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])


def _from_above(axes: Any, drive: Drive, camera: Camera, conflict: Conflict, step_index: int) -> None:
    """Ahead is up."""
    from matplotlib.patches import Polygon

    to_camera = _into_camera(drive, camera, step_index)
    for lane in drive.world.lanes_m:
        ahead, right = to_camera(lane)
        axes.plot(right, ahead, color=FAINT, linewidth=1, zorder=0)
    world, around_m = drive.world, AROUND_M
    step = drive.sights[step_index].step
    for row in range(world.first_row[step], world.first_row[step + 1]):
        user = world.road_users[world.who[row]]
        axis = np.exp(1j * world.heading_rad[row])
        front = world.x_m[row] + 1j * world.y_m[row]
        corners = front + axis * (
            np.array([0, 0, -user.length_m, -user.length_m]) + 0.5j * user.width_m * np.array([1, -1, -1, 1])
        )
        ahead, right = to_camera(np.stack([corners.real, corners.imag], axis=1))
        color = OWN if world.who[row] == drive.ego else ALARM if int(world.who[row]) in conflict.pair else INK
        axes.add_patch(Polygon(np.stack([right, ahead], axis=1), color=color))
        if int(world.who[row]) in conflict.pair:
            around_m = max(around_m, float(np.max(ahead)) + 10, float(np.max(np.abs(right))) / 0.6 + 10)
    reach = camera.width_px / 2 / camera.focal_px * around_m
    axes.plot([-reach, 0, reach], [around_m, 0, around_m], color=OWN, linewidth=0.8, linestyle=":")
    axes.set_xlim(-around_m * 0.6, around_m * 0.6)
    axes.set_ylim(-12, around_m)
    axes.set_aspect("equal")
    axes.set_xlabel("m to the right")
    axes.set_ylabel("m ahead")


def _dense(line: Array) -> Array:
    """The polyline with a point about every metre."""
    steps = [max(2, int(np.hypot(*(b - a)))) for a, b in pairwise(line)]
    return np.concatenate([np.linspace(a, b, n) for a, b, n in zip(line, line[1:], steps, strict=False)])


def _into_camera(drive: Drive, camera: Camera, step_index: int) -> Any:
    """Turns (k, 2) world places into (ahead, right) of the camera."""
    world, step = drive.world, drive.sights[step_index].step
    rows = slice(world.first_row[step], world.first_row[step + 1])
    own = np.flatnonzero(world.who[rows] == drive.ego)[0]
    place = world.x_m[rows][own] + 1j * world.y_m[rows][own]
    axis = np.exp(1j * world.heading_rad[rows][own])

    def convert(points: Array) -> tuple[Array, Array]:
        relative = (points[:, 0] + 1j * points[:, 1] - place) / axis
        return relative.real + camera.behind_bumper_m, -relative.imag

    return convert


def draw_curves(curves: Mapping[str, Sequence[tuple[float, float]]], title: str, path: Path) -> None:
    """Precision against recall, one line a method; the points are (recall, precision)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        if points:
            recall, precision = np.array(points).T
            axes.step(recall, precision, where="pre", label=name, linewidth=1.6)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall: conflicts found")
    axes.set_ylabel("precision: alarms that are conflicts")
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.grid(color="#e4e7eb")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=100)


def step_index(drive: Drive, time_sec: float) -> int:
    """The drive's step nearest to a time of the world."""
    first = drive.sights[0].step
    return int(np.clip(round(time_sec / STEP_SEC) - first, 0, len(drive.sights) - 1))
