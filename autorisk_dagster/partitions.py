"""The one partitioning of the graph: a video is a partition, registered by `autorisk ingest`."""

from __future__ import annotations

import dagster as dg

videos = dg.DynamicPartitionsDefinition(name="videos")
