"""The queue over Redis: one stream, one consumer group, an entry a job. What an entry holds is a job's id, or nothing.

enqueue   XADD, cut to some thousand entries
consume   XAUTOCLAIM of what nobody has renewed for ``lease_s``, else XREADGROUP of what is new; while a job is worked
          on its entry's idle time is reset; then XACK and XDEL

Whoever can write to Redis can send any entry: what is no job's id is passed over. All readers have one name in the
group, because an entry belongs to whoever renews it: readers that died leave nothing behind.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from adavae.model.errors import ConfigError
from adavae.service.jobs.queue.queue import Deliver
from adavae.service.jobs.records.job import JOB_ID

STREAM, GROUP, FIELD = "adavae:training", "workers", b"job"
MAX_ENTRIES = 10_000
"""Beyond it the oldest go, which lookouts find on the volume; Redis cuts when a block of entries is full."""

_READER = "worker"
_LONGEST_ID = 100
_TIMEOUT_S = 2.0
_BLOCK_S = 1.0
_RECONNECTION_S = 1.0
_RENEWALS_A_LEASE = 4

# Beside its own errors, what redis-py lets through where the other side is no Redis, or a connection breaks.
_FAILURES = (RedisError, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, RuntimeError)
_LOST_STREAM = ("NOGROUP", "UNBLOCKED")
_log = structlog.get_logger("adavae.jobs")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the stream; ``fields`` is None where it has been cut off meanwhile."""

    id: bytes
    fields: Mapping[bytes, bytes] | None


class RedisStreams:
    """``JobQueue``; used from one event loop, connected on first use."""

    def __init__(self, url: str, *, lease_s: float) -> None:
        """An entry whose reader gives no sign of life for ``lease_s`` goes to another reader.

        Raises:
            ConfigError: The URL is not one of a Redis.
        """
        self._redis, self._lease_s = _client(url), lease_s
        self._cursor: bytes | str = "0-0"  # where the search for abandoned entries goes on
        self._num_passed_over = 0

    async def enqueue(self, job_id: str) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._redis.xadd(STREAM, {FIELD: job_id}, maxlen=MAX_ENTRIES, approximate=True)
        except _FAILURES as exc:
            _log.warning("queue_unreachable", job=job_id, reason=_reason(exc))

    async def consume(self, deliver: Deliver) -> None:
        """Never ends by itself: it waits for a Redis that is away, and makes a lost stream or group anew."""
        is_reached = True
        while True:
            try:
                await self._make_group()
                if not is_reached:
                    is_reached = True
                    _log.info("queue_reached")
                await self._deliver_entries(deliver)
            except _FAILURES as exc:
                if _is_stream_lost(exc):
                    _log.info("queue_made_anew", reason="stream or group were gone")
                    continue
                if is_reached:
                    is_reached = False
                    _log.warning("queue_unreachable", reason=_reason(exc), remedy="jobs are found on the volume")
                await asyncio.sleep(_RECONNECTION_S)

    async def problem(self) -> str | None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._redis.xlen(STREAM)
        except _FAILURES as exc:
            return type(exc).__name__
        return None

    async def close(self) -> None:
        with contextlib.suppress(*_FAILURES):
            async with asyncio.timeout(_TIMEOUT_S):
                await self._redis.aclose()

    async def _make_group(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as exc:
            if not str(exc).startswith("BUSYGROUP"):  # which says that it is there
                raise

    async def _deliver_entries(self, deliver: Deliver) -> None:
        """One after the other until Redis fails; raises one of ``_FAILURES``."""
        while True:
            entry = await self._abandoned() or await self._new()
            if entry is None:
                continue
            if (job_id := job_of(entry.fields)) is not None:
                async with self._renewing(entry):
                    await deliver(job_id)
            elif entry.fields is not None:
                self._tell_passed_over(entry)
            await self._done(entry)

    async def _abandoned(self) -> Entry | None:
        """An entry that another reader took and does not renew."""
        async with asyncio.timeout(_TIMEOUT_S):
            idle_ms = int(self._lease_s * 1000)
            reply = await self._redis.xautoclaim(STREAM, GROUP, _READER, idle_ms, start_id=self._cursor, count=1)
        self._cursor, entries, *_ = reply
        return _first(entries)

    async def _new(self) -> Entry | None:
        """The next one that no reader had, after a wait where there is none."""
        block_s = min(_BLOCK_S, self._lease_s)
        async with asyncio.timeout(block_s + _TIMEOUT_S):
            reply = await self._redis.xreadgroup(
                GROUP, _READER, {STREAM: ">"}, count=1, block=max(1, int(block_s * 1000))
            )
        return _first(reply[0][1]) if reply else None

    @contextlib.asynccontextmanager
    async def _renewing(self, entry: Entry) -> AsyncIterator[None]:
        renewing = asyncio.create_task(self._renew(entry))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})

    async def _renew(self, entry: Entry) -> None:
        """Until cancelled; where Redis is away the entry goes to another reader, who finds the job taken."""
        while True:
            await asyncio.sleep(self._lease_s / _RENEWALS_A_LEASE)
            with contextlib.suppress(*_FAILURES):
                async with asyncio.timeout(_TIMEOUT_S):
                    await self._redis.xclaim(STREAM, GROUP, _READER, 0, [entry.id], justid=True)

    async def _done(self, entry: Entry) -> None:
        async with asyncio.timeout(_TIMEOUT_S):
            await self._redis.xack(STREAM, GROUP, entry.id)
            await self._redis.xdel(STREAM, entry.id)

    def _tell_passed_over(self, entry: Entry) -> None:
        """Of a flood only the first, the second, the fourth and so on."""
        self._num_passed_over += 1
        if self._num_passed_over.bit_count() == 1:
            _log.warning(
                "queue_entry_passed_over",
                entry=entry.id.decode(errors="replace"),
                reason="it names no job",
                so_far=self._num_passed_over,
                remedy="let nobody but service and workers write to this Redis",
            )


def job_of(fields: Mapping[bytes, bytes] | None) -> str | None:
    """The id that an entry carries; None where it is anything else."""
    if fields is None or len(fields) != 1 or len(value := fields.get(FIELD, b"")) > _LONGEST_ID:
        return None
    job_id = value.decode("ascii", errors="replace")
    return job_id if JOB_ID.fullmatch(job_id) else None


def _first(entries: object) -> Entry | None:
    """The one entry of a reply; raises InvalidResponse where it is no reply of a stream."""
    if not isinstance(entries, list):
        raise InvalidResponse("Redis answered with something else than entries")
    if not entries or entries[0][0] is None:  # Redis 6.2 gives nothing of what was cut off
        return None
    entry_id, fields = entries[0]
    if not isinstance(entry_id, bytes):
        raise InvalidResponse("Redis answered with an entry without an id")
    return Entry(entry_id, fields if isinstance(fields, dict) else None)


def _is_stream_lost(error: Exception) -> bool:
    """Somebody wiped Redis, or deleted the stream or its group."""
    return isinstance(error, ResponseError) and str(error).startswith(_LOST_STREAM)


def _reason(error: Exception) -> str:
    """For the log: what Redis says, or the kind of error; the address with its password is in neither."""
    return f"{type(error).__name__}: {error}"[:200] if isinstance(error, ResponseError) else type(error).__name__


def _client(url: str) -> Any:
    """Connections that neither retry nor time out by themselves: a limit around each command does."""
    try:
        client = Redis.from_url(
            url,
            protocol=2,
            driver_info=None,  # or each connection began with a command that the queue's user may not give
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
        )
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # opens nothing, but refuses what is no option
    except (ValueError, TypeError):
        # Neither the value nor the cause is shown: both may hold the password.
        rule = "must be redis://[:password@]host:port/db, rediss://... or unix://path"
        raise ConfigError("redis_url", "(not shown)", rule) from None
    return client
