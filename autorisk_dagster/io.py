"""Tables between assets: one Parquet file per asset and video, whole or not there at all.

They lie in a folder or in a bucket (`autorisk_dagster.storage`). One video's table is read from this disk, of a bucket
from a copy; a fleet's tables are scanned where they lie, so that of a bucket only the columns asked for are fetched.

dagster-polars 0.27.12 cannot read with polars 2.1, hence this small IO manager on Dagster's `UPathIOManager`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl
from upath import UPath

from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.storage import Storage, data_storage, open_storage
from autorisk_dagster.storage.scanning import scan_options

_FILE = "_file"  # column that Polars writes the file's path into
NAMED_VIDEOS = 1000  # that an asset's metadata list; they are read with every page that shows the asset


@dataclass(frozen=True)
class FleetTable:
    """One asset's tables over all videos that have one; an unpartitioned asset takes it as its input.

    Attributes:
        rows: the rows of all videos, lazily, with the column `video_id` in front
        video_ids: of the videos that are in it, sorted
        registered: how many videos there are; one that was not processed is in none of the rows
        scan: the rows of some of `video_ids`
    """

    rows: pl.LazyFrame
    video_ids: tuple[str, ...]
    registered: int
    scan: Callable[[Sequence[str]], pl.LazyFrame]

    def of(self, video_ids: Iterable[str]) -> pl.LazyFrame:
        """The rows of some videos; no file of another is opened. For what concerns a few hundred labels of a fleet."""
        wanted = set(video_ids)
        return self.scan([key for key in self.video_ids if key in wanted])

    def coverage(self) -> dict[str, Any]:
        """What an asset says in its metadata about what it was made from: how many videos, and which (of more than
        `NAMED_VIDEOS` the SHA-256 over their ids, one a line)."""
        counted = {"videos": f"{len(self.video_ids)} of {self.registered}"}
        if len(self.video_ids) <= NAMED_VIDEOS:
            return counted | {"video_ids": list(self.video_ids)}
        return counted | {"video_ids_sha256": hashlib.sha256("\n".join(self.video_ids).encode()).hexdigest()}


class FrameStoreIOManager(dg.UPathIOManager):
    """Tables in `storage`; a killed run leaves no half table under a good name."""

    extension: str | None = ".parquet"

    def __init__(self, storage: Storage) -> None:
        super().__init__(base_path=UPath(storage.root))
        self._storage = storage

    def dump_to_path(self, context: dg.OutputContext, obj: pl.DataFrame, path: UPath) -> None:
        """Write `obj` at `path`."""
        self._write(obj, self._relative(path))
        context.add_output_metadata({"dagster/row_count": obj.height})

    def load_from_path(self, context: dg.InputContext, path: UPath) -> pl.DataFrame:  # noqa: ARG002 - Dagster's signature
        """Read the table at `path`."""
        return pl.read_parquet(self._storage.path(self._relative(path)))

    def make_directory(self, path: UPath) -> None:
        """Nothing: the storage makes its folders."""

    def path_exists(self, path: UPath) -> bool:
        """Whether there is such a table."""
        return self._storage.exists(self._relative(path))

    def read(self, asset: str, partition: str | None = None) -> pl.DataFrame | None:
        """The stored table of one partition, or of an asset without partitions; None where there is none."""
        path = self._storage.path(table_name(asset, partition))
        return pl.read_parquet(path) if path.exists() else None

    def write(self, asset: str, partition: str, table: pl.DataFrame) -> None:
        """Write one partition's table of a batch, where Dagster's own output would lie."""
        self._write(table, table_name(asset, partition))

    def read_fleet(self, asset: str, video_ids: Iterable[str]) -> FleetTable:
        """The tables of `asset` of those of `video_ids` that have one."""
        wanted = sorted(video_ids)
        stored = set(self._storage.names(asset))
        found = [key for key in wanted if f"{key}{self.extension}" in stored]
        schema = tables.TABLES[asset]
        own = {name: kind for name, kind in schema.items() if name != "video_id"}
        key_of_file = pl.col(_FILE).str.extract(rf"([^/\\]+)\{self.extension}$").alias("video_id")

        def scan(keys: Sequence[str]) -> pl.LazyFrame:
            if not keys:
                return tables.empty({"video_id": pl.String, **schema}).lazy()
            files = [self._storage.url(table_name(asset, key)) for key in keys]
            rows = pl.scan_parquet(files, schema=schema, include_file_paths=_FILE, **scan_options(self._storage))
            return rows.select(key_of_file, *own)

        return FleetTable(scan(found), tuple(found), len(wanted), scan)

    def load_input(self, context: dg.InputContext) -> Any:
        """What an asset's parameter is: `FleetTable` where it is annotated so, else what Dagster's base class loads."""
        if context.dagster_type.typing_type is FleetTable:
            asset = context.asset_key.to_user_string()
            keys = context.asset_partition_keys if context.has_asset_partitions else ()
            return self.read_fleet(asset, keys)
        return super().load_input(context)

    def _relative(self, path: UPath) -> str:
        return str(path).removeprefix(f"{self._storage.root}/")

    def _write(self, table: pl.DataFrame, relative: str) -> None:
        try:
            with self._storage.writing(relative) as temporary:
                table.write_parquet(temporary)
        except AutoRiskError as error:
            raise dg.Failure(str(error)) from error


class FrameStore(dg.ConfigurableIOManagerFactory[FrameStoreIOManager]):
    """Parquet tables under `base_dir`: a folder, or the URL of a bucket's prefix."""

    base_dir: str

    def create_io_manager(self, context: dg.InitResourceContext) -> FrameStoreIOManager:  # noqa: ARG002
        """The IO manager of one run."""
        return FrameStoreIOManager(open_storage(self.base_dir))


def table_name(asset: str, partition: str | None) -> str:
    """Where the table of one partition, or of an asset without partitions, lies among the tables."""
    return f"{asset}.parquet" if partition is None else f"{asset}/{partition}.parquet"


def stored_table(asset: str, partition: str | None) -> pl.DataFrame | None:
    """A table of the project, for what runs outside of a run; None where there is none."""
    return FrameStoreIOManager(data_storage().at("tables")).read(asset, partition)
