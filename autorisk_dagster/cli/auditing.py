"""`autorisk audit`: packs that leave the house: build, sign, verify, and the keys for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autorisk_dagster.cli.instance import local_instance, shown
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.io import stored_table, table_name
from autorisk_dagster.storage import data_storage

if TYPE_CHECKING:
    from autorisk_dagster.audit.verify import Verification


@click.group()
def audit() -> None:
    """Audit packs: what every verdict on a video rests on, in one file that can be checked with a public key alone."""


@audit.command()
@click.argument("videos", nargs=-1, required=True)
@click.option("--unsigned", is_flag=True, help="without a key: the pack says that nobody vouches for it")
def build(videos: tuple[str, ...], unsigned: bool) -> None:
    """Check, pack, sign and verify VIDEOS (a file, or the key `autorisk status` shows); the job finalize.

    AUTORISK_AUDIT_KEYS names the folder that `autorisk audit keys` made.
    """
    from assets.audit import INPUTS
    from autorisk_dagster.cli.processing import execute
    from autorisk_dagster.definitions import defs

    failed = False
    job = defs().resolve_job_def("finalize")
    config = {"ops": {"audit_pack": {"config": {"require_signature": not unsigned}}}}
    with local_instance() as instance:
        for video in videos:
            try:
                key = _video_key(video)
            except AutoRiskError as error:
                raise click.ClickException(str(error)) from error
            tables = data_storage().at("tables")
            missing = [name for name in INPUTS if not tables.exists(table_name(name, key))]
            if missing:
                failed = True
                click.echo(
                    f"{key}: not processed yet, {', '.join(missing)} missing; run it first: autorisk run", err=True
                )
                continue
            error_text = execute(instance, job, key, ["audit_pack"], verbose=False, config=config)
            if error_text:
                failed = True
                click.echo(f"{key}: {error_text}", err=True)
                continue
            made = stored_table("audit_pack", key)
            if made is None:
                raise click.ClickException(f"{key}: its audit_pack is gone again; build it once more")
            row = made.row(0, named=True)
            click.echo(shown(data_storage().at("media").url(row["pack_path"])))
            click.echo(f"  digest {row['pack_digest']}")
            click.echo(f"  {'signed by ' + row['key_id'] if row['key_id'] else 'NOT SIGNED: nobody vouches for it'}")
            click.echo(f"  {row['clips']} clips, {row['files']} files, {row['size_bytes'] / 1e6:.1f} MB")
            click.echo(f"  review: {row['review']}")
    if failed:
        sys.exit(1)


@audit.command()
@click.argument("pack", type=click.Path(path_type=Path))
@click.option("--key", "key_path", required=True, type=click.Path(path_type=Path), help="private key (signing.pem)")
@click.option("--out", type=click.Path(path_type=Path), help="the signed pack [default: in the place of PACK]")
def sign(pack: Path, key_path: Path, out: Path | None) -> None:
    """Sign PACK, where it was built without a key or by another one. Its clips' credentials stay as they are."""
    from autorisk_dagster.audit.keys import private_key
    from autorisk_dagster.audit.sign import sign_pack

    try:
        key_id = sign_pack(pack, private_key(key_path), out or pack)
    except (AutoRiskError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{out or pack}: signed by {key_id}")


@audit.command()
@click.argument("pack", type=click.Path(path_type=Path))
@click.option("--key", "key_path", required=True, type=click.Path(path_type=Path), help="public key (signing.pub.pem)")
@click.option("--revoked", type=click.Path(path_type=Path), help="list of revoked keys and packs")
def verify(pack: Path, key_path: Path, revoked: Path | None) -> None:
    """Is PACK what the owner of the key signed? Needs nothing but the two; names whatever differs.

    \b
    Exit codes: 0 intact and signed by the key
                1 could not be checked (no such file, no such key)
                3 altered: changed, added, removed, renamed, swapped, truncated
                4 not signed
                5 signed by another key
                6 revoked
    """
    from autorisk_dagster.audit.keys import public_key
    from autorisk_dagster.audit.revocation import read_revocations
    from autorisk_dagster.audit.verify import verify_pack

    try:
        found = verify_pack(pack, public_key(key_path), read_revocations(revoked) if revoked else None)
    except (AutoRiskError, OSError) as error:
        raise click.ClickException(str(error)) from error
    _print(pack, found)
    sys.exit(int(found.verdict))


@audit.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--organisation", default="AutoRisk fleet", show_default=True, help="named in the certificates")
def keys(folder: Path, organisation: str) -> None:
    """Make the keys of packs and content credentials in FOLDER. AUTORISK_AUDIT_PASSPHRASE encrypts the private ones."""
    from autorisk_dagster.audit import keys as key_files

    try:
        key_id = key_files.new_keys(folder, organisation)
    except (AutoRiskError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"key {key_id}")
    click.echo(f"Give {folder / key_files.SIGNING_PUBLIC} to whoever checks packs; keep the rest to yourself.")
    click.echo(f"Sign with it: export {key_files.FOLDER_VARIABLE}={folder.resolve()}")


def _video_key(video: str) -> str:
    from autorisk_dagster.errors import InputError
    from autorisk_dagster.intake.sources import fingerprint, source_ledger

    ledger = source_ledger()
    if not Path(video).is_file():
        return ledger.get(video).video_id
    content = fingerprint(Path(video))
    known = [record.video_id for record in ledger.alike([content]) if record.is_of(content)]
    if not known:
        raise InputError(f"{video} is not registered. Register it: autorisk ingest {video}")
    return known[0]


def _print(pack: Path, found: Verification) -> None:
    words = {
        "INTACT": "intact",
        "ALTERED": "ALTERED",
        "UNSIGNED": "NOT SIGNED",
        "OTHER_KEY": "SIGNED BY ANOTHER KEY",
        "REVOKED": "REVOKED",
    }
    click.echo(f"{pack.name}: {words[found.verdict.name]}")
    for finding in found.findings:
        click.echo(f"  {finding}")
    if found.verdict.name == "INTACT":
        review = found.manifest["review"]
        open_clips = ", ".join(review.get("unreviewed") or ())
        click.echo(f"  video   {found.manifest['video_id']}, {found.manifest['clips']} clips, {found.files} files")
        click.echo(f"  signed  by {found.key_id}")
        click.echo(f"  review  {review.get('outcome')}{': ' + open_clips if open_clips else ''}")
    click.echo(f"  digest  {found.digest or 'none: there is no manifest'}")
