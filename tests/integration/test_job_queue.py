"""The queue over a real Redis that is killed, wiped, frozen, and comes back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from adavae.service.jobs.queue.docket_queue import DocketQueue
from tests.integration.redis_server import RedisServer, StartRedis, start_redis

__all__ = ["start_redis"]

DEADLINE_S = 60.0


HELD = "held"


class Reader:
    """Takes what is delivered, and holds the job of that name until it may finish."""

    def __init__(self, url: str) -> None:
        self.queue = DocketQueue(url, lease_s=2)
        self.seen: list[str] = []
        self.may_finish = asyncio.Event()

    async def deliver(self, job_id: str) -> None:
        self.seen.append(job_id)
        if job_id == HELD:
            await self.may_finish.wait()

    async def gets(self, job_id: str) -> None:
        """Enqueues until it is delivered: a message may be lost, the queue must not be."""
        async with asyncio.timeout(DEADLINE_S):
            for attempt in range(1_000_000):
                if job_id in self.seen:
                    return
                if attempt % 20 == 0:
                    await self.queue.enqueue(job_id, attempt)
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def reading(url: str) -> AsyncIterator[Reader]:
    reader = Reader(url)
    consuming = asyncio.create_task(reader.queue.consume(reader.deliver))
    try:
        yield reader
    finally:
        reader.may_finish.set()
        while not consuming.done():
            consuming.cancel()
            await asyncio.wait({consuming}, timeout=2)
        await reader.queue.close()


async def wipe(server: RedisServer) -> None:
    async with Redis(unix_socket_path=str(server.socket_path)) as client:
        await client.flushall()


@pytest.mark.asyncio
@pytest.mark.slow
async def test_jobs_are_delivered_again_after_whatever_befell_redis(start_redis: StartRedis) -> None:
    server = start_redis(is_started=False)
    async with reading(server.url) as reader:
        assert await reader.queue.problem() == "ConnectionError"
        server.start()
        await reader.gets("after it came up")

        await reader.gets(HELD)
        server.kill()
        await reader.queue.enqueue("lost", 0)
        server.start()
        assert reader.seen[-1] == HELD
        reader.may_finish.set()
        await reader.gets("after a restart")

        await wipe(server)
        await reader.gets("after it was wiped")

        server.hang()
        assert await reader.queue.problem() == "TimeoutError"
        await reader.queue.enqueue("to a frozen one", 0)
        server.resume()
        await reader.gets("after it was frozen")


@pytest.mark.asyncio
@pytest.mark.slow
async def test_a_queue_on_a_frozen_redis_can_be_left(start_redis: StartRedis) -> None:
    server = start_redis()
    async with reading(server.url) as reader:
        await reader.gets("one")
        server.hang()
    server.resume()


@pytest.mark.asyncio
@pytest.mark.slow
async def test_what_a_dead_reader_held_goes_to_another(start_redis: StartRedis) -> None:
    server = start_redis()
    dead = Reader(server.url)
    consuming = asyncio.create_task(dead.queue.consume(dead.deliver))
    await dead.gets(HELD)
    server.hang()  # it can say nothing any more: neither that it lives nor that it is done
    while not consuming.done():
        consuming.cancel()
        await asyncio.wait({consuming}, timeout=0.1)
    server.resume()
    async with reading(server.url) as other, asyncio.timeout(DEADLINE_S):
        while HELD not in other.seen:
            await asyncio.sleep(0.05)
    await dead.queue.close()
