"""What commands read: texts from arguments, a file or standard input, and latent vectors as JSON lines."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from adavae.model.cleaning import clean
from adavae.model.errors import DatasetError
from adavae.model.training.readers.columns import Columns
from adavae.model.training.readers.packed import split_ending
from adavae.model.training.readers.reading import READERS, rows_of
from adavae.model.training.readers.row import Skipped
from adavae.model.training.readers.text_rows import text_rows
from adavae.service.commands.terminal import say

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


def read_texts(arguments: list[str] | None, file: Path | None, text_column: str | None = None) -> list[str]:
    """The texts of one command line, cleaned.

    Args:
        arguments: Texts, or ``-`` for standard input.
        file: Where texts are, one a line or in a file of a kind that training reads.
        text_column: The column of the texts in ``file``; guessed if left out.

    Raises:
        typer.BadParameter: There is no text, more than one source of texts, or an empty text.
        DatasetError: A text is empty, or the file cannot be read.
    """
    texts = arguments or []
    if bool(texts) == (file is not None):
        raise typer.BadParameter("give texts, or '-' for lines on standard input, or --file: one of them")
    if file is not None:
        return read_file(file, text_column)
    if text_column is not None:
        raise typer.BadParameter("--text-column goes with --file")
    if texts == ["-"]:
        return _checked(sys.stdin, "standard input")
    refuse_empty(*texts)
    return [clean(text) for text in texts]


def refuse_empty(*texts: str) -> None:
    """Raises typer.BadParameter if a text is empty."""
    if any(not clean(text) for text in texts):
        raise typer.BadParameter("a text is empty")


def read_vectors() -> list[list[float]]:
    """Latent vectors from standard input: each line is an array, or an object with one as ``z`` or ``mu``.

    Raises:
        typer.BadParameter: Standard input is a terminal.
        DatasetError: A line is not a vector, or the vectors differ in size.
    """
    if sys.stdin.isatty():
        raise typer.BadParameter("give --samples N, or latent vectors on standard input, one JSON array a line")
    vectors = [_vector(line, number) for number, line in enumerate(sys.stdin, start=1) if line.strip()]
    if not vectors:
        raise DatasetError("standard input holds no latent vector: give one JSON array a line")
    for number, each in enumerate(vectors, start=1):
        if len(each) != len(vectors[0]):
            raise DatasetError(f"vector {number} has {len(each)} numbers, the first has {len(vectors[0])}")
    return vectors


def read_file(file: Path, text_column: str | None = None) -> list[str]:
    """The texts of a file, cleaned; of one with an ending that says nothing, one a line.

    Raises:
        DatasetError: As ``read_texts`` does.
    """
    skipped = Skipped()
    texts = []
    for row in rows_of(file, skipped, Columns(text=text_column), otherwise=text_rows):
        if not row.text:
            raise DatasetError(f"{file}, line {row.line}: the text is empty")
        texts.append(row.text)
    if skipped.first_blank_line and split_ending(file)[0] not in READERS.keys() - {".txt"}:
        raise DatasetError(
            f"{file}, line {skipped.first_blank_line}: the line is empty"
        )  # results have the lines' order
    if not texts:
        raise DatasetError(f"{file} holds no text")
    for note in skipped.notes():
        say(note)
    return texts


def _checked(lines: Iterable[str], source: str) -> list[str]:
    texts = [clean(line) for line in lines]
    for number, text in enumerate(texts, start=1):
        if not text:
            raise DatasetError(f"{source}, line {number}: the line is empty")
    if not texts:
        raise DatasetError(f"{source} holds no text")
    return texts


def _vector(line: str, number: int) -> list[float]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as exc:
        raise DatasetError(f"standard input, line {number}: not JSON ({exc.msg})") from exc
    if isinstance(value, dict):
        value = value.get("z", value.get("mu"))
    is_vector = isinstance(value, list) and all(type(each) in (int, float) for each in value)
    if not is_vector or not value:
        raise DatasetError(f"standard input, line {number}: not an array of numbers, nor an object with one as z or mu")
    return [float(each) for each in value]
