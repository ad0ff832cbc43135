"""How the own car turns, nods and drives, from the optical flow of the background between two frames.

With the picture in units of the focal length (x right, y down from the middle), a camera that turns so that far points
move by p to the right, by t down and clockwise by r a second, and drives along its axis at V, sees a point of depth Z
move by (Longuet-Higgins and Prazdny 1980, eq. 2.6-2.7; focus of expansion in the middle column on the horizon y_h)

    u = p (1 + x^2) + t x y - r y + x V / Z         v = t (1 + y^2) + p x y + r x + (y - y_h) V / Z

Turning: fitted to what lies above the road. Depths differ there, so that motion along the ray from the focus of
expansion counts little, with one typical V / Z >= 0, and motion across the ray, which no depth changes, counts fully.

Speed: on a flat road c below the camera 1 / Z = (y - y_h) / c, so that with the turning taken out the road moves down
by (V / c) (y - y_h)^2 a second; in px of focal length f that is V / (f c) times px^2 below the horizon. Over the time
between two frames, from y to y' below the horizon, that is y' - y = (V / c) gap y y'. An error of the horizon enters
squared, so that the speed is told only where the profile gives the horizon.

Both fits are robust (iteratively reweighted least squares, the Geman-McClure scale brought down step by step: Black and
Rangarajan 1996), over a grid. A cell counts by its structure tensor: an edge across itself, a smooth patch not at all.
Own bonnet and dashboard are still in the picture and would outvote what moves, so that a cell without any motion counts
less than one with (`STILL_SHARE`); where all is still, that changes nothing.

Assumptions: a camera that looks along the car; focal length as given, or usual (an error of it scales only the
quadratic terms). The speed cannot be told where the road is smooth (worn asphalt after compression), hidden, or moves
by more than `LONGEST_PX` a pair (a motorway at ten pairs a second). Not covered: sideways slip in a tight turn at
walking pace, which looks like more turning; a picture filled by one moving lorry.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

GRID: Final = (24, 30)  # rows, columns
EVERY: Final = 4  # gradient px that one is taken of, each way: enough for a mean over a cell
TEXTURE: Final = 20.0  # squared grey levels a px: what a patch needs to count half
NOISE_PX: Final = 0.25  # of Farneback's flow on texture, px of the small frame
LONGEST_PX: Final = 9.0  # longer flow reads low at this window and pyramid
STILL_PX, STILL_SHARE = 0.12, 0.3
SCALES: Final = (16.0, 8.0, 4.0, 2.5)  # times the noise, step by step
FOLLOWS: Final = 3.0  # times the noise: follows the fit
ALONG_SHARE: Final = 0.1  # weight of motion along the ray, above the road
ROAD_BEGINS_SHARE: Final = 0.03  # of the frame's height under the horizon: what is higher may be anything
MIN_TEXTURE: Final = 0.05  # mean over the cells above the road under which there is nothing to follow
MIN_SUPPORT: Final = 0.4
ROAD_ENDS_SHARE: Final = 0.27  # farther down, cars show their bonnet
STANDS: Final = 0.7  # share of the texture that must be still where the own car stands
MIN_ROAD_PX: Final = 0.5  # a road cell that moves less says nothing of the speed
MIN_ROAD_CELLS: Final = 12
MIN_ROAD_SUPPORT: Final = 0.6  # share of the road's texture that must follow
TOLD_ROAD_PX: Final = 1.0  # they are counted where the fit says that the road moves by this or more,
FOLLOWS_PX, FOLLOWS_SHARE = 0.5, 0.2  # and follow within the larger of this many px and this share of the motion
USUAL_HORIZON_SHARE: Final = 0.5

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BackgroundMotion:
    """Rates of one pair of frames; NaN: cannot say. In radians, or focal lengths, a second.

    Attributes:
        pan: shift of a far point to the right: the own car turns left
        tilt: shift of a far point downwards
        roll: clockwise turn of the picture
        road_hz: own speed / camera height
        support: share of the texture above the road that follows the fit
        still: share of the texture that does not move, above the road or below the horizon, whichever is less: a far
            scene stands still while the own car drives on straight, and the own bonnet always
    """

    pan: float
    tilt: float
    roll: float
    road_hz: float
    support: float
    still: float


def background_motion(
    flow: NDArray[np.float32],
    gray: NDArray[np.uint8],
    gap_sec: float,
    focal_share: float,
    horizon_share: float | None = None,
) -> BackgroundMotion:
    """The own motion behind one dense flow field.

    Args:
        flow: (rows, columns, 2) displacement between two frames over the whole picture, in px of `gray`, x right, y
            down; of any size, read bilinearly
        gray: (h, w) the earlier of the two frames
        gap_sec: time between them
        focal_share: focal length / frame width
        horizon_share: height of the horizon from the top / frame height; None: unknown, the speed is not told
    """
    height, width = gray.shape
    horizon = USUAL_HORIZON_SHARE if horizon_share is None else horizon_share
    grid = _grid(height, width, flow.shape[:2], focal_share, horizon)
    moved = np.stack([(grid.rows @ part @ grid.columns).ravel() for part in (flow[..., 0], flow[..., 1])], axis=1)
    length_px = np.hypot(moved[:, 0], moved[:, 1])
    focal_px = focal_share * width
    px = focal_px * gap_sec  # what one radian a second is, in px between the two frames
    tensor = _information(gray)
    still = min(_still_share(tensor[part], length_px[part]) for part in (grid.above, grid.below))
    tensor *= np.where(length_px < STILL_PX, STILL_SHARE, np.where(length_px < LONGEST_PX, 1.0, 0.0))[:, None]
    above = tensor[grid.above]
    turning, support = _turning(moved[grid.above] / px, above, grid, NOISE_PX / px)
    road_hz = float("nan")
    if horizon_share is not None and not np.isnan(turning[0]):
        left_px = moved[grid.above] - (grid.turning @ turning).reshape(2, -1).T * px
        texture = above[:, 0] + above[:, 2]
        standing = texture @ (np.linalg.norm(left_px, axis=1) < 2 * STILL_PX) > STANDS * texture.sum()
        down_px = moved[grid.road, 1] - grid.turning_down @ turning * px
        below_after = np.maximum(grid.road_below + down_px / focal_px, 0.0)
        squared = grid.road_below * below_after
        road_hz = _road_px(down_px, tensor[grid.road, 2], squared, bool(standing)) / px
    pan, tilt, roll = turning.tolist()
    return BackgroundMotion(pan, tilt, roll, road_hz, support, still)


def _still_share(tensor: Array, length_px: Array) -> float:
    """Share of the texture (n, 3) whose flow (n,) is nothing but its noise; NaN where there is nothing to follow."""
    texture = tensor[:, 0] + tensor[:, 2]
    if texture.mean() / 2 < MIN_TEXTURE:
        return float("nan")
    return float(texture @ (length_px < 2 * STILL_PX) / texture.sum())


def _turning(rate: Array, tensor: Array, grid: _Grid, noise: float) -> tuple[Array, float]:
    """Pan, tilt and roll (3,), NaN where they cannot be told, and their support."""
    c, s = grid.ray.T
    along = c * c * tensor[:, 0] + 2 * c * s * tensor[:, 1] + s * s * tensor[:, 2]
    across = s * s * tensor[:, 0] - 2 * c * s * tensor[:, 1] + c * c * tensor[:, 2]
    weight = np.concatenate([ALONG_SHARE * along, across])
    target = np.concatenate([c * rate[:, 0] + s * rate[:, 1], c * rate[:, 1] - s * rate[:, 0]])
    texture = tensor[:, 0] + tensor[:, 2]
    if texture.mean() / 2 < MIN_TEXTURE:
        return np.full(3, np.nan), 0.0
    points = len(c)
    solution = np.array([np.median(rate[:, 0]), np.median(rate[:, 1]), 0.0, 0.0])
    steady = np.diag([1e-3, 1e-3, 1e-3, 1e-3])
    for scale in SCALES:
        residual = (target - grid.design @ solution) / noise
        robust = weight / (1.0 + (residual / scale) ** 2) ** 2
        solution = np.linalg.solve(
            grid.design.T @ (robust[:, None] * grid.design) + steady, grid.design.T @ (robust * target)
        )
        if solution[3] < 0:  # nothing moves inwards: the own car does not drive backwards
            less = grid.design[:, :3]
            solution[:3] = np.linalg.solve(
                less.T @ (robust[:, None] * less) + steady[:3, :3], less.T @ (robust * target)
            )
            solution[3] = 0.0
    follows = np.abs(target - grid.design @ solution)[points:] < FOLLOWS * noise
    support = float(across @ follows / max(float(across.sum()), 1e-9))
    return (solution[:3] if support >= MIN_SUPPORT else np.full(3, np.nan)), support


def _road_px(down_px: Array, texture: Array, below_squared: Array, standing: bool) -> float:
    """Px that the road moves down at one focal length below the horizon; NaN where most of it does not do so.

    Args:
        down_px: (n,) how far each cell of the road moved down, the own turning taken out
        texture: (n,) how much of that motion each cell shows
        below_squared: (n,) product of where it was and came to below the horizon, in focal lengths
        standing: whether nothing above the road moves either
    """
    moves = (down_px > MIN_ROAD_PX) & (down_px < LONGEST_PX)
    if standing and texture @ ~moves > STANDS * texture.sum():
        return 0.0
    if int(moves.sum()) < MIN_ROAD_CELLS:
        return float("nan")
    slope = float(np.median(down_px[moves] / np.maximum(below_squared[moves], 1e-6)))
    used = (below_squared * slope > MIN_ROAD_PX) & (below_squared * slope < LONGEST_PX)
    down, square, weight = down_px[used], below_squared[used], texture[used]
    for scale in SCALES:
        robust = weight / (1.0 + ((down - slope * square) / NOISE_PX / scale) ** 2) ** 2
        slope = float(robust @ (square * down)) / max(float(robust @ square**2), 1e-12)
    expected = slope * below_squared
    told = (expected > TOLD_ROAD_PX) & (expected < LONGEST_PX)
    follows = np.abs(down_px - expected)[told] < np.maximum(FOLLOWS_PX, FOLLOWS_SHARE * expected[told])
    enough = int(follows.sum()) >= MIN_ROAD_CELLS
    return slope if enough and texture[told] @ follows >= MIN_ROAD_SUPPORT * texture[told].sum() else float("nan")


@dataclass(frozen=True)
class _Grid:
    rows: NDArray[np.float32]  # (rows, flow's height) and (flow's width, columns): read the flow in the cells' middles
    columns: NDArray[np.float32]
    above: slice  # cells above the road; cells go row by row
    below: slice  # all others
    road: slice
    ray: Array  # (above, 2) unit vectors from the focus of expansion
    design: Array  # (2 above, 4) along and across the ray: pan, tilt, roll, V / Z
    turning: Array  # (2 above, 3) x and y: pan, tilt, roll
    turning_down: Array  # (road, 3) y: pan, tilt, roll
    road_below: Array  # (road,) y - y_h


@lru_cache(maxsize=64)
def _grid(height: int, width: int, flow_shape: tuple[int, int], focal_share: float, horizon_share: float) -> _Grid:
    rows = ((np.arange(GRID[0]) + 0.5) * height / GRID[0]).astype(np.intp)
    columns = ((np.arange(GRID[1]) + 0.5) * width / GRID[1]).astype(np.intp)
    focal_px = focal_share * width
    y_px, x_px = (part.ravel() + 0.5 for part in np.meshgrid(rows, columns, indexing="ij"))
    x, y = (x_px - width / 2) / focal_px, (y_px - height / 2) / focal_px
    share = y_px / height - horizon_share
    begins = int(np.searchsorted(share, ROAD_BEGINS_SHARE, "right"))
    ends = max(begins, int(np.searchsorted(share, ROAD_ENDS_SHARE)))
    above, road = slice(0, begins), slice(begins, ends)
    turning_x = np.stack([1 + x**2, x * y, -y], axis=1)
    turning_y = np.stack([x * y, 1 + y**2, x], axis=1)
    out = np.stack([x, share * height / focal_px], axis=1)[above]
    ray = out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6)
    u = np.column_stack([turning_x[above], out[:, 0]])
    v = np.column_stack([turning_y[above], out[:, 1]])
    c, s = ray[:, :1], ray[:, 1:]
    return _Grid(
        rows=_read_at(rows, height, flow_shape[0]),
        columns=_read_at(columns, width, flow_shape[1]).T,
        above=above,
        below=slice(begins, len(share)),
        road=road,
        ray=ray,
        design=np.concatenate([c * u + s * v, c * v - s * u]),
        turning=np.concatenate([turning_x[above], turning_y[above]]),
        turning_down=turning_y[road],
        road_below=share[road] * height / focal_px,
    )


def _read_at(pixels: NDArray[np.intp], size: int, flow_size: int) -> NDArray[np.float32]:
    """(pixels, flow_size) weights that read a field of `flow_size` values over `size` px linearly at the pixels."""
    at = np.clip((pixels + 0.5) * flow_size / size - 0.5, 0, flow_size - 1)
    return np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(flow_size))).astype(np.float32)


def _information(gray: NDArray[np.uint8]) -> Array:
    """How much of a point's motion each cell shows, from 0 to 1 each way: (n, 3) xx, xy, yy of T (T + texture I)^-1.

    T is the mean structure tensor of the cell.
    """
    across, down = cv2.spatialGradient(gray)
    gx, gy = (part[::EVERY, ::EVERY].astype(np.float32) / 8.0 for part in (across, down))
    cells = [
        cv2.resize(product, GRID[::-1], interpolation=cv2.INTER_AREA).ravel().astype(np.float64)
        for product in (gx * gx, gx * gy, gy * gy)
    ]
    a, b, d = cells[0] + TEXTURE, cells[1], cells[2] + TEXTURE
    determinant = a * d - b * b
    # I - texture (T + texture I)^-1
    return np.stack([1 - TEXTURE * d / determinant, TEXTURE * b / determinant, 1 - TEXTURE * a / determinant], axis=1)
