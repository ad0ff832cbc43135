"""The labelling desk: a person watches clips in a fixed random order and gives each a severity, blind.

Nothing that was predicted or measured is served: no score, no severity, no order of danger, and no name that tells
where in its video or how far up the ranking a clip was. Each label is on the disk before it is acknowledged.
"""

from __future__ import annotations

import fcntl
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from autorisk_dagster.errors import InputError
from autorisk_dagster.reporting.desk.guard import Guard
from autorisk_dagster.reporting.desk.pages import ERRORS, DeskClip, clip_response, json_body, page, static_routes
from autorisk_dagster.review.label_file import LABELS, write_labels
from autorisk_dagster.review.label_sets import freeze, read_set
from autorisk_dagster.review.log import ReviewLog
from autorisk_dagster.tables import SEVERITIES

MAX_NOTE_CHARS: Final = 2000

Row = dict[str, Any]


class LabelDesk:
    """One labeller's work on one label set.

    Args:
        path: the set's file, which may exist already: the work goes on there
        clips: what there is to label
        judged: SHA-256 of the clips that have an output already: labels of these cannot judge it
        published: called when the set's file or the log has changed, before that is acknowledged
    """

    def __init__(
        self,
        path: Path,
        labeller: str,
        clips: Sequence[DeskClip],
        log: ReviewLog,
        judged: frozenset[str],
        published: Callable[[], None],
    ) -> None:
        self.path = path
        self.labeller = labeller
        self.log = log
        self.published = published
        self.judged = sum(clip.sha256 in judged for clip in clips)
        ordered = sorted(clips, key=lambda clip: _digest(labeller, path.stem, clip.sha256))
        self.clips = {_digest("clip", path.stem, clip.sha256)[:16]: clip for clip in ordered}
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        self._frozen_at: str | None = None
        if path.exists():
            known = read_set(path)
            self._rows = {row["clip_id"]: row for row in known.table.iter_rows(named=True)}
            self._frozen_at = known.freezing.frozen_at if known.freezing else None
        current = {clip.clip_id: clip.sha256 for clip in clips}
        stale = [name for name, row in self._rows.items() if row["clip_sha256"] not in (None, current.get(name))]
        if stale and self._frozen_at is None:  # cut anew since: they are watched again
            self._rows = {name: row for name, row in self._rows.items() if name not in stale}

    def state(self) -> Row:
        """What the page knows: the clips in order with the labels they have, and nothing else of them."""
        labels = [self._rows.get(clip.clip_id, {}) for clip in self.clips.values()]
        return {
            "clips": [
                {"key": key, "severity": row.get("severity"), "note": row.get("note") or ""}
                for key, row in zip(self.clips, labels, strict=True)
            ],
            "frozen_at": self._frozen_at,
        }

    def label(self, key: str, severity: str | None, note: str) -> None:
        """Give a clip its severity; None takes it back.

        Raises:
            InputError: the set is frozen, or the file that is served is not the one the table names.
        """
        clip = self.clips[key]
        if severity is not None:
            clip.hold()
        with self._lock:
            if self._frozen_at is not None:
                raise InputError("the label set is frozen; what is new goes in a set of another name")
            rows = dict(self._rows)
            rows.pop(clip.clip_id, None)
            if severity is not None:
                rows[clip.clip_id] = dict.fromkeys(LABELS) | {
                    "clip_id": clip.clip_id,
                    "severity": severity,
                    "labeller": self.labeller,
                    "labelled_at": datetime.now(UTC),
                    "clip_sha256": clip.sha256,
                    "note": note or None,
                }
            write_labels(self.path, pl.DataFrame(list(rows.values()), schema=LABELS))
            self._rows = rows
            self.published()

    def freeze(self) -> None:
        """Freeze the set as it is."""
        with self._lock:
            current = {clip.clip_id: clip.sha256 for clip in self.clips.values()}
            self._frozen_at = freeze(self.path, current, self.log, datetime.now(UTC)).frozen_at
            self.published()


def label_app(desk: LabelDesk, token: str) -> Starlette:
    """The server of a labelling desk, for the browser that brings `token`."""

    async def home(request: Request) -> Response:
        return page(
            "label.html.j2",
            request,
            state=desk.state(),
            label_set=desk.path.stem,
            judged=desk.judged,
            total=len(desk.clips),
        )

    async def clip(request: Request) -> Response:
        found = desk.clips.get(request.path_params["key"])
        if found is None:
            raise HTTPException(404)
        return clip_response(found.path)

    async def label(request: Request) -> Response:
        given = await json_body(request)
        key, severity, note = given.get("key"), given.get("severity"), given.get("note", "")
        if not isinstance(key, str) or key not in desk.clips or severity not in (None, *SEVERITIES):
            raise InputError("no such clip, or no such severity")
        if not isinstance(note, str) or len(note) > MAX_NOTE_CHARS:
            raise InputError(f"a note is text of at most {MAX_NOTE_CHARS} characters")
        await run_in_threadpool(desk.label, key, severity, note)
        return JSONResponse(desk.state())

    async def frozen(request: Request) -> Response:
        await json_body(request)
        await run_in_threadpool(desk.freeze)
        return JSONResponse(desk.state())

    return Starlette(
        routes=[
            Route("/", home),
            Route("/clip/{key}", clip),
            Route("/label", label, methods=["POST"]),
            Route("/freeze", frozen, methods=["POST"]),
            *static_routes(),
        ],
        middleware=[Middleware(Guard, people={token: desk.labeller})],
        exception_handlers=ERRORS,
    )


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a label set for one server.

    Raises:
        InputError: another one has it: the two would write over each other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.stem}.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"label set {path.stem} is open in another server. Close that one first") from error
        yield


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
