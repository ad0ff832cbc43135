"""Progress of long work: in the run's log always, as a bar in the terminal where a person waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import Logger
from typing import Any

import dagster as dg

_LOG_EVERY_SEC = 10.0


class Progress(dg.ConfigurableResource["Progress"]):
    """Reports how far a pass over a video is, how fast it goes and how long it will still take."""

    console: bool = False

    @contextmanager
    def over(self, log: Logger | Any, what: str, total_sec: float) -> Iterator[Callable[[float], None]]:
        """A function to call with the seconds of video that are done."""
        started = last = time.monotonic()

        def to_log(done_sec: float) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < _LOG_EVERY_SEC or done_sec <= 0:
                return
            last = now
            rate = done_sec / (now - started)
            left = max(0.0, total_sec - done_sec) / rate
            log.info(f"{what}: {done_sec:.0f} of {total_sec:.0f} s, {rate:.1f}x real time, {left:.0f} s left")

        if not self.console:
            yield to_log
            return

        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description:<11}"), BarColumn(), TextColumn("{task.fields[rate]}"))
        with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(what, total=max(total_sec, 1e-9), rate="")

            def to_both(done_sec: float) -> None:
                to_log(done_sec)
                rate = done_sec / max(time.monotonic() - started, 1e-9)
                bars.update(task, completed=min(done_sec, total_sec), rate=f"{rate:.1f}x real time")

            yield to_both
