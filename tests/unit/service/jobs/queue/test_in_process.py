"""The queue inside one process."""

import asyncio

import pytest

from adavae.service.jobs.queue.in_process import InProcessQueue
from tests.unit.service.jobs.running import until


@pytest.mark.asyncio
async def test_jobs_are_delivered_one_after_the_other_in_order() -> None:
    queue = InProcessQueue()
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
        await queue.enqueue(f"job-{number}")
    await until(lambda: len(seen) == 4)
    consuming.cancel()
    await asyncio.wait({consuming})
    await queue.close()
    assert seen == [f"job-{number}" for number in range(4)]
    assert most_at_once == 1


@pytest.mark.asyncio
async def test_a_job_that_waits_is_not_queued_again() -> None:
    """Or pausing and resuming a job while the worker is busy would make the queue grow without end."""
    queue = InProcessQueue()
    seen: list[str] = []
    may_go_on = asyncio.Event()

    async def deliver(job_id: str) -> None:
        seen.append(job_id)
        await may_go_on.wait()

    consuming = asyncio.create_task(queue.consume(deliver))
    await queue.enqueue("first")
    await until(lambda: seen)
    for job_id in ("second", "first", "second", "third", "first"):
        await queue.enqueue(job_id)
    may_go_on.set()
    await until(lambda: "third" in seen)
    consuming.cancel()
    await asyncio.wait({consuming})
    assert seen == ["first", "second", "first", "third"]
    assert await queue.problem() is None
