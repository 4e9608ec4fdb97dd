"""The queue where there is no Redis to be reached, and inside one process."""

import asyncio

import pytest
from structlog.testing import capture_logs

from adavae.service.jobs.queue.docket_queue import MEMORY, DocketQueue
from tests.unit.service.jobs.running import until

NOWHERE = "redis://127.0.0.1:9/0"


@pytest.mark.asyncio
async def test_jobs_are_delivered_one_after_the_other() -> None:
    queue = DocketQueue(MEMORY, lease_s=5)
    seen: list[str] = []
    at_once = most_at_once = 0

    async def deliver(job_id: str) -> None:
        nonlocal at_once, most_at_once
        at_once += 1
        most_at_once = max(most_at_once, at_once)
        await asyncio.sleep(0)
        seen.append(job_id)
        at_once -= 1

    consuming = asyncio.create_task(queue.consume(deliver))
    for number in range(4):
        await queue.enqueue(f"job-{number}", 0)
    await until(lambda: len(seen) == 4)
    consuming.cancel()
    await asyncio.wait({consuming})
    await queue.close()
    assert sorted(seen) == [f"job-{number}" for number in range(4)]
    assert most_at_once == 1


@pytest.mark.asyncio
async def test_two_queues_in_memory_do_not_know_each_other() -> None:
    one, other = DocketQueue(MEMORY, lease_s=5), DocketQueue(MEMORY, lease_s=5)
    seen: list[str] = []

    async def deliver(job_id: str) -> None:
        seen.append(job_id)

    consuming = asyncio.create_task(one.consume(deliver))
    await other.enqueue("other's", 0)
    await one.enqueue("its own", 0)
    await until(lambda: seen)
    consuming.cancel()
    await asyncio.wait({consuming})
    assert seen == ["its own"]
    await one.close()
    await other.close()


@pytest.mark.asyncio
async def test_without_redis_nothing_is_raised_and_the_reason_is_told() -> None:
    queue = DocketQueue(NOWHERE, lease_s=5)
    with capture_logs() as logs:
        await queue.enqueue("job", 0)
    assert [entry["event"] for entry in logs] == ["queue_unreachable"]
    assert await queue.problem() == "ConnectionError"
    consuming = asyncio.create_task(queue.consume(lambda job_id: queue.enqueue(job_id, 0)))
    await asyncio.sleep(0)
    consuming.cancel()
    await asyncio.wait({consuming})
    await queue.close()
