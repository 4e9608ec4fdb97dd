"""How the command line shows things: data on stdout, progress and messages on stderr.

Data is one JSON object per line, or a table if stdout is a terminal and ``--json`` is not given. The commands decide
what it is.
"""

import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column as TableColumn
from rich.table import Table
from rich.text import Text

_SHORTEST_STAGE, _BAR_WIDTH = 8, 16  # columns of a narrow terminal; figures beside them may be cut
_LONGEST_CELL = 200  # characters of a list; JSON has all of it
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
Record = dict[str, object]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its header, and the text it shows for a record; ``is_whole`` keeps that on one line."""

    header: str
    show: Callable[[Record], str]
    is_number: bool = False
    is_whole: bool = False


def column(key: str, header: str | None = None) -> Column:
    """Shows a field unchanged."""
    return Column(header or key, lambda record: str(record[key]))


def number(key: str, header: str | None = None, decimals: int = 0) -> Column:
    """Shows a numeric field, right-aligned with a fixed number of decimals."""
    return Column(header or key, lambda record: f"{record[key]:,.{decimals}f}", is_number=True)


def vector(key: str, header: str | None = None) -> Column:
    """Shows the first numbers of a vector and its size."""
    return Column(header or key, lambda record: _shortened(record[key]))


class Output:
    """Stdout of one command."""

    def __init__(self, stdout: TextIO, *, is_json: bool) -> None:
        self._stdout, self.is_json = stdout, is_json

    @property
    def is_terminal(self) -> bool:
        return self._stdout.isatty()

    @classmethod
    def of(cls, wants_json: bool) -> "Output":
        """JSON if requested, or if stdout is not a terminal."""
        return cls(sys.stdout, is_json=wants_json or not sys.stdout.isatty())

    def write_records(self, records: Sequence[Record], columns: Sequence[Column], *, has_header: bool = True) -> None:
        """One line or one table row per record; a table shows ``columns`` only."""
        if self.is_json:
            self._write_json(records)
        else:
            self._write_table([[each.show(record) for each in columns] for record in records], columns, has_header)

    def write_object(self, record: Record, only_in_json: Sequence[str] = ()) -> None:
        """One object: one line, or a table with a row per field, except ``only_in_json``."""
        if self.is_json:
            self._write_json([record])
        else:
            shown = {name: value for name, value in record.items() if name not in only_in_json}
            rows = [[name, _readable(value)] for name, value in _flattened(shown)]
            self._write_table(rows, [column("field", ""), column("value", "")], has_header=False)

    def _write_json(self, records: Sequence[Record]) -> None:
        is_ascii = not is_unicode(self._stdout)
        self._stdout.write("".join(f"{json_line(record, is_ascii=is_ascii)}\n" for record in records))
        self._stdout.flush()

    def _write_table(self, rows: Sequence[Sequence[str]], columns: Sequence[Column], has_header: bool = True) -> None:
        table = Table(show_header=has_header, box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for each in columns:
            justify: Literal["right", "left"] = "right" if each.is_number else "left"
            table.add_column(each.header, justify=justify, overflow="fold", no_wrap=each.is_whole)
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        Console(file=self._stdout).print(table)


def show_lines(lines: Sequence[str]) -> None:
    """Lines of a drawing on stdout, as they are."""
    sys.stdout.write("".join(f"{printable(line)}\n" for line in lines))
    sys.stdout.flush()


class ProgressDisplay(Protocol):
    """Where a long command reports its progress."""

    def update(self, stage: str, done: int, total: int | None, detail: str = "", *, eta_s: float | None = None) -> None:
        """``total`` is None while unknown; without ``eta_s``, the pace so far gives the remaining time."""
        ...

    def say(self, message: str) -> None:
        """One line to the user, beside the progress."""
        ...


class ProgressBars:
    """One bar per stage, on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def update(self, stage: str, done: int, total: int | None, detail: str = "", *, eta_s: float | None = None) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(printable(stage), total=total, detail="", eta_s=None)
        self._progress.update(self._tasks[stage], completed=done, total=total, detail=detail, eta_s=eta_s)

    def say(self, message: str) -> None:
        self._progress.console.print(Text(printable(message)), soft_wrap=True)


class ProgressLines:
    """A plain line at each stage's start and end, and every ``interval_s`` seconds, if stderr is no terminal."""

    def __init__(
        self, stderr: TextIO, *, interval_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stderr, self._interval_s, self._clock = stderr, interval_s, clock
        self._last_s = clock()

    def update(
        self,
        stage: str,
        done: int,
        total: int | None,
        detail: str = "",
        *,
        eta_s: float | None = None,  # noqa: ARG002 - an occasional line says how far, not how long
    ) -> None:
        now_s = self._clock()
        is_start, is_end = done == 0, total is not None and done >= total
        if (is_start and detail) or (not (is_start or is_end) and now_s - self._last_s < self._interval_s):
            return
        self._last_s = now_s
        place = f"{done}/{total}" if total is not None else f"{done or '...'}"
        self._stderr.write(printable(f"{stage} {place}{'  ' if detail else ''}{detail}") + "\n")
        self._stderr.flush()

    def say(self, message: str) -> None:
        self._stderr.write(f"{printable(message)}\n")
        self._stderr.flush()


class _TimeRemaining(TimeRemainingColumn):
    """The given remaining time, or an estimate from the pace so far."""

    def render(self, task: Task) -> Text:
        eta_s: float | None = task.fields["eta_s"]
        if eta_s is None or task.finished:
            return super().render(task)
        return Text(str(timedelta(seconds=round(eta_s))), style="progress.remaining")


class _Detail(ProgressColumn):
    """Figures beside a bar: one line, cut at the terminal's edge."""

    def render(self, task: Task) -> Text:
        return Text(printable(str(task.fields["detail"])), no_wrap=True, overflow="ellipsis")


@contextmanager
def progress_display() -> Iterator[ProgressDisplay]:
    """Bars on a terminal, otherwise plain lines; always on stderr."""
    if not sys.stderr.isatty():
        yield ProgressLines(sys.stderr)
        return
    with Progress(*progress_columns(), console=Console(stderr=True)) as progress:
        yield ProgressBars(progress)


def progress_columns() -> Sequence[ProgressColumn]:
    """The columns of a stage, for a terminal of any width."""
    # Only the details may shrink: rich takes width from columns that may wrap.
    kept = [TableColumn(no_wrap=True, min_width=width) for width in (_SHORTEST_STAGE, _BAR_WIDTH, None, None)]
    return (
        TextColumn("{task.description}", markup=False, table_column=kept[0]),
        BarColumn(_BAR_WIDTH, table_column=kept[1]),
        MofNCompleteColumn(table_column=kept[2]),
        _TimeRemaining(table_column=kept[3]),
        _Detail(),
    )


def printable(text: str) -> str:
    """``text`` as a terminal may be sent it, whoever wrote it: what would steer the terminal, or turn the reading
    direction round, is shown as an escape such as \\u001b."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def json_line(record: Record, *, is_ascii: bool = False) -> str:
    """One object as a line of JSON that a terminal may be sent; a reader of JSON sees no difference."""
    return printable(json.dumps(record, ensure_ascii=is_ascii))


def is_unicode(stream: TextIO) -> bool:
    """Whether a stream takes every character; one without an encoding keeps text as it is."""
    return (stream.encoding or "utf-8").lower().replace("-", "").startswith("utf")


def open_closed_streams() -> None:
    """Gives a process that was started without standard streams empty ones: Python has None in their place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - to the end of the process


def write_whatever_comes() -> None:
    """Makes stdout and stderr show characters that their encoding does not have as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def drop_unwritable_output() -> None:
    """Points stdout at nothing where it takes no more, as on a full disk: Python would fail again as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)


def say(message: str) -> None:
    """One line to the user, on stderr."""
    _to_stderr(Text(printable(message)))


def say_error(message: str) -> None:
    """One line about what went wrong, on stderr."""
    _to_stderr(Text.assemble(("error: ", "bold red"), printable(message)))


def _to_stderr(text: Text) -> None:
    Console(stderr=True).print(text, soft_wrap=True)


def _shortened(value: object) -> str:
    numbers = value if isinstance(value, list) else []
    shown = ", ".join(f"{each:.3f}" for each in numbers[:4])
    return f"[{shown}, ...] ({len(numbers)})" if len(numbers) > 4 else f"[{shown}]"


def _flattened(record: Record, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every field, with dotted names for those of inner objects."""
    for name, value in record.items():
        if isinstance(value, dict) and value:
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _readable(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 4]} ..."
