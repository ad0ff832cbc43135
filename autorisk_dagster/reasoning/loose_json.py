"""Find the JSON objects in a model's text and read them, saying what had to be repaired.

Written here because no library says that a value was cut: repairing readers close the string of `"severity": "LOW` and
hand over a severity that nobody said. Here a value in which the text ends is `UNSAID`.

Every character is read once, whatever the text: time grows linearly, and nesting is bounded.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_DEPTH: Final = 32  # an assessment has 4


class Repair(enum.Flag):
    """What had to be tolerated to read an object."""

    NONE = 0
    CUT = enum.auto()  # the text ended between members or inside a value
    CUT_KEY = enum.auto()  # the text ended inside a key, or between a key and its value
    COMMA = enum.auto()  # a comma was missing between two members or items
    TRAILING = enum.auto()  # a comma before a closing bracket, or a key without a value
    NOTATION = enum.auto()  # not JSON but JavaScript or Python: quotes, bare keys, comments, None, NaN, raw newlines
    BROKEN = enum.auto()  # from some member on, such as one with quotes inside a string, nothing could be read


class Unsaid(enum.Enum):
    """The value of a key that has none, or in which the text ended."""

    UNSAID = enum.auto()


UNSAID: Final = Unsaid.UNSAID


@dataclass(frozen=True)
class Members:
    """An object: its members in order, duplicates included. `cut`: the text ended before its closing brace."""

    pairs: tuple[tuple[str, Value], ...]
    cut: bool


@dataclass(frozen=True)
class Items:
    """A list. `cut`: the text ended before its closing bracket."""

    values: tuple[Value, ...]
    cut: bool


Value = str | float | bool | None | Members | Items | Unsaid


@dataclass(frozen=True)
class Found:
    """An object that stands in a text, in [start, end); what stands in [read_to, end) could not be read."""

    members: Members
    start: int
    read_to: int
    end: int
    repairs: Repair


class TooDeepError(Exception):
    """Brackets are nested deeper than `MAX_DEPTH`."""


class _BrokenError(Exception):
    """What stands here is no value, key or punctuation."""


# A brace in prose opens an object only where a key, a closing brace, a comment or the end of the text follows.
_START = re.compile(r"""\{(?=\s*(?:["'“”‘’}]|[A-Za-z_]\w*\s*:|/[/*]|\Z))""")
_SPACE = re.compile(r"(?:\s+|//[^\n]*|/\*.*?(?:\*/|\Z))*", re.DOTALL)
_QUOTED: Final = {
    '"': re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL),
    "“": re.compile(r"[“”]([^“”\\]*(?:\\.[^“”\\]*)*)[“”]", re.DOTALL),
    # An apostrophe closes only where a value can end.
    "'": re.compile(r"'((?:[^'\\]|\\.|'(?!\s*[,:}\]]))*)'(?=\s*[,:}\]])", re.DOTALL),
    "‘": re.compile(r"[‘’]((?:[^‘’\\]|\\.|[‘’](?!\s*[,:}\]]))*)[‘’](?=\s*[,:}\]])", re.DOTALL),
}
_OPENING: Final = {'"': '"', "'": "'", "“": "“", "”": "“", "‘": "‘", "’": "‘"}
_BARE_KEY = re.compile(r"[A-Za-z_]\w*")
_LITERAL = re.compile(r"""[^\s,:{}\[\]"'“”‘’]+""")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_WORDS: Final[dict[str, Value]] = {"true": True, "false": False, "null": None}
_FOREIGN_WORDS: Final[dict[str, Value]] = {
    "True": True,
    "False": False,
    "None": None,
    "undefined": None,
    "NaN": float("nan"),
    "nan": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}
_ESCAPE = re.compile(r'\\(u[0-9a-fA-F]{4}|.)|"', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")
_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)


def find_objects(text: str) -> Iterator[Found]:
    """The outermost objects of `text`, in order.

    What stands inside an object is never taken for an object of its own, not even where the outer one is cut or cannot
    be read: its severity may be that of one hazard.

    Raises:
        TooDeepError: an object is nested deeper than `MAX_DEPTH`.
    """
    position = 0
    while start := _START.search(text, position):
        reader = _Reader(text, start.start())
        try:
            members = reader.members()
            position = reader.position
            yield Found(members, start.start(), position, position, reader.repairs)
        except _BrokenError:
            members = Members(tuple(reader.outermost), True)
            position = _closing(text, reader.position, reader.open)
            yield Found(members, start.start(), reader.read_to, position, reader.repairs | Repair.BROKEN)


def _closing(text: str, position: int, open_brackets: int) -> int:
    """Where the brackets that are open at `position` are all closed; the end of the text where they are not."""
    for token in _BRACKET.finditer(text, position):
        if token[0] in "{[":
            open_brackets += 1
        elif token[0] in "}]":
            open_brackets -= 1
            if open_brackets == 0:
                return token.end()
    return len(text)


class _Reader:
    """Reads one value after another from `position`; `repairs` collects what was tolerated.

    `outermost` holds the members of the outermost object so far, which end at `read_to`.
    """

    def __init__(self, text: str, position: int) -> None:
        self.text = text
        self.position = position
        self.repairs = Repair.NONE
        self.open = 0
        self.outermost: list[tuple[str, Value]] = []
        self.read_to = position

    def members(self) -> Members:
        """The object whose brace is at `position`."""
        self._enter()
        pairs: list[tuple[str, Value]] = self.outermost if self.open == 1 else []
        comma_due = after_comma = False
        while True:
            mark = self._next()
            if not mark:
                self.repairs |= Repair.CUT
                return Members(tuple(pairs), True)
            if mark == "}":
                self._leave(after_comma)
                return Members(tuple(pairs), False)
            if mark == ",":
                comma_due, after_comma = self._comma(comma_due)
                continue
            if comma_due:
                self.repairs |= Repair.COMMA
            key, value = self._pair()
            if key is not None:
                pairs.append((key, value))
                if self.open == 1:
                    self.read_to = self.position
            if self._ended(value):
                return Members(tuple(pairs), True)
            comma_due, after_comma = True, False

    def _items(self) -> Items:
        self._enter()
        values: list[Value] = []
        comma_due = after_comma = False
        while True:
            mark = self._next()
            if not mark:
                self.repairs |= Repair.CUT
                return Items(tuple(values), True)
            if mark == "]":
                self._leave(after_comma)
                return Items(tuple(values), False)
            if mark == ",":
                comma_due, after_comma = self._comma(comma_due)
                continue
            if comma_due:
                self.repairs |= Repair.COMMA
            values.append(self._value())
            if self._ended(values[-1]):
                return Items(tuple(values), True)
            comma_due, after_comma = True, False

    def _pair(self) -> tuple[str | None, Value]:
        """A key and its value; the key is None where the text ends in it."""
        key = self._key()
        mark = self._next() if key is not None else ""
        if mark == ":":
            self.position += 1
            mark = self._next()
            if mark and mark not in ",}":
                return key, self._value()
        if not mark:
            self.repairs |= Repair.CUT_KEY
        elif mark in ",}":
            self.repairs |= Repair.TRAILING
        else:
            raise _BrokenError
        return key, UNSAID

    def _key(self) -> str | None:
        if self.text[self.position] in _OPENING:
            return self._string()
        bare = _BARE_KEY.match(self.text, self.position)
        if bare is None:
            raise _BrokenError
        self.repairs |= Repair.NOTATION
        self.position = bare.end()
        return None if bare.end() == len(self.text) else bare[0]

    def _value(self) -> Value:
        mark = self.text[self.position]
        if mark == "{":
            return self.members()
        if mark == "[":
            return self._items()
        if mark in _OPENING:
            text = self._string()
            if text is None:
                self.repairs |= Repair.CUT
                return UNSAID
            return text
        literal = _LITERAL.match(self.text, self.position)
        if literal is None:
            raise _BrokenError
        if literal.end() == len(self.text):
            self.position = literal.end()
            self.repairs |= Repair.CUT
            return UNSAID
        return self._literal(literal)

    def _literal(self, literal: re.Match[str]) -> Value:
        word = literal[0]
        if word in _FOREIGN_WORDS:
            self.repairs |= Repair.NOTATION
        elif word not in _WORDS and not _NUMBER.fullmatch(word):
            raise _BrokenError
        self.position = literal.end()
        if word in _WORDS or word in _FOREIGN_WORDS:
            return {**_WORDS, **_FOREIGN_WORDS}[word]
        return float(word)

    def _string(self) -> str | None:
        """The string at `position`, without lone surrogates; None where the text ends in it."""
        quote = _OPENING[self.text[self.position]]
        quoted = _QUOTED[quote].match(self.text, self.position)
        if quoted is None:
            self.position = len(self.text)
            return None
        self.position = quoted.end()
        body = quoted[1]
        if quote != '"' or _CONTROL.search(body):
            self.repairs |= Repair.NOTATION
        if "\\" in body:
            body = self._unescaped(body)
        return body.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _unescaped(self, body: str) -> str:
        def json_escape(match: re.Match[str]) -> str:
            escape = match[1]
            if escape is None:
                return '\\"'
            if len(escape) == 5 or escape in '"\\/bfnrt':
                return match[0]
            self.repairs |= Repair.NOTATION
            return escape if escape == "'" else "\\\\" + escape

        text: str = json.loads(f'"{_ESCAPE.sub(json_escape, body)}"', strict=False)
        return text

    def _next(self) -> str:
        """The next character that means something, not read yet; "" at the end."""
        space = _SPACE.match(self.text, self.position)
        if space is not None:
            if "/" in space[0]:
                self.repairs |= Repair.NOTATION
            self.position = space.end()
        return self.text[self.position : self.position + 1]

    def _comma(self, due: bool) -> tuple[bool, bool]:
        if not due:
            raise _BrokenError
        self.position += 1
        return False, True

    def _enter(self) -> None:
        self.open += 1
        if self.open > MAX_DEPTH:
            raise TooDeepError
        self.position += 1

    def _leave(self, after_comma: bool) -> None:
        if after_comma:
            self.repairs |= Repair.TRAILING
        self.open -= 1
        self.position += 1

    def _ended(self, value: Value) -> bool:
        """The text ended inside `value`."""
        if isinstance(value, Members | Items):
            return value.cut
        return value is UNSAID and self.position >= len(self.text)
