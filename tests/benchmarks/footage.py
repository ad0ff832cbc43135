"""What the benchmarks run on: real footage, read in place, and loops of it, made anew in a folder that git ignores."""

from __future__ import annotations

from pathlib import Path

from tests.video_factory import SHARED_VIDEO, repeat_video

LOOPED = ("merge_near_miss_horn", "highway_two_cars_negative")  # 640x360 with traffic and sound; 1280x720
LOOP_SEC = 60.0


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


def shared_videos() -> dict[str, Path]:
    """The test videos as they are; none where ../shared is missing."""
    return {path.stem: path for path in sorted(SHARED_VIDEO.glob("*.mp4"))}
