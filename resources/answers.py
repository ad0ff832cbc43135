"""Finished judgements of clips, kept one by one, so that a killed or failed run goes on with the clip it was at."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import dagster as dg

from autorisk_dagster.errors import InputError, StorageError, is_full_disk


class AnswerStore(dg.ConfigurableResource["AnswerStore"]):
    """One JSON file a judgement under `root`, named by everything the judgement depends on. Failures are not kept."""

    root: str

    def get(self, video_id: str, key: str) -> dict[str, Any] | None:
        """The judgement kept under `key`; None where there is none, or a file that cannot be read."""
        try:
            row = json.loads(self._path(video_id, key).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return row if isinstance(row, dict) else None

    def put(self, video_id: str, key: str, row: dict[str, Any]) -> None:
        """Keep `row` under `key`, whole or not at all."""
        path = self._path(video_id, key)
        temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            if is_full_disk(error):
                raise StorageError(path) from error
            raise

    def _path(self, video_id: str, key: str) -> Path:
        if not (video_id.replace("-", "").replace("_", "").isalnum() and key.isalnum()):
            raise InputError(f"answer {video_id!r}/{key!r} is no name of an answer")
        return Path(self.root) / video_id / f"{key}.json"
