"""Frames of the example video have brightness 40 + their number, so a picture tells which frame it is of."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.reporting.contact_sheet import MAX_CLIPS, contact_sheet, thumbnail_jpeg
from tests.reporting.example import clip_row, level, write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seconds 1 to 4 of the example video."""
    return write_video(tmp_path_factory.mktemp("sheet") / "clip.mp4", 20, 60)


def test_a_row_shows_the_clip_before_at_and_after_its_peak(clip: Path) -> None:
    clips = tables.frame([clip_row(1, 1.0, 4.0, 2.5)], tables.MINED_CLIPS)
    picture = Image.open(io.BytesIO(contact_sheet([clip], clips, {"example-c01": "HIGH"})))
    assert picture.format == "PNG"
    assert picture.width == 1100
    row = np.asarray(picture.convert("L"))[26 + 8 + 60]  # under the caption
    # peak at 1.5 s of the clip: frames 6, 30 and 54 of it, which are 26, 50 and 74 of the video
    shown = [int(row[x]) for x in (200, 600, 1000)]
    assert shown == [pytest.approx(level(n), abs=5) for n in (26, 50, 74)]


def test_the_severity_mark_has_its_colour(clip: Path) -> None:
    clips = tables.frame([clip_row(1, 1.0, 4.0, 2.5)], tables.MINED_CLIPS)
    sheet = Image.open(io.BytesIO(contact_sheet([clip], clips, {"example-c01": "HIGH"}))).convert("RGB")
    assert sheet.getpixel((10, 20)) == (0xC8, 0x37, 0x2D)


def test_a_peak_at_the_end_shows_the_last_frame(clip: Path) -> None:
    clips = tables.frame([clip_row(1, 1.0, 4.0, 4.0)], tables.MINED_CLIPS)
    row = np.asarray(Image.open(io.BytesIO(contact_sheet([clip], clips))).convert("L"))[94]
    assert int(row[1000]) == pytest.approx(level(79), abs=5)


def test_of_many_clips_those_left_out_are_counted(clip: Path) -> None:
    many = [clip_row(number, 1.0, 4.0, 2.5) for number in range(1, MAX_CLIPS + 4)]
    table = tables.frame(many, tables.MINED_CLIPS)
    sheet = contact_sheet([clip] * len(many), table)
    full = contact_sheet([clip] * MAX_CLIPS, table.head(MAX_CLIPS))
    heights = [Image.open(io.BytesIO(png)).height for png in (sheet, full)]
    assert heights[0] == heights[1] + 26  # a line that says "3 more"


def test_paths_and_rows_must_match(clip: Path) -> None:
    clips = tables.frame([clip_row(1, 1.0, 4.0, 2.5)], tables.MINED_CLIPS)
    with pytest.raises(InputError, match="got 2 paths for 1 clips"):
        contact_sheet([clip, clip], clips)
    with pytest.raises(InputError, match="got 0 paths for 0 clips"):
        contact_sheet([], tables.empty(tables.MINED_CLIPS))


@pytest.mark.parametrize(("at_sec", "frame"), [(0.0, 20), (1.5, 50), (1.52, 50), (99.0, 79)])
def test_thumbnail_is_the_frame_shown_at_that_time(clip: Path, at_sec: float, frame: int) -> None:
    picture = Image.open(io.BytesIO(thumbnail_jpeg(clip, at_sec, width_px=160)))
    assert (picture.format, picture.size) == ("JPEG", (160, 90))
    assert int(np.asarray(picture.convert("L"))[45, 80]) == pytest.approx(level(frame), abs=3)
