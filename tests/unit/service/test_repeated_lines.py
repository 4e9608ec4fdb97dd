"""A flood of lines that are alike is counted and reported; everything else is written."""

import io
import logging
from typing import Any

from adavae.service.repeated_lines import CountingHandler


class Log:
    def __init__(self) -> None:
        self.now, self.stream = 0.0, io.StringIO()
        self.handler = CountingHandler(self.stream, clock=lambda: self.now)

    def say(self, message: str | dict[str, Any], level: int = logging.WARNING, *args: object) -> None:
        self.handler.handle(logging.LogRecord("adavae", level, "", 0, message, args, None))  # type: ignore[arg-type]

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def test_of_lines_that_are_alike_some_are_written_and_the_rest_is_counted() -> None:
    log = Log()
    for number in range(5000):
        log.say("no connection %d", logging.ERROR, number)
    assert log.lines == [f"no connection {number}" for number in range(20)]
    log.now = 11.0
    log.say("something else")
    assert log.lines[20:] == [
        "4980 more lines like this one were counted, not written: no connection %d",
        "something else",
    ]


def test_a_new_window_begins_anew() -> None:
    log = Log()
    for second in range(100):
        log.now = float(second)
        for _ in range(100):
            log.say("again")
    told = [int(line.split(" ")[0]) for line in log.lines if "counted" in line]
    assert len(log.lines) <= 20 * 11 + 10
    log.handler.close()
    told = [int(line.split(" ")[0]) for line in log.lines if "counted" in line]
    assert sum(told) + log.lines.count("again") == 10_000


def test_what_differs_is_written() -> None:
    log = Log()
    for number in range(100):
        log.say(f"line {number}")
    assert len(log.lines) == 100


def test_requests_are_alike_by_route_and_status_and_those_that_succeed_each_have_a_line() -> None:
    log = Log()
    for status in (200, 401, 429):
        for number in range(50):
            log.say({"event": "request", "status": status, "route": "/encode", "duration_ms": number}, logging.INFO)
    assert sum("'status': 200" in line for line in log.lines) == 50
    assert sum("'status': 401" in line for line in log.lines) == 20
    assert sum("'status': 429" in line for line in log.lines) == 20


def test_kinds_without_end_take_no_memory_without_end() -> None:
    log = Log()
    for number in range(3000):
        log.say(f"kind {number}")
    assert len(log.lines) == 3000
    assert len(log.handler._kinds) <= 500
