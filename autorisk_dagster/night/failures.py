"""What is broken now, by cause, from the history of failures; and what is tried again without a person.

A failure is over once the asset that failed was made after it. What failed `ATTEMPTS` times in a row for the same
cause, by the same code and settings, is given up: it is listed as broken until a person runs it or code, settings or
the video's profile change. (A changed file is another video.)
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

ATTEMPTS = 2  # a first one and one retry
KILLED = "the process that made it was killed"
_LONGEST_CAUSE = 200

# Event numbers order failures and materialisations by when they were recorded, whatever the clocks say.
Made = Mapping[str, Mapping[str, int]]  # asset -> video -> number of its newest materialisation


@dataclass(frozen=True)
class Failure:
    """One run's failure of one video, or of something over the fleet.

    Attributes:
        video_id: None: what failed is not of one video
        assets: what the failed step makes; of a killed run, the last that it was to make
        cause: what went wrong without the names and numbers of this video, so that equal causes are equal
        error: the message, in one line
        failed_at_sec: seconds since 1970, by the clock of the machine that ran it
        event: the failure's number in the event log
        code: digest of the assets' code versions, settings included; None: not recorded
        profile: of the video then; None: not recorded
    """

    run_id: str
    video_id: str | None
    assets: tuple[str, ...]
    cause: str
    error: str
    failed_at_sec: float
    event: int
    code: str | None = None
    profile: str | None = None


@dataclass(frozen=True)
class Broken:
    """A video (or, without one, something over the fleet) whose newest failure is not over.

    Attributes:
        first_failed_at_sec: of the failures in a row for this cause
        first_event: the first one's number in the event log
        failures: how many these are
        tries: how many of them by the code, settings and profile of now
    """

    video_id: str | None
    asset: str
    cause: str
    error: str
    run_id: str
    first_failed_at_sec: float
    last_failed_at_sec: float
    first_event: int
    failures: int
    tries: int

    @property
    def given_up(self) -> bool:
        """Whether the night leaves it to a person."""
        return self.tries >= ATTEMPTS


@dataclass(frozen=True)
class Cause:
    """What is broken for one cause, worst first where they are listed."""

    cause: str
    broken: tuple[Broken, ...]

    @property
    def first_event(self) -> int:
        """Number of the first failure of all of them in the event log."""
        return min(one.first_event for one in self.broken)

    @property
    def first_failed_at_sec(self) -> float:
        """The first failure of all of them; seconds since 1970."""
        return min(one.first_failed_at_sec for one in self.broken)

    @property
    def last_failed_at_sec(self) -> float:
        """The last failure of all of them; seconds since 1970."""
        return max(one.last_failed_at_sec for one in self.broken)


def broken_now(
    failures: Iterable[Failure], made: Made, code: str, profiles: Mapping[str, str], registered: Iterable[str]
) -> list[Broken]:
    """What is broken now, by video and asset.

    Args:
        failures: in any order
        made: the newest materialisation of each asset and video; over the fleet, of the video ""
        code: digest of the code versions of now
        profiles: by video, the profile of now
        registered: videos that there are; what is not there any more is not broken
    """
    there = set(registered)
    in_order: dict[tuple[str | None, tuple[str, ...]], list[Failure]] = defaultdict(list)
    for failure in sorted(failures, key=lambda one: one.event, reverse=True):
        if (failure.video_id is None or failure.video_id in there) and not is_over(failure, made):
            in_order[(failure.video_id, () if failure.video_id else failure.assets)].append(failure)
    found = [_in_a_row(newest_first, code, profiles) for newest_first in in_order.values()]
    return sorted(found, key=lambda one: (one.video_id or "", one.asset))


def is_over(failure: Failure, made: Made) -> bool:
    """Whether what failed was made since."""
    key = failure.video_id or ""
    return all(made.get(asset, {}).get(key, -1) > failure.event for asset in failure.assets)


def by_cause(broken: Iterable[Broken]) -> list[Cause]:
    """Grouped; the cause that most are broken for comes first."""
    grouped: dict[str, list[Broken]] = defaultdict(list)
    for one in broken:
        grouped[one.cause].append(one)
    causes = [Cause(cause, tuple(members)) for cause, members in grouped.items()]
    return sorted(causes, key=lambda one: (-len(one.broken), one.cause))


def _in_a_row(newest_first: Sequence[Failure], code: str, profiles: Mapping[str, str]) -> Broken:
    newest = newest_first[0]
    same: list[Failure] = []
    for failure in newest_first:
        if (failure.cause, failure.assets) != (newest.cause, newest.assets):
            break
        same.append(failure)
    tries = 0
    for failure in same:
        if failure.code not in (None, code) or _moved(failure, profiles):
            break
        tries += 1
    return Broken(
        newest.video_id,
        newest.assets[0] if newest.assets else "",
        newest.cause,
        newest.error,
        newest.run_id,
        same[-1].failed_at_sec,
        newest.failed_at_sec,
        same[-1].event,
        len(same),
        tries,
    )


def _moved(failure: Failure, profiles: Mapping[str, str]) -> bool:
    return failure.profile is not None and profiles.get(failure.video_id or "", failure.profile) != failure.profile


def one_line(text: str, longest: int = 400) -> str:
    """A message without line breaks, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


_GENERAL = (
    (re.compile(r"'[^']*'|\"[^\"]*\""), "<value>"),
    (re.compile(r"(?<![\w<])(?:\w+:/)?(?:/[^\s/:;,]+)+/?"), "<path>"),
    (
        re.compile(r"(?<![\w<])[\w.-]+\.(?:mp4|mov|mkv|avi|m?2?ts|webm|m4v|mpg|3gp|parquet|json|yaml|wav|flac)\b"),
        "<file>",
    ),
    (re.compile(r"\b[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]{4,})*\b"), "<id>"),
    (re.compile(r"(?<![\w.])[-+]?\d+(?:[.,:]\d+)*(?:e[-+]?\d+)?"), "<n>"),
)


def cause_of(error: str, names: Iterable[str] = ()) -> str:
    """A message without what is this video's alone: its names (`names`, the longest first), files, ids and numbers.

    Two videos that fail for one reason have one cause; the reason's words stay.
    """
    text = one_line(error, 4 * _LONGEST_CAUSE)
    for name in sorted({name for name in names if name}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "<video>", text)
    for pattern, put in _GENERAL:
        text = pattern.sub(put, text)
    return one_line(text, _LONGEST_CAUSE)
