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
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adavae.model.storage.atomic import publish_directory, staging_directory, write_atomically
from adavae.service.errors import Overloaded
from adavae.service.jobs.records.attempt_files import attempt_directory, read_progress
from adavae.service.jobs.records.endings import endings
from adavae.service.jobs.records.event_log import EventLog, EventReader, Kind, Level
from adavae.service.jobs.records.job import JOB_ID, Job, JobEvent, JobStatus
from adavae.service.jobs.records.job_errors import JobConflict, JobDamaged, JobNotFound
from adavae.service.jobs.records.volume_lock import locked

_NEXT: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.CANCELLED}),
    JobStatus.PAUSED: frozenset({JobStatus.QUEUED, JobStatus.CANCELLED}),
    JobStatus.RUNNING: frozenset(JobStatus),
    **dict.fromkeys((JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED), frozenset()),
}


def new_job_id() -> str:
    """Ids sort as jobs were made: 13 digits of microseconds since 1970, then chance."""
    return f"ftjob-{time.time_ns() // 1000:013x}{secrets.token_hex(6)[1:]}"


@dataclass(slots=True)
class JobRecord:
    """A job that nobody else changes while this is open."""

    job: Job
    directory: Path

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
        write_atomically(self.directory / "job.json", _encoded(job))
        self.job = job
        with suppress(OSError):  # whoever reads the history makes up for it
            self._tell_endings()
        return job

    def _tell_endings(self) -> None:
        log = EventLog(self.directory / "events.jsonl")
        for number, own in enumerate(endings(self.job)):
            log.append(own.level, own.message, attempt=self.job.attempt, data=own.data, ending=number)


class JobStore:
    """Every job of one volume; its methods wait for the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._finished: set[str] = set()
        self._owners: dict[str, str | None] = {}

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
                write_atomically(staging / "job.json", _encoded(job))
                publish_directory(staging, self.root / job.id)
        return job

    def made_with(self, key: str, request_digest: str, owner: str | None = None) -> Job | None:
        """The job that an owner's idempotency key made; raises JobConflict where the request was another one."""
        try:
            known = json.loads(self._key_path(key, owner).read_bytes())
            job = self.get(known["job_id"])
        except (FileNotFoundError, JobNotFound):
            return None
        if known["request_digest"] != request_digest:
            raise JobConflict(
                f"the Idempotency-Key {key[:60]!r} was used for another request, which made {job.id}: repeat that "
                "request, or take a new key",
                code="idempotency_key_reused",
            )
        return job

    def get(self, job_id: str) -> Job:
        """The record as it stands; raises JobNotFound."""
        try:
            content = (self.directory(job_id) / "job.json").read_bytes()
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise JobNotFound(job_id) from exc
        try:
            job = Job.from_dict(json.loads(content))
        except (ValueError, TypeError, KeyError) as exc:
            raise JobDamaged(job_id, type(exc).__name__) from exc
        return self._with_progress(job) if job.status is JobStatus.RUNNING else job

    def owner_of(self, job_id: str) -> str | None:
        """Whose job it is, read once: it never changes. None where it is nobody's, not there, or damaged."""
        if job_id not in self._owners:
            try:
                self._owners[job_id] = self.get(job_id).owner
            except (JobDamaged, JobNotFound):
                return None
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
            try:
                job = self.get(job_id)
            except (JobDamaged, JobNotFound):
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
        """What is told of a job, from its beginning; raises JobNotFound."""
        self.get(job_id)
        return JobHistory(self, job_id)

    @contextmanager
    def changing(self, job_id: str) -> Iterator[JobRecord]:
        """The job's record, under its lock.

        Raises:
            JobNotFound: There is no such job.
            JobBusy: Its lock is not to be had.
        """
        directory = self.directory(job_id)
        if not directory.is_dir():
            raise JobNotFound(job_id)
        with locked(directory / "lock"):
            yield JobRecord(self.get(job_id), directory)

    def directory(self, job_id: str) -> Path:
        """Where a job stands; raises JobNotFound for what is no id."""
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
        num_own = sum(job.owner == owner for job in unfinished)
        if num_own >= max_open_of_owner:
            limit = f"{max_open_of_owner} (ADAVAE_MAX_OPEN_JOBS_PER_KEY)"
            raise _too_many(f"{num_own} training jobs of this key are", limit)

    def _remember_key(self, job: Job, key: str, request_digest: str) -> None:
        """Before the job is there: a crash in between leaves a key without a job, which counts as unused."""
        path = self._key_path(key, job.owner)
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, json.dumps({"job_id": job.id, "request_digest": request_digest}).encode())

    def _key_path(self, key: str, owner: str | None) -> Path:
        """Every owner has idempotency keys of its own; no name of an owner has a blank in it."""
        own = key if owner is None else f"{owner} {key}"
        return self.root / ".keys" / f"{hashlib.sha256(own.encode()).hexdigest()}.json"


class JobHistory:
    """What is told of one job, read in order; ``is_over`` when there is nothing more to come."""

    def __init__(self, store: JobStore, job_id: str) -> None:
        self._store, self._job_id = store, job_id
        self._reader = EventReader(store.directory(job_id) / "events.jsonl")
        self.is_over = False

    def read(self) -> list[JobEvent]:
        """Every event since the last call, oldest first."""
        job = self._store.get(self._job_id)  # before the file: what came before its end is there by now
        events = self._reader.read()
        for own in endings(job)[self._reader.num_endings :]:
            events.append(self._reader.end(own.level, own.message, own.data, job.finished_at or job.created_at))
        self.is_over = job.status.is_finished
        return events


def _too_many(what: str, limit: str) -> Overloaded:
    message = f"{what} not finished, the limit is {limit}: wait for one to end, or cancel one"
    return Overloaded(message, retry_after_s=60)


def _encoded(job: Job) -> bytes:
    return (json.dumps(job.to_dict()) + "\n").encode()
