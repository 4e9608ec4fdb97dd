"""Files and jobs as one caller sees them: what belongs to another is answered like what never existed."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from adavae.service.downloads import Download
from adavae.service.jobs.data.file_store import FileStore, file_not_found
from adavae.service.jobs.job_service import JobService
from adavae.service.jobs.protocol import NamedColumns, Page, guessed
from adavae.service.jobs.records.caller import Caller
from adavae.service.jobs.records.job import Job, JobEvent, NewJob, StoredFile
from adavae.service.jobs.records.job_errors import JobNotFound


@dataclass(frozen=True, slots=True)
class OwnedFiles:
    """``FileOperations`` of one caller."""

    store: FileStore
    caller: Caller

    async def create(
        self,
        filename: str,
        purpose: str,
        content: AsyncIterator[bytes],
        columns: NamedColumns = guessed,
        *,
        idempotency_key: str | None = None,
    ) -> StoredFile:
        return await self.store.create(
            filename, purpose, content, columns, owner=self.caller.owner, idempotency_key=idempotency_key
        )

    async def get(self, file_id: str) -> StoredFile:
        stored = await self.store.get(file_id)
        if not self.caller.sees(stored.owner):
            raise file_not_found(file_id)
        return stored

    async def list(self, *, limit: int, after: str | None, newest_first: bool = True) -> Page[StoredFile]:
        return await self.store.list(limit=limit, after=after, newest_first=newest_first, caller=self.caller)

    async def download(self, file_id: str) -> Download:
        return await self.store.download((await self.get(file_id)).id)

    async def delete(self, file_id: str) -> None:
        await self._refuse_others(file_id)
        await self.store.delete(file_id)

    async def _refuse_others(self, file_id: str) -> None:
        """Whoever sees everything may also delete what cannot be read any more."""
        if not self.caller.is_admin:
            await self.get(file_id)


@dataclass(frozen=True, slots=True)
class OwnedJobs:
    """``JobOperations`` of one caller."""

    service: JobService
    caller: Caller

    async def create(self, new: NewJob, *, idempotency_key: str | None = None) -> Job:
        return await self.service.create(new, idempotency_key=idempotency_key, caller=self.caller)

    async def get(self, job_id: str) -> Job:
        job = await self.service.get(job_id)
        if not self.caller.sees(job.owner):
            raise JobNotFound(job_id)
        return job

    async def list(self, *, limit: int, after: str | None, metadata: dict[str, str] | None = None) -> Page[Job]:
        return await self.service.list(limit=limit, after=after, metadata=metadata, caller=self.caller)

    async def events(self, job_id: str, *, limit: int, after: str | None) -> Page[JobEvent]:
        return await self.service.events((await self.get(job_id)).id, limit=limit, after=after)

    def watch(self, job_id: str, *, after: str | None) -> AsyncGenerator[JobEvent, None]:
        return self._seen(job_id, self.service.watch(job_id, after=after))

    async def _seen(self, job_id: str, watched: AsyncGenerator[JobEvent, None]) -> AsyncGenerator[JobEvent, None]:
        async with aclosing(watched) as events:
            await self.get(job_id)
            async for event in events:
                yield event

    async def cancel(self, job_id: str) -> Job:
        return await self.service.cancel((await self.get(job_id)).id)

    async def pause(self, job_id: str) -> Job:
        return await self.service.pause((await self.get(job_id)).id)

    async def resume(self, job_id: str) -> Job:
        return await self.service.resume((await self.get(job_id)).id)


@dataclass(frozen=True, slots=True)
class OwnedTraining:
    """``CallersTraining``: both, of the same caller."""

    files: OwnedFiles
    jobs: OwnedJobs
