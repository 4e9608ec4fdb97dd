"""START READING HERE: which reader reads which file.

``.csv .tsv .txt .jsonl .json``, and ``.tab`` and ``.ndjson``, other names of two of them, each also as
``.gz .xz .zst``, and ``.parquet``.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import ORDINARY, Bounds
from adavae.model.training.readers.columns import GUESSED, Columns
from adavae.model.training.readers.delimited import csv_rows, tsv_rows
from adavae.model.training.readers.json_rows import json_line_rows, json_rows
from adavae.model.training.readers.packed import PACKINGS, split_ending
from adavae.model.training.readers.parquet_rows import parquet_rows
from adavae.model.training.readers.row import Row, Skipped
from adavae.model.training.readers.text_rows import text_rows

Reader = Callable[[Path, Columns, Bounds, Skipped], Iterator[Row]]

READERS: dict[str, Reader] = {
    ".csv": csv_rows,
    ".tsv": tsv_rows,
    ".tab": tsv_rows,
    ".txt": text_rows,
    ".jsonl": json_line_rows,
    ".ndjson": json_line_rows,
    ".json": json_rows,
    ".parquet": parquet_rows,
}
FORMATS = f"{', '.join(READERS)}; all but the last also with {', '.join(PACKINGS)}"


def rows_of(
    path: Path,
    skipped: Skipped,
    columns: Columns = GUESSED,
    bounds: Bounds = ORDINARY,
    *,
    otherwise: Reader | None = None,
) -> Iterator[Row]:
    """The rows of a file, as they are read; blank lines are passed over.

    Args:
        path: The file; its ending says how it is read.
        skipped: Filled with what is not read; whole once the last row is taken.
        columns: Which columns hold text and label.
        bounds: How much is read at all.
        otherwise: Reads files with another ending; they are refused if it is left out.

    Raises:
        DatasetError: The file or a line of it cannot be read.
    """
    ending, packing = split_ending(path)
    reader = READERS.get(ending, otherwise)
    if reader is None or (packing and ending == ".parquet"):
        raise DatasetError(f"{path}: the ending must be one of {FORMATS}")
    return reader(path, columns, bounds, skipped)
