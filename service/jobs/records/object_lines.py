"""A history in an object store: objects of some hundred lines each, of which only the last is ever replaced.

    <folder>/000000, <folder>/000001, ...

A line is added by replacing the last object on the condition that it has stayed as it was, or, where that is full, by
making the next one where there is none: so nobody's line is lost, and all see them in one order.
"""

import random
import threading
import time
from dataclasses import dataclass

from adavae.service.jobs.records.line_file import MAX_BYTES
from adavae.service.objects.errors import ObjectChanged, StoreError
from adavae.service.objects.object_store import NotOurs, ObjectStore

_FULL_BYTES = 128 * 1024
_LONGEST_BYTES = 4 * 1024**2  # one line may be long
_ROOM = 2**32  # of positions in one object
_TRIES, _LONGEST_PAUSE_S = 16, 0.5


@dataclass(frozen=True, slots=True)
class _Part:
    """One object as it was seen last."""

    number: int
    content: bytes
    tag: str

    @property
    def is_full(self) -> bool:
        return len(self.content) >= _FULL_BYTES


class ObjectLines:
    """``Lines`` below one folder; used from any thread."""

    def __init__(self, store: ObjectStore, folder: str) -> None:
        self._store, self._folder = store, folder
        self._lock, self._last = threading.Lock(), _Part(0, b"", "")

    def append(self, line: bytes, *, is_durable: bool) -> None:
        del is_durable  # whatever is there is
        for attempt in range(_TRIES):
            try:
                self._add(self._last_part(is_fresh=attempt > 0), line)
            except (FileExistsError, ObjectChanged):
                time.sleep(random.uniform(0.0, min(_LONGEST_PAUSE_S, 0.01 * 2**attempt)))
            else:
                return
        raise StoreError("failed", self._store.address, f"{self._folder} was changed by others {_TRIES} times")

    def read_on(self, position: int) -> tuple[bytes, int]:
        number, offset = divmod(position, _ROOM)
        found = bytearray()
        while number * _FULL_BYTES < MAX_BYTES and (part := self._part(number)) is not None:
            found += part.content[offset:]
            offset = max(offset, len(part.content))
            if not part.is_full:
                break
            number, offset = number + 1, 0
        return bytes(found), number * _ROOM + offset

    def _add(self, last: _Part, line: bytes) -> None:
        if not last.tag:
            new = _Part(last.number, line, self._store.create(self._key(last.number), line))
        else:
            content = last.content + line
            new = _Part(last.number, content, self._store.replace(self._key(last.number), content, last.tag))
        self._remember(new)

    def _last_part(self, *, is_fresh: bool) -> _Part:
        """The object that takes the next line, with an empty tag where it has to be made."""
        with self._lock:
            last = self._last
        if last.tag and not last.is_full and not is_fresh:
            return last
        number = last.number
        while (part := self._part(number)) is not None:
            if not part.is_full:
                return part
            number += 1
        return _Part(number, b"", "")

    def _part(self, number: int) -> _Part | None:
        """An object of the history; None where it is not there, or none of ours."""
        with self._lock:
            last = self._last
        is_last = last.number == number and last.tag != ""
        try:
            found = self._store.newer(self._key(number), last.tag if is_last else None, _LONGEST_BYTES)
        except FileNotFoundError:
            return None
        except NotOurs as exc:
            raise StoreError("failed", self._store.address, f"{self._key(number)} {exc}") from exc
        part = last if found is None else _Part(number, found.content, found.tag)
        self._remember(part)
        return part

    def _remember(self, part: _Part) -> None:
        """The newest object, as it was seen last."""
        with self._lock:
            if part.number >= self._last.number:
                self._last = part

    def _key(self, number: int) -> str:
        return f"{self._folder}/{number:06d}"
