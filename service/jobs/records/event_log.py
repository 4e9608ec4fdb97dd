"""A job's history: one JSON object a line, appended by anybody at any time, read in order.

Nobody holds a lock for an append, or a worker that is frozen in the middle of one would stop its job for good. So an
event's number is its place among the lines, one that a crash or a full disk tore off is passed over, and so is what an
attempt says after a later one has begun, or after the job's end.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from adavae.service.jobs.records.decoding import decoded
from adavae.service.jobs.records.job import STRICT, JobEvent
from adavae.service.jobs.records.job_records import Lines
from adavae.service.jobs.records.line_file import LineFile
from adavae.service.jobs.records.volume_file import NotReadable

_PREFIX = "ftevent-"
_LONGEST_MESSAGE = 2000

Level = Literal["info", "warn", "error"]
Kind = Literal["message", "metrics"]


@dataclass(frozen=True, slots=True)
class _UnnumberedEvent:
    """An event without its number."""

    created_at: int
    level: Level
    type: Kind
    message: str
    data: Mapping[str, Any]

    __pydantic_config__ = STRICT

    def as_event(self, number: int) -> JobEvent:
        return JobEvent(
            id=event_id(number),
            created_at=self.created_at,
            level=self.level,
            type=self.type,
            message=self.message,
            data=self.data,
        )


@dataclass(frozen=True, slots=True)
class _EventLine:
    """One line of the file."""

    attempt: int
    event: _UnnumberedEvent
    ending: int | None = None

    __pydantic_config__ = STRICT


_LINE = TypeAdapter(_EventLine)


def event_line(
    level: Level,
    message: str,
    *,
    attempt: int = 0,
    kind: Kind = "message",
    data: Mapping[str, Any] | None = None,
    ending: int | None = None,
) -> bytes:
    """An event as a line of a history; the arguments are those of ``EventLog.append``."""
    event = {
        "created_at": int(time.time()),
        "level": level,
        "type": kind,
        "message": message[:_LONGEST_MESSAGE],
        "data": data or {},
    }
    about = {"attempt": attempt} if ending is None else {"attempt": attempt, "ending": ending}
    return (json.dumps({**about, "event": event}) + "\n").encode()


class EventLog:
    """The history of one job."""

    def __init__(self, lines: Lines | Path) -> None:
        """A path is that of a file of lines."""
        self._lines = LineFile(lines) if isinstance(lines, Path) else lines

    def append(
        self,
        level: Level,
        message: str,
        *,
        attempt: int = 0,
        kind: Kind = "message",
        data: Mapping[str, Any] | None = None,
        ending: int | None = None,
    ) -> None:
        """Adds an event.

        Args:
            level: How bad it is.
            message: For people; what is longer than 2,000 characters is cut.
            attempt: Whose event it is.
            kind: Messages are on the disk when this returns, metrics soon after.
            data: What the message is about, or the figures.
            ending: Which of the job's last events this is, from 0.

        Raises:
            OSError: The disk took no more.
        """
        line = event_line(level, message, attempt=attempt, kind=kind, data=data, ending=ending)
        self._lines.append(line, is_durable=kind == "message")

    def events(self) -> list[JobEvent]:
        """All of it, oldest first."""
        return EventReader(self._lines).read()


class EventReader:
    """Reads a history from its beginning, and later what has come since."""

    def __init__(self, lines: Lines | Path) -> None:
        """A path is that of a file of lines."""
        self._lines = LineFile(lines) if isinstance(lines, Path) else lines
        self._position = self._number = self._attempt = self._num_endings = 0

    @property
    def num_endings(self) -> int:
        """How many of the job's last events have been read."""
        return self._num_endings

    def read(self) -> list[JobEvent]:
        """Every event since the last call, oldest first."""
        whole, self._position = self._lines.read_on(self._position)
        return [event for line in whole.splitlines() if (event := self._event_in(line)) is not None]

    def end(self, level: Level, message: str, data: Mapping[str, Any], created_at: int) -> JobEvent:
        """The next of the job's last events, where a crash kept it out of the file."""
        self._number, self._num_endings = self._number + 1, self._num_endings + 1
        return JobEvent(
            id=event_id(self._number), created_at=created_at, level=level, type="message", message=message, data=data
        )

    def _event_in(self, line: bytes) -> JobEvent | None:
        """The event of a line; None for a torn one, and for one that comes too late to count."""
        try:
            found = decoded(_LINE, line)
        except NotReadable:
            return None
        attempt, ending, event = found.attempt, found.ending, found.event.as_event(self._number + 1)
        if attempt < self._attempt or (self._num_endings if ending is None else ending != self._num_endings):
            return None
        self._number, self._attempt = self._number + 1, attempt
        self._num_endings += ending is not None
        return event


def event_id(number: int) -> str:
    return f"{_PREFIX}{number:09d}"


def event_number(event: str) -> int | None:
    """The number in an event's id; None where it is no such id."""
    digits = event.removeprefix(_PREFIX)
    return int(digits) if event.startswith(_PREFIX) and digits.isascii() and digits.isdigit() else None
