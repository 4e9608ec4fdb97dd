"""Plain text: one text a line."""

from collections.abc import Iterator
from pathlib import Path

from adavae.model.cleaning import clean
from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import Bounds
from adavae.model.training.readers.columns import GUESSED, Columns
from adavae.model.training.readers.lines import lines
from adavae.model.training.readers.row import Row, Skipped


def text_rows(path: Path, columns: Columns, bounds: Bounds, skipped: Skipped) -> Iterator[Row]:
    """Every line that is not blank; raises DatasetError."""
    if columns != GUESSED:
        raise DatasetError(f"{path}: plain text has no columns: leave --text-column and --label-column out")
    for number, line in lines(path, bounds):
        if text := clean(line):
            yield Row(number, text, None)
        else:
            skipped.blank(number)
