"""The records of jobs on a shared volume.

<root>/<job id>/job.json          the record, always replaced whole
<root>/<job id>/events.jsonl      its history
<root>/<job id>/lock              held for every change of the record
<root>/<job id>/setbacks.json     how often it failed since its newest checkpoint
<root>/<job id>/attempts/<n>/     what the n-th worker that took the job up writes, and nobody else
<root>/.keys/<sha256>.json        which job an idempotency key made
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from adavae.model.storage.atomic import publish_directory, remove_leftovers, staging_directory, write_atomically
from adavae.service.jobs.records.attempt_files import (
    PROGRESS,
    attempt_directory,
    discard_checkpoints,
    inherit,
    newest_step,
    replace_progress,
)
from adavae.service.jobs.records.decoding import MAX_RECORD_BYTES, decoded_object
from adavae.service.jobs.records.job_records import Kept, NewestWhole, Setback
from adavae.service.jobs.records.line_file import LineFile
from adavae.service.jobs.records.volume_file import NotReadable, read_regular
from adavae.service.jobs.records.volume_lock import locked

_RECORD, _HISTORY, _LEASE, _KEYS = "job.json", "events.jsonl", "lease.json", ".keys"


class VolumeJobs:
    """``JobRecords`` below one directory."""

    has_locks = True

    def __init__(self, root: Path) -> None:
        self.root = root

    def ids(self) -> list[str]:
        return [path.name for path in self.root.iterdir()] if self.root.is_dir() else []

    def unsettled_ids(self) -> list[str]:
        return self.ids()

    def settle(self, job_id: str) -> None:
        discard_checkpoints(self.root / job_id)

    def creating(self) -> AbstractContextManager[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        return locked(self.root / ".lock")

    def owners(self) -> Mapping[str, str]:
        """None: a record is read as fast as a mark would be."""
        return {}

    def create(self, job_id: str, content: bytes, lines: Sequence[bytes], owner: str | None = None) -> None:
        del owner
        remove_leftovers(self.root)  # of a process that was killed: whoever is here has the lock of ``creating``
        with staging_directory(self.root) as staging:
            (staging / "lock").touch()
            (staging / "attempts").mkdir()
            history = LineFile(staging / _HISTORY)
            for line in lines:
                history.append(line, is_durable=True)
            write_atomically(staging / _RECORD, content)
            publish_directory(staging, self.root / job_id)

    def read_key(self, name: str, max_bytes: int) -> bytes:
        return read_regular(self._key(name), max_bytes)

    def write_key(self, name: str, content: bytes, is_in_use: Callable[[bytes], bool]) -> bytes:
        del is_in_use  # nobody else writes while this one holds the lock
        self._key(name).parent.mkdir(exist_ok=True)
        write_atomically(self._key(name), content)
        return content

    def has(self, job_id: str) -> bool:
        return (self.root / job_id).is_dir()

    def changing(self, job_id: str, timeout_s: float) -> AbstractContextManager[None]:
        return locked(self.root / job_id / "lock", timeout_s=timeout_s)

    def read(self, job_id: str, max_bytes: int) -> Kept:
        return Kept(read_regular(self.root / job_id / _RECORD, max_bytes))

    def replace(self, job_id: str, content: bytes, tag: str) -> str:
        write_atomically(self.root / job_id / _RECORD, content)
        return tag

    def lines(self, job_id: str) -> LineFile:
        return LineFile(self.root / job_id / _HISTORY)

    def count_setback(self, job_id: str, what: Setback, attempt: int) -> int:
        """Kept beside the record, under whose lock this is."""
        del attempt
        path, step = self.root / job_id / "setbacks.json", self.newest_step(job_id)
        try:
            known = decoded_object(read_regular(path, MAX_RECORD_BYTES))
        except (FileNotFoundError, NotReadable):
            known = {}
        counts = {"step": step}
        if known.get("step") == step:
            counts |= {name: count for name, count in known.items() if isinstance(count, int) and 0 <= count < 1000}
        counts[what] = counts.get(what, 0) + 1
        write_atomically(path, json.dumps(counts).encode())
        return counts[what]

    def newest_step(self, job_id: str) -> int:
        return newest_step(self.root / job_id)

    def begin(self, job_id: str, attempt: int, lease: bytes) -> Path:
        directory = self._attempt(job_id, attempt)
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(directory / _LEASE, lease)
        return directory

    def leave(self, job_id: str, attempt: int) -> None:
        """It stays: others go on from it."""

    def left_here(self) -> Sequence[tuple[str, int]]:
        """None: what is here is everybody's."""
        return ()

    def inherit(self, job_id: str, attempt: int, newest_whole: NewestWhole) -> Path | None:
        return inherit(self.root / job_id, attempt, newest_whole)

    def stamp(self, job_id: str, attempt: int) -> int:
        """The time of change of its lease."""
        try:
            return (self._attempt(job_id, attempt) / _LEASE).lstat().st_mtime_ns
        except OSError:  # a lease that cannot be seen is one that nobody renews
            return 0

    def renew(self, job_id: str, attempt: int) -> None:
        """Needs neither lock nor room on the disk."""
        os.utime(self._attempt(job_id, attempt) / _LEASE)

    def write_progress(self, job_id: str, attempt: int, content: bytes) -> None:
        replace_progress(self._attempt(job_id, attempt), content)

    def read_progress(self, job_id: str, attempt: int, max_bytes: int) -> bytes:
        return read_regular(self._attempt(job_id, attempt) / PROGRESS, max_bytes)

    def _attempt(self, job_id: str, attempt: int) -> Path:
        return attempt_directory(self.root / job_id, attempt)

    def _key(self, name: str) -> Path:
        return self.root / _KEYS / f"{name}.json"
