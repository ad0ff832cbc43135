"""`autorisk label`, `labels` and `review`: people say what the clips show, blind or with the output in sight."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import polars as pl

from autorisk_dagster.cli.instance import shown
from autorisk_dagster.errors import AutoRiskError, InputError
from autorisk_dagster.intake.sources import SourceLedger
from autorisk_dagster.io import FrameStoreIOManager
from autorisk_dagster.paths import CONFIGS
from autorisk_dagster.storage import Storage, data_storage

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from autorisk_dagster.reporting.desk.labelling import LabelDesk
    from autorisk_dagster.reporting.desk.pages import DeskClip
    from autorisk_dagster.reporting.desk.reviewing import ReviewDesk

_port = click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="port on the loopback address [default: any free one]"
)


@click.command()
@click.option("--labeller", required=True, help="who labels; the order of the clips is this person's own")
@click.option("--set", "label_set", help="label set to make or go on with [default: the labeller's name]")
@click.option("--video", "videos", multiple=True, metavar="VIDEO_ID", help="only clips of this video; may be repeated")
@_port
def label(labeller: str, label_set: str | None, videos: tuple[str, ...], port: int) -> None:
    """Serve the page for blind labels: one clip after another on loop, a key a severity, no prediction in sight."""
    from autorisk_dagster.reporting.desk.guard import new_token
    from autorisk_dagster.reporting.desk.labelling import alone, label_app
    from autorisk_dagster.review.label_sets import set_name

    data = data_storage()
    with _explained():
        path = data.pull("labels", "review") / "labels" / f"{label_set or labeller.strip().lower()}.csv"
        set_name(path)
        with alone(path):
            desk = label_desk(data, path, labeller, videos)
            click.echo(f"{len(desk.clips)} clips; labels go to {shown(path)}", err=True)
            if desk.judged:
                click.echo(
                    f"{desk.judged} of them have an output already: these labels are late for it. Clips without one: "
                    "autorisk run VIDEO --until mined_clips",
                    err=True,
                )
            token = new_token()
            _serve(label_app(desk, token), {token: desk.labeller}, port)


def label_desk(data: Storage, path: Path, labeller: str, videos: tuple[str, ...] = ()) -> LabelDesk:
    """The desk of one labeller over the clips of a project; `path` is the label set's file, in what `data` pulled."""
    from autorisk_dagster.reporting.desk.labelling import LabelDesk
    from autorisk_dagster.review.log import review_log

    clips = _clips(data, videos)
    outputs = [_table(data, "reason_outputs", video_id) for video_id in sorted({clip.video_id for clip in clips})]
    judged = frozenset(
        str(clip) for table in outputs if table is not None for clip in table["clip_sha256"].drop_nulls()
    )
    log = review_log(data.pull("review"))
    return LabelDesk(path, labeller.strip(), clips, log, judged, lambda: data.push("labels", "review"))


@click.group()
def labels() -> None:
    """Label sets: what there is, taking files in, freezing."""


@labels.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--set", "label_set", help="name of the label set [default: the file's]")
def add(file: Path, label_set: str | None) -> None:
    """Take a label file (CSV) in as an open label set."""
    from autorisk_dagster.review.label_file import read_labels, write_labels
    from autorisk_dagster.review.label_sets import set_name

    data = data_storage()
    with _explained():
        target = data.pull("labels") / "labels" / f"{label_set or file.stem.lower()}.csv"
        set_name(target)
        table = read_labels(file)
        if target.exists():
            raise InputError(f"there is a label set {target.stem} already. Give another name with --set")
        unknown = sorted(set(table["clip_id"]) - {clip.clip_id for clip in _clips(data)})
        write_labels(target, table)
        data.push("labels")
    click.echo(f"{table.height} labels taken in as {shown(target)}. Freeze them: autorisk labels freeze {target.stem}")
    if unknown:
        click.echo(f"no such clip now: {', '.join(unknown)}. The set cannot be frozen with them", err=True)


@labels.command()
@click.argument("label_set")
def freeze(label_set: str) -> None:
    """Freeze a label set: its hash and the time are written down, and it must not change any more."""
    from autorisk_dagster.reporting.desk.labelling import alone
    from autorisk_dagster.review import label_sets
    from autorisk_dagster.review.log import review_log

    data = data_storage()
    with _explained():
        folder = data.pull("labels", "review")
        path = folder / "labels" / f"{label_set}.csv"
        with alone(path):
            clips = {clip.clip_id: clip.sha256 for clip in _clips(data)}
            frozen = label_sets.freeze(path, clips, review_log(folder), datetime.now(UTC))
            data.push("review", "labels")
    click.echo(f"{label_set}: {len(frozen.clips)} labels frozen at {frozen.frozen_at}, SHA-256 {frozen.file_sha256}")


@labels.command(name="list")
def list_sets() -> None:
    """Every label set: labels, labellers, frozen or open, and what is wrong with it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from autorisk_dagster.review.label_sets import freezings, read_set
    from autorisk_dagster.review.log import review_log

    table = Table("label set", "labels", "by severity", "labeller", "state")
    with _explained():
        folder = data_storage().pull("labels", "review")
        frozen = freezings(review_log(folder).records())
    for path in sorted((folder / "labels").glob("*.csv")):
        try:
            found = read_set(path)
        except InputError as error:
            table.add_row(Text(path.stem), "-", "-", "-", Text(str(error), style="bold red"))
            continue
        severities = found.table["severity"].value_counts(sort=True)
        counts = ", ".join(f"{name} {count}" for name, count in severities.iter_rows())
        people = ", ".join(sorted(set(found.table["labeller"].drop_nulls()))) or "not named"
        if found.freezing is None:
            state = Text("open")
        elif frozen.get(found.name) != found.freezing:
            state = Text("the review log does not hold its freezing", style="bold red")
        else:
            state = Text(f"frozen {found.freezing.time:%Y-%m-%d %H:%M} UTC")
        table.add_row(Text(found.name), str(found.table.height), Text(counts), Text(people), state)
    Console().print(table)


@click.command()
@click.option("--reviewer", "reviewers", multiple=True, help="who reviews; may be repeated, each gets an own address")
@click.option("--verify", is_flag=True, help="only say whether the review log is whole")
@_port
def review(reviewers: tuple[str, ...], verify: bool, port: int) -> None:
    """Serve the page for verdicts: each judged clip with its evidence; or verify the log of verdicts."""
    from autorisk_dagster.review.log import review_log

    with _explained():
        log = review_log(data_storage().pull("review"))
    if verify:
        fault = log.verify()
        if fault is not None:
            raise click.ClickException(f"{shown(log.path)}: {fault.text}")
        head = log.head()
        click.echo(f"{shown(log.path)}: {head.records} records, whole; the last is {head.sha256}")
        return
    names = [name.strip() for name in reviewers]
    if not names or not all(names) or len(set(names)) != len(names):
        raise click.UsageError("name each reviewer once: --reviewer NAME")
    from autorisk_dagster.reporting.desk.guard import new_token
    from autorisk_dagster.reporting.desk.reviewing import review_app

    with _explained():
        log.records()  # a log that was tampered with is not written on
        people = {new_token(): name for name in names}
        _serve(review_app(review_desk(data_storage()), people), people, port)


def review_desk(data: Storage) -> ReviewDesk:
    """The desk of all reviewers over a project."""
    from autorisk_dagster.profile import load_profile
    from autorisk_dagster.reporting.desk.evidence import FleetReader
    from autorisk_dagster.reporting.desk.reviewing import ReviewDesk
    from autorisk_dagster.review.log import review_log
    from resources.media_store import MediaStore

    ledger = SourceLedger(data.at("sources"))
    reader = FleetReader(
        data.at("tables"),
        lambda: [record.video_id for record in ledger.all()],
        lambda name: load_profile(name, CONFIGS),
    )
    log = review_log(data.pull("review"))
    return ReviewDesk(reader.gather, log, MediaStore(root=data.root).path, lambda: data.push("review"))


def _serve(app: Starlette, people: Mapping[str, str], port: int) -> None:
    """Serve on the loopback address alone, until it is interrupted."""
    import uvicorn

    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        raise click.ClickException(
            f"port {port} cannot be used ({error.strerror}). Give another with --port"
        ) from error
    with listening:
        listening.listen()  # before the address is printed: who opens it at once waits, and is not refused
        for token, name in people.items():
            click.echo(f"{name}: http://127.0.0.1:{listening.getsockname()[1]}/?token={token}")
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        uvicorn.Server(config).run(sockets=[listening])


def _clips(data: Storage, videos: tuple[str, ...] = ()) -> list[DeskClip]:
    """The mined clips of the registered videos, or of some."""
    from autorisk_dagster.reporting.desk.pages import DeskClip
    from resources.media_store import MediaStore

    media = MediaStore(root=data.root)
    known = SourceLedger(data.at("sources")).keys()
    unknown = sorted(set(videos) - set(known))
    if unknown:
        raise InputError(f"no video is called {', '.join(unknown)}. What there is: autorisk status")
    return [
        DeskClip(video_id, row["clip_id"], row["clip_sha256"], partial(media.path, row["clip_path"]))
        for video_id in videos or known
        if (table := _table(data, "mined_clips", video_id)) is not None
        for row in table.iter_rows(named=True)
    ]


def _table(data: Storage, asset: str, video_id: str) -> pl.DataFrame | None:
    return FrameStoreIOManager(data.at("tables")).read(asset, video_id)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error
