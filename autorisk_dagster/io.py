"""Tables between assets: one Parquet file per asset and video, whole or not there at all.

dagster-polars 0.27.12 cannot read with polars 2.1, hence this small IO manager on Dagster's `UPathIOManager`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl
from upath import UPath

from autorisk_dagster import tables
from autorisk_dagster.errors import StorageError, is_full_disk

_FILE = "_file"  # column that Polars writes the file's path into


@dataclass(frozen=True)
class FleetTable:
    """One asset's tables over all videos that have one; an unpartitioned asset takes it as its input.

    Attributes:
        rows: the rows of all videos, lazily, with the column `video_id` in front
        video_ids: of the videos that are in it, sorted
        registered: how many videos there are; one that was not processed is in none of the rows
    """

    rows: pl.LazyFrame
    video_ids: tuple[str, ...]
    registered: int

    def coverage(self) -> dict[str, Any]:
        """What an asset says in its metadata about what it was made from."""
        return {"videos": f"{len(self.video_ids)} of {self.registered}", "video_ids": list(self.video_ids)}


class FrameStoreIOManager(dg.UPathIOManager):
    """Writes to a temporary name and moves, so that a killed run leaves no half table under a good name."""

    extension: str | None = ".parquet"

    def dump_to_path(self, context: dg.OutputContext, obj: pl.DataFrame, path: UPath) -> None:
        """Write `obj` at `path`."""
        self._write(obj, path)
        context.add_output_metadata({"dagster/row_count": obj.height})

    def read(self, asset: str, partition: str | None = None) -> pl.DataFrame | None:
        """The stored table of one partition, or of an asset without partitions; None where there is none."""
        path = self._path_of(asset, partition) if partition else self._base_path.joinpath(f"{asset}{self.extension}")
        if not path.exists():
            return None
        with path.open("rb") as file:
            return pl.read_parquet(file)

    def write(self, asset: str, partition: str, table: pl.DataFrame) -> None:
        """Write one partition's table of a batch, where Dagster's own output would lie."""
        path = self._path_of(asset, partition)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write(table, path)

    def read_fleet(self, asset: str, video_ids: Iterable[str]) -> FleetTable:
        """The tables of `asset` of those of `video_ids` that have one."""
        wanted = sorted(video_ids)
        folder = self._base_path.joinpath(asset)
        stored = {path.name for path in folder.iterdir()} if folder.exists() else set()
        found = {key: self._path_of(asset, key) for key in wanted if f"{key}{self.extension}" in stored}
        schema = tables.TABLES[asset]
        if not found:
            return FleetTable(tables.empty({"video_id": pl.String, **schema}).lazy(), (), len(wanted))
        own = {name: kind for name, kind in schema.items() if name != "video_id"}
        rows = pl.scan_parquet([path.path for path in found.values()], schema=schema, include_file_paths=_FILE)
        key_of_file = pl.col(_FILE).str.extract(rf"([^/\\]+)\{self.extension}$").alias("video_id")
        return FleetTable(rows.select(key_of_file, *own), tuple(found), len(wanted))

    def load_input(self, context: dg.InputContext) -> Any:
        """What an asset's parameter is: `FleetTable` where it is annotated so, else what Dagster's base class loads."""
        if context.dagster_type.typing_type is FleetTable:
            asset = context.asset_key.to_user_string()
            keys = context.asset_partition_keys if context.has_asset_partitions else ()
            return self.read_fleet(asset, keys)
        return super().load_input(context)

    def _path_of(self, asset: str, partition: str) -> UPath:
        return self._base_path.joinpath(asset, f"{partition}{self.extension}")

    def _write(self, obj: pl.DataFrame, path: UPath) -> None:
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            with temporary.open("wb") as file:
                obj.write_parquet(file)
            path.fs.mv(temporary.path, path.path)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError) and is_full_disk(error):
                raise dg.Failure(str(StorageError(path.name))) from error
            raise

    def load_from_path(self, context: dg.InputContext, path: UPath) -> pl.DataFrame:  # noqa: ARG002 - Dagster's signature
        """Read the table at `path`."""
        with path.open("rb") as file:
            return pl.read_parquet(file)


class FrameStore(dg.ConfigurableIOManagerFactory[FrameStoreIOManager]):
    """Parquet tables under `base_dir`: a local folder or any URL that fsspec knows."""

    base_dir: str

    def create_io_manager(self, context: dg.InitResourceContext) -> FrameStoreIOManager:  # noqa: ARG002
        """The IO manager of one run."""
        return FrameStoreIOManager(base_path=UPath(self.base_dir))
