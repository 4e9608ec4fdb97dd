"""The queue over Redis where none is to be reached, and what it makes of entries."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from adavae.model.errors import ConfigError
from adavae.service.jobs.queue.redis_streams import FIELD, RedisStreams, job_of
from adavae.service.jobs.records.job import JOB_ID
from adavae.service.jobs.records.job_store import new_job_id
from tests.unit.service.jobs.running import until

NOWHERE = "redis://127.0.0.1:9/0"


@pytest.mark.asyncio
async def test_without_redis_nothing_is_raised_and_the_reason_is_logged_once() -> None:
    queue = RedisStreams(NOWHERE, lease_s=5)
    with capture_logs() as logs:
        await queue.enqueue(new_job_id())
        assert await queue.problem() == "ConnectionError"
        consuming = asyncio.create_task(queue.consume(lambda job_id: queue.enqueue(job_id)))
        await until(lambda: len(logs) == 2)
        consuming.cancel()
        await asyncio.wait({consuming})
    assert [entry["event"] for entry in logs] == ["queue_unreachable"] * 2
    await queue.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "redis://host:port/0", "", "redis://u:secret@h/0?db=x"])
def test_what_is_no_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match="redis_url") as caught:
        RedisStreams(url, lease_s=5)
    assert "secret" not in str(caught.value)


def test_an_entry_with_a_jobs_id_names_that_job() -> None:
    job_id = new_job_id()
    assert job_of({FIELD: job_id.encode()}) == job_id


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([FIELD, b"jobs", b""]) | st.binary(max_size=8), st.binary(max_size=200)))
def test_no_other_entry_names_one(fields: dict[bytes, bytes]) -> None:
    named = job_of(fields)
    assert named is None or (fields == {FIELD: named.encode()} and JOB_ID.fullmatch(named))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"ftjob-",
        b"ftjob-" + b"g" * 24,
        b"ftjob-" + b"0" * 25,
        b"ftjob-" + b"0" * 24 + b"\n",
        b"../ftjob-" + b"0" * 24,
        b"FTJOB-" + b"0" * 24,
        b"ftjob-" + "\u0660".encode() * 24,  # a digit, and none of ours
        b"\x80\x04\x95pickle",
        b"\xff" * 30,
        b"0" * 10_000_000,
    ],
    ids=range(11),
)
def test_what_looks_like_an_id_and_is_none_names_no_job(value: bytes) -> None:
    assert job_of({FIELD: value}) is None
    assert job_of({FIELD: b"ftjob-" + b"0" * 24, b"more": value}) is None
