"""Figures in a text that can be traced: each number is written by `Figures.tell`, which remembers where it came from.

A number that a text holds and nobody told is one that somebody made up, or that a model wrote down; `untold` finds it.
Names of files and clips hold digits that are no figures: they are written as code, between backticks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_CODE: Final = re.compile(r"`[^`]*`")
_NUMBER: Final = re.compile(r"\d+(?:[.:]\d+)*")


@dataclass(frozen=True)
class Figure:
    """One number of a text.

    Attributes:
        text: as it is written, with its unit
        table, column: where its value is; the table may be "profile"
        row: which row of it, by its id; empty: the whole table
        value: before it was rounded for the reader
    """

    text: str
    table: str
    column: str
    row: str
    value: float


@dataclass
class Figures:
    """The figures of one text, in the order in which they were told."""

    told: list[Figure] = field(default_factory=list)

    def tell(self, text: str, table: str, column: str, value: float, row: str = "") -> str:
        """`text`, remembered as the figure of a table's value."""
        self.told.append(Figure(text, table, column, row, float(value)))
        return text

    def number(self, value: float, decimals: int, unit: str, table: str, column: str, row: str = "") -> str:
        """A value with its unit, rounded for the reader."""
        return self.tell(f"{value:.{decimals}f} {unit}".rstrip(), table, column, value, row)

    def count(self, value: int, one: str, table: str, many: str | None = None) -> str:
        """`1 clip`, `3 clips`: rows of a table."""
        return self.tell(f"{value} {one if value == 1 else many or one + 's'}", table, "rows", value)

    def untold(self, text: str) -> list[str]:
        """Numbers of `text` that nobody told, in order."""
        known = {number for figure in self.told for number in _NUMBER.findall(figure.text)}
        return [number for number in _NUMBER.findall(_CODE.sub("", text)) if number not in known]
