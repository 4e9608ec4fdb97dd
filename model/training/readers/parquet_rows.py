"""Parquet files, by pyarrow, some rows at a time; of their columns only text and label are read.

A file's own words on its size are believed: files of strangers are no parquet files (``service.jobs.data.upload``).
"""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adavae.model.cleaning import clean
from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import Bounds
from adavae.model.training.readers.columns import Columns
from adavae.model.training.readers.json_rows import scalar_label
from adavae.model.training.readers.lines import is_longer
from adavae.model.training.readers.row import Row, Skipped

_BATCH_ROWS = 1000


def parquet_rows(path: Path, columns: Columns, bounds: Bounds, skipped: Skipped) -> Iterator[Row]:
    """Rows of a parquet file, numbered from 1; raises DatasetError."""
    arrow, parquet = _library(path, "pyarrow"), _library(path, "pyarrow.parquet")
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
    text, label = columns.text_of(names, str(path)), columns.label_of(names, str(path))
    skipped.columns |= dict.fromkeys(name for name in names if name not in (text, label))
    number = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[text] if label is None else [text, label]):
        bounds.ask()
        labels = [None] * batch.num_rows if label is None else batch.column(label).to_pylist()
        for cell, value in zip(batch.column(text).to_pylist(), labels, strict=True):
            number += 1
            place = f"{path}:{number}"
            if cell is not None and not isinstance(cell, str):
                raise DatasetError(f"{place}: {text!r} is {str(cell)[:60]!r}, must be a string: mend the row")
            if is_longer(cell or "", bounds.max_line_bytes):
                raise DatasetError(f"{place}: {bounds.too_long()}")
            yield Row(number, clean(cell or ""), scalar_label(value, place, label or ""))


def _library(path: Path, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        raise DatasetError(
            f"{path}: reading parquet takes the package pyarrow: pip install 'adavae[parquet]', or write .jsonl instead"
        ) from exc
