"""Tables between assets: one Parquet file per asset and video, whole or not there at all.

dagster-polars 0.27.12 cannot read with polars 2.1, hence this small IO manager on Dagster's `UPathIOManager`.
"""

from __future__ import annotations

import uuid

import dagster as dg
import polars as pl
from upath import UPath

from autorisk_dagster.errors import StorageError, is_full_disk


class FrameStoreIOManager(dg.UPathIOManager):
    """Writes to a temporary name and moves, so that a killed run leaves no half table under a good name."""

    extension: str | None = ".parquet"

    def dump_to_path(self, context: dg.OutputContext, obj: pl.DataFrame, path: UPath) -> None:
        """Write `obj` at `path`."""
        self._write(obj, path)
        context.add_output_metadata({"dagster/row_count": obj.height})

    def read(self, asset: str, partition: str) -> pl.DataFrame | None:
        """The stored table of one partition; None where there is none."""
        path = self._path_of(asset, partition)
        if not path.exists():
            return None
        with path.open("rb") as file:
            return pl.read_parquet(file)

    def write(self, asset: str, partition: str, table: pl.DataFrame) -> None:
        """Write one partition's table of a batch, where Dagster's own output would lie."""
        path = self._path_of(asset, partition)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write(table, path)

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
