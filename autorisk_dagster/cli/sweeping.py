"""`autorisk sweep`, `autorisk hold`: media whose time is over, and what must stay."""

from __future__ import annotations

import datetime as dt

import click
import polars as pl

from autorisk_dagster.cli.instance import local_instance
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.intake.sources import source_ledger
from autorisk_dagster.io import stored_table
from autorisk_dagster.paths import CONFIGS
from autorisk_dagster.privacy import retention
from autorisk_dagster.storage import data_storage


@click.command()
@click.option("--dry-run", is_flag=True, help="say what would be deleted, and delete nothing")
def sweep(dry_run: bool) -> None:
    """Delete media (clips, pictures, reports) older than the profile's privacy.keep_media_days; hashes and tables stay.

    Footage is never touched. Kept in any case: what is held, what a run is busy with, what still waits for review.
    """
    import dagster as dg

    from autorisk_dagster.fleet.orphans import UNFINISHED
    from autorisk_dagster.profile import load_profile

    data, now = data_storage(), dt.datetime.now(dt.UTC)
    holds = retention.Holds(data.at("holds"))
    with local_instance() as instance:
        unfinished = instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))
    busy = {record.dagster_run.tags.get("dagster/partition", "") for record in unfinished}
    files = size = 0
    try:
        for record in source_ledger().all():
            days = load_profile(record.profile, CONFIGS).privacy.keep_media_days
            kept = retention.why_kept(
                record.registered_at,
                days,
                now,
                hold=holds.get(record.video_id),
                busy=record.video_id in busy,
                open_reviews=_open_reviews(record.video_id),
            )
            found = retention.media_files(data.at("media"), record.video_id)
            if kept or not found:
                click.echo(f"{record.video_id}: kept, {kept}" if kept else f"{record.video_id}: nothing to delete")
                continue
            bytes_here = sum(found.values())
            files, size = files + len(found), size + bytes_here
            if not dry_run:
                retention.sweep(data.at("media"), record.video_id, now, f"older than {days} days")
            verb = "would delete" if dry_run else "deleted"
            click.echo(f"{record.video_id}: {verb} {len(found)} files, {bytes_here / 1e6:.1f} MB")
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{files} files, {size / 1e6:.1f} MB{' (nothing was deleted)' if dry_run else ''}")


@click.command()
@click.argument("video_id")
@click.option("--reason", default="", help="why its media must stay")
@click.option("--release", is_flag=True, help="let it go again")
def hold(video_id: str, reason: str, release: bool) -> None:
    """Keep the media of VIDEO_ID, whatever its age, until it is released: for an accident, or by order of a court."""
    try:
        record = source_ledger().get(video_id)
        holds = retention.Holds(data_storage().at("holds"))
        if release:
            holds.release(record.video_id)
            click.echo(f"{record.video_id}: released")
        else:
            held = holds.hold(record.video_id, reason, dt.datetime.now(dt.UTC))
            click.echo(f"{held.video_id}: held, {held.reason}")
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error


def _open_reviews(video_id: str) -> list[str]:
    queue = stored_table("review_queue", video_id)
    if queue is None:
        return []
    return queue.filter(pl.col("must_review") & (pl.col("state") != "reviewed"))["clip_id"].to_list()
