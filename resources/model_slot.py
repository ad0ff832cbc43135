"""The place for one large model in a process: two of them never sit in memory together.

Held by the process, not by a resource, because Dagster builds resources anew for every run, and a model that is warm
from the last video is to be met by the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any, Protocol, TypeVar


class Closeable(Protocol):
    """A model that can give its memory back."""

    def close(self) -> None:
        """Give it back."""
        ...


Model = TypeVar("Model", bound=Closeable)
_lock = RLock()
_held: tuple[str, Any] | None = None


def use(key: str, load: Callable[[], Model]) -> Model:
    """The model called `key`: the one that is there, or `load()` after the one that is there was closed."""
    global _held
    with _lock:
        if _held is None or _held[0] != key:
            evict()
            _held = (key, load())
        model: Model = _held[1]
        return model


def evict() -> None:
    """Close the model that is there, if there is one."""
    global _held
    with _lock:
        if _held is not None:
            model, _held = _held[1], None
            model.close()
