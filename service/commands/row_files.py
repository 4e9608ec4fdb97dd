"""Files that results are written into, row by row: ``.csv``, ``.jsonl``, ``.npy`` or ``.parquet``.

While rows come in the file is called ``NAME.part``, and can be added to; it takes its name when it is whole. What is in
it stays there whatever happens, and can be gone on with.
"""

import csv
import importlib
import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Protocol

from adavae.model.errors import ConfigError, DatasetError
from adavae.service.commands.npy_header import read_header
from adavae.service.commands.terminal import Record

_LONGEST_CELL = 64 * 1024**2
_GROUP_ROWS = 2000  # of a parquet file's row group, held at once


def spread(record: Record) -> Record:
    """A record for a table of cells: each number of a vector gets a column, ``mu_0``, ``mu_1`` ..."""
    cells: Record = {}
    for name, value in record.items():
        if isinstance(value, list):
            cells |= {f"{name}_{place}": each for place, each in enumerate(value)}
        else:
            cells[name] = value
    return cells


@dataclass(frozen=True, slots=True)
class Forms:
    """What a command's record is where it cannot be an object.

    Attributes:
        array: A row of a matrix, for ``.npy``.
        cells: A row of a table, for ``.csv``: the same columns in every row.
    """

    array: Callable[[Record], Sequence[float]]
    cells: Callable[[Record], Record] = spread


class RowFile(Protocol):
    """Where rows go.

    Attributes:
        num_rows: Written so far, in earlier runs too; of inputs whose rows are all there.
        last: The last of those that an earlier run wrote, as far as the file has it.
        num_found, found: Likewise of every whole row that an earlier run wrote.
    """

    num_rows: int
    last: Record | None
    num_found: int
    found: Record | None

    def write(self, records: Sequence[Record]) -> None: ...

    def close(self) -> None:
        """What was written is kept; may be called again."""

    def finish(self, path: Path) -> None:
        """All rows are there: closes the file and calls it ``path``."""


class _Part(ABC):
    """A part that becomes the whole by its name alone."""

    def __init__(self, path: Path, forms: Forms, group: int) -> None:
        self._path, self._forms, self._file = path, forms, _opened(path)
        self.num_rows = self.num_found = self._end = 0
        self.last: Record | None = None
        self.found: Record | None = None
        try:
            self._take_up(group)
        except BaseException:
            self._file.close()
            raise

    @abstractmethod
    def _take_up(self, group: int) -> None:
        """Counts the whole rows that are there, of inputs that have all of theirs; ``_end`` is where they end."""

    def _cut(self) -> None:
        """Takes off what is behind them, once it is sure that they are gone on with."""
        if self._end >= 0:
            self._file.truncate(self._end)
            self._file.seek(self._end)
            self._end, self.num_found = -1, self.num_rows

    def close(self) -> None:
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def finish(self, path: Path) -> None:
        self._cut()
        self.close()
        os.replace(self._path, _followed(path))


class JsonLines(_Part):
    """One object a line."""

    def _take_up(self, group: int) -> None:
        if self._file.read(1) not in (b"", b"{"):
            raise _unreadable(self._path, "it holds no JSON lines")
        self._file.seek(0)
        newest = b""
        for number, (place, line) in enumerate(_whole_lines(self._file), start=1):
            self.num_found, newest = number, line
            if number % group == 0:
                self.num_rows, self.last, self._end = number, _parsed(line, self._path, number), place
        self.found = _parsed(newest, self._path, self.num_found) if newest else None

    def write(self, records: Sequence[Record]) -> None:
        self._cut()
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        self._file.write("".join(lines).encode())
        self._file.flush()
        self.num_rows += len(records)


class Table(_Part):
    """Comma-separated cells behind a line of names."""

    def _take_up(self, group: int) -> None:
        self._names: list[str] | None = None
        for number, (place, cells) in enumerate(_table_rows(self._file, self._path)):
            if self._names is None:
                self._names, self._end = cells, place
                continue
            if len(cells) != len(self._names):  # the last row, not written to its end
                break
            self.num_found, self.found = number, dict(zip(self._names, cells, strict=True))
            if number % group == 0:
                self.num_rows, self.last, self._end = number, self.found, place

    def write(self, records: Sequence[Record]) -> None:
        rows = [self._forms.cells(record) for record in records]
        text = io.StringIO(newline="")
        if self._names is None:
            self._names = list(rows[0])
            _write_cells(text, self._names)
        for row in rows:
            if list(row) != self._names:
                raise _begun_otherwise(self._path)
            _write_cells(text, list(row.values()))
        self._cut()
        self._file.write(text.getvalue().encode())
        self._file.flush()
        self.num_rows += len(records)


class Matrix(_Part):
    """NumPy's own format, (rows, numbers), float32; its header counts the rows, and is brought up to date with them."""

    def _take_up(self, group: int) -> None:
        self._width = 0
        if os.fstat(self._file.fileno()).st_size:
            self._width, start = self._header()
            self.num_found = (os.fstat(self._file.fileno()).st_size - start) // (4 * self._width)
            self.num_rows = self.num_found - self.num_found % group
            self._end = start + 4 * self._width * self.num_rows

    def write(self, records: Sequence[Record]) -> None:
        import numpy as np

        rows = np.asarray([self._forms.array(record) for record in records], dtype="<f4")
        if self._width not in (0, rows.shape[1]):
            raise DatasetError(f"{self._path}: was begun with rows of {self._width} numbers, not {rows.shape[1]}")
        self._width = rows.shape[1]
        self._cut()
        if self.num_rows == 0:
            self._count()
        self._file.seek(0, os.SEEK_END)
        self._file.write(rows.tobytes())
        self.num_rows += len(rows)
        self._count()
        self._file.flush()

    def _count(self) -> None:
        """NumPy leaves room for more digits in the header, so that it has one length."""
        import numpy as np

        self._file.seek(0)
        shape = (self.num_rows, self._width)
        np.lib.format.write_array_header_1_0(self._file, {"descr": "<f4", "fortran_order": False, "shape": shape})

    def _header(self) -> tuple[int, int]:
        """Width of a row, and where the first one begins."""
        try:
            header = read_header(self._file)
        except ValueError as exc:
            raise _unreadable(self._path, exc) from exc
        if len(header.shape) != 2 or header.shape[1] <= 0 or header.dtype.str != "<f4" or header.is_by_columns:
            raise _unreadable(self._path, f"it holds {header.dtype} of shape {header.shape}")
        return header.shape[1], header.start


class Parquet(JsonLines):
    """A parquet file, by pyarrow. It cannot be added to, nor read before its end is there: its part is JSON lines."""

    def _take_up(self, group: int) -> None:
        self._arrow, self._parquet = parquet_library()
        super()._take_up(group)
        self._names = None if self.last is None else list(self.last)

    def write(self, records: Sequence[Record]) -> None:
        self._names = self._names or list(records[0])
        if any(list(record) != self._names for record in records):
            raise _begun_otherwise(self._path)
        super().write(records)

    def finish(self, path: Path) -> None:
        self._cut()
        self.close()
        grown = self._path.with_name(f"{self._path.name}.new")
        try:
            self._convert(grown)
            os.replace(grown, _followed(path))
        except BaseException:
            grown.unlink(missing_ok=True)
            raise
        self._path.unlink()

    def _convert(self, grown: Path) -> None:
        with self._path.open("rb") as lines, grown.open("wb") as file:
            records = (_parsed(line, self._path, number) for number, line in enumerate(lines, start=1))
            groups = iter(lambda: list(islice(records, _GROUP_ROWS)), [])
            first = next(groups)
            schema = self._schema(first[0])
            with self._parquet.ParquetWriter(file, schema) as writer:
                for group in chain([first], groups):
                    writer.write_table(self._arrow.Table.from_pylist(group, schema=schema))
            file.flush()
            os.fsync(file.fileno())

    def _schema(self, record: Record) -> Any:
        a = self._arrow
        vector, score = a.list_(a.float32()), a.struct([("label", a.string()), ("score", a.float64())])
        kinds = {
            **dict.fromkeys(("index", "c", "tokens"), a.int64()),
            **dict.fromkeys(("text", "label", "finish_reason", "adapter"), a.string()),
            **dict.fromkeys(("mu", "logvar", "z"), vector),
            **{"truncated": a.bool_(), "typicality": a.float64(), "scores": a.list_(score)},
        }
        return a.schema([(name, kinds[name]) for name in record])


_KINDS: dict[str, Callable[[Path, Forms, int], RowFile]] = {
    ".csv": Table,
    ".jsonl": JsonLines,
    ".npy": Matrix,
    ".parquet": Parquet,
}
ENDINGS = tuple(_KINDS)


def part_of(path: Path) -> Path:
    """What a file is called until it is whole; that of a link is beside what it leads to."""
    whole = _followed(path)
    return whole.with_name(f"{whole.name}.part")


def _followed(path: Path) -> Path:
    """The file that ``path`` means: a link is never put aside for a file."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def open_rows(path: Path, forms: Forms, *, group: int = 1) -> RowFile:
    """The file's part, with the whole rows that an earlier run left in it.

    Args:
        path: What the file will be called; its ending is one of ``ENDINGS``.
        forms: What a record is in it.
        group: Rows that belong to one input, and are kept or dropped together.

    Raises:
        DatasetError: What an earlier run left cannot be gone on with.
    """
    return _KINDS[path.suffix.lower()](part_of(path), forms, group)


def parquet_library() -> tuple[Any, Any]:
    """pyarrow and its module for parquet; raises ConfigError where it is not installed."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as exc:
        rule = "takes the package pyarrow: pip install 'adavae[parquet]', or write .jsonl instead"
        raise ConfigError("--output", ".parquet", rule) from exc


def _opened(path: Path) -> IO[bytes]:
    path.touch()
    return path.open("r+b")


def _write_cells(text: IO[str], cells: Sequence[object]) -> None:
    """One row; a carriage return within a cell is quoted, which the library does for the end of its own lines alone."""
    has_return = any("\r" in str(cell) for cell in cells)
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL).writerow(cells)


def _whole_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each line that has its end, and where that is."""
    place = 0
    for line in file:
        if line.endswith(b"\n"):
            place += len(line)
            yield place, line


def _table_rows(file: IO[bytes], path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row's end and its cells; raises DatasetError where they are none."""
    place = 0

    def lines() -> Iterator[str]:
        nonlocal place
        for end, line in _whole_lines(file):
            place = end
            yield line.decode("utf-8", "replace")

    csv.field_size_limit(_LONGEST_CELL)
    try:
        for cells in csv.reader(lines()):
            yield place, cells
    except csv.Error as exc:
        raise _unreadable(path, exc) from exc


def _parsed(line: bytes, path: Path, number: int) -> Record:
    try:
        record = json.loads(line)
    except ValueError as exc:
        raise _unreadable(path, f"line {number}: {exc}") from exc
    if not isinstance(record, dict):
        raise _unreadable(path, f"line {number} is no object")
    return record


def _begun_otherwise(path: Path) -> DatasetError:
    return DatasetError(f"{path}: was begun with other columns: remove it, or give the same options")


def _unreadable(path: Path, why: object) -> DatasetError:
    return DatasetError(f"{path}: cannot be gone on with ({why}): remove it, and begin anew")
