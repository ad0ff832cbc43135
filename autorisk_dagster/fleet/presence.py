"""The sign that each worker of the fleet keeps giving, in Redis: it is there, which queues it serves, what it does."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from typing import Any

_PREFIX = "autorisk:worker:"
_PRIORITIES = ("", "\x06\x163", "\x06\x166", "\x06\x169")  # Kombu keeps a list of a queue for each


@dataclass(frozen=True)
class Sign:
    """What a worker says.

    Attributes:
        queues: that it takes steps from
        step: "<step> of run <run id>", or None: it waits
        since: when the step began, seconds of the epoch
    """

    queues: tuple[str, ...]
    step: str | None = None
    since: float | None = None


def own_key() -> str:
    """Where this process gives its sign."""
    return f"{_PREFIX}{socket.gethostname()}:{os.getpid()}"


def give(client: Any, sign: Sign, lasts_sec: float) -> None:
    """Give this process's sign, which fades where it is not given again."""
    client.set(own_key(), json.dumps(asdict(sign)), px=round(lasts_sec * 1000))


def take_away(client: Any) -> None:
    """Take this process's sign away."""
    client.delete(own_key())


def all_signs(client: Any) -> dict[str, Sign]:
    """The signs of all workers that are there, by host and process number."""
    found = {}
    for key in sorted(client.scan_iter(f"{_PREFIX}*")):
        told = client.get(key)
        if told is not None:  # else it has faded in between
            sign = json.loads(told)
            found[key.decode().removeprefix(_PREFIX)] = Sign(tuple(sign["queues"]), sign["step"], sign["since"])
    return found


def waiting(client: Any, queue: str) -> int:
    """Steps that wait in a queue of the broker."""
    return sum(int(client.llen(f"{queue}{suffix}")) for suffix in _PRIORITIES)
