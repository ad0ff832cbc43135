"""Verdicts of reviewers on outputs: what they are, which are current, stale or in dispute, and the label each gives.

A verdict belongs to a clip (by the hash of its file) and to the output that the reviewer saw (by `judged_outputs`). It
is stale for that clip alone when either is another one now. A stale verdict must be looked at again; where only the
output changed it still says what is in the clip, and its label stays.

| verdict | label |
|---|---|
| `confirm` | the severity that was shown |
| `change` | the severity the reviewer gave |
| `not_a_hazard` | NONE |
| `dismiss` | none: the clip cannot be judged (unreadable, not a road, twice the same) |
| `withdraw` | none: the reviewer takes the last verdict back |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from autorisk_dagster.errors import InputError
from autorisk_dagster.review.protocol import canonical_sha256
from autorisk_dagster.tables import SEVERITIES

KIND: Final = "verdict"
VERDICTS: Final = ("confirm", "change", "not_a_hazard", "dismiss", "withdraw")
MAX_NOTE_CHARS: Final = 2000
# Of the output that is judged. Settings and the words are not in it: a verdict is on the severity and what gave it.
JUDGED_FIELDS: Final = (
    "clip_sha256",
    "outcome",
    "raw_severity",
    "severity",
    "rule",
    "model_id",
    "model_revision",
    "adapter",
    "prompt_hash",
)


@dataclass(frozen=True)
class Verdict:
    """One reviewer's word on one output.

    Attributes:
        output_sha256: of the output that was shown (`judged_outputs`)
        shown_severity: the corrected severity that was shown; None: the clip was not judged
        severity: the reviewer's own, for `change` alone
        time: aware
        record_sha256: of the record in the log; empty before it is appended
    """

    verdict: str
    video_id: str
    clip_id: str
    clip_sha256: str
    output_sha256: str
    shown_severity: str | None
    severity: str | None
    reviewer: str
    time: datetime
    note: str = ""
    record_sha256: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise InputError(f"verdict {self.verdict!r} is none of {', '.join(VERDICTS)}")
        if (self.verdict == "change") != (self.severity is not None):
            raise InputError(f"a severity goes with the verdict change, and only with it; got {self.verdict}")
        for name in (self.shown_severity, self.severity):
            if name is not None and name not in SEVERITIES:
                raise InputError(f"severity {name!r} is none of {', '.join(SEVERITIES)}")
        if self.verdict == "confirm" and self.shown_severity is None:
            raise InputError(f"{self.clip_id} was not judged: there is no severity to confirm. Change it to one")
        if not self.reviewer.strip():
            raise InputError("a verdict needs the name of its reviewer")
        if self.time.tzinfo is None:
            raise InputError("a verdict's time needs its offset from UTC")
        if len(self.note) > MAX_NOTE_CHARS:
            raise InputError(f"a note may have {MAX_NOTE_CHARS} characters, this one has {len(self.note)}")

    @property
    def label(self) -> str | None:
        """The severity this verdict says the clip has; None where it says none."""
        if self.verdict == "not_a_hazard":
            return "NONE"
        return {"confirm": self.shown_severity, "change": self.severity}.get(self.verdict)

    def record(self) -> dict[str, Any]:
        """As values for `ReviewLog.append`."""
        values = asdict(self) | {"kind": KIND, "time": self.time.isoformat()}
        del values["record_sha256"]
        return values


def verdicts(records: Iterable[Mapping[str, Any]]) -> list[Verdict]:
    """The verdicts among a log's records, in order.

    Raises:
        InputError: a record of this kind that is no verdict; its number is named.
    """
    names = [name for name in Verdict.__dataclass_fields__ if name != "record_sha256"]
    found = []
    for record in records:
        if record.get("kind") != KIND:
            continue
        try:
            values = {name: record[name] for name in names} | {"time": datetime.fromisoformat(record["time"])}
            found.append(Verdict(**values, record_sha256=record["sha256"]))
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise InputError(f"review record {record.get('number')} is no verdict: {error!r}") from error
    return found


def judged_outputs(reason_outputs: pl.DataFrame, corrected: pl.DataFrame) -> dict[str, str]:
    """SHA-256 of what a reviewer of each clip judges, by `clip_id`: the corrected severity, its rule and its model."""
    joined = reason_outputs.drop("severity").join(
        corrected.select("clip_id", "raw_severity", "severity", "rule"), on="clip_id", how="left"
    )
    rows = joined.select("clip_id", *JUDGED_FIELDS).iter_rows(named=True)
    return {row["clip_id"]: canonical_sha256({name: row[name] for name in JUDGED_FIELDS}) for row in rows}


@dataclass(frozen=True)
class Standing:
    """What the reviewers say of one clip now.

    Attributes:
        latest: the last verdict of each reviewer who has not withdrawn it, oldest first
        clip_changed: the clip's file is another one now, or gone: none of the verdicts counts
        output_changed: reviewers whose verdict is on an output that is another one now
    """

    clip_id: str
    latest: tuple[Verdict, ...]
    clip_changed: bool
    output_changed: frozenset[str]

    @property
    def stale(self) -> bool:
        """Whether the clip must be looked at again: no verdict is on what is there now."""
        return self.clip_changed or all(each.reviewer in self.output_changed for each in self.latest)

    @property
    def disputed(self) -> bool:
        """Whether the reviewers give different labels, or one a label and another none."""
        return len({each.label for each in self.latest}) > 1

    @property
    def current(self) -> Verdict:
        """The last word."""
        return self.latest[-1]

    @property
    def label(self) -> str | None:
        """The label that counts: all reviewers agree on it, and the clip is the one they saw."""
        return None if self.clip_changed or self.disputed else self.current.label


def standings(
    given: Iterable[Verdict], clips: Mapping[str, str | None], outputs: Mapping[str, str]
) -> dict[str, Standing]:
    """What holds for each clip that has a verdict, by `clip_id`; a clip whose every verdict was withdrawn has none.

    A reviewer's verdict on another file of the same clip's name says nothing of this one: where there are verdicts on
    the file that is there now, only those count.

    Args:
        given: every verdict in order
        clips: SHA-256 of each clip's file now, by `clip_id`
        outputs: `judged_outputs` now, of all videos
    """
    by_clip: dict[str, dict[str, Verdict]] = {}
    for each in given:
        latest = by_clip.setdefault(each.clip_id, {})
        latest.pop(each.reviewer, None)  # so that the last word is the last in order
        if each.verdict != "withdraw":
            latest[each.reviewer] = each
    found = {}
    for clip_id, by_reviewer in by_clip.items():
        here = [each for each in by_reviewer.values() if each.clip_sha256 == clips.get(clip_id)]
        latest_verdicts = tuple(here or by_reviewer.values())
        if latest_verdicts:
            changed = frozenset(each.reviewer for each in latest_verdicts if each.output_sha256 != outputs.get(clip_id))
            found[clip_id] = Standing(clip_id, latest_verdicts, not here, changed)
    return found
