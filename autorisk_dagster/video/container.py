"""Opening a video file: which stream is the video, how it is shown upright, and what each bad file is called.

Assumes a local file. Nothing is decoded here. Of several video streams the largest picture is taken (the front camera
of a two-channel dashcam file); cover art and thumbnails are no video; data streams (GPS in a `.TS`) are left alone.
Every fault becomes a `VideoError` that names the file, the cause and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import av

from autorisk_dagster.errors import VideoError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.frame import Frame
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

REENCODE = "Copy the file from the recorder again, or re-encode it: ffmpeg -i IN -c:v libx264 -c:a aac OUT.mp4"
REMUX = "Write new timestamps: ffmpeg -fflags +genpts -r RATE -i IN -c copy OUT.mp4, with RATE the camera's true rate"
SPLIT = (
    "Where the recorder's clock was set, split the file and ingest each part; where the container cannot order frames "
    "(AVI with B-frames), write new timestamps: ffmpeg -r RATE -i IN OUT.mp4, with RATE the camera's true rate"
)

_MOVIE_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp")
# Demuxers that show a text file as a terminal, or a picture as a film of one frame.
_TEXT_FORMATS = ("tty", "bin", "xbin", "adf", "idf")
_NEVER = Fraction(0)
_PICTURE_FORMATS = ("image2", "image2pipe", "gif", "apng", "ico")


@dataclass(frozen=True)
class Geometry:
    """How stored pixels become what a viewer sees: upright, square pixels.

    Attributes:
        width_px, height_px: upright size in square pixels; the stored width is stretched by the pixel aspect
        rotation_deg: 0, 90, 180 or 270, clockwise, to show the stored picture upright
        pixel_aspect: width / height of a stored pixel
    """

    width_px: int
    height_px: int
    rotation_deg: int
    pixel_aspect: float

    @property
    def turned(self) -> bool:
        """True where stored rows are columns of the upright picture."""
        return self.rotation_deg in (90, 270)


def ticks_of(part: VideoStream | Frame | Packet[Any]) -> Fraction:
    """Seconds a tick of a stream's, packet's or frame's timestamps. FFmpeg sets it for all it has read."""
    return part.time_base or _NEVER


def geometry_of(frame: VideoFrame, stream: VideoStream) -> Geometry:
    """Geometry of a decoded frame. FFmpeg's angle is counter-clockwise; angles are rounded to a quarter turn."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    aspect = aspect if aspect > 0 else Fraction(1)
    rotation = round(-frame.rotation / 90) * 90 % 360
    width, height = max(1, round(frame.width * aspect)), frame.height
    if rotation in (90, 270):
        width, height = height, width
    return Geometry(width, height, rotation, float(aspect))


def open_video(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open `path` and choose its video stream. The caller closes the container.

    Raises:
        VideoError: missing, a folder, empty, unreadable, cut off before its index, not a video, or a codec nobody
            here can decode.
    """
    _check_file(path)
    try:
        # A playlist must not reach out to the network.
        container = av.open(str(path), "r", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _not_a_video(path, error) from error
    try:
        return container, _choose(container, path)
    except VideoError:
        container.close()
        raise


def sound_stream(container: InputContainer, video: VideoStream, path: Path) -> AudioStream | None:
    """The sound stream that belongs to `video`, None where there is none.

    Raises:
        VideoError: there is sound, in a codec that cannot be decoded. Treating it as "no sound" would hide a horn.
    """
    best = cast("AudioStream | None", container.streams.best("audio", related=video))
    if best is None and container.streams.audio:
        best = container.streams.audio[0]
    if best is not None and cast("object | None", best.codec_context) is None:
        fix = "Re-encode the sound, or drop it knowingly: ffmpeg -i IN -c:v copy -an OUT.mp4"
        raise VideoError(path, "its sound is in a codec without a decoder", fix)
    return best


def _check_file(path: Path) -> None:
    fix = "Check the path and that the file was copied completely"
    if path.is_dir():
        raise VideoError(path, "is a folder, not a video file", "Name one video file")
    if not path.exists():
        raise VideoError(path, "no such file", fix)
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise VideoError(path, f"cannot be read ({error.strerror})", "Check the file's permissions") from error
    if size == 0:
        raise VideoError(path, "is empty (0 bytes)", fix)


def _not_a_video(path: Path, error: Exception) -> VideoError:
    boxes = _top_level_boxes(path)
    if boxes and boxes[0] in _MOVIE_BOXES and b"moov" not in boxes:
        return VideoError(
            path,
            "is an mp4 without its index (no moov box): the recording or the copy was cut off",
            "Copy it again, or rebuild the index with untrunc and a good file from the same camera",
        )
    said = getattr(error, "strerror", None) or type(error).__name__
    return VideoError(path, f"is not a video that FFmpeg can open ({said})", REENCODE)


def _choose(container: InputContainer, path: Path) -> VideoStream:
    name = container.format.name
    if name in _TEXT_FORMATS:
        raise VideoError(path, "is a text file, not a video", "Name a video file")
    if name in _PICTURE_FORMATS or name.endswith("_pipe"):
        raise VideoError(path, f"is a picture ({name.removesuffix('_pipe')}), not a video", "Name a video file")
    flags = av.stream.Disposition
    still = flags.attached_pic | flags.timed_thumbnails
    videos = [stream for stream in container.streams.video if not stream.disposition & still]
    if not videos:
        held = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise VideoError(path, f"holds no video, only {held} ({name})", "Name a video file")
    known = [stream for stream in videos if stream.codec_context is not None]
    if not known:
        raise VideoError(path, "its video is in a codec without a decoder", REENCODE)
    return max(known, key=lambda stream: (stream.width or 0) * (stream.height or 0))


def _top_level_boxes(path: Path) -> list[bytes]:
    """Types of the top-level mp4 boxes (ISO 14496-12, 4.2), as far as they can be followed."""
    found: list[bytes] = []
    with path.open("rb") as file:
        while (box := _box(file)) is not None and len(found) < 10_000:
            kind, size, header = box
            found.append(kind)
            if size < header:  # 0: to the end of the file; less than its own header: damaged
                break
            file.seek(size - header, 1)
    return found


def _box(file: BinaryIO) -> tuple[bytes, int, int] | None:
    head = file.read(8)
    if len(head) < 8:
        return None
    size = int.from_bytes(head[:4], "big")
    if size == 1:
        return head[4:], int.from_bytes(file.read(8), "big"), 16
    return head[4:], size, 8
