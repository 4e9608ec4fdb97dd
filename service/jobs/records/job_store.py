"""Job records: the truth about every training job, whatever becomes of queue and workers.

Where they are, and how a change keeps others out, is for ``job_records``. Reading waits for nobody. Who may work on a
job is for ``claims``.
"""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import structlog
from pydantic import TypeAdapter

from adavae.service.errors import Overloaded
from adavae.service.jobs.records.decoding import MAX_RECORD_BYTES, decoded, decoded_job
from adavae.service.jobs.records.encoding import encoded_job, encoded_new_job
from adavae.service.jobs.records.endings import endings
from adavae.service.jobs.records.event_log import EventLog, EventReader, Kind, Level, event_line
from adavae.service.jobs.records.idempotency_keys import KeyReused, key_name
from adavae.service.jobs.records.job import JOB_ID, STRICT, Job, JobEvent, JobStatus
from adavae.service.jobs.records.job_errors import JobBusy, JobDamaged, JobNotFound
from adavae.service.jobs.records.job_records import JobRecords, owner_mark
from adavae.service.jobs.records.ordered_ids import next_id
from adavae.service.jobs.records.progress import MAX_PROGRESS_BYTES, PROGRESS_FILE
from adavae.service.jobs.records.volume_file import NotReadable
from adavae.service.jobs.records.volume_jobs import VolumeJobs
from adavae.service.objects.errors import ObjectChanged, StoreError

_MAX_KEY_BYTES = 4096
_TRIES, _FIRST_PAUSE_S, _LONGEST_PAUSE_S = 12, 0.01, 1.0
_RETRY_AFTER_S = 300  # jobs take minutes: who comes back in seconds asks in vain
_log = structlog.get_logger("adavae.jobs")
_NEXT: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.CANCELLED}),
    JobStatus.PAUSED: frozenset({JobStatus.QUEUED, JobStatus.CANCELLED}),
    JobStatus.RUNNING: frozenset(JobStatus),
    **dict.fromkeys((JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED), frozenset()),
}

Result = TypeVar("Result")


def new_job_id(newest: str | None = None) -> str:
    """Ids sort as jobs were made: 13 digits of microseconds since 1970, then chance.

    Where the clock was set back, they go on counting from the ``newest`` there is.
    """
    return next_id("ftjob-", newest)


@dataclass(frozen=True, slots=True)
class _UsedKey:
    """What an idempotency key was used for."""

    job_id: str
    request_digest: str

    __pydantic_config__ = STRICT


_KEY = TypeAdapter(_UsedKey)


@dataclass(slots=True)
class JobRecord:
    """A job that is being changed: nobody else does meanwhile, or ``save`` finds out."""

    job: Job
    records: JobRecords
    tag: str = ""

    def note(self, message: str, *, level: Level = "info", data: Mapping[str, Any] | None = None) -> None:
        """As ``tell``, of a change that has been saved: it counts, also where the disk takes no more."""
        try:
            self.tell(message, level=level, data=data)
        except OSError as exc:
            _log.warning("event_not_written", job=self.job.id, reason=str(exc))

    def tell(
        self,
        message: str,
        *,
        level: Level = "info",
        kind: Kind = "message",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds to the job's history; what it ends with is added by ``save``."""
        log = EventLog(self.records.lines(self.job.id))
        log.append(level, message, attempt=self.job.attempt, kind=kind, data=data)

    def save(self, **changes: Any) -> Job:
        """Replaces fields of the record; what came while it ran is left out where it could not be read again.

        Raises:
            StorageFull: The disk took no more; the record is as it was.
            ObjectChanged: Another process has changed it since it was read.
        """
        job = replace(self.job, **changes)
        is_allowed = job.status in _NEXT[self.job.status] or (
            job.status is self.job.status and not job.status.is_finished
        )
        assert is_allowed, f"{job.id} cannot become {job.status}, it is {self.job.status}"
        job, content = encoded_job(job)
        self.tag = self.records.replace(job.id, content, self.tag)
        self.job = job
        with suppress(OSError):  # whoever reads the history makes up for it
            self._tell_endings()
        return job

    def _tell_endings(self) -> None:
        log = EventLog(self.records.lines(self.job.id))
        for number, end in enumerate(endings(self.job)):
            log.append(end.level, end.message, attempt=self.job.attempt, data=end.data, ending=number)


@dataclass(frozen=True, slots=True)
class _OpenJobs:
    """Jobs that are not finished, the oldest first, and the ids of damaged records, of which nobody knows that."""

    jobs: list[Job] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


class JobStore:
    """Every job of one place; its methods wait for it."""

    def __init__(self, records: JobRecords | Path) -> None:
        """A path is that of a directory on a volume."""
        self.records: JobRecords = VolumeJobs(records) if isinstance(records, Path) else records
        self._finished: set[str] = set()
        self._owners: dict[str, str | None] = {}
        self._reported_damaged: set[str] = set()

    @property
    def root(self) -> Path:
        """Where this machine keeps what attempts write."""
        return self.records.root

    def create(self, job: Job, *, request_digest: str, max_open: int, max_open_of_owner: int | None = None) -> Job:
        """Puts a new job on the volume.

        Returns:
            It, or the job that its idempotency key made before.

        Raises:
            InvalidRequest: Its record would be too large to be read again.
            KeyReused: The key was used before, with another request.
            Overloaded: There are ``max_open`` jobs that are not finished, or ``max_open_of_owner`` of the same owner;
                damaged records count.
            StorageFull: The disk took no more.
        """
        content = encoded_new_job(job)
        with self.records.creating():
            if job.idempotency_key is not None:
                earlier = self.made_with(job.idempotency_key, request_digest, job.owner)
                if earlier is not None:
                    return earlier
            self._refuse_too_many(job.owner, max_open, max_open_of_owner)
            if job.idempotency_key is not None:
                job = replace(job, id=self._id_for_key(job, job.idempotency_key, request_digest))
                content = encoded_new_job(job)
            told = (f"Created fine-tuning job: {job.id}", "The job is queued")
            try:
                self.records.create(job.id, content, [event_line("info", message) for message in told], job.owner)
            except FileExistsError:  # the same request, at the same moment
                return self.get(job.id)
        return job

    def made_with(self, key: str, request_digest: str, owner: str | None = None) -> Job | None:
        """The job that an owner's idempotency key made; raises KeyReused where the request was another one."""
        try:
            known = decoded(_KEY, self.records.read_key(key_name(key, owner), _MAX_KEY_BYTES))
            job = self.get(known.job_id)
        except (FileNotFoundError, JobNotFound, NotReadable):
            return None
        if known.request_digest != request_digest:
            raise KeyReused(key, job.id)
        return job

    def get(self, job_id: str) -> Job:
        """The record as it stands; raises JobNotFound."""
        return self._read(job_id).job

    def readable(self, job_id: str) -> Job | None:
        """As ``get``; None where that fails, which is logged once: one bad record hides no other job."""
        try:
            return self.get(job_id)
        except JobNotFound:
            self._reported_damaged.discard(job_id)
            return None
        except StoreError:  # of every job, not of this one
            raise
        except (JobDamaged, OSError) as exc:
            if job_id not in self._reported_damaged:
                self._reported_damaged.add(job_id)
                _log.warning("job_damaged", job=job_id, reason=str(exc))
            return None

    def new_id(self) -> str:
        """An id that sorts after every one there is."""
        return new_job_id(next(iter(self.ids()), None))

    def owner_of(self, job_id: str) -> str | None:
        """Whose job it is, read once: it never changes. None where it is nobody's, not there, or damaged."""
        if job_id not in self._owners:
            job = self.readable(job_id)
            if job is None:
                return None
            self._owners[job_id] = job.owner
        return self._owners[job_id]

    def belonging_to(self, owner: str | None) -> Callable[[str], bool]:
        """Tells of an id whether that job is somebody's, by its record where the place does not say it otherwise."""
        marks, wanted = self.records.owners(), owner_mark(owner)

        def is_theirs(job_id: str) -> bool:
            mark = marks.get(job_id)
            return mark == wanted if mark is not None else self.owner_of(job_id) == owner

        return is_theirs

    def ids(self) -> list[str]:
        """Every job, the newest first."""
        return sorted(filter(JOB_ID.fullmatch, self.records.ids()), reverse=True)

    def unfinished(self) -> list[Job]:
        """Jobs that are queued, running or paused, the oldest first; damaged records are passed over."""
        return self._open().jobs

    @property
    def known_finished(self) -> frozenset[str]:
        """Jobs that ``unfinished`` has found to be finished."""
        return frozenset(self._finished)

    def users_of(self, file_id: str) -> list[str]:
        """Jobs that are not finished and train on a file, or are validated with it."""
        return [job.id for job in self.unfinished() if file_id in (job.training_file, job.validation_file)]

    def history(self, job_id: str) -> "JobHistory":
        """The events of a job, from its beginning; raises JobNotFound."""
        self.get(job_id)
        return JobHistory(self, job_id)

    @contextmanager
    def changing(self, job_id: str, *, timeout_s: float = 10.0) -> Iterator[JobRecord]:
        """The job's record, under its lock, which is waited for.

        Raises:
            JobNotFound: There is no such job.
            JobBusy: Somebody else held its lock for too long.
            ObjectChanged: Where nobody has locks: another process has changed the record meanwhile.
        """
        _check_id(job_id)
        if not self.records.has(job_id):
            raise JobNotFound(job_id)
        with self.records.changing(job_id, timeout_s):
            yield self._read(job_id)

    def change(self, job_id: str, change: Callable[[JobRecord], Result], *, timeout_s: float = 10.0) -> Result:
        """What ``change`` makes of a record; made again where another process was faster.

        Raises:
            JobNotFound: There is no such job.
            JobBusy: Somebody else held its lock for too long, or was faster again and again.
        """
        pause_s = _FIRST_PAUSE_S
        for _ in range(_TRIES):
            try:
                with self.changing(job_id, timeout_s=timeout_s) as record:
                    return change(record)
            except ObjectChanged:
                time.sleep(random.uniform(0.0, pause_s))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        raise JobBusy(job_id, timeout_s)

    def directory(self, job_id: str) -> Path:
        """Where this machine keeps what a job's attempts write; raises JobNotFound for what is no id."""
        _check_id(job_id)
        return self.records.root / job_id

    def _read(self, job_id: str) -> JobRecord:
        _check_id(job_id)
        try:
            kept = self.records.read(job_id, MAX_RECORD_BYTES)
            job = decoded_job(kept.content, job_id)
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise JobNotFound(job_id) from exc
        except NotReadable as exc:
            raise JobDamaged(job_id, str(exc)) from exc
        if job.status is JobStatus.RUNNING:
            job = self._with_progress(job)
        return JobRecord(job, self.records, kept.tag)

    def _with_progress(self, job: Job) -> Job:
        """With the figures that its worker has left beside the record; the next change puts them into it."""
        try:
            known = decoded(PROGRESS_FILE, self.records.read_progress(job.id, job.attempt, MAX_PROGRESS_BYTES))
        except (OSError, NotReadable):  # before the first figures, and where they are damaged
            return job
        return replace(job, progress=known.figures, estimated_finish=known.estimated_finish)

    def _open(self) -> _OpenJobs:
        """What is not known to be finished."""
        found = _OpenJobs()
        for job_id in sorted(filter(JOB_ID.fullmatch, self.records.unsettled_ids())):
            if job_id in self._finished:
                continue
            job = self.readable(job_id)
            if job is None:
                if job_id in self._reported_damaged:
                    found.damaged.append(job_id)
            elif job.status.is_finished:
                self._finished.add(job_id)
            else:
                found.jobs.append(job)
        return found

    def _refuse_too_many(self, owner: str | None, max_open: int, max_open_of_owner: int | None) -> None:
        found = self._open()
        num_open = len(found.jobs) + len(found.damaged)
        if num_open >= max_open:
            raise _too_many(f"{num_open} training jobs are", f"{max_open} (ADAVAE_MAX_OPEN_JOBS)", found.damaged)
        if owner is None or max_open_of_owner is None:
            return
        damaged = list(filter(self.belonging_to(owner), found.damaged)) if found.damaged else []
        num_of_owner = sum(job.owner == owner for job in found.jobs) + len(damaged)
        if num_of_owner >= max_open_of_owner:
            limit = f"{max_open_of_owner} (ADAVAE_MAX_OPEN_JOBS_PER_KEY)"
            raise _too_many(f"{num_of_owner} training jobs of this key are", limit, damaged)

    def _id_for_key(self, job: Job, key: str, request_digest: str) -> str:
        """Remembers the key before the job is there: a crash in between leaves a key whose job anybody may still make.

        Returns:
            The id that the job is to have: its own, or the one that was remembered for the same request.
        """
        content = json.dumps({"job_id": job.id, "request_digest": request_digest}).encode()

        def is_in_use(found: bytes) -> bool:
            with suppress(NotReadable):
                known = decoded(_KEY, found)
                return known.request_digest == request_digest and JOB_ID.fullmatch(known.job_id) is not None
            return False

        return decoded(_KEY, self.records.write_key(key_name(key, job.owner), content, is_in_use)).job_id


class JobHistory:
    """The events of one job, read in order; ``is_over`` when there is nothing more to come."""

    def __init__(self, store: JobStore, job_id: str) -> None:
        self._store, self._job_id = store, job_id
        self._reader = EventReader(store.records.lines(job_id))
        self.is_over = False

    def read(self) -> list[JobEvent]:
        """Every event since the last call, oldest first."""
        job = self._store.get(self._job_id)  # before the file: what came before its end is there by now
        events = self._reader.read()
        for end in endings(job)[self._reader.num_endings :]:
            events.append(self._reader.end(end.level, end.message, end.data, job.finished_at or job.created_at))
        self.is_over = job.status.is_finished
        return events


def _check_id(job_id: str) -> None:
    if not JOB_ID.fullmatch(job_id):
        raise JobNotFound(job_id)


def _too_many(what: str, limit: str, damaged: Sequence[str]) -> Overloaded:
    told = f" ({len(damaged)} of them damaged, as {damaged[0]})" if damaged else ""
    message = f"{what} not finished{told}, the limit is {limit}: wait for one to end, or cancel one"
    return Overloaded(message, retry_after_s=_RETRY_AFTER_S)
