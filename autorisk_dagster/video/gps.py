"""Where the camera was: from a .gpx file beside the video, or from the place a recorder wrote into the file.

GPX is read with gpxpy. Its points carry the time of day; the video's first frame has one only where the container says
when it was recorded (`creation_time`). Where it does not, or says a time that the track does not cover, the track is
taken to begin with the first frame, and the position says so. A container may hold one place for the whole video
(ISO 6709, as phones write it).
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.errors import VideoError
from autorisk_dagster.video.container import open_video

LONGEST_GAP_SEC: Final = 10.0  # between two points: over a longer gap a car may have turned anywhere
_ISO_6709: Final = re.compile(r"([+-]\d{2}(?:\.\d+)?)([+-]\d{3}(?:\.\d+)?)")
_PLACE_TAGS: Final = ("location", "com.apple.quicktime.location.ISO6709", "location-eng")

Clock = Literal["time of day", "assumed to begin with the video", "one place for the whole video"]


@dataclass(frozen=True)
class Position:
    """A place on the ground: WGS 84, degrees; how its time was found."""

    longitude_deg: float
    latitude_deg: float
    clock: Clock


@dataclass(frozen=True)
class GpsTrack:
    """Positions over time: (n,) arrays, times in seconds from the first frame, rising."""

    times_sec: NDArray[np.float64]
    longitude_deg: NDArray[np.float64]
    latitude_deg: NDArray[np.float64]
    clock: Clock

    def at(self, time_sec: float) -> Position | None:
        """The position, on a straight line between two points; None outside of the track or in a gap of it.

        A crossing of the antimeridian is taken the short way.
        """
        if self.clock == "one place for the whole video":
            return Position(float(self.longitude_deg[0]), float(self.latitude_deg[0]), self.clock)
        after = int(np.searchsorted(self.times_sec, time_sec, side="left"))
        if after < len(self.times_sec) and self.times_sec[after] == time_sec:
            return Position(float(self.longitude_deg[after]), float(self.latitude_deg[after]), self.clock)
        if not 0 < after < len(self.times_sec):
            return None
        start, end = self.times_sec[after - 1], self.times_sec[after]
        if end - start > LONGEST_GAP_SEC:
            return None
        share = (time_sec - start) / (end - start)
        east = (self.longitude_deg[after] - self.longitude_deg[after - 1] + 180) % 360 - 180
        longitude = (self.longitude_deg[after - 1] + share * east + 180) % 360 - 180
        latitude = self.latitude_deg[after - 1] + share * (self.latitude_deg[after] - self.latitude_deg[after - 1])
        return Position(float(longitude), float(latitude), self.clock)


def read_gps(path: Path, duration_sec: float) -> GpsTrack | None:
    """The track of a video of that length; None where neither a .gpx beside it nor the file itself has one.

    Raises:
        VideoError: the video cannot be opened, or the .gpx beside it cannot be read or has no point with a time.
    """
    sidecar = next((other for other in sorted(path.parent.glob("*")) if _beside(other, path)), None)
    tags = _tags(path)
    if sidecar is not None:
        return _gpx(sidecar, tags.get("creation_time"), duration_sec)
    for name in _PLACE_TAGS:
        found = _ISO_6709.match(tags.get(name, ""))
        if found:
            latitude, longitude = (float(value) for value in found.groups())
            return GpsTrack(np.zeros(1), np.array([longitude]), np.array([latitude]), "one place for the whole video")
    return None


def _beside(other: Path, path: Path) -> bool:
    return other.stem == path.stem and other.suffix.lower() == ".gpx" and other.is_file()


def _tags(path: Path) -> dict[str, str]:
    container, _ = open_video(path)
    with container:
        return {str(name): str(value) for name, value in container.metadata.items()}


def _gpx(path: Path, recorded_at: str | None, duration_sec: float) -> GpsTrack:
    import gpxpy

    try:
        found = gpxpy.parse(path.read_text(encoding="utf-8"))
    except (gpxpy.gpx.GPXException, UnicodeDecodeError, OSError) as error:
        raise VideoError(
            path, f"the GPS track beside the video cannot be read ({error})", "Replace or remove it"
        ) from error
    timed = [
        (_utc(point.time).timestamp(), point.longitude, point.latitude)
        for track in found.tracks
        for segment in track.segments
        for point in segment.points
        if point.time
    ]
    if not timed:
        raise VideoError(path, "the GPS track beside the video has no point with a time", "Replace or remove it")
    stamps, longitude, latitude = np.array(sorted(timed), dtype=np.float64).T
    first_of_each = np.concatenate(([True], np.diff(stamps) > 0))
    stamps, longitude, latitude = stamps[first_of_each], longitude[first_of_each], latitude[first_of_each]
    begin = _began(recorded_at)
    first, last = stamps[0], stamps[-1]
    covered = begin is not None and first <= begin + duration_sec and begin <= last
    return GpsTrack(
        stamps - (begin if covered and begin is not None else first),
        longitude,
        latitude,
        "time of day" if covered else "assumed to begin with the video",
    )


def _began(recorded_at: str | None) -> float | None:
    try:
        return _utc(dt.datetime.fromisoformat(recorded_at)).timestamp() if recorded_at else None
    except ValueError:
        return None


def _utc(time: dt.datetime) -> dt.datetime:
    """GPX and containers mean UTC where they do not say."""
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)
