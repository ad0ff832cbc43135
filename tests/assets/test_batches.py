"""A batch whose process breaks off in the middle: what it reported is not made and reported again."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.batches import one_by_one
from autorisk_dagster.io import FrameStoreIOManager
from autorisk_dagster.storage.folder import Folder

KEYS = ("a", "b", "c", "d")
VIDEOS = dg.StaticPartitionsDefinition(list(KEYS))
RANGE = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "d"}


def test_a_batch_that_is_begun_again_goes_on_behind_what_it_reported(tmp_path: Path) -> None:
    store = FrameStoreIOManager(Folder(tmp_path))
    asked: Counter[str] = Counter()

    @dg.asset(
        partitions_def=VIDEOS,
        output_required=False,
        dagster_type=dg.Any,
        backfill_policy=dg.BackfillPolicy.multi_run(10),
        retry_policy=dg.RetryPolicy(max_retries=1),
        check_specs=[dg.AssetCheckSpec("whole", asset="judged", blocking=True)],
    )
    def judged(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield from one_by_one(context, store, "judged", {}, of_one_video)

    def of_one_video(key: str, _: Any) -> dg.MaterializeResult:  # type: ignore[type-arg]
        asked[key] += 1
        if key == "c" and asked[key] == 1:
            raise RuntimeError("broken off")
        return dg.MaterializeResult(
            asset_key="judged",
            value=pl.DataFrame({"video": [key]}),
            check_results=[
                dg.AssetCheckResult(check_name="whole", asset_key="judged", passed=key != "b" or asked[key] == 2)
            ],
        )

    with dg.DagsterInstance.ephemeral() as instance:
        made = dg.materialize([judged], instance=instance, tags=RANGE, raise_on_error=False)
        assert made.success
        # a and d once; b, whose check failed, and c, which was never reported, again
        assert asked == {"a": 1, "b": 2, "c": 2, "d": 1}
        records = instance.fetch_materializations(dg.AssetKey("judged"), limit=100).records
        assert Counter(record.partition_key for record in records) == {"a": 1, "b": 2, "c": 1, "d": 1}
