"""Encodings kept in Redis, shared by every server that has the same backbone and adapter sets.

Redis may be absent, die, hang, restart, fill up or hold garbage at any time. What a request sees of that is a miss,
after at most one bounded wait: the first failure turns Redis off (``skipped`` counts what was not tried), and a single
background task asks until it answers again. Keys and values are ``service.encodings.cache``'s.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from redis.asyncio import ConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterCrossSlotError,
    ClusterDownError,
    InvalidResponse,
    MovedError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from adavae.model.errors import ConfigError
from adavae.service.encodings.cache import KEY_PREFIX, CacheCounts, is_finite, pack, place_of, unpack
from adavae.service.results import Encoding

FIRST_PROBE_DELAY_S = 0.25
LAST_PROBE_DELAY_S = 2.0
MIN_BACKGROUND_TIMEOUT_S = 1.0  # for puts and probes, which no request waits for

# What a broken connection or a server that is no Redis leads to; redis-py lets the last three through from its parser
# and from the event loop's transports.
_FAILURES = (RedisError, OSError, EOFError, ValueError, RuntimeError)

_PROBED = tuple(f"{KEY_PREFIX}probe-{number}" for number in range(3))  # several, as a request's are
_TLS_HINT = ": rediss:// where it speaks TLS, redis:// where not"
_CLUSTER_ERRORS = (ClusterCrossSlotError, MovedError, AskError, ClusterDownError)

_Answer = TypeVar("_Answer")
_log = structlog.get_logger(__name__)


class RedisCache:
    """One bounded pool of connections and the state of what is behind it; belongs to one event loop.

    Nothing is connected before the first look-up, so a Redis that is absent does not stop the start.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; its password is never logged.
        ttl_s: Seconds that a value stays.
        timeout_ms: Longest that a look-up holds its request up, connecting and waiting for a connection included.
        secret: Of the deployment: values that were not written with it are misses, and no text leads to a key.
        max_connections: Look-ups at once; further ones wait for their turn within their time. Puts have a quarter as
            many of their own, so that they never delay a look-up.
        max_pending_puts: Calls of ``put_many`` under way at once; further ones are dropped and counted.

    Raises:
        ConfigError: The URL is not one of a Redis.
    """

    def __init__(
        self,
        url: str,
        *,
        ttl_s: int,
        timeout_ms: int,
        secret: bytes = b"",
        max_connections: int = 16,
        max_pending_puts: int = 64,
    ) -> None:
        self.counts = CacheCounts()
        self._ttl_s, self._timeout_s, self._secret = ttl_s, timeout_ms / 1000, secret
        self._background_timeout_s = max(self._timeout_s, MIN_BACKGROUND_TIMEOUT_S)
        num_put_slots = max(1, max_connections // 4)
        self._pool = _open_pool(url, max_connections + num_put_slots + 1)  # one more for the probe
        self._client: Any = Redis(connection_pool=self._pool)
        self._num_get_slots = max_connections
        self._get_slots, self._put_slots = asyncio.Semaphore(max_connections), asyncio.Semaphore(num_put_slots)
        self._max_pending_puts = max_pending_puts
        self._puts: set[asyncio.Task[None]] = set()
        self._probe: asyncio.Task[None] | None = None
        self._is_connected: bool | None = None
        self._is_refusing = self._is_closed = self._is_reading_others = False

    @property
    def is_connected(self) -> bool:
        """Whether Redis answered when it was last asked; False before it was ever asked."""
        return self._is_connected is True

    async def get_many(self, keys: Sequence[str]) -> list[Encoding | None]:
        """One answer a key, in their order, from one round trip; all are misses where Redis fails or is away."""
        found: list[Encoding | None] = [None] * len(keys)
        if keys and self._is_away:
            self.counts.skipped += len(keys)
        elif keys:
            found = await self._attempt(lambda: self._fetch(keys), self._get_slots, self._timeout_s) or found
        num_hits = sum(encoding is not None for encoding in found)
        self.counts.hits += num_hits
        self.counts.misses += len(keys) - num_hits
        return found

    async def put_many(self, items: Mapping[str, Encoding]) -> None:
        """Has a background task store the items, or drops them where Redis is away or too many puts are under way."""
        if not items:
            return
        if self._is_away or len(self._puts) >= self._max_pending_puts:
            self.counts.skipped += len(items)
            return
        put = asyncio.create_task(self._put(dict(items)), name="encoding cache: put")
        self._puts.add(put)
        put.add_done_callback(self._puts.discard)

    async def close(self) -> None:
        """Lets what is under way end, within its own time limits, and disconnects."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._probe is not None:
            self._probe.cancel()
        if pending := [*self._puts, *([self._probe] if self._probe else [])]:
            await asyncio.wait(pending)
        for _ in range(self._num_get_slots):  # every holder is bound by the time limit, so this ends
            await self._get_slots.acquire()
        try:
            async with asyncio.timeout(self._background_timeout_s):
                await self._pool.disconnect()
        except _FAILURES:
            pass  # a connection that cannot even be closed is closed by the process's end

    @property
    def _is_away(self) -> bool:
        return self._probe is not None or self._is_closed

    async def _attempt(
        self, round_trip: Callable[[], Awaitable[_Answer]], slots: asyncio.Semaphore, timeout_s: float
    ) -> _Answer | None:
        """The round trip's answer, or None where it failed or took too long; that turns Redis off."""
        try:
            async with asyncio.timeout(timeout_s), slots:
                answer = await round_trip()
        except _FAILURES:
            self.counts.errors += 1
            self._turn_off()
            return None
        self._note_connected()
        return answer

    async def _fetch(self, keys: Sequence[str]) -> list[Encoding | None]:
        values = await self._client.execute_command("MGET", *(place_of(key, self._secret) for key in keys))
        if not isinstance(values, list) or len(values) != len(keys):
            raise InvalidResponse(f"MGET of {len(keys)} keys was answered with something else")
        return [self._read(key, value) for key, value in zip(keys, values, strict=True)]

    def _read(self, key: str, value: object) -> Encoding | None:
        if value is None:
            return None
        encoding = unpack(key, value, self._secret) if isinstance(value, bytes) else None
        if encoding is None:
            self.counts.errors += 1
            self._note_unreadable()
        return encoding

    def _note_unreadable(self) -> None:
        """Said once: whoever writes such values may write many."""
        if not self._is_reading_others:
            self._is_reading_others = True
            _log.warning(
                "encoding cache holds values that are not ours",
                server=_address(self._pool),
                remedy="they count as misses: find out who else writes there, or whose ADAVAE_CACHE_SECRET differs",
            )

    async def _put(self, items: Mapping[str, Encoding]) -> None:
        values = {
            place_of(key, self._secret): pack(key, encoding, self._secret)
            for key, encoding in items.items()
            if is_finite(encoding)
        }
        self.counts.errors += len(items) - len(values)
        if not values:
            return
        replies = await self._attempt(lambda: self._store(values), self._put_slots, self._background_timeout_s)
        if replies is None:
            return
        refusals = [reply for reply in replies if isinstance(reply, RedisError)]
        self.counts.stored += len(replies) - len(refusals)
        self.counts.errors += len(refusals)
        self._note_refusal(refusals[0] if refusals else None)

    async def _store(self, values: Mapping[str, bytes]) -> list[object]:
        """One reply a value; a refusal (a full Redis, a read-only one) is its reply's error and raises nothing."""
        pipeline = self._client.pipeline(transaction=False)
        for key, value in values.items():
            pipeline.execute_command("SET", key, value, "EX", self._ttl_s)
        replies: list[object] = await pipeline.execute(raise_on_error=False)
        return replies

    def _turn_off(self) -> None:
        if not self._is_away:
            self._probe = asyncio.create_task(self._probe_until_back(), name="encoding cache: probe")

    async def _probe_until_back(self) -> None:
        """Turns Redis on again once it answers.

        Asks at once, so that one lost connection or one slow reply is neither an outage nor a line in the log; then
        with growing pauses. The look-up is a request's own, for a PING would pass where MGET is not allowed.
        """
        delay_s = FIRST_PROBE_DELAY_S
        try:
            while (failure := await self._failure()) is not None:
                self._note_lost(failure)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, LAST_PROBE_DELAY_S)
            self._note_connected()
        finally:
            self._probe = None

    async def _failure(self) -> Exception | None:
        """Why Redis does not answer, or None where it does.

        Gives it more time than a request does: where only connecting is slow, the connection stays in the pool.
        """
        try:
            async with asyncio.timeout(self._background_timeout_s):
                await self._client.execute_command("MGET", *_PROBED)
        except _FAILURES as exc:
            return exc
        return None

    def _note_connected(self) -> None:
        if not self._is_connected:
            self._is_connected = True
            _log.info("encoding cache connected", server=_address(self._pool))

    def _note_lost(self, cause: Exception) -> None:
        if self._is_connected is not False:
            hint = _TLS_HINT if self._is_connected is None and _may_be_tls(cause, self._pool) else ""
            self._is_connected = False
            _log.warning("encoding cache lost", server=_address(self._pool), cause=_explain(cause) + hint)

    def _note_refusal(self, cause: RedisError | None) -> None:
        is_refusing = cause is not None
        if is_refusing != self._is_refusing:
            self._is_refusing = is_refusing
            event = "encoding cache refuses values" if is_refusing else "encoding cache takes values again"
            _log.warning(event, server=_address(self._pool), cause=_explain(cause) if cause else None)


def _open_pool(url: str, max_connections: int) -> ConnectionPool:
    """Connections that neither retry nor time out by themselves: one limit around the whole round trip does.

    RESP2 and no client information, so that connecting without a password costs no round trip.
    """
    try:
        pool = ConnectionPool.from_url(
            url,
            max_connections=max_connections,
            protocol=2,
            driver_info=None,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
        )
        pool.max_connections = max_connections  # whatever the URL says: as many as there may be round trips at once
        pool.connection_class(**pool.connection_kwargs)  # opens nothing, but refuses what is no option
    except (ValueError, TypeError):
        # Neither the value nor the cause is shown: both may hold the password.
        rule = "must be redis://[:password@]host:port/db, rediss://... or unix://path"
        raise ConfigError("redis_url", "(not shown)", rule) from None
    return pool


def _address(pool: ConnectionPool) -> str:
    """Where Redis is, without user and password."""
    options = pool.connection_kwargs
    return str(options["path"]) if "path" in options else f"{options.get('host')}:{options.get('port', 6379)}"


def _may_be_tls(cause: Exception, pool: ConnectionPool) -> bool:
    """Whether one side may have spoken TLS and the other not: then a connection is made, and nothing comes of it."""
    is_tls = issubclass(pool.connection_class, SSLConnection)
    is_broken = isinstance(cause, RedisConnectionError) and ("reset" in str(cause) or "closed" in str(cause))
    return is_broken or (is_tls and isinstance(cause, TimeoutError | RedisConnectionError | OSError))


def _explain(cause: Exception) -> str:
    """One line for the log; of what is no Redis, and may answer anything, only the kind of error."""
    if isinstance(cause, _CLUSTER_ERRORS):
        kind = type(cause).__name__
        return (
            f"ADAVAE_REDIS_URL names a node of a Redis Cluster ({kind}), which keeps one request's keys in several "
            "places: give a single Redis, with replicas of its own where it must not be lost"
        )
    if isinstance(cause, AuthenticationError | NoPermissionError):
        return f"Redis refuses the user or password of ADAVAE_REDIS_URL: {cause}"
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    is_plain = isinstance(cause, RedisConnectionError | ResponseError | OSError)
    return f"{type(cause).__name__}: {cause}" if is_plain else type(cause).__name__
