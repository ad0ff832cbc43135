"""What the benchmarks run on: real footage, read in place, and loops of it, made anew in a folder that git ignores."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from tests.video_factory import SHARED_VIDEO, repeat_video

LOOPED = ("merge_near_miss_horn", "highway_two_cars_negative")  # 640x360 with traffic and sound; 1280x720
LOOP_SEC = 60.0
LARGE = "highway_two_cars_negative, 1920x1080"
LARGE_SEC, LARGE_BITS = 20.0, 12_000_000  # a usual dashcam's rate at that size


def long_clips(folder: Path, seconds: float = LOOP_SEC) -> dict[str, Path]:
    """Clips looped to at least `seconds`, not encoded anew; of the demo's own sample where ../shared is missing."""
    sources = {name: SHARED_VIDEO / f"{name}.mp4" for name in LOOPED}
    if not all(path.is_file() for path in sources.values()):
        from autorisk_dagster.samples import fetch_bikes

        sources = {"bikes": fetch_bikes(folder)}
    found = {}
    for name, source in sources.items():
        target = folder / f"{name}_{seconds:g}s.mp4"
        if not target.is_file():
            making = target.with_suffix(".making")
            repeat_video(source, making, seconds)
            making.replace(target)
        found[f"{name}, looped"] = target
    return found


def large_clip(folder: Path) -> dict[str, Path]:
    """A shared 720p clip at the size and bit rate of most dashcams, scaled up, encoded once and looped."""
    import av

    source = SHARED_VIDEO / "highway_two_cars_negative.mp4"
    if not source.is_file():
        return {}
    target = folder / f"1080p_{LARGE_SEC:g}s.mp4"
    if not target.is_file():
        once, making = folder / "1080p.making.mp4", target.with_suffix(".making")
        with av.open(str(source)) as original, av.open(str(once), "w") as output:
            stream = output.add_stream("libx264", rate=25, options={"preset": "fast"})
            stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
            stream.bit_rate = LARGE_BITS
            for index, frame in enumerate(original.decode(video=0)):
                picture = frame.reformat(1920, 1080, "yuv420p", interpolation="BICUBIC")
                picture.pts, picture.time_base, picture.pict_type = index, Fraction(1, 25), 0
                output.mux(stream.encode(picture))
            output.mux(stream.encode(None))
        repeat_video(once, making, LARGE_SEC)
        once.unlink()
        making.replace(target)
    return {LARGE: target}


def hours(folder: Path, minutes: tuple[float, ...]) -> dict[str, Path]:
    """The first of the looped clips at other lengths."""
    return {f"{length:g} min": next(iter(long_clips(folder, 60 * length).values())) for length in minutes}


def shared_videos() -> dict[str, Path]:
    """The test videos as they are; none where ../shared is missing."""
    return {path.stem: path for path in sorted(SHARED_VIDEO.glob("*.mp4"))}
