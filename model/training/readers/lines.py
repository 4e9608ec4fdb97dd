"""The lines of a text file, numbered: UTF-8, or UTF-16 where a mark says so; every kind of line end."""

import codecs
import io
from collections.abc import Iterator
from pathlib import Path

from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import Bounds
from adavae.model.training.readers.packed import chunks

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)  # the first begins with UTF-16's mark
_LINES_A_QUESTION = 1000


def characters(path: Path, bounds: Bounds) -> Iterator[str]:
    """The text, some of it at a time, with every line end as a line feed and without a mark at its start.

    Raises:
        DatasetError: It cannot be read, is too large, holds a NUL character, or is of another encoding.
    """
    decoder, encoding = io.IncrementalNewlineDecoder(None, translate=True), ""
    num_lines = 0
    decoding: codecs.IncrementalDecoder = codecs.getincrementaldecoder("utf-8")()
    for chunk in _ended(chunks(path, bounds)):
        content = chunk
        if not encoding:
            if content.startswith(_UTF_32):
                raise DatasetError(f"{path}:1: is UTF-32: {_convert(path, 'UTF-32')}")
            mark, encoding = next((each for each in _MARKS if content.startswith(each[0])), (b"", "utf-8"))
            decoding = codecs.getincrementaldecoder(encoding)()
            content = content.removeprefix(mark)
        try:
            decoded = decoding.decode(content, final=not chunk)
        except UnicodeDecodeError as exc:
            before = decoder.decode(exc.object[: exc.start].decode(encoding, "replace"))
            line = num_lines + before.count("\n") + 1
            raise DatasetError(f"{path}:{line}: {_undecodable(path, exc, encoding)}") from exc
        text = decoder.decode(decoded, final=not chunk)
        if "\0" in text:
            line = num_lines + text[: text.index("\0")].count("\n") + 1
            told = f"holds a NUL character, as UTF-16 without a mark does: {_convert(path, 'UTF-16LE')}"
            raise DatasetError(f"{path}:{line}: {told}")
        num_lines += text.count("\n")
        yield text


def lines(path: Path, bounds: Bounds) -> Iterator[tuple[int, str]]:
    """Every line with its number, from 1, without its end; raises as ``characters`` does, and for lines out of bounds.

    Never more than one line and one chunk is held.
    """
    number, begun = 0, ""
    for text in characters(path, bounds):
        *whole, rest = text.split("\n")
        for line in whole:
            number += 1
            yield number, _within(path, number, begun + line if begun else line, bounds)
            begun = ""
        begun += rest
        if len(begun) > bounds.max_line_bytes:
            raise DatasetError(f"{path}:{number + 1}: {bounds.too_long()}")
    if begun:
        yield number + 1, _within(path, number + 1, begun, bounds)


def is_longer(text: str, limit: int) -> bool:
    """Whether ``text`` has more than so many bytes in UTF-8."""
    return len(text) > limit or (len(text) * 4 > limit and num_bytes(text) > limit)


def num_bytes(text: str) -> int:
    """Of a text without half surrogates, in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def _ended(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces, and an empty one behind them."""
    yield from pieces
    yield b""


def _within(path: Path, number: int, line: str, bounds: Bounds) -> str:
    if number % _LINES_A_QUESTION == 1:
        bounds.ask()
    if number > bounds.max_lines and line:
        raise DatasetError(f"{path}: {bounds.too_many()}")
    if is_longer(line, bounds.max_line_bytes):
        raise DatasetError(f"{path}:{number}: {bounds.too_long()}")
    return line


def _undecodable(path: Path, exc: UnicodeDecodeError, encoding: str) -> str:
    byte = exc.object[exc.start]
    return f"is not {encoding.upper().removesuffix('-LE').removesuffix('-BE')} (byte 0x{byte:02x}): {_convert(path)}"


def _convert(path: Path, encoding: str = "WINDOWS-1252") -> str:
    return (
        f"convert the file, perhaps by `iconv -f {encoding} -t UTF-8 {path} > converted{path.suffix}`, with the name "
        "of the encoding it was saved in"
    )
