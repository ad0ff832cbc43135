"""Annotated copies of clips: what the pipeline measured, drawn over the footage, for people to watch.

Boxes carry the track's colour, id, label and, while it is measured, the time to contact; pairs in an active near miss
are joined by a red line; things that stand still in the image (own bonnet, overlays) are thin and grey, detections
that no track follows thin and white. Severity is never burnt in, because it may be corrected later. Clock and legend
stand in a strip under the picture, because dashcams write their own clock into its corners.

Supervision and OpenCV are imported on first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster.errors import VideoError
from autorisk_dagster.reporting.overlay import BoxTimeline, ShownBox, TtcReadout
from autorisk_dagster.reporting.plots import TRACK_COLORS
from autorisk_dagster.reporting.words import clock
from autorisk_dagster.video.clips import Mp4Writer
from autorisk_dagster.video.reader import AUDIO_RATE_HZ, AudioBlock, VideoReader
from autorisk_dagster.video.sound import clipped

if TYPE_CHECKING:
    from autorisk_dagster.privacy.hide import Hider

LONG_EDGE_PX = 854  # 16 : 9 at 480 lines: enough to see what happens, small enough to embed
ALERT_HEX = "#ff3b30"
STILL_HEX = "#9aa3ad"
UNFOLLOWED_HEX = "#f2f4f6"
STRIP_PX = 26
SHOWN_AFTER_SEC = 1.0  # an encounter is often shorter than a viewer's glance
TRACE_SEC = 2.0  # length of the path behind a road user
MIN_LABEL_SHARE = 0.045  # boxes lower than this share of the picture get no label, unless a time to contact is known

Image = NDArray[np.uint8]


def annotate_clip(
    source: Path,
    clip: Mapping[str, Any],
    tracks: pl.DataFrame,
    near_misses: pl.DataFrame,
    timeline: Sequence[Mapping[str, Any]] | None,
    target: Path,
    hider: Hider | None = None,
    *,
    long_edge_px: int = LONG_EDGE_PX,
) -> None:
    """Write the clip with its measurements drawn in, sound kept, as an MP4 that browsers play.

    Args:
        source: the whole video
        clip: `start_sec` and `end_sec` in the video (a row of tables.MINED_CLIPS)
        tracks: tables.TRACKS of the video, or of the clip
        near_misses: the rows of tables.NEAR_MISS_EVENTS to mark, each from its start to SHOWN_AFTER_SEC after its end
        timeline: samples of tables.TTC_SAMPLE (the `timeline` of tables.CLIP_TTC)
        target: where the MP4 goes
        hider: hides faces and number plates under what is drawn; None: nothing is hidden
        long_edge_px: longest edge of the copy; a smaller video keeps its size

    Raises:
        VideoError: the source is not readable, or has no frame between start and end.
    """
    start_sec, end_sec = clip["start_sec"], clip["end_sec"]
    boxes = BoxTimeline(tracks.filter(pl.col("timestamp_sec").is_between(start_sec - 1.0, end_sec + 1.0)))
    ttc = TtcReadout(timeline or (), boxes.interval_sec)
    meetings = [
        (event["start_sec"], event["end_sec"] + SHOWN_AFTER_SEC, event["object_id_1"], event["object_id_2"])
        for event in near_misses.to_dicts()
    ]
    times: list[float] = []
    sound: list[AudioBlock] = []
    with VideoReader(source, start_sec=start_sec, end_sec=end_sec) as reader:
        writer: Mp4Writer | None = None
        painter: _Painter | None = None
        try:
            for item in reader:
                if isinstance(item, AudioBlock):
                    sound.append(item)
                    continue
                image = item.bgr(long_edge_px)
                if hider is not None:
                    image = hider.picture(image, item.timestamp_sec)
                if writer is None or painter is None:
                    height, width = image.shape[:2]
                    rate_hz = AUDIO_RATE_HZ if reader.has_audio else None
                    writer = Mp4Writer(target, width, height + STRIP_PX, rate_hz)
                    painter = _Painter(width / item.width_px, ttc)
                _, shown = boxes.at(item.timestamp_sec)
                pairs = [pair for start, end, *pair in meetings if start <= item.timestamp_sec <= end]
                image = painter.painted(image, shown, pairs, item.timestamp_sec)
                writer.write(_with_strip(image, item.timestamp_sec), item.timestamp_sec)
                times.append(item.timestamp_sec)
            if writer is None:
                raise VideoError(
                    source,
                    f"shows no frame from {start_sec:g} to {end_sec:g} s",
                    "Mine it again: it has changed",
                )
            last_frame_sec = times[-1] - times[-2] if len(times) > 1 else boxes.interval_sec
            if reader.has_audio:
                writer.write_audio(_laid_out(sound, times[0], times[-1] + last_frame_sec))
            writer.close(last_frame_sec=last_frame_sec)
        except BaseException:
            if writer is not None:
                writer.abandon()
            raise


def _laid_out(blocks: Sequence[AudioBlock], start_sec: float, end_sec: float) -> NDArray[np.float32]:
    """The sound of [start_sec, end_sec) in one run; what is missing is silence. Clips are short: it fits in memory."""
    samples = np.zeros(round((end_sec - start_sec) * AUDIO_RATE_HZ), np.float32)
    for block in blocks:
        part = clipped(block, start_sec, end_sec, AUDIO_RATE_HZ)
        if part is not None:
            at = round((part.start_sec - start_sec) * AUDIO_RATE_HZ)
            room = samples[at : at + len(part.samples)]
            room[:] = part.samples[: len(room)]
    return samples


class _Painter:
    """Draws one clip's moments in order: the traces remember where each road user was."""

    def __init__(self, scale: float, ttc: TtcReadout) -> None:
        """`scale`: pixels of the copy per pixel of the source, in which boxes are measured."""
        import supervision as sv

        self._sv = sv
        self._scale = scale
        self._ttc = ttc
        self._paths: dict[int, list[tuple[float, int, int]]] = {}
        palette = sv.ColorPalette.from_hex(list(TRACK_COLORS))
        by_track: dict[str, Any] = {"color": palette, "color_lookup": sv.ColorLookup.TRACK}
        self._box = sv.BoxAnnotator(thickness=2, **by_track)
        self._label = sv.LabelAnnotator(
            text_color=sv.Color.WHITE,
            text_scale=0.42,
            text_thickness=1,
            text_padding=3,
            smart_position=True,
            **by_track,
        )
        self._thin = {
            name: sv.BoxAnnotator(color=sv.Color.from_hex(name), thickness=1) for name in (STILL_HEX, UNFOLLOWED_HEX)
        }
        self._still_label = sv.LabelAnnotator(
            color=sv.Color.from_hex(STILL_HEX), text_color=sv.Color.BLACK, text_scale=0.36, text_padding=2
        )

    def painted(
        self, image: Image, boxes: Sequence[ShownBox], pairs: Sequence[Sequence[int | None]], timestamp_sec: float
    ) -> Image:
        """`image` (h, w, 3) BGR with everything drawn in; `boxes` are in source pixels."""
        followed = [box for box in boxes if box.track_id is not None and not box.still]
        still = [box for box in boxes if box.still]
        unfollowed = [box for box in boxes if box.track_id is None and not box.still]
        if unfollowed:
            image = self._thin[UNFOLLOWED_HEX].annotate(image, self._detections(unfollowed))
        if still:
            image = self._thin[STILL_HEX].annotate(image, self._detections(still))
            image = self._still_label.annotate(image, self._detections(still), labels=["still"] * len(still))
        self._draw_paths(image, followed, timestamp_sec)
        if followed:
            image = self._box.annotate(image, self._detections(followed))
        self._draw_pairs(image, followed, pairs)
        labelled = [(box, text) for box in followed if (text := self._text(box, image.shape[0], timestamp_sec))]
        if labelled:
            image = self._label.annotate(
                image, self._detections([box for box, _ in labelled]), labels=[text for _, text in labelled]
            )
        return image

    def _text(self, box: ShownBox, height_px: int, timestamp_sec: float) -> str:
        ttc_sec = self._ttc.at(box.track_id, timestamp_sec)
        if ttc_sec is not None:
            return f"{box.label} #{box.track_id} TTC {ttc_sec:.1f} s"
        tall = (box.xyxy_px[3] - box.xyxy_px[1]) * self._scale >= MIN_LABEL_SHARE * height_px
        return f"{box.label} #{box.track_id}" if tall else ""

    def _detections(self, boxes: Sequence[ShownBox]) -> Any:
        xyxy = np.array([box.xyxy_px for box in boxes], np.float32) * self._scale
        ids = np.array([-1 if box.track_id is None else box.track_id for box in boxes])
        return self._sv.Detections(xyxy=xyxy, class_id=np.zeros(len(boxes), int), tracker_id=ids)

    def _draw_paths(self, image: Image, followed: Sequence[ShownBox], timestamp_sec: float) -> None:
        """The last TRACE_SEC of each road user's bottom centre. Supervision's traces count frames, not seconds."""
        import cv2

        for box in followed:
            if box.track_id is None:
                continue
            path = self._paths.setdefault(box.track_id, [])
            path.append((timestamp_sec, *_rounded(self._bottom_centre(box))))
            while path[0][0] < timestamp_sec - TRACE_SEC:
                path.pop(0)
            points = np.array([point[1:] for point in path], np.int32).reshape(-1, 1, 2)
            cv2.polylines(image, [points], False, _bgr(TRACK_COLORS[box.track_id % len(TRACK_COLORS)]), 1, cv2.LINE_AA)

    def _draw_pairs(self, image: Image, followed: Sequence[ShownBox], pairs: Sequence[Sequence[int | None]]) -> None:
        """A red line between two in a near miss; from the middle of the lower edge to one in a near miss with us."""
        import cv2

        centres: dict[int | None, tuple[int, int]] = {box.track_id: _rounded(self._centre(box)) for box in followed}
        bottoms: dict[int | None, int] = {
            box.track_id: round(min(box.xyxy_px[3] * self._scale, image.shape[0] - 24)) for box in followed
        }
        centres[None] = image.shape[1] // 2, image.shape[0] - 1  # the own vehicle
        bottoms[None] = 0
        for first, second in pairs:
            if first not in centres or second not in centres:
                continue
            ends = centres[first], centres[second]
            cv2.line(image, *ends, _bgr("#ffffff"), 5, cv2.LINE_AA)  # a light edge, so that red shows on any ground
            cv2.line(image, *ends, _bgr(ALERT_HEX), 3, cv2.LINE_AA)
            for end in ends:
                cv2.circle(image, end, 5, _bgr(ALERT_HEX), -1, cv2.LINE_AA)
            under = self._sv.Point((ends[0][0] + ends[1][0]) // 2, max(bottoms[first], bottoms[second]) + 12)
            self._sv.draw_text(
                image,
                "near miss",
                under,
                text_color=self._sv.Color.WHITE,
                text_scale=0.42,
                text_padding=4,
                background_color=self._sv.Color.from_hex(ALERT_HEX),
            )

    def _centre(self, box: ShownBox) -> tuple[float, float]:
        x1, y1, x2, y2 = box.xyxy_px
        return (x1 + x2) / 2 * self._scale, (y1 + y2) / 2 * self._scale

    def _bottom_centre(self, box: ShownBox) -> tuple[float, float]:
        x1, _, x2, y2 = box.xyxy_px
        return (x1 + x2) / 2 * self._scale, y2 * self._scale


def _with_strip(image: Image, timestamp_sec: float) -> Image:
    """`image` with a dark strip of STRIP_PX under it: time in the video, and what the copy is."""
    import cv2

    height, width = image.shape[:2]
    framed = np.full((height + STRIP_PX, width, 3), _bgr("#11161c"), np.uint8)
    framed[:height] = image
    baseline = height + STRIP_PX - 9
    texts = [(8, clock(timestamp_sec, 2), "#ffffff")]
    if width >= 420:  # a portrait copy has no room for more than the clock
        texts.append((84, "annotated copy   grey: still   white: not followed", "#b0bcc8"))
    for left, text, color in texts:
        cv2.putText(framed, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.42, _bgr(color), 1, cv2.LINE_AA)
    return framed


def _rounded(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0]), round(point[1])


def _bgr(hex_code: str) -> tuple[int, int, int]:
    red, green, blue = (int(hex_code[i : i + 2], 16) for i in (1, 3, 5))
    return blue, green, red
