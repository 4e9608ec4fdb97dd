"""A job's history under crashes, full disks, frozen workers, and many who write at once."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adavae.service.jobs.records.event_log import EventLog, EventReader, event_id, event_number


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(tmp_path / "events.jsonl")


def messages(log: EventLog) -> list[str]:
    return [event.message for event in log.events()]


def test_events_are_numbered_as_they_happen(log: EventLog) -> None:
    log.append("info", "one")
    log.append("warn", "two", data={"code": "c"})
    log.append("info", "three", attempt=1, kind="metrics", data={"loss": 2.5})
    first, second, third = log.events()
    assert [first.id, second.id, third.id] == [event_id(1), event_id(2), event_id(3)]
    assert (second.level, second.data) == ("warn", {"code": "c"})
    assert (third.type, third.data) == ("metrics", {"loss": 2.5})


def test_reading_goes_on_where_it_ended(tmp_path: Path, log: EventLog) -> None:
    reader = EventReader(tmp_path / "events.jsonl")
    assert reader.read() == []
    log.append("info", "one")
    assert [event.id for event in reader.read()] == [event_id(1)]
    assert reader.read() == []
    log.append("info", "two")
    assert [(event.id, event.message) for event in reader.read()] == [(event_id(2), "two")]


@pytest.mark.parametrize(
    "torn", [b'{"attempt": 0, "event": {"creat', b'{"id": "no event"}\n', b"\0\0\0\0", b"\xff\n[1]\n"]
)
def test_a_torn_line_is_passed_over_and_takes_no_number(tmp_path: Path, log: EventLog, torn: bytes) -> None:
    log.append("info", "one")
    reader = EventReader(tmp_path / "events.jsonl")
    reader.read()
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(torn)
    assert reader.read() == []
    log.append("info", "two")
    assert [event.id for event in reader.read()] == [event_id(2)]
    assert [event.id for event in log.events()] == [event_id(1), event_id(2)]


def test_a_line_is_not_read_before_it_is_whole(tmp_path: Path, log: EventLog) -> None:
    log.append("info", "one")
    path, reader = tmp_path / "events.jsonl", EventReader(tmp_path / "events.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert reader.read() == []
    path.write_bytes(whole)
    assert [event.message for event in reader.read()] == ["one"]


def test_what_a_superseded_attempt_says_late_is_passed_over(log: EventLog) -> None:
    log.append("info", "first begins", attempt=1)
    log.append("info", "second begins", attempt=2)
    log.append("info", "late", attempt=1)
    log.append("info", "second goes on", attempt=2)
    assert messages(log) == ["first begins", "second begins", "second goes on"]
    assert log.events()[-1].id == event_id(3)


def test_many_can_write_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: EventLog(tmp_path / "e").append("info", f"{number}" * 500), range(200)))
    told = messages(EventLog(tmp_path / "e"))
    assert sorted(told) == sorted(f"{number}" * 500 for number in range(200))


def test_a_full_disk_costs_one_event(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append("info", "one")
    whole, num_writes = os.write, 0

    def write_half(descriptor: int, content: bytes) -> int:
        nonlocal num_writes
        num_writes += 1
        if num_writes > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(descriptor, content[:20])

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(os, "write", write_half)
        log.append("info", "two")
    assert messages(log) == ["one"]
    log.append("info", "three")
    assert messages(log) == ["one", "three"]


def test_messages_of_any_length_are_cut(log: EventLog) -> None:
    log.append("error", "\N{GRINNING FACE}" * 100_000)
    assert messages(log) == ["\N{GRINNING FACE}" * 2000]


@pytest.mark.parametrize("text", ["", "1", "ftevent-", "ftevent-x", "ftevent-\u0663", "ftevent--1"])
def test_what_is_no_event_id_has_no_number(text: str) -> None:
    assert event_number(text) is None
