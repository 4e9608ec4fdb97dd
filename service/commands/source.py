"""What a command works through, some rows at a time: arguments, a file or standard input, never all of it in memory.

What standard input has is taken as it comes: rows that are there go on at once, none waits for a batch to fill.
"""

import codecs
import io
import select
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Generic, TypeVar

from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import ORDINARY

_READ_BYTES = 64 * 1024
T = TypeVar("T")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """Rows in order, and how many there are; None where that shows at their end only."""

    batches: Iterator[list[T]]
    total: int | None

    @classmethod
    def of(cls, rows: Iterable[T], total: int | None, size: int) -> "Source[T]":
        """Rows of an iterable, ``size`` at a time."""
        iterator = iter(rows)
        return cls(iter(lambda: list(islice(iterator, size)), []), total)

    def begun(self) -> "Source[T]":
        """The same with its first batch read: what is wrong with it is told before anything is loaded."""
        first = next(self.batches, None)
        return Source(self.batches if first is None else chain([first], self.batches), self.total)

    def after(self, num: int) -> tuple["Source[T]", T | None]:
        """What comes behind the first ``num`` rows, and the last of those.

        Raises:
            DatasetError: There are fewer.
        """
        left, last, rest = num, None, self.batches
        while left > 0:
            batch = next(rest, None)
            if batch is None:
                raise DatasetError(f"the input has {num - left:,} rows, but {num:,} are written already: give the same")
            last = batch[min(left, len(batch)) - 1]
            if left < len(batch):
                rest = chain([batch[left:]], rest)
            left -= len(batch)
        return Source(rest, None if self.total is None else self.total - num), last


def numbered(batches: Iterable[list[T]], start: int) -> Iterator[tuple[int, list[T]]]:
    """Each batch behind the number of its first row; the first of all is ``start``."""
    for batch in batches:
        yield start, batch
        start += len(batch)


def arriving_lines(make: Callable[[int, str], Made | None], size: int) -> Iterator[list[Made]]:
    """Standard input, line by line: as many as are there, up to ``size``, waiting for no more than one.

    Args:
        make: A row from a line's number, from 1, and the line without its end; None passes over it.
        size: The most rows at once.

    Raises:
        DatasetError: A line is not UTF-8, or too long.
    """
    number, ready = 0, list[Made]()
    try:
        for lines, is_more_there in _pieces():
            for line in lines:
                number += 1
                if (row := make(number, line)) is not None:
                    ready.append(row)
                if len(ready) == size:
                    yield ready
                    ready = []
            if ready and not is_more_there():
                yield ready
                ready = []
    except DatasetError:
        if ready:  # the lines before the one that is wrong
            yield ready
        raise
    if ready:
        yield ready


def _pieces() -> Iterator[tuple[list[str], Callable[[], bool]]]:
    """Whole lines as they are read, and whether more could be read without waiting."""
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:  # another program's stand-in for it
        yield [line.rstrip("\r\n") for line in sys.stdin], lambda: False
        return
    decode, ends = codecs.getincrementaldecoder("utf-8")().decode, io.IncrementalNewlineDecoder(None, translate=True)
    begun, number, chunk = "", 0, b"."
    while chunk:
        chunk = stream.read1(_READ_BYTES)
        try:
            text = ends.decode(decode(chunk, final=not chunk), final=not chunk)
        except UnicodeDecodeError as exc:
            good = ends.decode(exc.object[: exc.start].decode())
            yield (begun + good).split("\n")[:-1], lambda: False
            line = number + 1 + exc.object[: exc.start].count(b"\n")
            raise DatasetError(
                f"standard input, line {line}: is not UTF-8 (byte 0x{exc.object[exc.start]:02x}): convert it, perhaps "
                "by `iconv -f WINDOWS-1252 -t UTF-8`"
            ) from exc
        *lines, begun = (begun + text.removeprefix("\ufeff") if number == 0 else begun + text).split("\n")
        number += len(lines)
        if len(begun) > ORDINARY.max_line_bytes:
            raise DatasetError(f"standard input, line {number + 1}: {ORDINARY.too_long()}")
        if not chunk and begun:
            lines.append(begun)
        yield lines, lambda: bool(select.select([stream], [], [], 0)[0])
