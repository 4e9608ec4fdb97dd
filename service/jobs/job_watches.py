"""Streams of job events: one look at a job at a time, however many watch it, and few streams of a client.

A job that is watched has one task, which reads what is new and keeps the newest events for all. Whoever comes late, or
takes its events slowly, reads those before them once for itself.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Sequence

from adavae.service.errors import Overloaded, ServiceError
from adavae.service.jobs.records.decoding import MAX_RECORD_BYTES
from adavae.service.jobs.records.event_log import event_number
from adavae.service.jobs.records.job import JOB_ID, Job, JobEvent
from adavae.service.jobs.records.job_records import JobRecords
from adavae.service.jobs.records.job_store import JobHistory, JobStore
from adavae.service.jobs.records.volume import Volume
from adavae.service.jobs.records.volume_file import NotReadable

MAX_STREAMS_OF_A_CLIENT = 32
_NUM_KEPT = 500


class JobWatches:
    """All streams of one service; used from one event loop."""

    def __init__(self, records: JobRecords, volume: Volume, poll_s: float) -> None:
        self._records, self._volume, self._poll_s = records, volume, poll_s
        self._jobs: dict[str, _WatchedJob] = {}
        self._num_of_client = Counter[str]()
        self._is_ending = False

    def end(self) -> None:
        """Every stream ends within a moment with an error that asks to come back; safe in a signal handler."""
        self._is_ending = True

    def check_room(self, client: str) -> None:
        """Raises Overloaded where a client has as many streams as it may."""
        if (num_own := self._num_of_client[client]) >= MAX_STREAMS_OF_A_CLIENT:
            raise Overloaded(
                f"{num_own} streams of job events of yours are open, the limit is {MAX_STREAMS_OF_A_CLIENT}: close "
                "one, or ask for the events without stream",
                retry_after_s=5,
            )

    async def events(self, job_id: str, last: int, client: str) -> AsyncGenerator[JobEvent, None]:
        """Those after number ``last``, oldest first, as they happen, up to the last one of a finished job.

        Raises:
            JobNotFound: There is no such job.
            ServiceError: The volume fails, the service is about to end, or the client has too many streams.
        """
        self.check_room(client)
        self._num_of_client[client] += 1
        job = self._join(job_id)
        try:
            while True:
                news = job.news  # before it is looked at: what comes while events are taken is not missed
                for event in await self._after(job, last):
                    yield event
                    last = _number_of(event)
                if job.newest > last:
                    continue
                if job.error is not None:
                    raise job.error
                if job.is_over:
                    return
                await news.wait()
        finally:
            self._leave(job)
            self._num_of_client -= Counter((client,))

    def _join(self, job_id: str) -> "_WatchedJob":
        job = self._jobs.get(job_id)
        if job is None:
            job = self._jobs[job_id] = _WatchedJob(job_id)
            job.watching = asyncio.create_task(self._watch(job))
        job.num_streams += 1
        return job

    def _leave(self, job: "_WatchedJob") -> None:
        job.num_streams -= 1
        if not job.num_streams and job.watching is not None:
            self._forget(job)
            job.watching.cancel()

    def _forget(self, job: "_WatchedJob") -> None:
        if self._jobs.get(job.job_id) is job:
            del self._jobs[job.job_id]

    async def _watch(self, job: "_WatchedJob") -> None:
        try:
            history = self._history(job.job_id)
            while not job.is_over:
                job.take(await self._volume.read(history.read), is_over=history.is_over)
                if self._is_ending:
                    message = "the service is going down: watch again in a moment, with Last-Event-ID"
                    raise ServiceError(503, "shutting_down", message, retry_after_s=2)
                if not job.is_over:
                    await asyncio.sleep(self._poll_s)
        except Exception as exc:  # of whatever kind, it is an error of every stream; who comes later tries anew
            self._forget(job)
            job.fail(exc)

    async def _after(self, job: "_WatchedJob", last: int) -> Sequence[JobEvent]:
        """The events after ``last`` that are there."""
        if (kept := job.kept_after(last)) is not None:
            return kept
        history = self._history(job.job_id)
        return [event for event in await self._volume.read(history.read) if _number_of(event) > last]

    def _history(self, job_id: str) -> JobHistory:
        return JobHistory(_OneJob(self._records), job_id)


class _WatchedJob:
    """What is known of a job that is watched.

    Attributes:
        newest: Number of the newest event, 0 before the first.
        is_over: There is nothing more to come.
        error: That keeps others from coming.
        news: Set as soon as any of these has changed; then there is another one.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id, self.num_streams = job_id, 0
        self.newest, self.is_over = 0, False
        self.error: Exception | None = None
        self.news = asyncio.Event()
        self.watching: asyncio.Task[None] | None = None
        self._kept: deque[JobEvent] = deque(maxlen=_NUM_KEPT)

    def take(self, events: Sequence[JobEvent], *, is_over: bool) -> None:
        self._kept.extend(events)
        self.newest = _number_of(self._kept[-1]) if self._kept else 0
        self.is_over = is_over
        if events or is_over:
            self._tell()

    def fail(self, error: Exception) -> None:
        self.error = error
        self._tell()

    def kept_after(self, last: int) -> Sequence[JobEvent] | None:
        """The events after ``last``; None where some of them are not kept any more."""
        if self._kept and _number_of(self._kept[0]) > last + 1:
            return None
        return [event for event in self._kept if _number_of(event) > last]

    def _tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


class _OneJob(JobStore):
    """Asked for one job again and again, it decodes the record only where that is not as it was.

    What a worker says of its progress is as it was when the record changed: no event depends on it.
    """

    def __init__(self, records: JobRecords) -> None:
        super().__init__(records)
        self._content: bytes | None = None
        self._job: Job | None = None

    def get(self, job_id: str) -> Job:
        content = self._content_of(job_id)
        if self._job is None or content is None or content != self._content:
            self._job, self._content = super().get(job_id), content
        return self._job

    def _content_of(self, job_id: str) -> bytes | None:
        """None where it cannot be read: ``get`` says why."""
        if not JOB_ID.fullmatch(job_id):
            return None
        try:
            return self.records.read(job_id, MAX_RECORD_BYTES).content
        except (FileNotFoundError, NotADirectoryError, NotReadable):
            return None


def _number_of(event: JobEvent) -> int:
    return event_number(event.id) or 0
