"""The queue over pydocket: Redis streams, a message is kept by renewing its lease while its job is worked on.

pydocket's messages are pickles: whoever can write to this Redis can run code in those who read it. Keep it as private
as the volume. A Redis that is away is waited for; meanwhile nobody is told, and lookouts find the jobs.
"""

import asyncio
import contextlib
import logging
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from adavae.service.jobs.queue.queue import Deliver

if TYPE_CHECKING:
    from docket import Docket

MEMORY = "memory://"
"""The address of a queue inside this process."""

_NAME, _TASK = "adavae-training", "work_on"
_TIMEOUT_S = 2.0
_RECONNECTION_S = 1.0
_log = structlog.get_logger("adavae.jobs")


class DocketQueue:
    """One connection to the queue, used from one event loop."""

    def __init__(self, url: str, *, lease_s: float) -> None:
        """A message whose reader gives no sign of life for ``lease_s`` goes to another reader."""
        self._url = f"{MEMORY}{secrets.token_hex(8)}" if url == MEMORY else url
        self._lease_s = lease_s
        self._stack = contextlib.AsyncExitStack()
        self._opening = asyncio.Lock()
        self._docket: Docket | None = None

    async def enqueue(self, job_id: str, attempt: int) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                docket = await self._opened()
                await docket.add(_TASK, key=f"{job_id}:{attempt}")(job_id)
        except (RedisError, OSError, TimeoutError) as exc:
            _log.warning("queue_unreachable", job=job_id, reason=type(exc).__name__)

    async def consume(self, deliver: Deliver) -> None:
        from docket import Worker

        async def work_on(job_id: str) -> None:
            await deliver(job_id)

        docket = await self._opened()
        docket.register(work_on, names=[_TASK])
        async with Worker(
            docket,
            concurrency=1,
            redelivery_timeout=timedelta(seconds=self._lease_s),
            reconnection_delay=timedelta(seconds=_RECONNECTION_S),
            schedule_automatic_tasks=False,
        ) as worker:
            await worker.run_forever()

    async def problem(self) -> str | None:
        if self._url.startswith(MEMORY):
            return None
        try:
            async with asyncio.timeout(_TIMEOUT_S), (await self._opened()).redis() as redis:
                await redis.exists(_NAME)
        except (RedisError, OSError, TimeoutError) as exc:
            return type(exc).__name__
        return None

    async def close(self) -> None:
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(_TIMEOUT_S):
                await self._stack.aclose()

    async def _opened(self) -> "Docket":
        """Connects on first use; that needs no server, which may come later."""
        from docket import Docket

        async with self._opening:
            if self._docket is None:
                logging.getLogger("docket").setLevel(logging.CRITICAL)  # tracebacks every second while Redis is away
                docket = Docket(name=_NAME, url=self._url, execution_ttl=timedelta(0))
                docket.register(_left_to_workers, names=[_TASK])
                self._docket = await self._stack.enter_async_context(docket)
            return self._docket


async def _left_to_workers(job_id: str) -> None:
    """What those who only enqueue know of the task: its name and its argument."""
    del job_id
