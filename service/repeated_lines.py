"""A log that a flood cannot fill: of lines that are alike some are written, the others only counted.

Successful requests are never counted: each has its line.
"""

import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TextIO

_WINDOW_S = 10.0
_MOST = 20  # alike, within a window
_KINDS = 500  # of lines that are remembered


@dataclass(slots=True)
class _Kind:
    since: float
    example: logging.LogRecord
    num_written: int = 0
    num_counted: int = 0


class CountingHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream, as its parent does."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._kinds: dict[Hashable, _Kind] = {}
        self._looked_at = clock()

    def emit(self, record: logging.LogRecord) -> None:
        now = self._clock()
        self._report_past(now)
        likeness = _likeness(record)
        if likeness is None:
            super().emit(record)
            return
        kind = self._kinds.setdefault(likeness, _Kind(now, record))
        if kind.num_written < _MOST:
            kind.num_written += 1
            super().emit(record)
        else:
            kind.num_counted += 1

    def close(self) -> None:
        """Writes first what was counted."""
        self._report_past(float("inf"))
        super().close()

    def _report_past(self, now: float) -> None:
        """Reports and forgets the kinds whose window is over; looks for them once in a window."""
        if now - self._looked_at < _WINDOW_S and len(self._kinds) < _KINDS:
            return
        self._looked_at = now
        is_full = len(self._kinds) >= _KINDS
        for likeness, kind in list(self._kinds.items()):
            if is_full or now - kind.since >= _WINDOW_S:
                del self._kinds[likeness]
                self._report(kind)

    def _report(self, kind: _Kind) -> None:
        if kind.num_counted:
            example = kind.example
            text = f"{kind.num_counted} more lines like this one were counted, not written: {_event(example)}"
            super().emit(logging.LogRecord(example.name, example.levelno, "", 0, text, None, None))


def _likeness(record: logging.LogRecord) -> Hashable:
    """Equal for lines that say the same of different things; None for lines that are all written."""
    fields = record.msg if isinstance(record.msg, dict) else {}
    status = fields.get("status")
    if isinstance(status, int) and status < 400:
        return None
    return record.name, record.levelno, _event(record), status, fields.get("route")


def _event(record: logging.LogRecord) -> str:
    """What a line is about, without what differs from one to the next."""
    return str(record.msg.get("event")) if isinstance(record.msg, dict) else str(record.msg)
