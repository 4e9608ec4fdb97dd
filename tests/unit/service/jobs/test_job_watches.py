"""Many streams of one job: every event once and in order to each, and one look at the job for all."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import pytest

from adavae.service.errors import Overloaded, ServiceError
from adavae.service.jobs import job_watches
from adavae.service.jobs.job_watches import MAX_STREAMS_OF_A_CLIENT, JobWatches
from adavae.service.jobs.records import job_store
from adavae.service.jobs.records.job import Job, JobError, JobEvent
from adavae.service.jobs.records.job_errors import JobNotFound
from adavae.service.jobs.records.volume import Volume
from tests.unit.service.jobs.job_home import JobHome, home
from tests.unit.service.jobs.running import DEADLINE_S, until

__all__ = ["home"]

pytestmark = pytest.mark.asyncio


class Looks(Volume):
    """Counts what is read."""

    num = 0

    async def read(self, function: object, *arguments: object) -> object:  # type: ignore[override]
        self.num += 1
        return await super().read(function, *arguments)  # type: ignore[arg-type]


@pytest.fixture
def volume(home: JobHome) -> Looks:
    return Looks(home.settings().data)


@pytest.fixture
def watches(home: JobHome, volume: Looks) -> Iterator[JobWatches]:
    watches = JobWatches(home.store.records, volume, poll_s=0.002)
    yield watches
    assert not watches._jobs and not watches._num_of_client


def tell(home: JobHome, job: Job, *messages: str) -> None:
    for message in messages:
        with home.store.changing(job.id) as record:
            record.tell(message)


async def heard(events: AsyncGenerator[JobEvent, None], said: list[str]) -> None:
    async with asyncio.timeout(DEADLINE_S), aclosing(events):
        async for event in events:
            said.append(event.message)


async def test_a_job_that_many_watch_is_looked_at_once_for_all(
    home: JobHome, watches: JobWatches, volume: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """512 streams of one queued job read and checked its record 2,048 times a second."""
    job, num_decoded = home.queue_job(), 0
    decode = job_store.decoded_job

    def counted(content: bytes, job_id: str) -> Job:
        nonlocal num_decoded
        num_decoded += 1
        return decode(content, job_id)

    monkeypatch.setattr(job_store, "decoded_job", counted)
    said: list[list[str]] = [[] for _ in range(60)]
    streams = [
        asyncio.create_task(heard(watches.events(job.id, 0, str(number % 2 + number // 30)), each))
        for number, each in enumerate(said)
    ]
    await until(lambda: all(len(each) == 2 for each in said))
    before, looks = num_decoded, volume.num
    assert before == 1
    await until(lambda: volume.num > looks + 20)
    assert num_decoded == before
    tell(home, job, "third")
    await until(lambda: all(len(each) == 3 for each in said))
    home.claims.fail(home.claim(job), JobError(code="c", message="bad line"))
    await asyncio.gather(*streams)
    assert all(each == home.told(job) for each in said)


async def test_whoever_comes_late_or_is_slow_misses_nothing(
    home: JobHome, watches: JobWatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_watches, "_NUM_KEPT", 3)
    job = home.queue_job()
    slow = watches.events(job.id, 0, "slow")
    taken = [(await anext(slow)).message]
    quick: list[str] = []
    quickly = asyncio.create_task(heard(watches.events(job.id, 0, "quick"), quick))
    tell(home, job, *(f"event {number}" for number in range(20)))
    await until(lambda: len(quick) == 22)
    late: list[list[str]] = [[], [], []]
    lately = [
        asyncio.create_task(heard(watches.events(job.id, last, "late"), each))
        for last, each in zip((0, 10, 999), late, strict=True)
    ]
    await until(lambda: [len(each) for each in late] == [22, 12, 0])
    tell(home, job, "one more")
    home.claims.fail(home.claim(job), JobError(code="c", message="bad line"))
    await heard(slow, taken)
    await asyncio.gather(quickly, *lately)
    told = home.told(job)
    assert taken == quick == late[0] == told
    assert (late[1], late[2]) == (told[10:], [])


async def test_an_error_ends_every_stream_and_whoever_comes_again_goes_on(
    home: JobHome, watches: JobWatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, said = home.queue_job(), list[str]()
    streams = [asyncio.create_task(heard(watches.events(job.id, 0, "a"), said)) for _ in range(3)]
    await until(lambda: len(said) == 6)
    with monkeypatch.context() as patch:
        patch.setattr(home.store.records, "read", _fail)
        for outcome in await asyncio.gather(*streams, return_exceptions=True):
            assert isinstance(outcome, ServiceError) and outcome.code == "storage_failed"
    said.clear()
    again = asyncio.create_task(heard(watches.events(job.id, 1, "a"), said))
    await until(lambda: len(said) == 1)
    watches.end()
    with pytest.raises(ServiceError, match="Last-Event-ID"):
        await again


def _fail(*_: object) -> None:
    raise OSError("planted")


async def test_a_job_that_nobody_watches_any_more_is_not_looked_at(
    home: JobHome, watches: JobWatches, volume: Looks
) -> None:
    streams = [watches.events(home.queue_job().id, 0, "a") for _ in range(2)]
    for stream in streams:
        await anext(stream)
    for stream in streams:
        await stream.aclose()
    assert not watches._jobs
    await asyncio.sleep(0)
    looks = volume.num
    for _ in range(50):
        await asyncio.sleep(0)
    assert volume.num == looks


async def test_a_job_that_is_not_there_is_not_watched(watches: JobWatches) -> None:
    for job_id in ("ftjob-0", "../x", "ftjob-" + "0" * 24):
        with pytest.raises(JobNotFound):
            await anext(watches.events(job_id, 0, "a"))


async def test_a_client_has_so_many_streams_and_others_have_theirs(home: JobHome, watches: JobWatches) -> None:
    job = home.queue_job()
    streams = [watches.events(job.id, 0, "greedy") for _ in range(MAX_STREAMS_OF_A_CLIENT)]
    for stream in streams:
        await anext(stream)
    with pytest.raises(Overloaded, match=f"the limit is {MAX_STREAMS_OF_A_CLIENT}: close one"):
        watches.check_room("greedy")
    with pytest.raises(Overloaded):
        await anext(watches.events(job.id, 0, "greedy"))
    watches.check_room("modest")
    await streams.pop().aclose()
    watches.check_room("greedy")
    for stream in streams:
        await stream.aclose()
