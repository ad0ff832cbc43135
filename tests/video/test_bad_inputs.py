"""Every bad input gives a `VideoError` that says what it is, in the probe and in the reader alike."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import soundfile
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame as DecodedFrame

from autorisk_dagster.errors import VideoError
from autorisk_dagster.video.probe import probe
from autorisk_dagster.video.reader import VideoReader
from tests.video_factory import counter_picture, cut_off, joined, steady, tone, with_damage, write_video


def _missing(folder: Path) -> Path:
    return folder / "gone.mp4"


def _folder(folder: Path) -> Path:
    return folder


def _empty(folder: Path) -> Path:
    (folder / "empty.mp4").write_bytes(b"")
    return folder / "empty.mp4"


def _text_named_mp4(folder: Path) -> Path:
    (folder / "notes.mp4").write_text("the brake was late\n" * 50)
    return folder / "notes.mp4"


def _text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("the brake was late\n" * 50)
    return folder / "notes.txt"


def _noise(folder: Path) -> Path:
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    return folder / "noise.mp4"


def _wav(folder: Path) -> Path:
    soundfile.write(folder / "sound.wav", tone(1.0, 16_000), 16_000)
    return folder / "sound.wav"


def _mp3_with_cover(folder: Path) -> Path:
    path = folder / "song.mp3"
    with av.open(str(path), "w") as output:
        sound = output.add_stream("mp3", rate=48_000, layout="stereo")
        cover = output.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = 160, 90, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = DecodedFrame.from_ndarray(counter_picture(1), format="bgr24").reformat(format="yuvj420p")
        picture.pts = 0
        output.mux(cover.encode(picture))
        output.mux(cover.encode(None))
        block = AudioFrame.from_ndarray(np.stack([tone(1.0)] * 2), "fltp", "stereo")
        block.sample_rate, block.pts = 48_000, 0
        output.mux(sound.encode(block))
        output.mux(sound.encode(None))
    return path


def _png(folder: Path) -> Path:
    cv2.imwrite(str(folder / "frame.png"), counter_picture(1))
    return folder / "frame.png"


def _jpeg_named_mp4(folder: Path) -> Path:
    cv2.imwrite(str(folder / "frame.jpg"), counter_picture(1))
    return (folder / "frame.jpg").rename(folder / "frame.mp4")


def _cut_before_index(folder: Path) -> Path:
    return cut_off(write_video(folder / "whole.mp4", steady(60, 30)), folder / "cut.mp4", 0.5)


def _index_but_no_frame(folder: Path) -> Path:
    whole = write_video(folder / "whole.mp4", steady(60, 30), container_options={"movflags": "+faststart"})
    content = whole.read_bytes()
    (folder / "index.mp4").write_bytes(content[: content.index(b"mdat") + 12])
    return folder / "index.mp4"


def _destroyed(folder: Path) -> Path:
    whole = write_video(folder / "whole.mp4", steady(300, 30))
    size = whole.stat().st_size
    return with_damage(whole, folder / "bad.mp4", start_share=0.05, length=int(0.8 * size))


def _no_timestamps(folder: Path) -> Path:
    return write_video(folder / "raw.h264", steady(30, 30), container="h264")


def _clock_set_back(folder: Path) -> Path:
    part = write_video(folder / "part.ts", steady(60, 30))
    return joined([part, part], folder / "twice.ts")


def _clock_set_back_by_five_frames(folder: Path) -> Path:
    first = write_video(folder / "first.ts", steady(60, 30), options={"bf": "0"})
    second = write_video(folder / "second.ts", steady(30, 30, 55 / 30), options={"bf": "0"})
    return joined([first, second], folder / "overlap.ts")


def _clock_set_forward(folder: Path) -> Path:
    return write_video(folder / "jump.mp4", [*steady(30, 30), *steady(30, 30, 9000.0)])


def _frames_the_container_cannot_order(folder: Path) -> Path:
    return write_video(folder / "order.avi", steady(60, 30), time_base=Fraction(1, 30))


def _bad_sidecar(folder: Path) -> Path:
    (folder / "drive.wav").write_bytes(b"no sound at all")
    return write_video(folder / "drive.mp4", steady(30, 30))


CASES: list[tuple[Callable[[Path], Path], str]] = [
    (_missing, "no such file"),
    (_folder, "is a folder"),
    (_empty, "is empty"),
    (_text_named_mp4, "is not a video"),
    (_text, "is a text file"),
    (_noise, "is not a video"),
    (_wav, "holds no video, only audio"),
    (_mp3_with_cover, "holds no video, only audio"),
    (_png, "is a picture"),
    (_jpeg_named_mp4, "is a picture"),
    (_cut_before_index, "no moov box"),
    (_index_but_no_frame, "no frame that can be decoded"),
    (_destroyed, "packets are damaged"),
    (_no_timestamps, "no timestamps"),
    (_clock_set_back, "run backwards"),
    (_clock_set_back_by_five_frames, "run backwards"),
    (_clock_set_forward, "jump from 0.967 s to 9000.000 s"),
    (_frames_the_container_cannot_order, "run backwards"),
    (_bad_sidecar, "sound file beside the video cannot be read"),
]


@pytest.mark.parametrize(("make", "cause"), CASES, ids=[make.__name__.strip("_") for make, _ in CASES])
def test_bad_input_is_named(make: Callable[[Path], Path], cause: str, tmp_path: Path) -> None:
    path = make(tmp_path)

    with pytest.raises(VideoError) as by_probe:
        probe(path)
    with pytest.raises(VideoError) as by_reader, VideoReader(path) as reader:
        list(reader)

    for error in (by_probe.value, by_reader.value):
        assert cause in error.cause
        assert error.file_name in {path.name, "drive.wav"}
        assert len(error.fix) > 10
        assert str(path.parent) not in str(error)
