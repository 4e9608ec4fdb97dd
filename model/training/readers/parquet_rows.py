"""Parquet files, by pyarrow, some rows at a time; of their columns only text, pair and label are read.

A file's own words on its size are believed: those of strangers are read in a process with hard limits
(``service.jobs.data.parquet_child``).
"""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import Bounds
from adavae.model.training.readers.columns import Columns
from adavae.model.training.readers.json_rows import scalar_label
from adavae.model.training.readers.lines import is_longer
from adavae.model.training.readers.row import Row, Skipped, text_of_row

_BATCH_ROWS = 1000


def parquet_rows(path: Path, columns: Columns, bounds: Bounds, skipped: Skipped) -> Iterator[Row]:
    """Rows of a parquet file, numbered from 1; raises DatasetError."""
    arrow, parquet = _library(path, "pyarrow"), _library(path, "pyarrow.parquet")
    if path.is_fifo():
        raise DatasetError(f"{path}: is a pipe, and parquet is read from its end: write it into a file first")
    try:
        with parquet.ParquetFile(path) as file:
            yield from _rows(file, path, columns, bounds, skipped)
    except FileNotFoundError as exc:
        raise DatasetError(f"{path}: there is no such file: check the path") from exc
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as exc:
        raise DatasetError(f"{path}: cannot be read as parquet ({str(exc)[:200]}): write it again") from exc


def _rows(file: Any, path: Path, columns: Columns, bounds: Bounds, skipped: Skipped) -> Iterator[Row]:
    groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
    if sum(group.total_byte_size for group in groups) > bounds.max_bytes:
        raise DatasetError(f"{path}: {bounds.too_large()}")
    if file.metadata.num_rows > bounds.max_lines:
        raise DatasetError(f"{path}: {bounds.too_many()}")
    names = list(file.schema_arrow.names)
    found = columns.found(names, str(path))
    text, pair, label = found.text, found.pair, found.label
    skipped.names, skipped.read = dict.fromkeys(names), found
    read = [name for name in (text, pair, label) if name is not None]
    skipped.columns |= dict.fromkeys(name for name in names if name not in read)
    number = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=read):
        bounds.ask()
        cells = [
            [None] * batch.num_rows if name is None else batch.column(name).to_pylist() for name in (text, pair, label)
        ]
        for first, second, value in zip(*cells, strict=True):
            number += 1
            place = f"{path}:{number}"
            halves = [_cell(first, text, place, bounds), _cell(second, pair or "", place, bounds)]
            joined = text_of_row(halves[0], None if pair is None else halves[1], place)
            yield Row(number, joined, scalar_label(value, place, label or ""))


def _cell(cell: object, name: str, place: str, bounds: Bounds) -> str:
    """A text's cell; empty where there is none."""
    if cell is not None and not isinstance(cell, str):
        raise DatasetError(f"{place}: {name!r} is {str(cell)[:60]!r}, must be a string: mend the row")
    if is_longer(cell or "", bounds.max_line_bytes):
        raise DatasetError(f"{place}: {bounds.too_long()}")
    return cell or ""


def _library(path: Path, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        raise DatasetError(
            f"{path}: reading parquet takes the package pyarrow: pip install 'adavae[parquet]', or write .jsonl instead"
        ) from exc
