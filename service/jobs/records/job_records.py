"""What the records of jobs need of the place where they are: a shared volume, or an object store.

On a volume a lock is held around a change of a record, and replacing it always succeeds. In an object store nobody has
a lock: a record is replaced on the condition that it is still the one that was read, and a change that comes too late
is made again on what is there by then. Contents are bytes here; what they mean is for ``job_store`` and ``claims``.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Setback = Literal["crashes", "lost_workers"]
NewestWhole = Callable[[Path], Path | None]
"""Finds the newest undamaged checkpoint in a directory of them."""


def owner_mark(owner: str | None) -> str:
    """An owner's name as a part of a key, and ``nobody`` for none."""
    return "nobody" if owner is None else hashlib.sha256(owner.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Kept:
    """A record's bytes, and what they may be replaced under; that is empty on a volume."""

    content: bytes
    tag: str = ""


class Lines(Protocol):
    """A history: lines that anybody appends at any time."""

    def append(self, line: bytes, *, is_durable: bool) -> None:
        """Adds a line, which ends in a line feed, after all that are there.

        Args:
            line: The line.
            is_durable: Whether it must survive a power cut.

        Raises:
            OSError: The place took no more.
        """
        ...

    def read_on(self, position: int) -> tuple[bytes, int]:
        """The whole lines from a position on, and the position after them; 0 is the beginning.

        Raises:
            OSError: The place does not give them.
        """
        ...


class JobRecords(Protocol):
    """Every job of one place. All methods wait for it, and raise OSError where it cannot be used.

    ``job_id`` is an id already, and never a path.
    """

    @property
    def root(self) -> Path:
        """Where this machine keeps what attempts write, a directory for each job."""
        ...

    @property
    def has_locks(self) -> bool: ...

    def ids(self) -> list[str]:
        """Every job, in no order; there may be other names among them."""
        ...

    def unsettled_ids(self) -> list[str]:
        """Those that were not settled yet, and perhaps others."""
        ...

    def settle(self, job_id: str) -> None:
        """A job is finished: its checkpoints go."""
        ...

    def creating(self) -> AbstractContextManager[None]:
        """Held while a job is made, where there are locks; raises JobBusy."""
        ...

    def owners(self) -> Mapping[str, str]:
        """What ``owner_mark`` gives of each job's owner; without the jobs of which only their record says whose."""
        ...

    def create(self, job_id: str, content: bytes, lines: Sequence[bytes], owner: str | None = None) -> None:
        """A new job with its record and the first lines of its history, there whole or not at all.

        Raises:
            FileExistsError: There is such a job (in an object store; on a volume the lock keeps that from happening).
            StorageFull: The place took no more.
        """
        ...

    def read_key(self, name: str, max_bytes: int) -> bytes:
        """What an idempotency key was used for; raises FileNotFoundError and NotReadable."""
        ...

    def write_key(self, name: str, content: bytes, is_in_use: Callable[[bytes], bool]) -> bytes:
        """Remembers that, unless what somebody else wrote in the meantime ``is_in_use``; returns what stands there."""
        ...

    def has(self, job_id: str) -> bool:
        """Whether there may be such a job; where that costs a question to the store, it is not asked."""
        ...

    def changing(self, job_id: str, timeout_s: float) -> AbstractContextManager[None]:
        """Held around a change, where there are locks; raises JobBusy."""
        ...

    def read(self, job_id: str, max_bytes: int) -> Kept:
        """The record; raises FileNotFoundError and NotReadable."""
        ...

    def replace(self, job_id: str, content: bytes, tag: str) -> str:
        """Replaces the record that was read under ``tag``; returns the new one's.

        Raises:
            ObjectChanged: It is another one by now.
            StorageFull: The place took no more.
        """
        ...

    def lines(self, job_id: str) -> Lines:
        """The job's history."""
        ...

    def count_setback(self, job_id: str, what: Setback, attempt: int) -> int:
        """One more since the newest checkpoint became newer; returns how many there are by now."""
        ...

    def newest_step(self, job_id: str) -> int:
        """How far the checkpoints of any attempt go; -1 where there is none."""
        ...

    def begin(self, job_id: str, attempt: int, lease: bytes) -> Path:
        """A new attempt: its lease is there; returns the directory on this machine that it writes into."""
        ...

    def leave(self, job_id: str, attempt: int) -> None:
        """An attempt has ended on this machine, whose disk may be needed for others."""
        ...

    def left_here(self) -> Sequence[tuple[str, int]]:
        """Jobs and attempts whose files are on this machine though no worker that lives is at them."""
        ...

    def inherit(self, job_id: str, attempt: int, newest_whole: NewestWhole) -> Path | None:
        """Begins an attempt with the newest whole checkpoint of those before it, in its directory, and its metrics.

        Returns:
            That checkpoint; None where there is none.
        """
        ...

    def stamp(self, job_id: str, attempt: int) -> int:
        """A number that changes with every sign of life; 0 where there is no lease."""
        ...

    def renew(self, job_id: str, attempt: int) -> None:
        """Gives a sign of life."""
        ...

    def write_progress(self, job_id: str, attempt: int, content: bytes) -> None:
        """Replaces an attempt's figures; they need not survive a power cut."""
        ...

    def read_progress(self, job_id: str, attempt: int, max_bytes: int) -> bytes:
        """Raises FileNotFoundError and NotReadable."""
        ...
