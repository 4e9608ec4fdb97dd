"""Tables as text, ``.csv`` and ``.tsv``: a header line with the columns' names, then a row a line.

A cell is unquoted where it begins with a quote and is closed properly: quotes inside it doubled, the last one at the
cell's end. Every other quote is a character like any other, as in tab-separated files that know of no quoting. A quoted
cell may go over line breaks; in a ``.tsv`` only if no tab is in it, so that a lone quote swallows no rows of several
columns. Where there is one column, a cell that opens with a quote goes on to the next quote that is not doubled if that
one ends its line, as pandas writes a text of several lines; nothing tells two lone quotes from it.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adavae.model.cleaning import clean
from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import Bounds
from adavae.model.training.readers.columns import Columns
from adavae.model.training.readers.lines import lines, num_bytes
from adavae.model.training.readers.row import Row, Skipped, text_of_row

_SEPARATORS = (",", ";", "\t")


def tsv_rows(path: Path, columns: Columns, bounds: Bounds, skipped: Skipped) -> Iterator[Row]:
    """Rows of a tab-separated file; raises DatasetError."""
    return _rows(path, columns, bounds, skipped, is_tsv=True)


def csv_rows(path: Path, columns: Columns, bounds: Bounds, skipped: Skipped) -> Iterator[Row]:
    """Rows of a file with commas, semicolons or tabs, whichever its header has most; raises DatasetError."""
    return _rows(path, columns, bounds, skipped, is_tsv=False)


def _rows(path: Path, columns: Columns, bounds: Bounds, skipped: Skipped, *, is_tsv: bool) -> Iterator[Row]:
    records = _Records(path, bounds, skipped, is_tsv=is_tsv)
    header_line, header = next(records.all(), (1, []))
    if not header:
        return
    names = [name.strip() for name in header]
    place = f"{path}:{header_line}"
    found = columns.found(names, place)
    text = names.index(found.text)
    pair, label = (None if name is None else names.index(name) for name in (found.pair, found.label))
    read = (text, pair, label)
    skipped.names, skipped.read = dict.fromkeys(names), found
    unread = [name or f"column {number}" for number, name in enumerate(names, 1) if number - 1 not in read]
    skipped.columns |= dict.fromkeys(unread)
    repeated = [clean(name) for name in names]
    for line, cells in records.all():
        if len(names) > 1 and clean(cells[0]) == repeated[0] and [clean(cell) for cell in cells] == repeated:
            raise DatasetError(f"{path}:{line}: {_HEADER_AGAIN}")
        if len(cells) != len(names):
            raise DatasetError(
                f"{path}:{line}: has {len(cells)} columns, the header {len(names)}: add what is missing, or put a cell "
                f"with a {_NAMES[records.separator]} in it into quotes"
            )
        row_label = None if label is None else clean(cells[label]) or None
        second = None if pair is None else cells[pair]
        yield Row(line, text_of_row(cells[text], second, f"{path}:{line}"), row_label)


_HEADER_AGAIN = "repeats the header, as in files that were joined: remove the line, or give the columns other names"
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}


class _Records:
    """A file's lines as lists of cells; those without anything are passed over."""

    def __init__(self, path: Path, bounds: Bounds, skipped: Skipped, *, is_tsv: bool) -> None:
        self._path, self._bounds, self._skipped, self._is_tsv = path, bounds, skipped, is_tsv
        self._lines = lines(path, bounds)
        self._ahead: deque[tuple[int, str]] = deque()
        self.separator = "\t" if is_tsv else ""

    def all(self) -> Iterator[tuple[int, list[str]]]:
        """Each row's first line and its cells; may be asked again, and goes on."""
        while (entry := self._next()) is not None:
            number, line = entry
            if not line.strip():
                self._skipped.blank(number)
                continue
            if not self.separator:
                self.separator = max(_SEPARATORS, key=lambda each: _num_cells(line, each))
            yield number, (self._cells(number, line) if '"' in line else line.split(self.separator))

    def _next(self) -> tuple[int, str] | None:
        return self._ahead.popleft() if self._ahead else next(self._lines, None)

    def _cells(self, number: int, line: str) -> list[str]:
        """Of a line with quotes; takes the lines behind it that belong to one of its cells."""
        cells: list[str] = []
        place, room = 0, self._bounds.max_line_bytes - num_bytes(line)
        while True:
            if line.startswith('"', place):
                quote = _lone_quote(line, place + 1)
                content = line[place + 1 : quote]
                if quote < 0 and (more := self._continued(number, line[place + 1 :], room)) is not None:
                    content, line, quote, room = more.content, more.line, more.quote, more.room
                if quote >= 0 and line[quote + 1 : quote + 2] in ("", self.separator):
                    cells.append(content.replace('""', '"'))
                    if quote + 1 == len(line):
                        return cells
                    place = quote + 2
                    continue
            end = line.find(self.separator, place)
            if end < 0:
                return [*cells, line[place:]]
            cells.append(line[place:end])
            place = end + 1

    def _continued(self, number: int, begun: str, room: int) -> "_Continued | None":
        """A quoted cell that does not end on its line; None where its quote was none.

        Raises:
            DatasetError: In a CSV file: it is never closed, or too long.
        """
        taken: list[tuple[int, str]] = []
        parts = [begun]
        while not (self._is_tsv and "\t" in parts[-1]) and room >= 0 and (entry := self._next()) is not None:
            taken.append(entry)
            line = entry[1]
            room -= num_bytes(line) + 1
            quote = _lone_quote(line, 0)
            parts.append(line if quote < 0 else line[:quote])
            if quote < 0:
                continue
            is_closed = line[quote + 1 : quote + 2] in ("", self.separator) and not (self._is_tsv and "\t" in parts[-1])
            if room < 0 or not is_closed:
                break
            return _Continued("\n".join(parts), line, quote, room)
        if room < 0 and not self._is_tsv:
            raise DatasetError(
                f"{self._path}:{number}: the row {self._bounds.too_long()}; perhaps a quote is not closed"
            )
        if not self._is_tsv and len(parts) == len(taken) + 1 and (not taken or _lone_quote(taken[-1][1], 0) < 0):
            raise DatasetError(
                f"{self._path}:{number}: a quoted cell begins here and never ends: close it, and double every quote "
                "inside it"
            )
        self._ahead.extendleft(reversed(taken))
        return None


@dataclass(frozen=True, slots=True)
class _Continued:
    """A quoted cell over several lines: its raw content, its last line, the quote that closes it there, room left."""

    content: str
    line: str
    quote: int
    room: int


def _num_cells(line: str, separator: str) -> int:
    """Roughly: what is in quotes is left out."""
    return "".join(line.split('"')[::2]).count(separator)


def _lone_quote(line: str, place: int) -> int:
    """Where the first quote from ``place`` on is that is not doubled; -1 if there is none."""
    while (quote := line.find('"', place)) >= 0 and line.startswith('"', quote + 1):
        place = quote + 2
    return quote
