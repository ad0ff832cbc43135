"""Whom to tell of what, and when: once a cause, and once more in a later night if it is still there.

The state is what was told; it travels as JSON. A message stays in it until every channel took it, so that a channel
that is down gets it later. A message may come twice where the process dies between sending and keeping the state;
it is never lost.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from autorisk_dagster.night.failures import Broken, Cause

FIRST_WAIT_SEC = 60.0
LONGEST_WAIT_SEC = 3600.0
NAMED = 5  # videos of a cause that a message names


@dataclass(frozen=True)
class Told:
    """A cause that was told.

    Attributes:
        night: in which
        event: number of the newest failure then; a cause whose failures are all newer was gone and is back
        reminded: the night in which it was called to mind; None: not yet
    """

    night: str
    event: int
    reminded: str | None = None


@dataclass(frozen=True)
class Message:
    """What is sent, and which channels still want it.

    Attributes:
        key: the same for the same message, for a receiver that wants to drop doubles
        tries: failed ones
        next_try_sec: seconds since 1970
    """

    key: str
    subject: str
    text: str
    channels: tuple[str, ...]
    tries: int = 0
    next_try_sec: float = 0.0


@dataclass(frozen=True)
class AlertState:
    """What was told, by cause, and what waits to be sent."""

    told: Mapping[str, Told]
    waiting: tuple[Message, ...] = ()

    def to_json(self) -> str:
        """As text."""
        told = {cause: asdict(one) for cause, one in self.told.items()}
        return json.dumps({"told": told, "waiting": [asdict(one) for one in self.waiting]})

    @classmethod
    def from_json(cls, text: str | None) -> AlertState:
        """Of `to_json`; of nothing, an empty one."""
        values = json.loads(text) if text else {"told": {}, "waiting": []}
        waiting = (Message(**{**one, "channels": tuple(one["channels"])}) for one in values["waiting"])
        return cls({cause: Told(**one) for cause, one in values["told"].items()}, tuple(waiting))


def decide(
    state: AlertState, causes: Sequence[Cause], night: str, newest_event: int, channels: Collection[str]
) -> AlertState:
    """Add the message for what is new or due to be called to mind; forget causes that are gone.

    Args:
        causes: what is broken now, by cause
        night: the night that ended last
        newest_event: number of the newest failure
        channels: where messages go; with none, nothing is told, nor counted as told
    """
    if not channels:
        return AlertState({}, ())
    first = {cause.cause: cause.first_event for cause in causes}
    told = {name: one for name, one in state.told.items() if name in first and first[name] <= one.event}
    new = [cause for cause in causes if cause.cause not in told]
    again = [
        cause
        for cause in causes
        if cause.cause in told and told[cause.cause].reminded is None and told[cause.cause].night != night
    ]
    for cause in new:
        told[cause.cause] = Told(night, newest_event)
    for cause in again:
        told[cause.cause] = replace(told[cause.cause], reminded=night)
    if not new and not again:
        return AlertState(told, state.waiting)
    return AlertState(told, (*state.waiting, _message(new, again, night, channels)))


def deliver(state: AlertState, send: Mapping[str, Callable[[Message], None]], now_sec: float) -> AlertState:
    """Send what is due; what a channel does not take (it raises `ConnectionError`) waits, twice as long each time."""
    waiting = []
    for message in state.waiting:
        wanted = tuple(name for name in message.channels if name in send)  # a channel that is gone wants nothing more
        # A clock that was set back must not hold a message for longer than the longest wait.
        if wanted and now_sec < message.next_try_sec <= now_sec + LONGEST_WAIT_SEC:
            waiting.append(replace(message, channels=wanted))
            continue
        left = tuple(name for name in wanted if not _taken(send[name], message))
        if left:
            wait = min(LONGEST_WAIT_SEC, FIRST_WAIT_SEC * 2.0 ** min(message.tries, 10))
            waiting.append(replace(message, channels=left, tries=message.tries + 1, next_try_sec=now_sec + wait))
    return replace(state, waiting=tuple(waiting))


def _taken(send: Callable[[Message], None], message: Message) -> bool:
    try:
        send(message)
    except ConnectionError:
        return False
    return True


def _message(new: Sequence[Cause], again: Sequence[Cause], night: str, channels: Collection[str]) -> Message:
    videos = sum(len(cause.broken) for cause in (*new, *again))
    parts = [f"{len(new)} new" if new else "", f"{len(again)} still there" if again else ""]
    count = len(new) + len(again)
    subject = (
        f"AutoRisk: {videos} broken for {count} {'cause' if count == 1 else 'causes'} "
        f"({', '.join(part for part in parts if part)})"
    )
    blocks = [_block("", cause) for cause in new] + [_block("Still there: ", cause) for cause in again]
    text = "\n\n".join([*blocks, "All of them, and the command that runs each again: autorisk night broken"])
    key = hashlib.sha256(json.dumps([night, sorted(c.cause for c in (*new, *again))]).encode()).hexdigest()[:16]
    return Message(key, subject, text, tuple(sorted(channels)))


def _block(prefix: str, cause: Cause) -> str:
    count = len(cause.broken)
    head = f"{prefix}{count} broken: {cause.cause}"
    lines = [f"  {_named(one)}" for one in cause.broken[:NAMED]]
    more = [f"  and {count - NAMED} more"] if count > NAMED else []
    return "\n".join([head, *lines, *more])


def _named(one: Broken) -> str:
    return f"{one.asset} of {one.video_id or 'the fleet'}: {one.error}"
