"""`autorisk export`: what other programs read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autorisk_dagster.cli.instance import shown
from autorisk_dagster.errors import AutoRiskError, VideoError
from autorisk_dagster.intake.footage import footage
from autorisk_dagster.intake.sources import source_ledger
from autorisk_dagster.io import stored_table
from autorisk_dagster.storage import data_storage

if TYPE_CHECKING:
    from autorisk_dagster.reporting.exports import VideoTables

_TABLES = ("mined_clips", "severity_ranking", "corrected_severities", "near_miss_events", "tracks")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--video", "only", multiple=True, metavar="VIDEO_ID", help="only this one; may be given several times")
def export(folder: Path, only: tuple[str, ...]) -> None:
    """Write clips and near misses of the fleet into FOLDER: CSV, Parquet, GeoJSON (where there is GPS) and COCO."""
    from autorisk_dagster.reporting import exports

    try:
        videos = list(_videos(only))
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in (("clips", exports.clips(videos)), ("near_misses", exports.events(videos))):
            exports.write_csv(table, folder / f"{name}.csv")
            table.write_parquet(folder / f"{name}.parquet")
            click.echo(f"{shown(folder / name)}.csv, .parquet: {table.height} rows")
        places = exports.geojson(videos)
        if places["features"]:
            exports.write_json(places, folder / "places.geojson")
            click.echo(f"{shown(folder / 'places.geojson')}: {len(places['features'])} places")
        else:
            click.echo("no places.geojson: no video has GPS in it or in a .gpx beside it")
        pictures = dict(_pictures(videos, folder))
        exports.write_json(exports.coco(videos, pictures), folder / "coco.json")
        click.echo(f"{shown(folder / 'coco.json')}: {len(pictures)} pictures")
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error


def _videos(only: tuple[str, ...]) -> Iterator[VideoTables]:
    """The processed videos; footage that is gone has no GPS any more, and says so."""
    from autorisk_dagster.reporting.exports import VideoTables
    from autorisk_dagster.video.gps import read_gps

    ledger = source_ledger()
    for record in [ledger.get(key) for key in only] if only else ledger.all():
        key = record.video_id
        found = {name: stored_table(name, key) for name in ("source_video", *_TABLES)}
        tables = {name: table for name, table in found.items() if table is not None}
        if len(tables) < len(found):
            click.echo(f"{key}: not processed yet, left out", err=True)
            continue
        facts = tables.pop("source_video").row(0, named=True)
        gps = None
        try:
            with footage(record.path) as path:
                if not path.exists():
                    raise VideoError(path, "is gone", "Put it back.")
                gps = read_gps(path, facts["duration_sec"])
        except VideoError:
            click.echo(f"{key}: its footage is gone, and with it any GPS", err=True)
        yield VideoTables(video_id=key, video=facts, gps=gps, **tables)


def _pictures(videos: list[VideoTables], folder: Path) -> Iterator[tuple[str, str]]:
    """Write the peak of each shareable clip; yield clip id and file name. A clip that was swept has no picture."""
    from autorisk_dagster.reporting.contact_sheet import thumbnail_jpeg

    for data in videos:
        shared = stored_table("shareable_clips", data.video_id)
        files = {} if shared is None else dict(shared.select("clip_id", "clip_path").iter_rows())
        for clip in data.mined_clips.iter_rows(named=True):
            file = data_storage().at("media").path(files.get(clip["clip_id"], "missing"))
            if file.is_file():
                name = f"pictures/{clip['clip_id']}.jpg"
                (folder / "pictures").mkdir(exist_ok=True)
                at = clip["peak_sec"] - clip["start_sec"]
                (folder / name).write_bytes(thumbnail_jpeg(file, at, width_px=data.video["width_px"]))
                yield clip["clip_id"], name
