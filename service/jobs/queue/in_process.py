"""The queue where there is no Redis: from a service to the worker inside it."""

import asyncio

from adavae.service.jobs.queue.queue import Deliver


class InProcessQueue:
    """Used from one event loop; a job that waits already is not queued again."""

    def __init__(self) -> None:
        self._jobs: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()

    async def enqueue(self, job_id: str) -> None:
        if job_id not in self._waiting:
            self._waiting.add(job_id)
            self._jobs.put_nowait(job_id)

    async def consume(self, deliver: Deliver) -> None:
        while True:
            job_id = await self._jobs.get()
            self._waiting.discard(job_id)
            await deliver(job_id)

    async def problem(self) -> str | None:
        return None

    async def close(self) -> None:
        """There is nothing to let go of."""
