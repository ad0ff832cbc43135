"""`autorisk lineage`: one severity back to its frames, in the terminal, as a file, and as a page of `autorisk ui`."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autorisk_dagster.cli.instance import local_instance, shown
from autorisk_dagster.errors import AutoRiskError, InputError

if TYPE_CHECKING:
    import dagster as dg

    from autorisk_dagster.audit.lineage import Finding, Lineage, Made, Stored
    from resources.media_store import MediaStore

_OF_THE_FLEET = ("correction_parameters",)  # unpartitioned, and read by a rule where it exists
_FRAMES = 4
_FRAME_WIDTH_PX = 640


@click.command()
@click.argument("clip")
@click.option("--footage", is_flag=True, help="read the whole of the footage too, and compare its SHA-256")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="write it as a page, with its frames")
def lineage(clip: str, footage: bool, html: Path | None) -> None:
    """Lead the severity of CLIP back to its frames: every step, what made it, and whether its hashes still hold.

    \b
    Exit codes: 0 everything holds
                1 there is no such clip
                3 something was changed, replaced, lost, or made again since
    """
    try:
        with local_instance() as instance:
            found = lineage_of(clip, instance, footage=footage)
        if html is not None:
            html.write_text(page_of(found), encoding="utf-8")
            click.echo(f"{shown(html.resolve())}")
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error
    _print(found)
    sys.exit(0 if found.holds else 3)


def lineage_of(clip_id: str, instance: dg.DagsterInstance, *, footage: bool = False) -> Lineage:
    """The lineage of a clip, by the tables, files and history of this project.

    Args:
        clip_id: the clip
        instance: whose history is believed
        footage: whether the whole of the footage is read for its SHA-256

    Raises:
        InputError: there is no such clip, or its video's profile cannot be read.
    """
    from assets.tabulate import content_hash
    from autorisk_dagster.audit.lineage import ASSETS, Stored, trace_back
    from autorisk_dagster.definitions import defs

    definitions = defs()
    resources: Any = definitions.resources
    media: MediaStore = resources["media"]
    store = resources["io_manager"].create_io_manager(None)
    video_id = _video_of(clip_id, media)
    graph = definitions.resolve_asset_graph()
    history = _History(instance, video_id)
    stored = {}
    for name in (*ASSETS, *_OF_THE_FLEET):
        node = graph.get(_key(name))
        table = store.read(name, None if name in _OF_THE_FLEET else video_id)
        stored[name] = Stored(
            rows=table,
            content_sha256=content_hash(table) if table is not None else None,
            made=history.of(name),
            code_version=node.code_version,
            parents=tuple(sorted(parent.to_user_string() for parent in node.parent_keys)),
        )
    profile = resources["profiles"].get(media.ledger.get(video_id).profile)
    return trace_back(clip_id, stored, profile, _files(clip_id, video_id, stored, media, whole=footage))


def page_of(found: Lineage) -> str:
    """The lineage as a page, with pictures of the clip where it is there."""
    from autorisk_dagster.audit.lineage_page import lineage_page
    from autorisk_dagster.definitions import defs

    resources: Any = defs().resources
    return lineage_page(found, _frames(found, resources["media"], resources["io_manager"].create_io_manager(None)))


def _key(name: str) -> dg.AssetKey:
    import dagster as dg

    return dg.AssetKey(name)


def _video_of(clip_id: str, media: MediaStore) -> str:
    video_id = clip_id.rpartition("-c")[0]
    if video_id not in media.ledger.keys():  # noqa: SIM118 - names of files, no mapping
        raise InputError(f"there is no clip {clip_id}: no video {video_id or clip_id} is registered (autorisk status)")
    return video_id


@dataclass
class _History:
    """What Dagster recorded of one video's tables."""

    instance: dg.DagsterInstance
    video_id: str

    def of(self, asset: str) -> Made | None:
        """The latest event that made `asset`, with the data versions that it read."""
        import dagster as dg

        from autorisk_dagster.audit.lineage import ASSETS, Made

        partitions = None if asset in _OF_THE_FLEET else [self.video_id]
        wanted = dg.AssetRecordsFilter(asset_key=_key(asset), asset_partitions=partitions)
        record = next(iter(self.instance.fetch_materializations(wanted, limit=1).records), None)
        if record is None or record.asset_materialization is None:
            return None
        tags = record.asset_materialization.tags or {}
        pointers = {
            parent: tags.get(f"dagster/input_event_pointer/{parent}")
            for parent in (*ASSETS, *_OF_THE_FLEET)
            if f"dagster/input_event_pointer/{parent}" in tags
        }
        return Made(
            run_id=record.run_id,
            made_at=dt.datetime.fromtimestamp(record.timestamp, dt.UTC).isoformat(timespec="seconds"),
            code_version=tags.get("dagster/code_version", "unknown"),
            data_version=tags.get("dagster/data_version", "unknown"),
            inputs={parent: self._pointed(parent, pointer) for parent, pointer in pointers.items()},
        )

    def _pointed(self, asset: str, pointer: str | None) -> str | None:
        """The data version of the very event that was read; None where there was none yet."""
        import dagster as dg

        if pointer is None or not pointer.isdigit():
            return None
        wanted = dg.AssetRecordsFilter(asset_key=_key(asset), storage_ids=[int(pointer)])
        for record in self.instance.fetch_materializations(wanted, limit=1).records:
            if record.asset_materialization is not None:
                return (record.asset_materialization.tags or {}).get("dagster/data_version")
        return "an event that is no longer there"


def _files(
    clip_id: str, video_id: str, stored: dict[str, Stored], media: MediaStore, *, whole: bool
) -> dict[str, list[Finding]]:
    """What is found of the footage and of the clip's file."""
    import polars as pl

    from autorisk_dagster.audit.lineage import Finding
    from autorisk_dagster.intake.footage import fingerprint_at
    from autorisk_dagster.intake.footage import footage as footage_at
    from resources.media_store import sha256_of

    found: dict[str, list[Finding]] = {}
    source, clips = stored["source_video"].rows, stored["mined_clips"].rows
    if source is not None:
        record = media.ledger.get(video_id)
        try:
            same = record.is_of(fingerprint_at(record.path))
            told = "the footage is where it was registered" if same else "another file lies where the footage was"
            found["source_video"] = [Finding("footage", same, f"{told} (size, head and tail compared)")]
            if whole:
                with footage_at(record.path) as path:
                    same = sha256_of(path) == source.item(0, "sha256")
                told = "the whole of it has the SHA-256" if same else "the whole of it has another SHA-256"
                found["source_video"].append(Finding("all of the footage", same, f"{told} that was recorded"))
        except (AutoRiskError, OSError) as error:
            found["source_video"] = [Finding("footage", False, str(error))]
    for row in clips.filter(pl.col("clip_id") == clip_id).iter_rows(named=True) if clips is not None else ():
        clip = media.path(row["clip_path"])
        same = clip.is_file() and sha256_of(clip) == row["clip_sha256"]
        told = "the clip's file has the recorded SHA-256" if same else "the clip's file is another one, or gone"
        found["mined_clips"] = [Finding("clip's file", same, told)]
    return found


def _frames(found: Lineage, media: MediaStore, store: Any) -> list[tuple[float, bytes]]:
    """Pictures at the samples' times, else around the clip's peak; with boxes where the annotated copy is there."""
    import polars as pl

    from autorisk_dagster.reporting.contact_sheet import AROUND_PEAK_SEC, thumbnail_jpeg

    clip = store.read("mined_clips", found.video_id).filter(pl.col("clip_id") == found.clip_id).row(0, named=True)
    evidence = Path(clip["clip_path"])
    paths = [media.path(str(evidence.parent.parent / "annotated" / evidence.name)), media.path(clip["clip_path"])]
    path = next((one for one in paths if one.is_file()), None)
    if path is None:
        return []
    times = [one.at_sec for one in found.samples]
    if not times:
        around = (clip["peak_sec"] + step for step in AROUND_PEAK_SEC)
        times = sorted({min(max(at, clip["start_sec"]), clip["end_sec"]) for at in around})
    step = max((len(times) - 1) / (_FRAMES - 1), 1.0)
    chosen = sorted({times[min(round(number * step), len(times) - 1)] for number in range(_FRAMES)})
    return [(at, thumbnail_jpeg(path, at - clip["start_sec"], _FRAME_WIDTH_PX)) for at in chosen]


def _print(found: Lineage) -> None:
    click.echo(f"{found.clip_id}: {found.severity or 'NOT JUDGED'}. {found.in_words}")
    if found.trouble:
        click.secho(f"  {found.trouble}", fg="red")
    for one in found.samples[-3:]:
        click.echo(f"  frame {one.source_frame} at {one.at_sec:.3f} s: {found.road_user}, time to contact {one.ttc}")
    for step in reversed(found.steps):
        made = f"   {step.made.data_version[:12]}, run {step.made.run_id[:8]}, {step.made.made_at}" if step.made else ""
        state = click.style("holds", fg="green") if step.holds else click.style("DOES NOT HOLD", fg="red")
        click.echo(f"{click.style(step.asset, bold=True)}: {state}{made}")
        for name, value in step.facts:
            click.echo(f"    {name}: {value}")
        for finding in step.findings:
            if not finding.holds:
                click.secho(f"    {finding.told}", fg="red")
    held = sum(finding.holds for finding in found.findings)
    click.echo(f"{held} of {len(found.findings)} checks hold")
