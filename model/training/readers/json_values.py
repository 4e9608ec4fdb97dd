"""JSON values one after the other out of a text that is never held as a whole."""

import json
import re
from collections.abc import Iterator
from copy import copy
from itertools import tee
from pathlib import Path
from typing import Any

from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import Bounds
from adavae.model.training.readers.lines import characters, is_longer

_BLANKS = re.compile(r"[ \n\t]*")
_VALUES_A_QUESTION = 1000
_DECODER = json.JSONDecoder()


class JsonValues:
    """A place in a JSON text: what stands there is looked at, taken as one character, or taken as a value."""

    def __init__(self, path: Path, bounds: Bounds) -> None:
        self._path, self._bounds = path, bounds
        self._characters: Iterator[str] = characters(path, bounds)
        self._text, self._at = "", 0
        self._num_values = 0
        self.line = 1

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self._path}:{self.line}"

    def ahead(self) -> "JsonValues":
        """The same place again, to look at what comes without taking it."""
        other = copy(self)
        self._characters, other._characters = tee(self._characters)
        return other

    def peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            self._advance(blanks.end() - self._at if blanks else 0)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> bool:
        """Takes the next character where it is this one."""
        if self.peek() != character:
            return False
        self._advance(1)
        return True

    def value(self) -> Any:
        """Takes the next value; raises DatasetError where there is none, or it is longer than a line may be."""
        self._num_values += 1
        if self._num_values % _VALUES_A_QUESTION == 1:
            self._bounds.ask()
        if self._num_values > self._bounds.max_lines:
            raise DatasetError(f"{self._path}: {self._bounds.too_many()}")
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError as exc:
                raise DatasetError(f"{self.place}: is not JSON (nested too deeply): mend it") from exc
            except ValueError as exc:
                if len(self._text) - self._at > self._bounds.max_line_bytes:
                    raise DatasetError(f"{self.place}: an entry {self._bounds.too_long()}") from exc
                if not self._more(at_least=len(self._text) - self._at):
                    raise self._broken(exc) from exc
                continue
            if end == len(self._text) and self._more():  # a number may go on
                continue
            if is_longer(self._text[self._at : end], self._bounds.max_line_bytes):
                raise DatasetError(f"{self.place}: an entry {self._bounds.too_long()}")
            self._advance(end - self._at)
            return value

    def _broken(self, exc: ValueError) -> DatasetError:
        """Names the line of the fault, not that of the entry's beginning."""
        end = exc.pos if isinstance(exc, json.JSONDecodeError) else self._at
        line = self.line + self._text.count("\n", self._at, end)
        told = exc.msg if isinstance(exc, json.JSONDecodeError) else str(exc)
        return DatasetError(f"{self._path}:{line}: is not JSON ({told}): mend the entry")

    def _advance(self, num: int) -> None:
        self.line += self._text.count("\n", self._at, self._at + num)
        self._at += num

    def _more(self, at_least: int = 0) -> bool:
        """Reads on, as much again as is waiting, so that a long value is looked at a few times only."""
        pieces, size = [self._text[self._at :]], 0
        for piece in self._characters:
            pieces.append(piece)
            size += len(piece)
            if size and size >= at_least:
                break
        self._text, self._at = "".join(pieces), 0
        return size > 0
