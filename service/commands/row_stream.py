"""Rows out as they are done, in order: to stdout or into a file, with a bar on stderr, and nothing lost on Ctrl-C."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import typer

from adavae.model.errors import DatasetError, shown
from adavae.service.commands.interrupt import terminated_as_interrupted, to_its_end
from adavae.service.commands.output_lock import sole_writer
from adavae.service.commands.part_options import PartOptions, forget
from adavae.service.commands.row_files import ENDINGS, Forms, RowFile, open_rows, parquet_library, part_of
from adavae.service.commands.source import Source
from adavae.service.commands.terminal import Column, Output, ProgressDisplay, Record, progress_display, say

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the rows of a command go, as its options say.

    Attributes:
        path: The file, or None for stdout; a link stays, and what it leads to is written.
        resume: Go on with what an earlier run left of the file.
        options: What the rows depend on, as ``part_options.shaping`` gives it.
        output: Stdout.
        columns: What a table on it shows.
        forms: What a record is in the file.
        group: Rows that belong to one input.
        read: Files that are read meanwhile, where there are any.
    """

    path: Path | None
    resume: bool
    options: Mapping[str, object]
    output: Output
    columns: Sequence[Column]
    forms: Forms
    group: int = 1
    read: Sequence[Path | None] = ()

    def __post_init__(self) -> None:
        """Raises typer.BadParameter, before anything is computed, where rows could not be written."""
        if self.path is None:
            if self.resume:
                raise typer.BadParameter("--resume goes with --output FILE")
            return
        ending, part = self.path.suffix.lower(), part_of(self.path)
        if ending not in ENDINGS:
            raise typer.BadParameter(f"--output is {self.path}: the ending must be one of {', '.join(ENDINGS)}")
        if not part.parent.is_dir():
            raise typer.BadParameter(f"--output is {self.path}: there is no folder {part.parent}, make it first")
        if any(file is not None and _is_same(file, self.path) for file in self.read):
            raise typer.BadParameter(f"--output is {self.path}, which is read: name another file")
        with sole_writer(self.path):  # else its part looks like something an earlier run has left
            pass
        if part.exists() and not self.resume:
            raise typer.BadParameter(
                f"{part} is there, left by an earlier run: add --resume to go on with it, or remove it"
            )
        if part.exists() and part.stat().st_size:
            self._refuse_other_options(part)
        if ending == ".parquet":
            parquet_library()

    @contextmanager
    def open(self, adapter: str) -> Iterator["Rows"]:
        """Opens it for rows that ``adapter`` makes; a file takes its name where all of them came."""
        if self.path is None:
            is_bar = self.output.is_json and not self.output.is_terminal
            yield Rows(_Shown(self.output, self.columns), adapter, is_bar=is_bar)
            return
        part = part_of(self.path)
        with sole_writer(self.path):
            file = open_rows(self.path, self.forms, group=self.group)
            try:
                if not file.num_found:
                    PartOptions(self.options, adapter).keep(part)
                former = PartOptions.of(part)
                yield Rows(file, adapter, former.adapter if former is not None else None, is_bar=True)
                file.finish(self.path)
            except BaseException:
                file.close()
                self._tell_what_is_left(file)
                raise
            forget(part)
        say(f"{file.num_rows:,} rows are in {self.path}")

    def _tell_what_is_left(self, file: RowFile) -> None:
        assert self.path is not None
        if num := max(file.num_rows, file.num_found):
            say(f"{num:,} rows are in {part_of(self.path)}: repeat the command with --resume to go on")
        else:
            part_of(self.path).unlink(missing_ok=True)
            forget(part_of(self.path))

    def _refuse_other_options(self, part: Path) -> None:
        former = PartOptions.of(part)
        if former is not None and (difference := former.difference(self.options)) is not None:
            raise typer.BadParameter(
                f"the rows in {part} were made {difference}: give the same options, or begin anew with another --output"
            )


def _is_same(file: Path, other: Path) -> bool:
    return file.exists() and other.exists() and file.samefile(other)


class _Shown:
    """Rows on stdout."""

    def __init__(self, output: Output, columns: Sequence[Column]) -> None:
        self._output, self._columns = output, columns
        self.num_rows = self.num_found = 0
        self.last: Record | None = None
        self.found: Record | None = None

    def write(self, records: Sequence[Record]) -> None:
        self._output.write_records(records, self._columns, has_header=self.num_rows == 0)
        self.num_rows += len(records)

    def close(self) -> None:
        """Stdout stays open."""

    def finish(self, path: Path) -> None:
        """Stdout has no name."""


class Rows:
    """Takes the rows of one command."""

    def __init__(self, file: RowFile, adapter: str, former_adapter: str | None = None, *, is_bar: bool) -> None:
        """``adapter`` makes them now, ``former_adapter`` made those of an earlier run, where that is known."""
        self._file, self._is_bar = file, is_bar
        self._adapter, self._former_adapter = adapter, former_adapter

    @property
    def num_rows(self) -> int:
        """Written so far; those of an earlier run are to be passed over."""
        return self._file.num_rows

    def remaining(self, source: Source[T], *, group: int = 1, text_of: Callable[[T], str] | None = None) -> Source[T]:
        """The part of ``source`` that an earlier run did not come to.

        Args:
            source: All of it.
            group: Rows that were written for each input.
            text_of: What a row's ``text`` is, where it says which input the row is of.

        Raises:
            DatasetError: That run had another set or other inputs, as far as the file shows.
        """
        self._expect(self._file.num_found, self._file.found, {"c": (self._file.num_found - 1) // group})
        rest, before = source.after(self.num_rows // group)
        expected: Record = {"adapter": self._adapter}
        if text_of is not None and before is not None:
            expected["text"] = text_of(before)
        kept: Record = {} if self._former_adapter is None else {"adapter": self._former_adapter}
        self._expect(self.num_rows, kept | (self._file.last or {}), expected)
        return rest

    def _expect(self, num: int, row: Record | None, expected: Record) -> None:
        """Raises DatasetError where the earlier run's row ``num`` has another value; a table's are all text."""
        for name, value in expected.items():
            if str(written := (row or {}).get(name, value)) != str(value):
                raise DatasetError(
                    f"row {num:,} of the earlier run has the {name} {shown(written)}, now it would be "
                    f"{shown(value)}: give the same, or begin anew with another --output"
                )

    def take(self, parts: Iterable[list[Record]], stage: str, total: int | None) -> None:
        """Writes each part as it is done; ``total`` is of all rows, None where nobody knows."""
        with ExitStack() as stack:
            stack.enter_context(terminated_as_interrupted())
            display: ProgressDisplay | None = None
            for number, records in enumerate(parts):
                with to_its_end():
                    self._file.write(records)
                is_long = number > 0 if total is None else self.num_rows < total
                if display is None and self._is_bar and is_long:
                    display = stack.enter_context(progress_display())
                if display is not None:
                    display.update(stage, self.num_rows, total)
