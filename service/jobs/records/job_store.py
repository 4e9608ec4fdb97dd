"""Job records on the shared volume: the truth about every training job, whatever becomes of queue and workers.

    <root>/<job id>/job.json          the record, always replaced whole
    <root>/<job id>/events.jsonl      its history
    <root>/<job id>/lock              held for every change of the record
    <root>/<job id>/attempts/<n>/     what the n-th worker that took the job up writes, and nobody else
    <root>/.keys/<sha256>.json        which job an idempotency key made

Reading takes no lock. Who may work on a job is for ``claims``.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog
from pydantic import TypeAdapter

from adavae.model.storage.atomic import publish_directory, staging_directory, write_atomically
from adavae.service.errors import Overloaded
from adavae.service.jobs.records.attempt_files import attempt_directory, read_progress
from adavae.service.jobs.records.decoding import MAX_RECORD_BYTES, decoded, decoded_job
from adavae.service.jobs.records.endings import endings
from adavae.service.jobs.records.event_log import EventLog, EventReader, Kind, Level
from adavae.service.jobs.records.job import JOB_ID, STRICT, Job, JobEvent, JobStatus
from adavae.service.jobs.records.job_errors import JobConflict, JobDamaged, JobNotFound
from adavae.service.jobs.records.ordered_ids import next_id
from adavae.service.jobs.records.volume_file import NotReadable, read_regular
from adavae.service.jobs.records.volume_lock import locked

_MAX_KEY_BYTES = 4096
_log = structlog.get_logger("adavae.jobs")
_NEXT: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.CANCELLED}),
    JobStatus.PAUSED: frozenset({JobStatus.QUEUED, JobStatus.CANCELLED}),
    JobStatus.RUNNING: frozenset(JobStatus),
    **dict.fromkeys((JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED), frozenset()),
}


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
    """A job that nobody else changes while this is open."""

    job: Job
    directory: Path

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
        log = EventLog(self.directory / "events.jsonl")
        log.append(level, message, attempt=self.job.attempt, kind=kind, data=data)

    def save(self, **changes: Any) -> Job:
        """Replaces fields of the record.

        Raises:
            StorageFull: The disk took no more; the record is as it was.
        """
        job = replace(self.job, **changes)
        is_allowed = job.status in _NEXT[self.job.status] or (
            job.status is self.job.status and not job.status.is_finished
        )
        assert is_allowed, f"{job.id} cannot become {job.status}, it is {self.job.status}"
        write_atomically(self.directory / "job.json", _encode(job))
        self.job = job
        with suppress(OSError):  # whoever reads the history makes up for it
            self._tell_endings()
        return job

    def _tell_endings(self) -> None:
        log = EventLog(self.directory / "events.jsonl")
        for number, end in enumerate(endings(self.job)):
            log.append(end.level, end.message, attempt=self.job.attempt, data=end.data, ending=number)


class JobStore:
    """Every job of one volume; its methods wait for the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._finished: set[str] = set()
        self._owners: dict[str, str | None] = {}
        self._reported_damaged: set[str] = set()

    def create(self, job: Job, *, request_digest: str, max_open: int, max_open_of_owner: int | None = None) -> Job:
        """Puts a new job on the volume.

        Returns:
            It, or the job that its idempotency key made before.

        Raises:
            JobConflict: The key was used before, with another request.
            Overloaded: There are ``max_open`` jobs that are not finished, or ``max_open_of_owner`` of the same owner.
            StorageFull: The disk took no more.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with locked(self.root / ".lock"):
            if job.idempotency_key is not None:
                earlier = self.made_with(job.idempotency_key, request_digest, job.owner)
                if earlier is not None:
                    return earlier
            self._refuse_too_many(job.owner, max_open, max_open_of_owner)
            if job.idempotency_key is not None:
                self._remember_key(job, job.idempotency_key, request_digest)
            with staging_directory(self.root) as staging:
                (staging / "lock").touch()
                (staging / "attempts").mkdir()
                EventLog(staging / "events.jsonl").append("info", f"Created fine-tuning job: {job.id}")
                EventLog(staging / "events.jsonl").append("info", "The job is queued")
                write_atomically(staging / "job.json", _encode(job))
                publish_directory(staging, self.root / job.id)
        return job

    def made_with(self, key: str, request_digest: str, owner: str | None = None) -> Job | None:
        """The job that an owner's idempotency key made; raises JobConflict where the request was another one."""
        try:
            known = decoded(_KEY, read_regular(self._key_path(key, owner), _MAX_KEY_BYTES))
            job = self.get(known.job_id)
        except (FileNotFoundError, JobNotFound, NotReadable):
            return None
        if known.request_digest != request_digest:
            raise JobConflict(
                f"the Idempotency-Key {key[:60]!r} was used for another request, which made {job.id}: repeat that "
                "request, or take a new key",
                code="idempotency_key_reused",
            )
        return job

    def get(self, job_id: str) -> Job:
        """The record as it stands; raises JobNotFound."""
        try:
            job = decoded_job(read_regular(self.directory(job_id) / "job.json", MAX_RECORD_BYTES), job_id)
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise JobNotFound(job_id) from exc
        except NotReadable as exc:
            raise JobDamaged(job_id, str(exc)) from exc
        return self._with_progress(job) if job.status is JobStatus.RUNNING else job

    def readable(self, job_id: str) -> Job | None:
        """As ``get``; None where that fails, which is logged once: one bad record hides no other job."""
        try:
            return self.get(job_id)
        except JobNotFound:
            return None
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

    def ids(self) -> list[str]:
        """Every job, the newest first."""
        if not self.root.is_dir():
            return []
        return sorted((path.name for path in self.root.iterdir() if JOB_ID.fullmatch(path.name)), reverse=True)

    def unfinished(self) -> list[Job]:
        """Jobs that are queued, running or paused, the oldest first; damaged records are passed over."""
        jobs = []
        for job_id in reversed(self.ids()):
            if job_id in self._finished:
                continue
            job = self.readable(job_id)
            if job is None:
                continue
            if job.status.is_finished:
                self._finished.add(job_id)
            else:
                jobs.append(job)
        return jobs

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
        """
        directory = self.directory(job_id)
        if not directory.is_dir():
            raise JobNotFound(job_id)
        with locked(directory / "lock", timeout_s=timeout_s):
            yield JobRecord(self.get(job_id), directory)

    def directory(self, job_id: str) -> Path:
        """Where a job is kept; raises JobNotFound for what is no id."""
        if not JOB_ID.fullmatch(job_id):
            raise JobNotFound(job_id)
        return self.root / job_id

    def _with_progress(self, job: Job) -> Job:
        """With the figures that its worker has left beside the record; the next change puts them into it."""
        known = read_progress(attempt_directory(self.directory(job.id), job.attempt))
        if known is None:
            return job
        return replace(job, progress=known.figures, estimated_finish=known.estimated_finish)

    def _refuse_too_many(self, owner: str | None, max_open: int, max_open_of_owner: int | None) -> None:
        unfinished = self.unfinished()
        if len(unfinished) >= max_open:
            raise _too_many(f"{len(unfinished)} training jobs are", f"{max_open} (ADAVAE_MAX_OPEN_JOBS)")
        if owner is None or max_open_of_owner is None:
            return
        num_of_owner = sum(job.owner == owner for job in unfinished)
        if num_of_owner >= max_open_of_owner:
            limit = f"{max_open_of_owner} (ADAVAE_MAX_OPEN_JOBS_PER_KEY)"
            raise _too_many(f"{num_of_owner} training jobs of this key are", limit)

    def _remember_key(self, job: Job, key: str, request_digest: str) -> None:
        """Before the job is there: a crash in between leaves a key without a job, which counts as unused."""
        path = self._key_path(key, job.owner)
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, json.dumps({"job_id": job.id, "request_digest": request_digest}).encode())

    def _key_path(self, key: str, owner: str | None) -> Path:
        """Every owner has idempotency keys of its own; no name of an owner has a blank in it."""
        scoped = key if owner is None else f"{owner} {key}"
        return self.root / ".keys" / f"{hashlib.sha256(scoped.encode()).hexdigest()}.json"


class JobHistory:
    """The events of one job, read in order; ``is_over`` when there is nothing more to come."""

    def __init__(self, store: JobStore, job_id: str) -> None:
        self._store, self._job_id = store, job_id
        self._reader = EventReader(store.directory(job_id) / "events.jsonl")
        self.is_over = False

    def read(self) -> list[JobEvent]:
        """Every event since the last call, oldest first."""
        job = self._store.get(self._job_id)  # before the file: what came before its end is there by now
        events = self._reader.read()
        for end in endings(job)[self._reader.num_endings :]:
            events.append(self._reader.end(end.level, end.message, end.data, job.finished_at or job.created_at))
        self.is_over = job.status.is_finished
        return events


def _too_many(what: str, limit: str) -> Overloaded:
    message = f"{what} not finished, the limit is {limit}: wait for one to end, or cancel one"
    return Overloaded(message, retry_after_s=60)


def _encode(job: Job) -> bytes:
    return (json.dumps(job.to_dict()) + "\n").encode()
