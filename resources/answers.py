"""Finished judgements of clips, kept one by one, so that a killed or failed run goes on with the clip it was at."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg

from autorisk_dagster.errors import InputError
from autorisk_dagster.storage import open_storage


class AnswerStore(dg.ConfigurableResource["AnswerStore"]):
    """One JSON file a judgement under `root` (a folder, or the URL of a bucket's prefix), named by everything the
    judgement depends on. Failures are not kept."""

    root: str

    def get(self, video_id: str, key: str) -> dict[str, Any] | None:
        """The judgement kept under `key`; None where there is none, or a file that cannot be read."""
        content = open_storage(self.root).read(_name(video_id, key))
        try:
            row = json.loads(content or b"null")
        except ValueError:
            return None
        return row if isinstance(row, dict) else None

    def put(self, video_id: str, key: str, row: dict[str, Any]) -> None:
        """Keep `row` under `key`, whole or not at all."""
        open_storage(self.root).write(_name(video_id, key), json.dumps(row, ensure_ascii=False).encode())


def _name(video_id: str, key: str) -> str:
    if not (video_id.replace("-", "").replace("_", "").isalnum() and key.isalnum()):
        raise InputError(f"answer {video_id!r}/{key!r} is no name of an answer")
    return f"{video_id}/{key}.json"
