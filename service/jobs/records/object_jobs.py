"""The records of jobs in an object store.

    jobs/<job id>/job.json                    the record, replaced on the condition that it has stayed as it was
    jobs/<job id>/events/<number>             its history
    jobs/<job id>/setbacks/<what>-<step>-<n>  attempt n failed, when the checkpoints went to that step
    jobs/<job id>/attempts/<n>/               lease, progress, metrics and checkpoints of the n-th attempt
    unsettled/<job id>                        a mark on each job whose end may still want something
    owned/<owner_mark>/<job id>               a mark that says whose each job is, so that nobody has to read its record
    keys/<sha256>                             which job an idempotency key made

What an attempt writes while it trains lies on its machine's disk, in a directory that its worker keeps locked;
``sent_checkpoints`` brings the checkpoints here.
"""

import hashlib
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from adavae.model.storage.atomic import write_atomically, write_chunks_atomically
from adavae.model.training.checkpoint_name import step_of
from adavae.service.jobs.records.attempt_files import CHECKPOINTS, METRICS, PROGRESS, attempt_directory
from adavae.service.jobs.records.job_errors import JobBusy
from adavae.service.jobs.records.job_records import Kept, NewestWhole, Setback, owner_mark
from adavae.service.jobs.records.object_lines import ObjectLines
from adavae.service.jobs.records.volume_file import NotReadable
from adavae.service.jobs.records.volume_lock import VolumeLock
from adavae.service.objects.errors import ObjectChanged
from adavae.service.objects.object_store import Listed, NotOurs, ObjectStore

_RECORD, _LEASE = "job.json", "lease.json"
_WORKING = "working.lock"  # in the directory of an attempt on this machine
_MOST_KEYS = 10_000  # of one job
_MAX_CHECKPOINT_BYTES, _MAX_METRICS_BYTES = 16 * 1024**3, 64 * 1024**2
_MOST_MARKS = 1_000_000
_MAX_KEY_BYTES = 4096
_NUM_HISTORIES = 256


class ObjectJobs:
    """``JobRecords`` of one object store; used from any thread."""

    has_locks = False

    def __init__(self, store: ObjectStore, root: Path) -> None:
        """``root`` is on this machine, for what attempts write."""
        self.store, self.root = store, root
        self._histories = OrderedDict[str, ObjectLines]()
        self._lock, self._lease = threading.Lock(), b"{}"
        self._working: dict[tuple[str, int], VolumeLock] = {}

    def ids(self) -> list[str]:
        return self.store.names("jobs")

    def unsettled_ids(self) -> list[str]:
        return self.store.names("unsettled")

    def settle(self, job_id: str) -> None:
        found = self.store.keys(f"jobs/{job_id}/attempts", _MOST_KEYS)
        self.store.delete([each.key for each in found if f"/{CHECKPOINTS}/" in each.key])
        self.store.delete([f"unsettled/{job_id}"])

    def creating(self) -> AbstractContextManager[None]:
        return nullcontext()

    def owners(self) -> Mapping[str, str]:
        """A request for every thousand jobs."""
        marks = [each.key.split("/") for each in self.store.keys("owned", _MOST_MARKS)]
        return {mark[2]: mark[1] for mark in marks if len(mark) == 3}

    def create(self, job_id: str, content: bytes, lines: Sequence[bytes], owner: str | None = None) -> None:
        """History and marks first: the record makes the job."""
        history = self.lines(job_id)
        if not history.read_on(0)[0]:
            for line in lines:
                history.append(line, is_durable=True)
        self.store.write(f"unsettled/{job_id}", b"")
        self.store.write(f"owned/{owner_mark(owner)}/{job_id}", b"")
        self.store.create(f"jobs/{job_id}/{_RECORD}", content)

    def read_key(self, name: str, max_bytes: int) -> bytes:
        return self._read(f"keys/{name}", max_bytes).content

    def write_key(self, name: str, content: bytes, is_in_use: Callable[[bytes], bool]) -> bytes:
        key = f"keys/{name}"
        try:
            self.store.create(key, content)
            return content
        except FileExistsError:
            known = self._read(key, _MAX_KEY_BYTES)
        if is_in_use(known.content):
            return known.content
        try:
            self.store.replace(key, content, known.tag)
        except ObjectChanged:
            return self._read(key, _MAX_KEY_BYTES).content
        return content

    def has(self, job_id: str) -> bool:
        del job_id
        return True

    def changing(self, job_id: str, timeout_s: float) -> AbstractContextManager[None]:
        del job_id, timeout_s
        return nullcontext()

    def read(self, job_id: str, max_bytes: int) -> Kept:
        return self._read(f"jobs/{job_id}/{_RECORD}", max_bytes)

    def replace(self, job_id: str, content: bytes, tag: str) -> str:
        return self.store.replace(f"jobs/{job_id}/{_RECORD}", content, tag)

    def lines(self, job_id: str) -> ObjectLines:
        """One for all, so that whoever appends knows what stands there last."""
        with self._lock:
            found = self._histories.pop(job_id, None) or ObjectLines(self.store, f"jobs/{job_id}/events")
            self._histories[job_id] = found
            while len(self._histories) > _NUM_HISTORIES:
                self._histories.popitem(last=False)
            return found

    def count_setback(self, job_id: str, what: Setback, attempt: int) -> int:
        """Each attempt counts once, however often its change is made again."""
        folder, step = f"jobs/{job_id}/setbacks", self.newest_step(job_id) + 1
        self.store.write(f"{folder}/{what}-{step}-{attempt}", b"")
        return sum(name.startswith(f"{what}-{step}-") for name in self.store.names(folder))

    def newest_step(self, job_id: str) -> int:
        return max((_step(each) for each in self._checkpoints(job_id)), default=-1)

    def begin(self, job_id: str, attempt: int, lease: bytes) -> Path:
        directory = attempt_directory(self.root / job_id, attempt)
        directory.mkdir(parents=True, exist_ok=True)
        for other in directory.parent.iterdir():
            if other.name.isdecimal() and int(other.name) < attempt:  # of a worker that died here
                self.leave(job_id, int(other.name))
        with suppress(JobBusy):  # who holds it wants the same attempt at the same moment; one of the two will have it
            self._working[job_id, attempt] = VolumeLock(directory / _WORKING, timeout_s=0)
        self._lease = lease
        self.renew(job_id, attempt)
        return directory

    def leave(self, job_id: str, attempt: int) -> None:
        shutil.rmtree(attempt_directory(self.root / job_id, attempt), ignore_errors=True)
        if (lock := self._working.pop((job_id, attempt), None)) is not None:
            lock.release()

    def left_here(self) -> Sequence[tuple[str, int]]:
        """By a lock that the kernel gives back when a worker dies."""
        directories = [each for each in self.root.glob("*/attempts/*") if each.name.isdecimal() and _is_free(each)]
        return [(each.parents[1].name, int(each.name)) for each in directories]

    def inherit(self, job_id: str, attempt: int, newest_whole: NewestWhole) -> Path | None:
        directory = attempt_directory(self.root / job_id, attempt)
        earlier = [each for each in self._checkpoints(job_id) if 0 < _attempt(each) < attempt]
        for each in sorted(earlier, key=lambda found: (_attempt(found), _step(found)), reverse=True):
            path = self._fetched(each, directory / CHECKPOINTS)
            if path is not None and newest_whole(path.parent) == path:
                self._fetch_metrics(job_id, _attempt(each), directory)
                self.store.delete([other.key for other in earlier if _attempt(other) < _attempt(each)])
                return path
            if path is not None:
                path.unlink()
        return None

    def stamp(self, job_id: str, attempt: int) -> int:
        """Raises StoreError where it cannot be asked: silence of the store is none of the worker's."""
        try:
            stamp = self.store.stamp(self._of_attempt(job_id, attempt, _LEASE))
        except FileNotFoundError:
            return 0
        return int(hashlib.sha256(stamp.encode()).hexdigest()[:15], 16) + 1

    def renew(self, job_id: str, attempt: int) -> None:
        """Writes the lease of the attempt that was begun last; every put has a stamp of its own."""
        self.store.write(self._of_attempt(job_id, attempt, _LEASE), self._lease)

    def write_progress(self, job_id: str, attempt: int, content: bytes) -> None:
        self.store.write(self._of_attempt(job_id, attempt, PROGRESS), content)

    def read_progress(self, job_id: str, attempt: int, max_bytes: int) -> bytes:
        return self._read(self._of_attempt(job_id, attempt, PROGRESS), max_bytes).content

    def send_checkpoint(self, job_id: str, attempt: int, path: Path, metrics: Path, keep: int) -> None:
        """Sends a whole checkpoint and what was measured until then; of this attempt, all but the newest ``keep`` go.

        Raises:
            FileNotFoundError: It has gone from this machine meanwhile.
            StoreError: The store takes nothing.
        """
        self.send_metrics(job_id, attempt, metrics)
        self.store.send(self._of_attempt(job_id, attempt, f"{CHECKPOINTS}/{path.name}"), path)
        own = [each for each in self._checkpoints(job_id) if _attempt(each) == attempt]
        self.store.delete([each.key for each in sorted(own, key=_step)[:-keep]])

    def send_metrics(self, job_id: str, attempt: int, metrics: Path) -> None:
        """Sends what was measured until now, if anything was; raises as ``send_checkpoint``."""
        if metrics.is_file():
            self.store.send(self._of_attempt(job_id, attempt, METRICS), metrics)

    def _checkpoints(self, job_id: str) -> list[Listed]:
        found = self.store.keys(f"jobs/{job_id}/attempts", _MOST_KEYS)
        return [each for each in found if f"/{CHECKPOINTS}/" in each.key and _step(each) >= 0]

    def _fetched(self, listed: Listed, folder: Path) -> Path | None:
        """A checkpoint, not yet looked into; None where it is too large, or has gone."""
        if listed.num_bytes > _MAX_CHECKPOINT_BYTES:
            return None
        path = folder / listed.key.rpartition("/")[2]
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write_chunks_atomically(path, self.store.fetch(listed.key, listed.num_bytes))
        except (FileNotFoundError, NotOurs):
            return None
        return path

    def _fetch_metrics(self, job_id: str, attempt: int, directory: Path) -> None:
        try:
            content = self.store.read_file(self._of_attempt(job_id, attempt, METRICS), _MAX_METRICS_BYTES)
        except (FileNotFoundError, NotOurs):
            return
        write_atomically(directory / METRICS, content)

    def _read(self, key: str, max_bytes: int) -> Kept:
        try:
            found = self.store.read(key, max_bytes)
        except NotOurs as exc:
            raise NotReadable(str(exc)) from exc
        return Kept(found.content, found.tag)

    def _of_attempt(self, job_id: str, attempt: int, name: str) -> str:
        return f"jobs/{job_id}/attempts/{attempt}/{name}"


def _is_free(directory: Path) -> bool:
    """Whether nobody works in an attempt's directory; one that cannot be locked is not."""
    try:
        VolumeLock(directory / _WORKING, timeout_s=0).release()
    except (JobBusy, OSError):
        return False
    return True


def _attempt(listed: Listed) -> int:
    """The attempt that a checkpoint is of; 0 for none."""
    number = listed.key.rsplit("/", 3)[1]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 0


def _step(listed: Listed) -> int:
    step = step_of(listed.key.rpartition("/")[2])
    return -1 if step is None else step
