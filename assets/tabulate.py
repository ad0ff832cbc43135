"""How an asset hands over its table: checked, versioned by content, with what an analyst wants to see in the UI."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import polars as pl
import yaml

from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError, BucketUnavailableError, EndpointError, InputError
from autorisk_dagster.paths import CONFIGS
from autorisk_dagster.profile import known_profiles, parsed

OWNERS = ["team:fleet-safety"]
SCHEMA_CHECK = "schema"
# What a second run measures anew though nothing changed: no reason to make again what depends on the table.
VOLATILE = ("seconds",)
PHOTOGRAPH_QUALITY, PLOT_EFFORT = 80, 60  # of WebP, of 100; effort changes the size alone
# Said explicitly: with checks beside the table Dagster accepts no parameter on MaterializeResult to infer it from.
TABLE = dg.PythonObjectDagsterType(pl.DataFrame, name="Table")


def schema_check(asset: str) -> dg.AssetCheckSpec:
    """The blocking check that a table holds its columns, types and ranges."""
    return dg.AssetCheckSpec(SCHEMA_CHECK, asset=asset, blocking=True, description="Columns, types, nulls and ranges.")


def table_result(
    asset: str,
    table: pl.DataFrame,
    metadata: Mapping[str, Any],
    checks: Iterable[dg.AssetCheckResult] = (),
    preview: Iterable[str] = (),
) -> dg.MaterializeResult[pl.DataFrame]:
    """Materialise `table` as `asset`.

    The data version is a hash of the content: an asset that comes out the same leaves what is behind it fresh.
    """
    try:
        tables.check(table, tables.TABLES[asset])
        schema = dg.AssetCheckResult(check_name=SCHEMA_CHECK, asset_key=asset, passed=True)
    except InputError as error:
        schema = dg.AssetCheckResult(
            check_name=SCHEMA_CHECK, asset_key=asset, passed=False, metadata={"error": str(error)}
        )
    shown = {"preview": dg.MetadataValue.md(markdown_table(table.select(list(preview))))} if list(preview) else {}
    return dg.MaterializeResult(
        asset_key=asset,
        value=table,
        metadata={**metadata, **shown},
        check_results=[schema, *checks],
        data_version=dg.DataVersion(content_hash(table)),
    )


def content_hash(table: pl.DataFrame) -> str:
    """SHA-256 of the table's columns, types and values, but for those that differ from run to run.

    Taken after a way through Parquet, which holds values alone: what stands in memory behind a null differs between a
    table that was computed and the same one read from its file.
    """
    file, buffer = io.BytesIO(), io.BytesIO()
    table.drop(VOLATILE, strict=False).rechunk().write_parquet(file, compression="uncompressed")
    file.seek(0)
    pl.read_parquet(file).rechunk().write_ipc(buffer, compression="uncompressed")
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def markdown_table(table: pl.DataFrame, rows: int = 12) -> str:
    """The first rows of `table` in Markdown."""
    if table.is_empty():
        return "*no rows*"
    head = f"| {' | '.join(table.columns)} |\n|{'---|' * table.width}\n"
    body = "\n".join("| " + " | ".join(_cell(value) for value in row) + " |" for row in table.head(rows).iter_rows())
    more = f"\n\n*{table.height - rows} more*" if table.height > rows else ""
    return head + body + more


def picture(name: str, png: bytes, *, photograph: bool = False) -> dg.MarkdownMetadataValue:
    """A plot or `photograph` as metadata that the UI shows, in the text itself: a plain `dagster dev` serves no media.

    Dagster writes it into its database twice, with the materialisation and with the step's output. So it is made WebP
    first: a plot without loss, a photograph with loss that is not seen at its size.
    """
    from PIL import Image

    webp = io.BytesIO()
    with Image.open(io.BytesIO(png)) as shown:
        if photograph:
            shown.convert("RGB").save(webp, "WEBP", quality=PHOTOGRAPH_QUALITY)
        else:
            shown.save(webp, "WEBP", lossless=True, quality=PLOT_EFFORT)
    return dg.MetadataValue.md(f"![{name}](data:image/webp;base64,{base64.b64encode(webp.getvalue()).decode()})")


def animation(name: str, relative: str) -> dg.MarkdownMetadataValue:
    """A picture of the media store that the UI shows in the page, moving, where `autorisk ui` serves it.

    By its address: a picture in the text itself is hidden behind a button, because the text is long.
    """
    return dg.MetadataValue.md(f"![{_cell(name)}](/media/{quote(relative)})")


def media_links(files: Iterable[tuple[str, str]], limit: int = 12) -> dg.MarkdownMetadataValue:
    """Links to files of the media store, by text and relative path; they open where `autorisk ui` serves the UI."""
    listed = [f"- [{_cell(text)}](/media/{quote(relative)})" for text, relative in files]
    more = [f"- {len(listed) - limit} more are in the media store"] if len(listed) > limit else []
    return dg.MetadataValue.md("\n".join([*listed[:limit], *more]) or "*nothing to play*")


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def code_version(number: int, *sections: str) -> str:
    """Version of an asset's code and of the profile sections it reads.

    Dagster marks what was made with another version as stale, so an edited setting shows in the UI without a run. A
    file that is not YAML changes the version too; what is wrong with it is said when a video uses it.
    """
    digest = hashlib.sha256()
    for name in known_profiles(CONFIGS) if sections else ():
        digest.update(repr((name, _sections(CONFIGS / f"{name}.yaml", sections))).encode())
    return f"{number}-{digest.hexdigest()[:12]}" if sections else str(number)


def _sections(path: Path, sections: tuple[str, ...]) -> object:
    text = path.read_text(encoding="utf-8")
    try:
        values = parsed(text)
        return [values.get("extends"), [values.get(section) for section in sections]]
    except (yaml.YAMLError, AttributeError):
        return text


def failure(error: AutoRiskError) -> dg.Failure:
    """A failed partition that says file, cause and fix; tried again by itself only where a service was away."""
    return dg.Failure(description=str(error), allow_retries=isinstance(error, EndpointError | BucketUnavailableError))
