"""Where the camera was: sidecar tracks on the video's clock, gaps, and what is said where the clock is a guess."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster.errors import VideoError
from autorisk_dagster.video.gps import GpsTrack, read_gps
from tests.video_factory import steady, write_video

BEGIN = dt.datetime(2026, 5, 1, 12, 0, 0, tzinfo=dt.UTC)


def gpx(path: Path, points: list[tuple[float, float, float | None]]) -> None:
    """(longitude, latitude, seconds after BEGIN or None)."""

    def time(at: float | None) -> str:
        if at is None:
            return ""
        return f"<time>{(BEGIN + dt.timedelta(seconds=at)).strftime('%Y-%m-%dT%H:%M:%SZ')}</time>"

    body = "".join(f'<trkpt lat="{lat}" lon="{lon}">{time(at)}</trkpt>' for lon, lat, at in points)
    head = '<gpx version="1.1" creator="t" xmlns="http://www.topografix.com/GPX/1/1">'
    path.write_text(f"{head}<trk><trkseg>{body}</trkseg></trk></gpx>")


def film(folder: Path, container: str = "mp4", **metadata: str) -> Path:
    return write_video(folder / f"drive.{container}", steady(20, 10.0), metadata=metadata)


def test_the_time_of_day_puts_the_track_on_the_videos_clock(tmp_path: Path) -> None:
    video = film(tmp_path, creation_time="2026-05-01T12:00:02Z")
    gpx(tmp_path / "drive.GPX", [(13.0, 52.0, 0), (13.4, 52.2, 4), (13.8, 52.4, 8)])
    track = read_gps(video, 2.0)
    assert track is not None
    position = track.at(1.0)  # 3 s after the first point: three quarters of the first step
    assert position is not None
    assert (position.longitude_deg, position.latitude_deg) == (pytest.approx(13.3), pytest.approx(52.15))
    assert position.clock == "time of day"


@pytest.mark.parametrize("tags", [{}, {"creation_time": "2020-01-01T00:00:00Z"}], ids=["no time", "another day"])
def test_without_a_common_time_the_track_begins_with_the_video_and_says_so(tmp_path: Path, tags: dict) -> None:
    gpx(tmp_path / "drive.gpx", [(13.0, 52.0, 100), (13.2, 52.0, 102)])
    position = read_gps(film(tmp_path, **tags), 2.0).at(1.0)
    assert position.longitude_deg == pytest.approx(13.1)
    assert position.clock == "assumed to begin with the video"


def test_a_gap_and_what_lies_outside_has_no_position(tmp_path: Path) -> None:
    gpx(tmp_path / "drive.gpx", [(13.0, 52.0, 0), (13.1, 52.0, 5), (13.9, 52.0, 60)])
    track = read_gps(film(tmp_path), 60.0)
    assert track.at(5.0) is not None and track.at(60.0) is not None
    assert [track.at(time) for time in (-0.1, 5.1, 30.0, 60.1)] == [None] * 4


def test_points_out_of_order_and_twice_are_put_right(tmp_path: Path) -> None:
    gpx(tmp_path / "drive.gpx", [(13.2, 52.0, 2), (13.0, 52.0, 0), (13.2, 52.0, 2)])
    assert read_gps(film(tmp_path), 2.0).at(1.0).longitude_deg == pytest.approx(13.1)


def test_one_place_in_the_file_holds_for_all_of_it(tmp_path: Path) -> None:
    position = read_gps(film(tmp_path, "mov", location="+52.5200+013.4050/"), 2.0).at(1.5)
    assert (position.latitude_deg, position.longitude_deg) == (52.52, 13.405)
    assert position.clock == "one place for the whole video"


def test_no_gps_is_none_and_a_bad_track_names_itself(tmp_path: Path) -> None:
    video = film(tmp_path)
    assert read_gps(video, 2.0) is None
    (tmp_path / "drive.gpx").write_text("<gpx><trk")
    with pytest.raises(VideoError, match=r"drive\.gpx.*cannot be read"):
        read_gps(video, 2.0)
    gpx(tmp_path / "drive.gpx", [(13.0, 52.0, None)])
    with pytest.raises(VideoError, match="no point with a time"):
        read_gps(video, 2.0)


@given(west=st.floats(170, 179.9), share=st.floats(0, 1))
def test_over_the_antimeridian_the_short_way(west: float, share: float) -> None:
    track = GpsTrack(np.array([0.0, 1.0]), np.array([west, -west]), np.zeros(2), "time of day")
    assert abs(track.at(share).longitude_deg) >= west - 1e-9
