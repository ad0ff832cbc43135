"""The kinematic forecast as pictures: the road users of one frame moved on, over that frame.

The first picture is the frame itself. Then its background is held and fades to grey, because nothing is known of it;
each road user's own pixels, cut out, keep their colour and move and grow as `prediction.forecast` says, the far ones
first. Who moves has an
outline, the path it came along since, and an ellipse that holds its forecast place with 90 %. At a predicted contact
those involved stop where they are, ringed in red: of what comes after nothing is known. At a contact of the own vehicle
the whole picture stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.kinematics.camera import Array
from autorisk_dagster.prediction.contact import Contact
from autorisk_dagster.prediction.forecast import Braking, Carried
from autorisk_dagster.prediction.picture import Image, Letterbox, letterbox, letterboxed

FADE_SEC: Final = 0.5
GREY_SHARE: Final = 0.75  # of the held background's colour that is taken out
DARK_SHARE: Final = 0.30
CHI_90: Final = 2.146  # radius, in standard errors, of the ellipse that holds 90 % in two dimensions
MIN_PATH_PX: Final = 3.0  # who moves less over the whole forecast is drawn as standing
MIN_CUT_PX: Final = 3.0
FILLS_SHARE: Final = 0.6  # of the picture's longer edge
LARGEST_SHARE: Final = 1.2  # of the picture's edge: a cut-out larger than this is no longer a picture of anything
GRAB_STEPS: Final = 2
LIKELY_SHARE: Final = (0.35, 0.97)  # of its box that a road user fills
MIN_NAMED_PX: Final = 14  # boxes lower than this get no name
INPAINT_AT: Final = 4
MOVING_BGR, DANGER_BGR = (255, 190, 60), (48, 59, 255)


@dataclass(frozen=True)
class Scene:
    """What the animation is drawn from.

    Attributes:
        frame_bgr: (h, w, 3) the source's frame
        users: the road users in it, the largest last
        contacts: predicted ones, the earliest first
        braking: of the own car
        picture_size: (width, height) of the animation
    """

    frame_bgr: Image
    users: Sequence[Carried]
    contacts: Sequence[Contact]
    braking: Braking
    picture_size: tuple[int, int]


def animate(scene: Scene, times_sec: Array) -> list[Image]:
    """One picture for each of `times_sec`, which begin with 0; without the strip."""
    frame_size = (scene.frame_bgr.shape[1], scene.frame_bgr.shape[0])
    place = letterbox(frame_size, scene.picture_size)
    first = letterboxed(scene.frame_bgr, scene.picture_size)
    stops = _stops_sec(scene)
    met = {contact.track_ids[0] for contact in scene.contacts if len(contact.track_ids) == 1}
    layers = []
    for user in scene.users:
        until = np.minimum(times_sec, stops.get(user.track_id, stops.get(None, np.inf)))
        if user.track_id in met:
            until = _while_it_fits(user, until, scene, place)
        boxes = place.boxes(user.boxes_px(until, scene.braking))
        layers.append(_Layer(user, boxes, user.spread_px(until, scene.braking) * place.scale, first))
    moving = [layer for layer in layers if layer.moves]
    ground = _without(first, moving)
    endangered = {track_id for contact in scene.contacts for track_id in contact.track_ids}
    pictures = [first.copy()]
    for index, time_sec in list(enumerate(times_sec))[1:]:
        fade = min(1.0, time_sec / FADE_SEC)
        picture = _faded(ground, fade)
        for layer in sorted(layers, key=lambda layer: layer.boxes[index, 3]):  # who stands lower is nearer
            layer.paint(picture, index)
        for layer in moving:
            layer.outline(picture, index, DANGER_BGR if layer.user.track_id in endangered else MOVING_BGR)
        for contact in scene.contacts:
            if time_sec >= contact.sec:
                if len(contact.track_ids) == 1:
                    cv2.rectangle(picture, (3, 3), (picture.shape[1] - 4, picture.shape[0] - 4), DANGER_BGR, 6)
                _ring(picture, [layer for layer in layers if layer.user.track_id in contact.track_ids], index)
        _bars(picture, place)
        pictures.append(picture)
    return pictures


def _while_it_fits(user: Carried, until: Array, scene: Scene, place: Letterbox) -> Array:
    """`until`, ended where the one that the own vehicle meets fills the picture: at contact it has no size."""
    boxes = user.boxes_px(until, scene.braking) * place.scale
    too_large = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).max(axis=1) > FILLS_SHARE * max(scene.picture_size))
    return np.minimum(until, until[max(too_large[0] - 1, 0)]) if len(too_large) else until


def _stops_sec(scene: Scene) -> dict[int | None, float]:
    """When each road user's forecast ends, by track id; under None when everything does."""
    stops: dict[int | None, float] = {}
    for contact in scene.contacts:
        if len(contact.track_ids) == 1:
            stops[None] = min(stops.get(None, np.inf), contact.sec)
        for track_id in contact.track_ids:
            stops[track_id] = min(stops.get(track_id, np.inf), contact.sec)
    if None in stops:
        stops = {track_id: min(sec, stops[None]) for track_id, sec in stops.items()}
    return stops


@dataclass(frozen=True)
class _CutOut:
    """A road user's own pixels: (h, w, 3) colour and (h, w) opacity, from `left`, `top` of the first picture."""

    bgr: Image
    alpha: NDArray[np.float32]
    left: int
    top: int


class _Layer:
    """One road user of the animation: where it is in each picture, and how it is painted there."""

    def __init__(self, user: Carried, boxes: Array, spread: Array, picture: Image) -> None:
        """`boxes` (n, 4) and `spread` (n, 2) in px of the picture; `picture` is the first one."""
        self.user, self.boxes, self._spread = user, boxes, spread
        self._path = boxes[:, :2] + user.anchor_share * (boxes[:, 2:] - boxes[:, :2])
        self.moves = user.measured and float(np.abs(boxes - boxes[0]).max()) > MIN_PATH_PX
        low, high = np.maximum(boxes[0, :2], 0), np.minimum(boxes[0, 2:], picture.shape[1::-1])
        # a box without a pixel in view has nothing to show
        self._cut_out = _cut_out(picture, boxes[0]) if (high - low >= MIN_CUT_PX).all() else None

    def paint(self, picture: Image, index: int) -> None:
        """Its pixels, moved and scaled from the first box to that of picture `index`."""
        box, start = self.boxes[index], self.boxes[0]
        if self._cut_out is None or (box[2:] - box[:2]).max() > LARGEST_SHARE * max(picture.shape[:2]):
            return
        cut = self._cut_out
        scale = (box[2] - box[0]) / (start[2] - start[0])
        left, top = box[:2] + (np.array([cut.left, cut.top]) - start[:2]) * scale
        height, width = cut.alpha.shape
        x1, y1 = max(int(left) - 1, 0), max(int(top) - 1, 0)
        x2 = min(int(left + width * scale) + 2, picture.shape[1])
        y2 = min(int(top + height * scale) + 2, picture.shape[0])
        if x2 <= x1 or y2 <= y1:
            return
        move = np.array([[scale, 0.0, left - x1], [0.0, scale, top - y1]])
        room = (x2 - x1, y2 - y1)
        known = self.known(index)
        bgr = cv2.warpAffine(cut.bgr, move, room, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        alpha = cv2.warpAffine(cut.alpha, move, room, flags=cv2.INTER_LINEAR)[..., None]
        under = picture[y1:y2, x1:x2]
        under[:] = (bgr * alpha * known + under * (1.0 - alpha * known)).astype(np.uint8)

    def known(self, index: int) -> float:
        """1: its place is known within half its size; 0: not within one and a half."""
        if not self.moves:
            return 1.0
        size = float((self.boxes[index, 2:] - self.boxes[index, :2]).max())
        return float(np.clip(1.5 - CHI_90 * float(self._spread[index].max()) / max(size, 1.0), 0.0, 1.0))

    def outline(self, picture: Image, index: int, colour: tuple[int, int, int]) -> None:
        """Its box, name, the path since the first picture and the ellipse of its place."""
        if not self.known(index):
            return
        path = np.round(self._path[: index + 1]).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(picture, [path], False, colour, 2, cv2.LINE_AA)
        axes = np.clip(CHI_90 * self._spread[index], 1.0, max(picture.shape))
        centre = _point(self._path[index])
        cv2.ellipse(picture, centre, _point(axes), 0, 0, 360, colour, 1, cv2.LINE_AA)
        left, top, right, bottom = (int(edge) for edge in np.clip(np.round(self.boxes[index]), -2000, 4000))
        cv2.rectangle(picture, (left, top), (right, bottom), colour, 1, cv2.LINE_AA)
        if bottom - top > MIN_NAMED_PX:
            _text(picture, self.user.name, (left, top - 5), colour)


def _cut_out(picture: Image, box: Array) -> _CutOut:
    """A road user's pixels, told from the ground by GrabCut; its whole box, softly, where that finds too little."""
    height, width = picture.shape[:2]
    margin = 0.15 * (box[2:] - box[:2])
    left, top = (int(max(value, 0)) for value in box[:2] - margin)
    right, bottom = (int(min(value, edge)) for value, edge in zip(box[2:] + margin, (width, height), strict=True))
    crop = picture[top:bottom, left:right]
    x1, y1 = max(round(box[0]) - left, 0), max(round(box[1]) - top, 0)
    x2, y2 = min(round(box[2]) - left, crop.shape[1]), min(round(box[3]) - top, crop.shape[0])
    whole = np.zeros(crop.shape[:2], np.uint8)
    whole[y1:y2, x1:x2] = 1
    mask = np.where(whole == 1, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    inset = np.zeros_like(whole)  # the middle of a box is the road user
    inset[y1 + (y2 - y1) // 4 : y2 - (y2 - y1) // 4, x1 + (x2 - x1) // 4 : x2 - (x2 - x1) // 4] = 1
    mask[inset == 1] = cv2.GC_FGD
    found = whole
    if inset.any() and (mask == cv2.GC_BGD).any():
        cv2.setRNGSeed(0)  # GrabCut's colour clusters begin at random
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(crop, mask, (0, 0, 0, 0), *models, GRAB_STEPS, cv2.GC_INIT_WITH_MASK)
        likely = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
        if LIKELY_SHARE[0] <= likely.sum() / max(whole.sum(), 1) <= LIKELY_SHARE[1]:
            found = likely
    soft = max(3, round(0.03 * max(crop.shape[:2])) | 1)
    closed = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((soft, soft), np.uint8))
    alpha = cv2.GaussianBlur(closed.astype(np.float32), (soft, soft), 0)
    return _CutOut(crop.copy(), cast("NDArray[np.float32]", alpha), left, top)


def _without(picture: Image, layers: Sequence[_Layer]) -> Image:
    """The ground behind those who move: filled in from around them at a quarter of the size, and enlarged."""
    if not layers:
        return picture.copy()
    height, width = picture.shape[:2]
    hole = np.zeros((height, width), np.uint8)
    for layer in layers:
        left, top, right, bottom = layer.boxes[0]
        grow = 2 + 0.06 * (right - left)
        cv2.rectangle(hole, _point((left - grow, top - grow)), _point((right + grow, bottom + grow)), 255, -1)
    small = cv2.resize(picture, (width // INPAINT_AT, height // INPAINT_AT), interpolation=cv2.INTER_AREA)
    small_hole = cv2.resize(hole, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_NEAREST)
    filled = cv2.inpaint(small, cv2.dilate(small_hole, np.ones((3, 3), np.uint8)), 3, cv2.INPAINT_TELEA)
    filled = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    share = cv2.GaussianBlur(hole.astype(np.float32) / 255.0, (15, 15), 0)[..., None]
    ground: Image = (filled * share + picture * (1.0 - share)).astype(np.uint8)
    return ground


def _faded(ground: Image, fade: float) -> Image:
    """The held background, greyer and darker by `fade`, 0 to 1."""
    grey = cv2.cvtColor(cv2.cvtColor(ground, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    kept = 1.0 - DARK_SHARE * fade
    return cast("Image", cv2.addWeighted(ground, kept * (1.0 - GREY_SHARE * fade), grey, kept * GREY_SHARE * fade, 0.0))


def _ring(picture: Image, layers: Sequence[_Layer], index: int) -> None:
    """A red ring around where those of a contact meet, and the word."""
    boxes = np.array([layer.boxes[index] for layer in layers])
    if not len(boxes):
        return
    low, high = boxes[:, :2].max(axis=0), boxes[:, 2:].min(axis=0)  # the part that they share, or the gap between them
    centre = (low + high) / 2
    edge = np.array(picture.shape[1::-1])
    radius = float(np.clip(0.25 * (boxes[:, 2:] - boxes[:, :2]).max(), 14, edge.min() / 3))
    centre = np.clip(centre, radius, edge - radius)
    cv2.circle(picture, _point(centre), round(radius), (255, 255, 255), 5, cv2.LINE_AA)
    cv2.circle(picture, _point(centre), round(radius), DANGER_BGR, 3, cv2.LINE_AA)
    _text(picture, "predicted contact", _point(centre + np.array([-62.0, radius + 18.0])), DANGER_BGR)


def _text(picture: Image, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    for thickness, shade in ((3, (20, 20, 20)), (1, colour)):
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, shade, thickness, cv2.LINE_AA)


def _bars(picture: Image, place: Letterbox) -> None:
    """Nothing is drawn beside the frame."""
    picture[: place.top_px] = 0
    picture[place.top_px + place.height_px :] = 0
    picture[:, : place.left_px] = 0
    picture[:, place.left_px + place.width_px :] = 0


def _point(xy: Array | tuple[float, float]) -> tuple[int, int]:
    return round(float(xy[0])), round(float(xy[1]))
