"""Objects with a text and perhaps a label: a line each, an array of them, or pandas' table by columns."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from adavae.model.cleaning import clean
from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import Bounds
from adavae.model.training.readers.columns import Columns, Found
from adavae.model.training.readers.json_values import JsonValues
from adavae.model.training.readers.lines import lines
from adavae.model.training.readers.row import Row, Skipped, text_of_row


def json_line_rows(path: Path, columns: Columns, bounds: Bounds, skipped: Skipped) -> Iterator[Row]:
    """An object a line; raises DatasetError."""
    fields = _Fields(columns, skipped)
    for number, line in lines(path, bounds):
        if not line.strip():
            skipped.blank(number)
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise DatasetError(f"{path}:{number}: is not JSON ({exc}): mend the line") from exc
        yield fields.row(number, entry, f"{path}:{number}")


def json_rows(path: Path, columns: Columns, bounds: Bounds, skipped: Skipped) -> Iterator[Row]:
    """An array of objects, objects one behind the other, or one object with a column in each field."""
    values = JsonValues(path, bounds)
    if values.peek() == "{" and _is_by_columns(values.ahead()):
        yield from _rows_by_columns(values, columns, skipped)
        return
    fields = _Fields(columns, skipped)
    if not values.take("["):
        while values.peek():
            yield fields.row(*_object(values))
        return
    if not values.take("]"):
        yield fields.row(*_object(values))
        while values.take(","):
            yield fields.row(*_object(values))
        _expect(values, "]")
    if values.peek():
        raise DatasetError(f"{values.place}: something stands behind the end of the array: remove it")


def scalar_label(value: object, place: str, name: str) -> str | None:
    """A label as pandas would write it: ``1``, ``True``, ``1.0``; None for null and for nothing."""
    if value is None or value != value:  # NaN
        return None
    if not isinstance(value, str | int | float):
        raise DatasetError(
            f"{place}: {name!r} is {str(value)[:60]!r}, a label must be a string, a number or a boolean: mend the entry"
        )
    return clean(str(value)) or None


class _Fields:
    """Which fields of the objects are read: the text's and its pair's by the first object, the label's by each."""

    def __init__(self, columns: Columns, skipped: Skipped) -> None:
        self._columns, self._skipped = columns, skipped
        self._text = ""
        self._pair: str | None = None
        self._labels: dict[tuple[str, ...], str | None] = {}

    def row(self, line: int, entry: Any, place: str) -> Row:
        if not isinstance(entry, dict):
            raise DatasetError(f'{place}: must be an object with a string "text": mend the entry')
        names = tuple(entry)
        label = self._labels[names] if names in self._labels else self._label_of(names, place)
        text = entry.get(self._text)
        if not isinstance(text, str):
            raise DatasetError(f'{place}: must be an object with a string "{self._text}": mend the entry')
        row_label = None if label is None else scalar_label(entry[label], place, label)
        return Row(line, text_of_row(text, self._second(entry, place), place), row_label)

    def _second(self, entry: dict[str, Any], place: str) -> str | None:
        """The text's second half; None where texts stand alone."""
        if self._pair is None:
            return None
        second = entry.get(self._pair)
        if not isinstance(second, str):
            raise DatasetError(f'{place}: must have a string "{self._pair}", as the first entry has: mend the entry')
        return second

    def _label_of(self, names: tuple[str, ...], place: str) -> str | None:
        """Of objects with these fields, which are looked at once."""
        if self._text and self._text not in names:
            raise DatasetError(f'{place}: must be an object with a string "{self._text}": mend the entry')
        found, pair = self._columns.text_of(names, place), self._columns.pair_of(names, place)
        if not self._text:
            self._text, self._pair = found, pair
        elif pair != self._pair:
            odd = pair or self._pair
            raise DatasetError(f'{place}: some entries have a "{odd}" and some do not: give it to all or to none')
        label = self._columns.label_of(names, place)
        if len(self._labels) < 1000:  # objects that all differ are not remembered
            self._labels[names] = label
            self._skipped.names |= dict.fromkeys(names)
            known = self._skipped.read
            self._skipped.read = Found(self._text, label or (known.label if known else None), self._pair)
            self._skipped.columns |= dict.fromkeys(
                name for name in names if name not in (self._text, self._pair, label)
            )
        return label


def _object(values: JsonValues) -> tuple[int, Any, str]:
    """Line, content and place of the next entry; nothing but objects is ever parsed."""
    start, line, place = values.peek(), values.line, values.place
    if start != "{":
        raise DatasetError(f'{place}: must be an object with a string "text", begins with {start!r}: mend the entry')
    return line, values.value(), place


def _is_by_columns(start: JsonValues) -> bool:
    """Whether a file begins as ``DataFrame.to_json`` writes it: ``{"text":{"0":``."""
    start.take("{")
    if start.peek() != '"':
        return False
    start.value()
    if not (start.take(":") and start.take("{") and start.peek() == '"'):
        return False
    row = start.value()
    return isinstance(row, str) and row.lstrip("-").isdecimal()


def _rows_by_columns(values: JsonValues, columns: Columns, skipped: Skipped) -> Iterator[Row]:
    table = dict(_columns(values))
    if values.peek():
        raise DatasetError(f"{values.place}: something stands behind the end of the table: remove it")
    fields = _Fields(columns, skipped)
    num_rows = max(map(len, table.values()), default=0)
    if any(len(cells) != num_rows for cells in table.values()):
        raise DatasetError(f"{values.place}: the columns differ in length: write it again")
    rows = zip(*table.values(), strict=True)
    for number, cells in enumerate(islice(rows, num_rows), start=1):
        place = f"{values.place} (row {number})"
        yield fields.row(number, dict(zip(table, cells, strict=True)), place)


def _columns(values: JsonValues) -> Iterator[tuple[str, list[Any]]]:
    """Every column with its cells, in the order they stand; raises DatasetError where one names other rows."""
    _expect(values, "{")
    first: list[Any] | None = None
    while True:
        name = values.value()
        _expect(values, ":")
        rows, cells = _column(values)
        first = rows if first is None else first
        for row, known in zip(rows, first, strict=False):
            if row != known:
                told = f"the columns name their rows differently: {name!r} has {row!r} where the first has {known!r}"
                raise DatasetError(f"{values.place}: {told[:300]}: write the table again")
        yield str(name), cells
        if not values.take(","):
            break
    _expect(values, "}")


def _column(values: JsonValues) -> tuple[list[Any], list[Any]]:
    """The names of a column's rows, and its cells."""
    rows: list[Any] = []
    cells: list[Any] = []
    _expect(values, "{")
    if values.take("}"):
        return rows, cells
    while True:
        rows.append(values.value())
        _expect(values, ":")
        cells.append(values.value())
        if not values.take(","):
            break
    _expect(values, "}")
    return rows, cells


def _expect(values: JsonValues, character: str) -> None:
    if not values.take(character):
        found = values.peek()
        raise DatasetError(
            f"{values.place}: is not JSON ({character!r} expected, {found or 'the end'!r} found): mend it"
        )
