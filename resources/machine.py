"""What the environment says of this machine: where models run, and how patient their clients are. Settings of the
footage are in the profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from autorisk_dagster.errors import InputError

ATTENTIONS: Final = ("sdpa", "flash_attention_2", "eager")


def _attention(text: str) -> str:
    if text not in ATTENTIONS:
        raise ValueError(f"one of {', '.join(ATTENTIONS)}")
    return text


def _number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(high + 1)
        if not low <= value <= high:
            raise ValueError(f"{'a whole number' if kind is int else 'a number'} from {low:g} to {high:g}")
        return value

    return read


Reading = tuple[str, Callable[[str], Any]]  # field of the resource, and what makes its value of the text

CONCURRENCY: Final[dict[str, Reading]] = {"AUTORISK_ENDPOINT_CONCURRENCY": ("concurrency", _number(int, 1, 256))}
REASONER: Final[dict[str, Reading]] = {
    "AUTORISK_REASONER_DEVICE": ("device_map", str),  # auto, cpu, cuda, cuda:1 ...
    "AUTORISK_REASONER_ATTENTION": ("attention", _attention),
    "AUTORISK_ENDPOINT_TIMEOUT_SEC": ("timeout_sec", _number(float, 1, 3600)),
    "AUTORISK_ENDPOINT_RETRIES": ("retries", _number(int, 0, 20)),
    **CONCURRENCY,
}


def machine_settings(known: Mapping[str, Reading], environment: Mapping[str, str]) -> dict[str, Any]:
    """Field and value of each of `known` that the environment names; an empty variable is none.

    Raises:
        InputError: a value that cannot be; it names the variable.
    """
    found: dict[str, Any] = {}
    for variable, (field, read) in known.items():
        text = environment.get(variable, "").strip()
        if not text:
            continue
        try:
            found[field] = read(text)
        except ValueError as error:
            raise InputError(f"{variable} is {text!r}; it must be {error}") from error
    return found
