"""The queue over a real Redis that is killed, wiped, frozen, comes back, and is written to by anybody."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from adavae.service.jobs.queue.redis_streams import FIELD, GROUP, STREAM, RedisStreams
from adavae.service.jobs.records.job_store import new_job_id
from tests.integration.redis_server import StartRedis, start_redis

__all__ = ["start_redis"]

pytestmark = pytest.mark.slow

DEADLINE_S = 60.0
LEASE_S = 2.0

DYING_READER = """
import asyncio, sys
from adavae.service.jobs.queue.redis_streams import RedisStreams

async def deliver(job_id):
    print(job_id, flush=True)
    await asyncio.Event().wait()

asyncio.run(RedisStreams(sys.argv[1], lease_s=float(sys.argv[2])).consume(deliver))
"""


class Reader:
    """Takes what is delivered, and holds the job ``held`` until it may finish."""

    def __init__(self, url: str) -> None:
        self.queue = RedisStreams(url, lease_s=LEASE_S)
        self.seen: list[str] = []
        self.held = new_job_id()
        self.may_finish = asyncio.Event()

    async def deliver(self, job_id: str) -> None:
        self.seen.append(job_id)
        if job_id == self.held:
            await self.may_finish.wait()

    async def gets(self, job_id: str | None = None) -> None:
        """Enqueues until it is delivered: a message may be lost, the queue must not be."""
        wanted = job_id or new_job_id()
        async with asyncio.timeout(DEADLINE_S):
            for attempt in range(1_000_000):
                if wanted in self.seen:
                    return
                if attempt % 40 == 0:
                    await self.queue.enqueue(wanted)
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def reading(url: str) -> AsyncIterator[Reader]:
    reader = Reader(url)
    consuming = asyncio.create_task(reader.queue.consume(reader.deliver))
    try:
        yield reader
        assert not consuming.done(), "nothing ends a consumer but whoever started it"
    finally:
        consuming.cancel()
        await asyncio.wait({consuming})
        await reader.queue.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.05)


@pytest.mark.asyncio
async def test_jobs_are_delivered_again_after_whatever_befell_redis(start_redis: StartRedis) -> None:
    server = start_redis(is_started=False)
    async with reading(server.url) as reader:
        assert await reader.queue.problem() == "ConnectionError"
        server.start()
        await reader.gets()

        await reader.gets(reader.held)
        server.kill()
        await reader.queue.enqueue(new_job_id())
        server.start()
        assert reader.seen[-1] == reader.held
        reader.may_finish.set()
        await reader.gets()

        server.hang()
        assert await reader.queue.problem() == "TimeoutError"
        await reader.queue.enqueue(new_job_id())
        server.resume()
        await reader.gets()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "loss", [("FLUSHALL",), ("DEL", STREAM), ("XGROUP", "DESTROY", STREAM, GROUP), ("XTRIM", STREAM, "MAXLEN", "0")]
)
async def test_a_stream_or_group_that_is_gone_is_made_anew(start_redis: StartRedis, loss: tuple[str, ...]) -> None:
    """While a reader waits for entries, and while it works on one."""
    server = start_redis()
    async with reading(server.url) as reader, Redis.from_url(server.url) as redis:
        await reader.gets()
        await redis.execute_command(*loss)
        await reader.gets()
        await reader.gets(reader.held)
        await redis.execute_command(*loss)
        reader.may_finish.set()
        await reader.gets()


@pytest.mark.asyncio
async def test_a_key_of_another_type_is_told_and_the_queue_goes_on_without_it(start_redis: StartRedis) -> None:
    server = start_redis()
    async with reading(server.url) as reader, Redis.from_url(server.url) as redis:
        await reader.gets()
        with capture_logs() as logs:
            await redis.delete(STREAM)
            await redis.set(STREAM, b"no stream")
            await until(lambda: any("WRONGTYPE" in str(entry.get("reason")) for entry in logs))
            assert await reader.queue.problem() == "ResponseError"
        await redis.delete(STREAM)
        await reader.gets()


@pytest.mark.asyncio
async def test_entries_that_name_no_job_are_told_and_passed_over(start_redis: StartRedis) -> None:
    """Regression: one entry that was no message of ours ended the consumer for good; and one ran code."""
    server = start_redis()
    job_id = new_job_id()
    async with Redis.from_url(server.url) as redis:
        for fields in (
            {b"job": b""},
            {b"": b""},
            {b"other": job_id.encode()},
            {b"job": job_id.encode(), b"more": b"1"},
            {b"job": b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94"},
            {b"job": b"\xff\xfe" * 20},
            {b"job": b"../../" + job_id.encode()},
            {b"job": b"x" * 30_000_000},
            {b"key": b"1", b"function": b"work_on", b"args": b"\x80\x04K\x01."},
            {str(number).encode(): b"" for number in range(20_000)},
        ):
            await redis.xadd(STREAM, fields)  # type: ignore[arg-type]
        with capture_logs() as logs:
            async with reading(server.url) as reader:
                await reader.gets(job_id)
        assert reader.seen == [job_id]
        told = [entry for entry in logs if entry["event"] == "queue_entry_passed_over"]
        assert [entry["so_far"] for entry in told] == [1, 2, 4, 8]
        assert await redis.xlen(STREAM) <= 1
        assert await redis.xpending(STREAM, GROUP) == {"pending": 0, "min": None, "max": None, "consumers": []}


@pytest.mark.asyncio
async def test_two_readers_share_the_jobs_and_each_job_is_delivered_once(start_redis: StartRedis) -> None:
    server = start_redis()
    jobs = [new_job_id() for _ in range(40)]
    async with reading(server.url) as one, reading(server.url) as other:
        for job_id in jobs:
            await one.queue.enqueue(job_id)
        await until(lambda: len(one.seen) + len(other.seen) >= len(jobs))
        assert sorted(one.seen + other.seen) == sorted(jobs)


@pytest.mark.asyncio
async def test_a_job_that_is_worked_on_for_longer_than_the_lease_is_not_delivered_twice(
    start_redis: StartRedis,
) -> None:
    server = start_redis()
    async with reading(server.url) as worker, reading(server.url) as other, Redis.from_url(server.url) as redis:
        other.held = worker.held
        await worker.queue.enqueue(worker.held)
        await until(lambda: worker.seen or other.seen)
        idle_ms = []
        for _ in range(10):
            await asyncio.sleep(LEASE_S / 5)
            idle_ms.append((await redis.xpending_range(STREAM, GROUP, "-", "+", 1))[0]["time_since_delivered"])
        assert min(idle_ms[5:]) < LEASE_S * 1000
        assert len(worker.seen + other.seen) == 1 or max(idle_ms) >= LEASE_S * 1000  # on a machine that stood still
        worker.may_finish.set()
        other.may_finish.set()
        await worker.gets()


@pytest.mark.asyncio
async def test_what_a_killed_reader_held_goes_to_another(start_redis: StartRedis) -> None:
    server = start_redis()
    job_id = new_job_id()
    queue = RedisStreams(server.url, lease_s=LEASE_S)
    await queue.enqueue(job_id)
    await queue.close()
    command = [sys.executable, "-c", DYING_READER, server.url, str(LEASE_S)]
    repository = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=repository) as dying:
        assert dying.stdout is not None
        assert dying.stdout.readline().strip() == job_id
        async with reading(server.url) as other:
            await other.gets()
            assert job_id not in other.seen
            dying.send_signal(signal.SIGKILL)
            await until(lambda: job_id in other.seen)
            await other.gets()
    async with Redis.from_url(server.url) as redis:
        assert (await redis.xpending(STREAM, GROUP))["pending"] == 0


@pytest.mark.asyncio
async def test_a_queue_on_a_frozen_redis_can_be_left(start_redis: StartRedis) -> None:
    server = start_redis()
    async with reading(server.url) as reader:
        await reader.gets()
        server.hang()
    server.resume()


@pytest.mark.asyncio
async def test_the_stream_is_cut_where_nobody_reads(start_redis: StartRedis) -> None:
    server = start_redis()
    async with Redis.from_url(server.url) as redis:
        pipeline = redis.pipeline(transaction=False)
        for _ in range(10_500):
            pipeline.xadd(STREAM, {FIELD: b"ftjob-" + b"0" * 24})
        await pipeline.execute()
        queue = RedisStreams(server.url, lease_s=LEASE_S)
        await queue.enqueue(new_job_id())
        await queue.close()
        assert 10_000 <= await redis.xlen(STREAM) <= 10_200


@pytest.mark.asyncio
async def test_a_user_with_the_commands_of_the_queue_is_enough(start_redis: StartRedis) -> None:
    server = start_redis()
    async with Redis.from_url(server.url) as redis:
        allowed = ["+xadd", "+xgroup|create", "+xreadgroup", "+xautoclaim", "+xclaim", "+xack", "+xdel", "+xlen"]
        await redis.execute_command("ACL", "SETUSER", "queue", "on", ">secret", f"~{STREAM}", *allowed)
    url = server.url.replace("redis://", "redis://queue:secret@")
    async with reading(url) as reader:
        await reader.gets(reader.held)
        await asyncio.sleep(LEASE_S / 2)
        reader.may_finish.set()
        await reader.gets()
        assert await reader.queue.problem() is None
