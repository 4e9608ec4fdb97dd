"""What the training routes may ask of the parts below them: ``TrainingService`` answers, in tests a stub."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from adavae.model.training.readers.columns import GUESSED, Columns
from adavae.service.downloads import Download
from adavae.service.jobs.records.caller import Caller
from adavae.service.jobs.records.job import Job, JobEvent, NewJob, StoredFile

Item = TypeVar("Item")
NamedColumns = Callable[[], Columns]
"""Asked for once; raises ServiceError (422) where the names do not go together."""


def guessed() -> Columns:
    """``NamedColumns`` where none is named."""
    return GUESSED


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Part of a list, and whether more comes after it."""

    items: Sequence[Item]
    has_more: bool


class FileOperations(Protocol):
    """Stored data. All raise ``service.errors.ServiceError`` (404 unknown id, 409 in use, 413, 422)."""

    async def create(
        self,
        filename: str,
        purpose: str,
        content: AsyncIterator[bytes],
        columns: NamedColumns = guessed,
        *,
        idempotency_key: str | None = None,
    ) -> StoredFile:
        """Stores and checks an upload; nothing stays of one that is refused or cut off.

        ``columns`` is asked for the columns' names when all of the content has come. With a key that was used before
        it is the file that was made then, as long as that is there; the same key with another upload is refused (409).
        """
        ...

    async def get(self, file_id: str) -> StoredFile: ...

    async def list(self, *, limit: int, after: str | None, newest_first: bool = True) -> Page[StoredFile]: ...

    async def download(self, file_id: str) -> Download:
        """The upload as it came."""
        ...

    async def delete(self, file_id: str) -> None:
        """Raises 409 while a job that is not finished uses it."""
        ...


class JobOperations(Protocol):
    """Training jobs. All raise ``service.errors.ServiceError`` (404 unknown id, 409 wrong state, 422, 429)."""

    async def create(self, new: NewJob, *, idempotency_key: str | None = None) -> Job:
        """Checks the data and queues a job; with a key that was used before, the job it made then.

        The same key with another request is refused (409).
        """
        ...

    async def get(self, job_id: str) -> Job: ...

    async def list(self, *, limit: int, after: str | None, metadata: dict[str, str] | None = None) -> Page[Job]:
        """Newest first, those whose metadata has every given pair."""
        ...

    async def events(self, job_id: str, *, limit: int, after: str | None) -> Page[JobEvent]:
        """Newest first, as OpenAI does; ``after`` an event goes on towards the oldest."""
        ...

    def watch(self, job_id: str, *, after: str | None) -> AsyncGenerator[JobEvent, None]:
        """Oldest first, those after ``after``, as they happen; ends with the last one of a finished job.

        Raises 429 at once, before an event is asked for, where the caller watches as often as it may.
        """
        ...

    async def cancel(self, job_id: str) -> Job:
        """409 where the job is finished; cancelled at once where it is not running, within seconds where it is."""
        ...

    async def pause(self, job_id: str) -> Job: ...

    async def resume(self, job_id: str) -> Job: ...


class CallersTraining(Protocol):
    """Both, as one caller sees them: what is another's is not there (404)."""

    @property
    def files(self) -> FileOperations: ...

    @property
    def jobs(self) -> JobOperations: ...


class TrainingOperations(Protocol):
    """Training, with the life of whatever runs behind it."""

    def seen_by(self, caller: Caller) -> CallersTraining: ...

    async def start(self) -> None: ...

    def end_watching(self) -> None:
        """The service is about to end: every ``watch`` is over within a moment; safe in a signal handler."""
        ...

    async def stop(self) -> None: ...
