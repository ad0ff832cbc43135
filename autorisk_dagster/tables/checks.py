"""What a table's columns may hold, as Pandera checks; Pandera is imported on first use, because that costs more than
all definitions together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from autorisk_dagster.errors import InputError
from autorisk_dagster.tables.vocabulary import Schema

if TYPE_CHECKING:
    import pandera.polars as pa

NON_NEGATIVE = (
    "size_bytes",
    "duration_sec",
    "frame_count",
    "audio_rms",
    "flow_mean_px",
    "flow_variance_px2",
    "min_ttc_sec",
    "critical_tracks",
    "distance_px",
    "gap_m",
    "unreviewed",
    "n",
    "groups",
    "attempts",
    "peak_memory_mb",
    "contact_sec",
    "actors_wanted",
    "actors_found",
)
SHARES = (
    "horn_band_share",
    "tonality",
    "nearest_area_share",
    "proximity",
    "confidence",
    "letter_mass",
    "peak_x_share",
    "peak_y_share",
    "conf_1",
    "conf_2",
    "fused_score",
    "fused_score_seed",
    "audio_score",
    "motion_score",
    "proximity_score",
    "raised_by_share",
    "risk_score",
    "worst_risk_score",
    "stated_confidence",
    "local_confidence",
    "mean_confidence",
    "p_value",
    "majority_accuracy",
    "base_accuracy",
    "adapter_accuracy",
    "changed_share",
    "max_probability_change",
)
NEVER_NULL = (
    "video_id",
    "clip_id",
    "event_id",
    "version",
    "actors",
    "window_index",
    "frame_index",
    "rank",
    "start_sec",
    "end_sec",
    "outcome",
    "metric",
    "stage",
    "n",
    "item",
    "verdict",
    "scenario",
    "sample_id",
    "split",
    "question",
    "answer",
    "revision",
    "adapter_revision",
    "promoted",
)


def pandera_schema(schema: Schema) -> pa.DataFrameSchema:
    """The Pandera schema of one of the tables above: strict columns, dtypes, nullability and ranges."""
    import pandera.polars as pa

    def checks(name: str) -> list[pa.Check]:
        found = []
        if name in NON_NEGATIVE:
            found.append(pa.Check.ge(0))
        if name in SHARES:
            found.append(pa.Check.in_range(0.0, 1.0))
        return found

    columns = {name: pa.Column(dtype, checks(name), nullable=name not in NEVER_NULL) for name, dtype in schema.items()}
    return pa.DataFrameSchema(columns, strict=True, ordered=True)


def check(table: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return `table` unchanged; raise `InputError` naming every column and row that breaks `schema`."""
    import pandera.errors

    try:
        pandera_schema(schema).validate(table, lazy=True)
    except pandera.errors.SchemaErrors as error:
        found = "; ".join(str(row) for row in error.failure_cases.to_dicts()[:5])
        raise InputError(f"table does not hold its schema: {found}") from error
    return table
