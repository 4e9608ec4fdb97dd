"""Plain text: one text a line."""

from collections.abc import Iterator
from pathlib import Path

from adavae.model.cleaning import clean
from adavae.model.training.readers.bounds import Bounds
from adavae.model.training.readers.columns import Columns
from adavae.model.training.readers.lines import lines
from adavae.model.training.readers.row import Row, Skipped


def text_rows(path: Path, columns: Columns, bounds: Bounds, skipped: Skipped) -> Iterator[Row]:
    """Every line that is not blank; raises DatasetError."""
    del columns
    for number, line in lines(path, bounds):
        if text := clean(line):
            yield Row(number, text, None)
        else:
            skipped.blank(number)
