"""Where a stored table comes from, by Dagster's history: its run, code, checks; and that it is still what was made."""

import datetime as dt
import hashlib
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import dagster as dg
import polars as pl

from assets.tabulate import content_hash
from autorisk_dagster.errors import InputError
from autorisk_dagster.paths import ROOT

CODE_LOCATION = "autorisk_dagster.definitions"
_CODE_FOLDERS = ("autorisk_dagster", "assets", "resources")
# Of a materialisation's metadata: what made the table. The rest is for people, or names paths of a machine.
_TOLD = ("detector", "detector_revision", "settings_hash", "rule_set", "model", "model_revision", "prompt_hash")
_CODE_VERSION, _DATA_VERSION = "dagster/code_version", "dagster/data_version"


@dataclass(frozen=True)
class Origins:
    """The history of one run's partition, as the run sees it."""

    context: dg.AssetExecutionContext
    _latest: dict[dg.AssetKey, dg.EventLogRecord | None] = field(default_factory=dict)  # asked for once a run

    def of(self, asset: str, table: pl.DataFrame, *, current: bool, partitioned: bool = True) -> dict[str, Any]:
        """Where `table` comes from.

        Args:
            asset: its asset
            table: as stored now
            current: refuse it where today's code or settings differ from those that made it
            partitioned: whether the asset has the run's partition

        Raises:
            InputError: the table is not the one that was materialised, was made by other code or settings, from inputs
                that are others now, or failed a blocking check.
        """
        key = dg.AssetKey(asset)
        record = self._now(key, partitioned=partitioned)
        if record is None or record.asset_materialization is None:
            raise InputError(f"Dagster knows of no materialisation of {asset}; make it again: autorisk run")
        tags = record.asset_materialization.tags or {}
        digest = content_hash(table)
        if tags.get(_DATA_VERSION) != digest:
            raise InputError(
                f"the stored table {asset} is not the one that was materialised ({tags.get(_DATA_VERSION, '')[:12]}, "
                f"found {digest[:12]}): it was changed or replaced on the disk. Make it again: autorisk run --again"
            )
        if current:
            self._refuse_stale(key, record, tags.get(_CODE_VERSION))
        metadata = record.asset_materialization.metadata
        return {
            "content_sha256": digest,
            "rows": table.height,
            "code_version": tags.get(_CODE_VERSION),
            "run_id": record.run_id,
            "made_at": dt.datetime.fromtimestamp(record.timestamp, dt.UTC).isoformat(timespec="seconds"),
            "made_by": {name: metadata[name].value for name in _TOLD if name in metadata},
            "checks": self._checks(key, record.run_id),
        }

    def _now(self, key: dg.AssetKey, *, partitioned: bool) -> dg.EventLogRecord | None:
        if key not in self._latest:
            self._latest[key] = self._fetch(key, partitioned=partitioned)
        return self._latest[key]

    def _fetch(self, key: dg.AssetKey, *, partitioned: bool, before: int | None = None) -> dg.EventLogRecord | None:
        filters = dg.AssetRecordsFilter(
            asset_key=key,
            asset_partitions=[self.context.partition_key] if partitioned else None,
            before_storage_id=before,
        )
        return next(iter(self.context.instance.fetch_materializations(filters, limit=1).records), None)

    def _refuse_stale(self, key: dg.AssetKey, record: dg.EventLogRecord, made_with: str | None) -> None:
        graph = self.context.job_def.asset_layer.asset_graph
        asset = key.to_user_string()
        node = graph.get(key)
        if made_with != node.code_version:
            raise InputError(
                f"{asset} was made by other code or settings ({made_with}) than today's ({node.code_version}), which "
                "the pack would show. Make it again: autorisk run"
            )
        for parent in sorted(node.parent_keys):
            partitioned = not graph.has(parent) or graph.get(parent).partitions_def is not None
            now = self._now(parent, partitioned=partitioned)
            if now is None or now.storage_id < record.storage_id:
                continue
            then = self._fetch(parent, partitioned=partitioned, before=record.storage_id)
            if _data_version(now) != _data_version(then):
                raise InputError(
                    f"{asset} was made from another {parent.to_user_string()} than is there now. Make it again: "
                    "autorisk run"
                )

    def _checks(self, key: dg.AssetKey, run_id: str) -> dict[str, str]:
        """How the asset's checks went in the run that made it."""
        found = {}
        for record in self.context.instance.get_records_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ).records:
            event = record.event_log_entry.dagster_event
            check = event.asset_check_evaluation_data if event else None
            if check is None or check.asset_key != key:
                continue
            if not check.passed and check.blocking:
                raise InputError(f"{key.to_user_string()} failed its check {check.check_name}; see the run {run_id}")
            found[check.check_name] = "passed" if check.passed else f"failed ({check.severity.value})"
        return dict(sorted(found.items()))


def code() -> dict[str, str]:
    """Which code this is: the code location, its version, and one hash over all its source files."""
    digest = hashlib.sha256()
    for folder in _CODE_FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode() + content)
    return {
        "code_location": CODE_LOCATION,
        "version": version("autorisk-dagster"),
        "source_sha256": digest.hexdigest(),
    }


def software(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of the named packages where the pack is built."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _data_version(record: dg.EventLogRecord | None) -> str | None:
    if record is None or record.asset_materialization is None:
        return None
    return (record.asset_materialization.tags or {}).get(_DATA_VERSION)
