"""Training without a volume or a worker: files and jobs in memory, and knobs for what a test wants to happen."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from adavae.service.downloads import Download, download_of
from adavae.service.errors import InvalidRequest, ServiceError
from adavae.service.jobs.hyperparameters import Hyperparameters
from adavae.service.jobs.protocol import NamedColumns, Page, guessed
from adavae.service.jobs.records.caller import Caller
from adavae.service.jobs.records.job import Job, JobEvent, JobStatus, NewJob, StoredFile
from tests.tiny import TINY

FILE, JOB = "file-" + "0" * 24, "ftjob-" + "0" * 24
NOW = 1_770_000_000
_TOKENS = {"measured_rows": 9, "median": 5, "p90": 8, "p99": 9, "longest": 9}
Item = TypeVar("Item", StoredFile, Job, JobEvent)


@dataclass
class StubTrainingService:
    """Begins with one file and one job that has succeeded; whatever is made counts up.

    Attributes:
        error: Raised by every operation in place of an answer.
        caller: Who asked last.
        asked: Every request for a job, with its key.
    """

    error: Exception | None = None
    is_stopped: bool = False
    num_watching: int = 0
    caller: Caller | None = None
    asked: list[tuple[NewJob, str | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.files, self.jobs = StubFiles(self), StubJobs(self)

    def seen_by(self, caller: Caller) -> "StubTrainingService":
        self.caller = caller
        return self

    async def start(self) -> None: ...

    def end_watching(self) -> None:
        self.jobs.ends_watching.set()

    async def stop(self) -> None:
        self.is_stopped = True

    def check(self) -> None:
        if self.error is not None:
            raise self.error


class StubFiles:
    """``FileOperations``; whatever has a byte is taken."""

    def __init__(self, training: StubTrainingService) -> None:
        self._training = training
        self.all = {FILE: stored_file()}
        self.contents = {FILE: b"the food was great\n"}

    async def create(
        self,
        filename: str,
        purpose: str,
        content: AsyncIterator[bytes],
        columns: NamedColumns = guessed,
        *,
        idempotency_key: str | None = None,
    ) -> StoredFile:
        del idempotency_key
        self._training.check()
        whole = b"".join([piece async for piece in content])
        if not whole:
            raise InvalidRequest("the file is empty: send at least 2 texts", param="file")
        new = {"id": f"file-{len(self.all):024x}", "filename": filename, "purpose": purpose, "num_bytes": len(whole)}
        stored = stored_file(**new, columns=columns())
        self.all[stored.id], self.contents[stored.id] = stored, whole
        return stored

    async def get(self, file_id: str) -> StoredFile:
        self._training.check()
        if file_id not in self.all:
            raise ServiceError(
                404, "file_not_found", f"there is no file {file_id}: GET /v1/files lists those there are"
            )
        return self.all[file_id]

    async def list(self, *, limit: int, after: str | None, newest_first: bool = True) -> Page[StoredFile]:
        self._training.check()
        files = sorted(self.all.values(), key=lambda each: each.id, reverse=newest_first)
        return _page(files, limit, after)

    async def download(self, file_id: str) -> Download:
        return download_of(self.contents[(await self.get(file_id)).id])

    async def delete(self, file_id: str) -> None:
        stored = await self.get(file_id)
        open_jobs = [job for job in self._training.jobs.all.values() if not job.status.is_finished]
        if any(stored.id in (job.training_file, job.validation_file) for job in open_jobs):
            raise ServiceError(409, "file_in_use", f"{file_id} is used by a job: cancel it")
        del self.all[stored.id], self.contents[stored.id]


class StubJobs:
    """``JobOperations``; a new job stays queued until a test says otherwise."""

    def __init__(self, training: StubTrainingService) -> None:
        self._training = training
        self.all = {JOB: finished_job()}
        self.told = {JOB: [event(1, "The job is created"), event(2, "Step 1 of 1", type="metrics"), event(3, "Done")]}
        self.ends_watching = asyncio.Event()
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._by_key: dict[str, tuple[NewJob, str]] = {}

    async def create(self, new: NewJob, *, idempotency_key: str | None = None) -> Job:
        self._training.check()
        self._training.asked.append((new, idempotency_key))
        if idempotency_key in self._by_key:
            earlier, job_id = self._by_key[idempotency_key]
            if earlier != new:
                raise ServiceError(409, "idempotency_conflict", "the key was used for another request: take a new one")
            return self.all[job_id]
        if new.training_file not in self._training.files.all:
            raise InvalidRequest("there is no such file: upload it with POST /v1/files", param="training_file")
        job = queued_job(new, f"ftjob-{len(self.all):024x}")
        self.all[job.id], self.told[job.id] = job, []
        self.tell(job.id, "The job is created")
        if idempotency_key is not None:
            self._by_key[idempotency_key] = new, job.id
        return job

    async def get(self, job_id: str) -> Job:
        self._training.check()
        if job_id not in self.all:
            raise ServiceError(404, "job_not_found", f"there is no job {job_id}: GET /v1/fine_tuning/jobs lists them")
        return self.all[job_id]

    async def list(self, *, limit: int, after: str | None, metadata: dict[str, str] | None = None) -> Page[Job]:
        self._training.check()
        pairs = (metadata or {}).items()
        return _page([job for job in reversed(self.all.values()) if pairs <= dict(job.metadata).items()], limit, after)

    async def events(self, job_id: str, *, limit: int, after: str | None) -> Page[JobEvent]:
        return _page(self.told[(await self.get(job_id)).id][::-1], limit, after)

    async def watch(self, job_id: str, *, after: str | None) -> AsyncGenerator[JobEvent, None]:
        self._training.num_watching += 1
        self._loop = asyncio.get_running_loop()
        try:
            last = after or ""
            while True:
                self._news.clear()
                for each in [event for event in self.told[job_id] if event.id > last]:
                    yield each
                    last = each.id
                if (await self.get(job_id)).status.is_finished and last >= self.told[job_id][-1].id:
                    return
                if self.ends_watching.is_set():
                    message = "the service is going down: watch again in a moment, with Last-Event-ID"
                    raise ServiceError(503, "shutting_down", message, retry_after_s=2)
                await _first_of(self._news, self.ends_watching)
        finally:
            self._training.num_watching -= 1

    async def cancel(self, job_id: str) -> Job:
        return await self._changed(job_id, JobStatus.CANCELLED, lambda job: not job.status.is_finished)

    async def pause(self, job_id: str) -> Job:
        return await self._changed(job_id, JobStatus.PAUSED, lambda job: not job.status.is_finished)

    async def resume(self, job_id: str) -> Job:
        return await self._changed(job_id, JobStatus.QUEUED, lambda job: job.status is JobStatus.PAUSED)

    def tell(self, job_id: str, message: str, status: JobStatus | None = None) -> None:
        """An event of a job, and perhaps its new status."""
        self.told[job_id].append(event(len(self.told[job_id]) + 1, message))
        if status is not None:
            self.all[job_id] = replace(self.all[job_id], status=status)
        self._news.set()

    def in_server(self, call: Callable[..., object], *args: object) -> None:
        """Runs something where the server runs, once somebody watches there."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(call, *args)

    async def _changed(self, job_id: str, status: JobStatus, is_possible: Callable[[Job], bool]) -> Job:
        job = await self.get(job_id)
        if not is_possible(job):
            raise ServiceError(409, "job_conflict", f"{job_id} is {job.status}: create another job")
        self.tell(job_id, f"The job is {status}", status)
        return self.all[job_id]


def stored_file(**fields: Any) -> StoredFile:
    labels = {"no": 4, "yes": 5}
    report = {"rows": 9, "blank_lines": 0, "labels": labels, "exact_duplicates": 0, "normalised_duplicates": 0}
    report |= {"conflicting_texts": 0, "tokens": _TOKENS, "max_tokens": 38, "rows_over_max_tokens": 0, "warnings": []}
    whole = StoredFile(
        id=FILE,
        created_at=NOW,
        filename="reviews.tsv",
        purpose="fine-tune",
        num_bytes=19,
        sha256="ab" * 32,
        num_rows=9,
        labels=labels,
        report=report,
    )
    return replace(whole, **fields)


def queued_job(new: NewJob, job_id: str) -> Job:
    """As the real service makes it, over a tiny backbone and data with labels."""
    seed = new.seed if new.seed is not None else 7
    wanted = Hyperparameters.model_validate(dict(new.hyperparameters))
    return Job(
        id=job_id,
        status=JobStatus.QUEUED,
        created_at=NOW,
        training_file=new.training_file,
        validation_file=new.validation_file,
        backbone=new.backbone,
        backbone_digest="ab" * 32,
        adapter_name=new.adapter_name,
        hyperparameters=dict(new.hyperparameters),
        config=wanted.training_config(TINY, seed=seed, num_labels=2).to_dict(),
        seed=seed,
        metadata=dict(new.metadata),
        report={"training_file": dict(stored_file().report)},
    )


def finished_job() -> Job:
    return replace(
        queued_job(NewJob(training_file=FILE, adapter_name="reviews", metadata={"team": "a"}), JOB),
        status=JobStatus.SUCCEEDED,
        started_at=NOW + 1,
        finished_at=NOW + 9,
        attempt=1,
        progress={"step": 1, "total_steps": 1, "loss": 2.5},
        trained_tokens=123,
        adapter="reviews@0123456789ab",
        metrics={"kl": 7.5},
    )


def event(number: int, message: str, **fields: Any) -> JobEvent:
    whole = JobEvent(id=f"ftevent-{number:09d}", created_at=NOW + number, level="info", type="message", message=message)
    return replace(whole, **fields)


def _page(items: Sequence[Item], limit: int, after: str | None) -> Page[Item]:
    ids = [each.id for each in items]
    if after is not None and after not in ids:
        raise InvalidRequest(f"after is {after[:100]!r}, and there is no such entry: leave it out", param="after")
    rest = items[ids.index(after) + 1 :] if after is not None else items
    return Page(rest[:limit], has_more=len(rest) > limit)


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(each.wait()) for each in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
