"""What commands read: texts from arguments, a file or standard input, and latent vectors as JSON lines or an array."""

import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from adavae.model.cleaning import clean
from adavae.model.errors import DatasetError
from adavae.model.pairs import joined
from adavae.model.training.readers.bounds import ORDINARY
from adavae.model.training.readers.columns import GUESSED, Columns
from adavae.model.training.readers.lines import lines
from adavae.model.training.readers.packed import split_ending
from adavae.model.training.readers.reading import FORMATS, READERS, rows_of
from adavae.model.training.readers.row import Skipped, check_storable
from adavae.model.training.readers.text_rows import text_rows
from adavae.service.commands.npy_header import read_header
from adavae.service.commands.source import Source, arriving_lines
from adavae.service.commands.terminal import say

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")
Vector = list[float]
_TEXT_ROWS, _VECTOR_ROWS = 512, 128  # decoding takes longer than encoding
_LARGEST = 3.4028234663852886e38  # of float32
_OF_CELLS = (".csv", ".tsv", ".parquet")
_NO_NUMBER = "a number is not finite, or too large for float32: mend the vector"

PairOption = Annotated[
    str | None, typer.Option("--pair", metavar="TEXT", help="The second text, for a set that was trained on pairs.")
]
TextsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; '-' reads one a line from standard input.")
]
FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        exists=True,
        dir_okay=False,
        readable=True,
        help="Read texts from here: one a line, or any file that train reads.",
    ),
]


def open_pairs(
    arguments: list[str] | None, second: str | None, file: Path | None, columns: Columns = GUESSED
) -> Source[str]:
    """As ``open_texts``; with ``second``, the one text and this as its pair.

    Raises:
        typer.BadParameter: There is a second text and not exactly one first text.
        ConfigError: A text of the pair holds what stands between the two.
    """
    if second is None:
        return open_texts(arguments, file, columns)
    if file is not None or arguments is None or len(arguments) != 1 or arguments == ["-"]:
        raise typer.BadParameter("--pair is the second text of one: give one text; a file has them in text_pair")
    refuse_empty(*arguments, second)
    return Source.of([joined(arguments[0], second)], 1, _TEXT_ROWS)


def open_texts(arguments: list[str] | None, file: Path | None, columns: Columns = GUESSED) -> Source[str]:
    """The texts of one command line, cleaned; a file is read through once before its first text is given.

    Args:
        arguments: Texts, or ``-`` for standard input.
        file: Where texts are, one a line or in a file of a kind that training reads.
        columns: Which columns of ``file`` hold the texts; guessed if left out.

    Raises:
        typer.BadParameter: There is no text, more than one source of texts, or an empty text.
        DatasetError: A text is empty, or the file cannot be read; later on where that shows later.
    """
    texts = arguments or []
    if bool(texts) == (file is not None):
        raise typer.BadParameter("give texts, or '-' for lines on standard input, or --file: one of them")
    if file is not None:
        return open_file(file, columns)
    if columns != GUESSED:
        raise typer.BadParameter("--text-column and --pair-column go with --file")
    if texts == ["-"]:
        return open_lines()
    refuse_empty(*texts)
    return Source.of([clean(text) for text in texts], len(texts), _TEXT_ROWS)


def open_file(file: Path, columns: Columns = GUESSED, size: int | None = None) -> Source[str]:
    """The texts of a file, cleaned; of one with an ending that says nothing, one a line.

    Raises:
        DatasetError: As ``open_texts`` does.
    """
    total = None
    if file.is_file():  # a pipe can be read only once
        skipped = Skipped()
        total = sum(1 for _ in _file_texts(file, columns, skipped))
        for note in skipped.notes():
            say(note)
        if (ending := split_ending(file)[0]) and ending not in READERS:
            say(f"{file}: is read as plain text, one text a line, as its ending {ending} says nothing (of {FORMATS})")
    return Source.of(_file_texts(file, columns, Skipped()), total, size or _TEXT_ROWS).begun()


def open_lines(size: int | None = None) -> Source[str]:
    """The lines of standard input, cleaned, as they come; raises DatasetError where one is empty, or there is none."""
    return Source(_some(arriving_lines(_line_text, size or _TEXT_ROWS), "standard input holds no text"), None).begun()


def read_texts(arguments: list[str] | None, file: Path | None, columns: Columns = GUESSED) -> list[str]:
    """All texts of one command line; arguments and errors as for ``open_texts``."""
    return [text for batch in open_texts(arguments, file, columns).batches for text in batch]


def read_file(file: Path) -> list[str]:
    """All texts of a file; errors as for ``open_file``."""
    return [text for batch in open_file(file).batches for text in batch]


def refuse_empty(*texts: str) -> None:
    """Raises typer.BadParameter if a text is empty, or was not typed in UTF-8."""
    for text in texts:
        if not clean(text):
            raise typer.BadParameter("a text is empty")
        refuse_undecoded(text)


def refuse_undecoded(text: str, remedy: str = "give the text in a file with --file") -> None:
    """Raises typer.BadParameter if an argument's bytes were not UTF-8: Python then keeps them as half surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise typer.BadParameter(f"{text!a} is not UTF-8: set the terminal to UTF-8, or {remedy}") from exc


def open_vectors(file: Path | None = None) -> Source[Vector]:
    """Latent vectors of a file, or of standard input as they come.

    Each line is an array, or an object with one as ``z`` or ``mu``; a ``.npy`` file holds a matrix.

    Raises:
        typer.BadParameter: Standard input is a terminal.
        DatasetError: A line is not a vector, or the vectors differ in size; later on where that shows later.
    """
    if file is not None and file.suffix.lower() == ".npy":
        return _matrix(file)
    if file is not None and file.suffix.lower() in _OF_CELLS:
        raise DatasetError(
            f"{file}: vectors are read from .npy and from JSON lines: write them with `adavae encode --output z.npy`, "
            "or z.jsonl"
        )
    checked = _VectorLines("standard input" if file is None else str(file))
    if file is not None:
        rows = (vector for number, line in lines(file, ORDINARY) if (vector := checked(number, line)) is not None)
        source = Source.of(rows, None, _VECTOR_ROWS)
    elif sys.stdin.isatty():
        raise typer.BadParameter("give --samples N, --file, or latent vectors on standard input, one JSON array a line")
    else:
        source = Source(arriving_lines(checked, _VECTOR_ROWS), None)
    nothing = f"{checked.place} holds no latent vector: give one JSON array a line"
    return Source(_some(source.batches, nothing), None).begun()


def _file_texts(file: Path, columns: Columns, skipped: Skipped) -> Iterator[str]:
    is_by_line = split_ending(file)[0] not in READERS.keys() - {".txt"}
    num = 0
    for row in rows_of(file, skipped, columns, otherwise=text_rows):
        if is_by_line and skipped.first_blank_line:
            break
        if not row.text:
            raise DatasetError(f"{file}, line {row.line}: the text is empty")
        check_storable(row, f"{file}, line {row.line}")
        num += 1
        yield row.text
    if is_by_line and skipped.first_blank_line:  # results have the lines' order
        raise DatasetError(f"{file}, line {skipped.first_blank_line}: the line is empty")
    if num == 0:
        raise DatasetError(f"{file} holds no text")


def _line_text(number: int, line: str) -> str:
    text = clean(line)
    if not text:
        raise DatasetError(f"standard input, line {number}: the line is empty")
    return text


def _some(batches: Iterator[list[T]], nothing: str) -> Iterator[list[T]]:
    """The same; raises DatasetError where there is none."""
    is_empty = True
    for batch in batches:
        is_empty = False
        yield batch
    if is_empty:
        raise DatasetError(nothing)


def _matrix(file: Path) -> Source[Vector]:
    import numpy as np

    if not file.is_file():
        raise DatasetError(f"{file}: is a pipe, and .npy is read from a file: write it into one first")
    try:
        with file.open("rb") as opened:
            header, size = read_header(opened), opened.seek(0, os.SEEK_END)
    except ValueError as exc:
        raise DatasetError(f"{file}: is no .npy file ({exc}): write one with `adavae encode --output`") from exc
    shape, dtype = header.shape, header.dtype
    if len(shape) != 2 or dtype.kind not in "fiu" or min(shape) < 1:
        raise DatasetError(f"{file}: holds {dtype} of shape {shape}, must be numbers of shape (rows, numbers of z)")
    if header.start + math.prod(shape) * dtype.itemsize > size:
        raise DatasetError(f"{file}: breaks off, its header speaks of {shape[0]:,} rows: write it again")
    order: Literal["F", "C"] = "F" if header.is_by_columns else "C"
    matrix = np.memmap(file, dtype, "r", header.start, shape, order)
    return Source(_rows(matrix, file), len(matrix))


def _rows(matrix: "NDArray[Any]", file: Path) -> Iterator[list[Vector]]:
    """Rows of a matrix as float32, which decoding takes; raises DatasetError where a number is none."""
    import numpy as np

    for cut in range(0, len(matrix), _VECTOR_ROWS):
        with np.errstate(over="ignore"):
            rows = matrix[cut : cut + _VECTOR_ROWS].astype(np.float32)
        is_finite = np.isfinite(rows).all(axis=1)
        if not is_finite.all():
            raise DatasetError(f"{file}, row {cut + int(is_finite.argmin())}: {_NO_NUMBER}")
        yield rows.tolist()


class _VectorLines:
    """A vector from each line that is not blank, all of one size."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._size: int | None = None

    def __call__(self, number: int, line: str) -> Vector | None:
        if not line.strip():
            return None
        vector = self._parsed(number, line)
        self._size = self._size or len(vector)
        if len(vector) != self._size:
            raise DatasetError(
                f"{self.place}, line {number}: the vector has {len(vector)} numbers, the first has {self._size}"
            )
        return vector

    def _parsed(self, number: int, line: str) -> Vector:
        place = f"{self.place}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise DatasetError(f"{place}: not JSON ({exc})") from exc
        if isinstance(value, dict):
            value = value.get("z", value.get("mu"))
        if not isinstance(value, list) or not value or not all(type(each) in (int, float) for each in value):
            raise DatasetError(f"{place}: not an array of numbers, nor an object with one as z or mu")
        if not all(abs(each) <= _LARGEST for each in value):  # NaN is not
            raise DatasetError(f"{place}: {_NO_NUMBER}")
        return [float(each) for each in value]
