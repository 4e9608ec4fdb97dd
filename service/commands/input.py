"""What commands read: texts from arguments, a file or standard input, and latent vectors as JSON lines."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from adavae.model.errors import DatasetError

TextsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; '-' reads one a line from standard input.")
]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", "-f", exists=True, dir_okay=False, readable=True, help="Read one text a line from here."),
]


def read_texts(arguments: list[str] | None, file: Path | None) -> list[str]:
    """The texts of one command line.

    Raises:
        typer.BadParameter: There is no text, more than one source of texts, or an empty text.
        DatasetError: A line is empty, or the file is not UTF-8.
    """
    texts = arguments or []
    if bool(texts) == (file is not None):
        raise typer.BadParameter("give texts, or '-' for lines on standard input, or --file: one of them")
    if file is not None:
        return read_file(file)
    if texts == ["-"]:
        return _checked(sys.stdin, "standard input")
    refuse_empty(*texts)
    return texts


def refuse_empty(*texts: str) -> None:
    """Raises typer.BadParameter if a text is empty."""
    if any(not text.strip() for text in texts):
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


def read_file(file: Path) -> list[str]:
    """The texts of a file, one a line; raises DatasetError as ``read_texts`` does."""
    try:
        with file.open(encoding="utf-8") as lines:
            return _checked(lines, str(file))
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{file} is not UTF-8 text (byte {exc.start})") from exc


def _checked(lines: Iterable[str], source: str) -> list[str]:
    texts = [line.rstrip("\r\n") for line in lines]
    for number, text in enumerate(texts, start=1):
        if not text.strip():
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
