"""A rendered approach on a photographed bus, whose time to contact is known exactly in every frame.

A pinhole camera with focal length f (px) drives at constant speed v over a flat road towards a bus, cut out of its
photograph and standing upright at distance D(t) = D0 - v t. Its scale on screen goes with f / D(t), and the true
time to contact is TTC(t) = D(t) / v. The camera sits at half the bus's height and heads for the bus's centre, so that
the expansion is centred there and the tyres stay on the road: a road point at depth Z is f H / Z px below the horizon.

What it does not show: motion blur, other traffic, a bus with depth. It proves the arithmetic from pixels to seconds,
not behaviour in traffic.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autorisk_dagster.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Box = tuple[float, float, float, float]

PHOTO_SIZE_PX = (810, 1080)
BUS_IN_PHOTO_PX: Box = (3.0, 231.0, 801.0, 736.0)  # x1, y1, x2, y2: mirror to tail, roof to tyre; read by hand
# Outlines in the photo, read by hand: the bus, clockwise from its left mirror, and the people who hide parts of it.
BUS_OUTLINE_PX = (
    *((3, 388), (12, 366), (36, 357), (41, 328), (49, 302), (72, 288), (75, 270), (88, 256), (130, 246), (160, 240)),
    *((186, 236), (216, 231), (300, 234), (400, 243), (560, 254), (690, 263), (726, 280), (744, 303), (776, 306)),
    *((790, 316), (797, 336), (801, 380), (801, 560), (790, 640), (752, 668), (738, 678), (712, 680), (692, 668)),
    *((657, 672), (560, 684), (462, 700), (426, 702), (385, 708), (372, 726), (352, 736), (335, 735), (310, 722)),
    *((196, 722), (72, 706), (14, 700), (12, 560), (19, 520), (22, 458), (6, 455)),
)
PEOPLE_OUTLINES_PX = (
    (
        *((100, 398), (130, 396), (162, 404), (165, 440), (156, 470), (182, 500), (205, 550), (204, 600), (196, 640)),
        *((194, 700), (196, 760), (50, 760), (58, 690), (56, 560), (60, 500), (85, 462), (100, 448)),
    ),
    (
        *((262, 406), (300, 404), (312, 430), (310, 470), (330, 480), (346, 540), (334, 590), (342, 690), (345, 720)),
        *((310, 760), (240, 760), (240, 715), (222, 700), (235, 600), (234, 510), (262, 470), (258, 430)),
    ),
    (
        *((786, 400), (810, 390), (810, 760), (745, 760), (748, 690), (745, 640), (752, 595), (715, 560), (725, 540)),
        *((760, 545), (778, 500), (792, 470)),
    ),
    ((0, 545), (14, 560), (40, 650), (58, 715), (82, 760), (78, 810), (0, 810)),
)
SHADOW_OUTLINE_PX = ((20, 690), (790, 640), (800, 700), (360, 760), (30, 745))
BUS_HEIGHT_M = 3.0  # a minibus of this kind; sets the size of the road beside it, not the TTC
AUDIO_RATE_HZ = 48_000
HORN_HZ = (420.0, 1100.0)


@dataclass(frozen=True)
class ApproachTruth:
    """What is known exactly about a rendered approach, one entry a frame."""

    width_px: int
    height_px: int
    timestamps_sec: tuple[float, ...]
    true_ttc_sec: tuple[float, ...]
    bus_box_px: tuple[Box, ...]  # x1, y1, x2, y2
    horn_start_sec: float
    horn_end_sec: float

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> ApproachTruth:
        """Read what `save` wrote. Raises `InputError` for a file that is missing or something else."""
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            values["timestamps_sec"] = tuple(values["timestamps_sec"])
            values["true_ttc_sec"] = tuple(values["true_ttc_sec"])
            values["bus_box_px"] = tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in values["bus_box_px"])
            return cls(**values)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path.name} is not the truth of a rendered approach: {error}. Render it again"
            ) from error

    def ttc_at(self, timestamp_sec: float) -> float:
        """True TTC in seconds at any time of the video (it is linear in time); NaN outside it."""
        return float(np.interp(timestamp_sec, self.timestamps_sec, self.true_ttc_sec, left=np.nan, right=np.nan))


def truth_path(video: Path) -> Path:
    """Where the truth of `video` lies: `<stem>.truth.json` beside it."""
    return video.with_name(f"{video.stem}.truth.json")


@dataclass(frozen=True)
class Approach:
    """How the approach is rendered."""

    width_px: int = 1280
    height_px: int = 720
    fps: int = 25
    duration_sec: float = 8.0
    speed_mps: float = 10.0  # 36 km/h
    last_ttc_sec: float = 0.6  # the video ends before the frame's border cuts the bus off
    # Height of the bus in the last frame over the frame's height. Detected boxes are looser than the bus (NanoDet's by
    # 7 %) and must stay off the border: a cut-off box has no size to measure.
    last_height_share: float = 0.85
    horn_at_ttc_sec: float = 1.6
    horn_sec: float = 1.0
    seed: int = 20260  # of the road's grain and the engine's noise

    @property
    def focal_px(self) -> float:
        """Focal length that makes the bus as tall as asked for at its last distance."""
        return self.last_height_share * self.height_px * self.last_ttc_sec * self.speed_mps / BUS_HEIGHT_M

    def distance_m(self, ttc_sec: float) -> float:
        """Distance from the camera to the bus at a TTC."""
        return self.speed_mps * ttc_sec

    def photo_scale(self, ttc_sec: float) -> float:
        """Screen pixels per photo pixel at a TTC."""
        metres_per_photo_px = BUS_HEIGHT_M / (BUS_IN_PHOTO_PX[3] - BUS_IN_PHOTO_PX[1])
        return self.focal_px * metres_per_photo_px / self.distance_m(ttc_sec)

    def bus_box_px(self, ttc_sec: float) -> Box:
        """The bus on screen at a TTC: x1, y1, x2, y2."""
        x1, y1, x2, y2 = BUS_IN_PHOTO_PX
        scale = self.photo_scale(ttc_sec)
        half_width, half_height = scale * (x2 - x1) / 2, scale * (y2 - y1) / 2
        center_x, center_y = self.width_px / 2, self.height_px / 2
        return (center_x - half_width, center_y - half_height, center_x + half_width, center_y + half_height)

    def truth(self) -> ApproachTruth:
        """Timestamps, TTC and the bus's box of every frame, without rendering anything.

        Raises:
            InputError: the horn would not start within the video.
        """
        times = [index / self.fps for index in range(round(self.duration_sec * self.fps))]
        ttc = [self.last_ttc_sec + (times[-1] - time) for time in times]
        horn_start_sec = times[-1] + self.last_ttc_sec - self.horn_at_ttc_sec
        if not 0 <= horn_start_sec < times[-1]:
            raise InputError(
                f"no frame of a video of {self.duration_sec} s has the horn's TTC, {self.horn_at_ttc_sec} s"
            )
        return ApproachTruth(
            width_px=self.width_px,
            height_px=self.height_px,
            timestamps_sec=tuple(times),
            true_ttc_sec=tuple(ttc),
            bus_box_px=tuple(self.bus_box_px(each) for each in ttc),
            horn_start_sec=horn_start_sec,
            horn_end_sec=min(horn_start_sec + self.horn_sec, self.duration_sec),
        )


def render_approach(photo: Path, target: Path, approach: Approach | None = None) -> ApproachTruth:
    """Write the approach on the bus in `photo` to `target` (mp4 with sound) and its truth to `truth_path(target)`.

    The same settings give the same pictures and samples; the encoder's bytes may differ from machine to machine.

    Raises:
        InputError: the photograph cannot be read or has another size than the one the bus's box was read in.
    """
    import cv2

    from autorisk_dagster.video.clips import Mp4Writer

    approach = approach or Approach()
    picture = cv2.imread(str(photo), cv2.IMREAD_COLOR)
    if picture is None or picture.shape[1::-1] != PHOTO_SIZE_PX:
        raise InputError(f"{photo.name} is not the 810x1080 photograph of the bus. Delete it and fetch it again")
    truth = approach.truth()
    standing = _photo_levels(picture.astype(np.uint8))
    road = _Road(approach)
    sound = approach_sound(approach.duration_sec, truth.horn_start_sec, truth.horn_end_sec, approach.seed)
    samples_a_frame = round(AUDIO_RATE_HZ / approach.fps)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")  # renamed when complete: nobody reads half a video
    with Mp4Writer(part, approach.width_px, approach.height_px, audio_rate_hz=AUDIO_RATE_HZ) as writer:
        for index, (timestamp_sec, ttc_sec) in enumerate(zip(truth.timestamps_sec, truth.true_ttc_sec, strict=True)):
            front = _photo_seen(standing, approach.photo_scale(ttc_sec), (approach.width_px, approach.height_px))
            behind = road.seen(approach.speed_mps * timestamp_sec)
            frame = front[..., :3] + behind * (1.0 - front[..., 3:])
            writer.write(np.clip(frame + 0.5, 0, 255).astype(np.uint8), timestamp_sec)
            writer.write_audio(sound[index * samples_a_frame : (index + 1) * samples_a_frame])
        writer.close(last_frame_sec=1 / approach.fps)
    truth.save(truth_path(target))
    part.replace(target)
    return truth


HALVINGS = 5


def _photo_levels(photo: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """The bus and its shadow, cut out of the photo, at full size and halved again and again.

    The people before the bus are painted over: behind them the embedded detector loses it at middle distances.
    Four channels: colour times opacity, and opacity, so that pixels may be averaged and laid over others. Halved copies
    make a far bus an average of its pixels instead of a pick of some (which would flicker and shift its edges).
    """
    import cv2

    people = np.zeros(photo.shape[:2], np.uint8)
    for outline in PEOPLE_OUTLINES_PX:
        cv2.fillPoly(people, [np.array(outline, np.int32)], (255.0,))
    clean = cv2.inpaint(photo, cv2.dilate(people, np.ones((7, 7), np.uint8)), 9, cv2.INPAINT_TELEA)
    bus = _filled(BUS_OUTLINE_PX, photo.shape[:2], blur_px=1.5)
    shadow = 0.75 * _filled(SHADOW_OUTLINE_PX, photo.shape[:2], blur_px=12)
    level = np.concatenate([clean * bus, bus + (1 - bus) * shadow], axis=2).astype(np.float32)
    unit = 2**HALVINGS  # whole multiples, so that each halving is exact and nothing shifts
    height, width = level.shape[:2]
    padded = cv2.copyMakeBorder(level, 0, -height % unit, 0, -width % unit, cv2.BORDER_CONSTANT)
    levels = [padded.astype(np.float32)]
    for _ in range(HALVINGS):
        half = (levels[-1].shape[1] // 2, levels[-1].shape[0] // 2)
        levels.append(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA).astype(np.float32))
    return levels


def _filled(outline: tuple[tuple[int, int], ...], shape: tuple[int, ...], blur_px: float) -> NDArray[np.float32]:
    """1 inside the outline, 0 outside, blurred; (height, width, 1)."""
    import cv2

    area = np.zeros(shape, np.float32)
    cv2.fillPoly(area, [np.array(outline, np.int32)], (1.0,))
    return cv2.GaussianBlur(area, (0, 0), blur_px).astype(np.float32)[..., None]


def _photo_seen(levels: list[NDArray[np.float32]], scale: float, size: tuple[int, int]) -> NDArray[np.float32]:
    """The standing photo at `scale` screen pixels per photo pixel, the bus in the middle; (height, width, 4)."""
    import cv2

    level = 0
    while level + 1 < len(levels) and scale * 2 ** (level + 1) <= 1.0:
        level += 1
    texel = 2**level
    # A pixel of index i covers i to i + 1, so its centre is i + 0.5. With u the photo coordinate:
    #   screen: x + 0.5 = scale (u - bus) + middle        level: u = texel (i + 0.5)
    # hence x = a i + b with a = scale texel and b = 0.5 a - scale bus + middle - 0.5.
    zoom = scale * texel
    x1, y1, x2, y2 = BUS_IN_PHOTO_PX
    shift_x = 0.5 * zoom - scale * (x1 + x2) / 2 + size[0] / 2 - 0.5
    shift_y = 0.5 * zoom - scale * (y1 + y2) / 2 + size[1] / 2 - 0.5
    matrix = np.array([[zoom, 0.0, shift_x], [0.0, zoom, shift_y]])
    return cv2.warpAffine(levels[level], matrix, size, flags=cv2.INTER_LINEAR).astype(np.float32, copy=False)


class _Road:
    """A flat road with lane markings under a grey sky, seen from half the bus's height, horizon in the middle."""

    TEXEL_M = 0.05
    HALF_WIDTH_M = 14.0
    LENGTH_M = 260.0
    HAZE_M = 70.0  # depth at which 63 % of a road point's colour is the sky's

    def __init__(self, approach: Approach) -> None:
        shape = (round(self.LENGTH_M / self.TEXEL_M), round(2 * self.HALF_WIDTH_M / self.TEXEL_M))
        across_m = (np.arange(shape[1]) + 0.5) * self.TEXEL_M - self.HALF_WIDTH_M
        along_m = (np.arange(shape[0]) + 0.5) * self.TEXEL_M
        brightness = 75.0 + np.random.default_rng(approach.seed).normal(0, 12, shape)
        dashes = along_m % 9.0 < 3.0
        for line_m in (-1.75, 1.75):
            brightness[np.ix_(dashes, np.abs(across_m - line_m) < 0.08)] = 175
        for line_m in (-5.25, 5.25):
            brightness[:, np.abs(across_m - line_m) < 0.1] = 175
        brightness[:, np.abs(across_m) > 6.0] += 19  # pavements
        # Running sum along the road: the mean over any stretch is then one difference, exact at any distance.
        self._sum = np.vstack([np.zeros(shape[1]), np.cumsum(brightness, axis=0)])

        horizon = approach.height_px / 2
        rows = np.arange(int(horizon), approach.height_px)
        camera_height_m = BUS_HEIGHT_M / 2
        near_m, far_m = (
            approach.focal_px * camera_height_m / np.maximum(rows + offset - horizon, 0.25) for offset in (1.0, 0.0)
        )
        depth_m = approach.focal_px * camera_height_m / (rows + 0.5 - horizon)
        self._near_m, self._far_m = near_m, far_m
        columns_m = (np.arange(approach.width_px) + 0.5 - approach.width_px / 2)[None, :] * (
            depth_m[:, None] / approach.focal_px
        )
        self._map_x = ((columns_m + self.HALF_WIDTH_M) / self.TEXEL_M - 0.5).astype(np.float32)
        self._map_y = np.repeat(np.arange(rows.size, dtype=np.float32)[:, None], approach.width_px, axis=1)
        self._clear = np.exp(-depth_m / self.HAZE_M).astype(np.float32)[:, None, None]
        up = np.linspace(1, 0, int(horizon))[:, None]
        self._haze = np.array([167.0, 162.0, 157.0], np.float32)  # BGR at the horizon
        sky = self._haze + up * (np.array([150.0, 135.0, 124.0]) - self._haze)
        # A little grain, because a smooth gradient comes out of the encoder in bands.
        grain = np.random.default_rng(approach.seed + 1).normal(0, 1.5, (sky.shape[0], approach.width_px, 1))
        self._sky = (sky[:, None, :] + grain).astype(np.float32)

    def seen(self, driven_m: float) -> NDArray[np.float32]:
        """Sky and road after `driven_m` metres; (height, width, 3)."""
        import cv2

        total = len(self._sum) - 1
        near, far = (np.clip((driven_m + each) / self.TEXEL_M, 0, total) for each in (self._near_m, self._far_m))
        near = np.minimum(near, total - 1.0)
        far = np.maximum(far, near + 1.0)
        stretch = (self._sum_at(far) - self._sum_at(near)) / (far - near)[:, None]
        grey = cv2.remap(
            stretch.astype(np.float32), self._map_x, self._map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        road = self._haze + self._clear * (grey[..., None] - self._haze)
        return np.concatenate([self._sky, road])

    def _sum_at(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = np.minimum(position.astype(np.int64), len(self._sum) - 2)
        part = (position - whole)[:, None]
        between: NDArray[np.float64] = self._sum[whole] * (1 - part) + self._sum[whole + 1] * part
        return between


def approach_sound(duration_sec: float, horn_start_sec: float, horn_end_sec: float, seed: int) -> NDArray[np.float32]:
    """Mono samples at `AUDIO_RATE_HZ`: an engine-like floor, and over it a two-tone horn some 15 dB louder."""
    time = np.arange(round(duration_sec * AUDIO_RATE_HZ)) / AUDIO_RATE_HZ
    # White noise through a leaky sum (it falls by 6 dB an octave, as engine and tyre noise do), and an engine's hum.
    white = np.random.default_rng(seed).normal(0, 1, time.size)
    leak = np.exp(-np.arange(2048) / 200.0)
    size = time.size + leak.size
    rumble = np.fft.irfft(np.fft.rfft(white, size) * np.fft.rfft(leak, size), size)[: time.size]
    floor = 0.015 * rumble / rumble.std() + 0.008 * np.sin(2 * np.pi * 45 * time)
    harmonics = ((1, 1.0), (2, 0.5), (3, 0.25))
    horn = sum(share * np.sin(2 * np.pi * tone * number * time) for tone in HORN_HZ for number, share in harmonics)
    ramp_sec = 0.02  # to full loudness: an edge would be a click
    loudness = np.clip(np.minimum(time - horn_start_sec, horn_end_sec - time) / ramp_sec, 0, 1)
    return np.asarray(floor + 0.08 * loudness * horn, np.float32)
