"""Whatever befalls a real Redis, thousands of look-ups go on: right or a miss, never an exception; then hits return."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from adavae.model.errors import ConfigError
from adavae.service.encodings.cache import encoding_key, pack
from adavae.service.encodings.redis_cache import RedisCache
from adavae.service.results import Encoding
from tests.integration.redis_server import RedisServer, StartRedis, start_redis

__all__ = ["start_redis"]

TIMEOUT_MS = 500
NUM_CLIENTS = 8
DEADLINE_S = 20.0
POLL_S = 0.02


def _key(number: int) -> str:
    return encoding_key(backbone_digest="b", adapter_digest="a", max_tokens=64, is_truncating=False, text=str(number))


def _encoding(number: int, latent_size: int = 32) -> Encoding:
    mu = np.random.default_rng(number).standard_normal(latent_size, dtype=np.float32)
    return Encoding(mu, -mu, number, number % 2 == 1)


def _items(num_keys: int, latent_size: int = 32) -> dict[str, Encoding]:
    return {_key(number): _encoding(number, latent_size) for number in range(num_keys)}


def _is_same(one: Encoding, other: Encoding) -> bool:
    return (one.mu.tobytes(), one.logvar.tobytes(), one.num_tokens, one.is_truncated) == (
        other.mu.tobytes(),
        other.logvar.tobytes(),
        other.num_tokens,
        other.is_truncated,
    )


@contextlib.asynccontextmanager
async def _open(url: str, **options: Any) -> AsyncIterator[RedisCache]:
    cache = RedisCache(url, **{"ttl_s": 1000, "timeout_ms": TIMEOUT_MS, **options})
    try:
        yield cache
    finally:
        await cache.close()


@contextlib.asynccontextmanager
async def _admin(server: RedisServer) -> AsyncIterator[Any]:
    async with Redis(unix_socket_path=str(server.socket_path)) as client:
        yield client


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not await is_so():
        assert time.monotonic() < deadline_s, "did not come about in time"
        await asyncio.sleep(POLL_S)


async def _until_all_hit(cache: RedisCache, items: Mapping[str, Encoding]) -> None:
    """Asks and puts what is missing, as requests do, until everything is a hit."""

    async def all_hit() -> bool:
        found = dict(zip(items, await cache.get_many(list(items)), strict=True))
        await cache.put_many({key: items[key] for key, encoding in found.items() if encoding is None})
        return None not in found.values()

    await _until(all_hit)


async def _until_stored(cache: RedisCache, num_values: int) -> None:
    async def is_stored() -> bool:
        return cache.counts.stored >= num_values

    await _until(is_stored)


@dataclass
class Traffic:
    """Requests of 8 clients at once; each looks up 4 keys, checks what it gets and puts what was missing.

    Attributes:
        items: What may be looked up.
        num_hits: Right answers so far. A wrong one fails the test at once.
    """

    cache: RedisCache
    items: Mapping[str, Encoding]
    num_hits: int = 0
    _turn: int = field(default=0, init=False)

    async def run(self, num_requests: int, *, events: Mapping[int, Callable[[], None]] | None = None) -> int:
        """The number of hits among these requests; before request ``n`` the event ``events[n]`` takes place."""
        before, waiting = self.num_hits, iter(range(num_requests))

        async def client() -> None:
            for number in waiting:
                if events and number in events:
                    events[number]()
                await self._request()
                await asyncio.sleep(0)

        await asyncio.gather(*(client() for _ in range(NUM_CLIENTS)))
        return self.num_hits - before

    async def _request(self) -> None:
        keys = list(self.items)
        wanted = [keys[(self._turn + offset) % len(keys)] for offset in range(4)]
        self._turn += 1
        found = dict(zip(wanted, await self.cache.get_many(wanted), strict=True))
        for key, encoding in found.items():
            assert encoding is None or _is_same(encoding, self.items[key])
        self.num_hits += sum(encoding is not None for encoding in found.values())
        await self.cache.put_many({key: self.items[key] for key in wanted if found[key] is None})


@pytest.mark.asyncio
async def test_a_request_is_one_round_trip_and_values_expire(start_redis: StartRedis) -> None:
    server, items = start_redis(), _items(100)
    async with _open(server.url, ttl_s=1234) as cache, _admin(server) as admin:
        await cache.put_many(items)
        await _until_stored(cache, 100)
        found = await cache.get_many([*items, _key(1000)])
        assert found.pop() is None
        for encoding, expected in zip(found, items.values(), strict=True):
            assert encoding is not None
            assert _is_same(encoding, expected)
        assert (cache.counts.hits, cache.counts.misses, cache.counts.errors) == (100, 1, 0)
        assert (await admin.info("commandstats"))["cmdstat_mget"]["calls"] == 1
        assert 1200 < await admin.ttl(_key(0)) <= 1234


@pytest.mark.asyncio
async def test_nothing_is_asked_for_nothing(start_redis: StartRedis) -> None:
    async with _open(start_redis().url) as cache:
        assert await cache.get_many([]) == []
        await cache.put_many({})
        assert not cache.is_connected


@pytest.mark.asyncio
async def test_a_unix_socket_serves_as_well(start_redis: StartRedis) -> None:
    server = start_redis()
    async with _open(f"unix://{server.socket_path}?db=2") as cache:
        await _until_all_hit(cache, _items(8))
        assert cache.is_connected


@pytest.mark.asyncio
async def test_connections_never_exceed_their_bound(start_redis: StartRedis) -> None:
    server, items = start_redis(), _items(64)
    async with _open(server.url, max_connections=4) as cache, _admin(server) as admin:
        await _until_all_hit(cache, items)
        requests = [cache.get_many(list(items)) for _ in range(200)]
        for found in await asyncio.gather(*requests):
            assert len(found) == len(items)
        assert len(await admin.client_list(_type="normal")) <= 4 + 1 + 1 + 1  # look-ups, puts, the probe and our own


@pytest.mark.asyncio
async def test_redis_is_killed_and_started_again(start_redis: StartRedis) -> None:
    server = start_redis()
    with capture_logs() as lines:
        async with _open(server.url) as cache:
            traffic = Traffic(cache, _items(40))
            await _until_all_hit(cache, traffic.items)
            assert await traffic.run(1000, events={500: server.kill}) > 0
            assert await traffic.run(2000) == 0
            await _until(lambda: _is_lost(cache))
            await asyncio.to_thread(server.start)
            await _until_all_hit(cache, traffic.items)
            assert await traffic.run(1000) == 4000
            assert cache.counts.skipped > 0
    assert [line["event"] for line in lines] == [
        "encoding cache connected",
        "encoding cache lost",
        "encoding cache connected",
    ]


@pytest.mark.asyncio
async def test_redis_hangs_and_goes_on(start_redis: StartRedis) -> None:
    server = start_redis()
    async with _open(server.url) as cache:
        traffic = Traffic(cache, _items(40))
        await _until_all_hit(cache, traffic.items)
        before = cache.counts.skipped
        await traffic.run(2500, events={500: server.hang})
        assert cache.counts.skipped - before >= 4 * (2000 - 2 * NUM_CLIENTS)  # only those under way have waited
        await _until(lambda: _is_lost(cache))
        server.resume()
        await _until_all_hit(cache, traffic.items)
        assert await traffic.run(1000) == 4000


@pytest.mark.asyncio
async def test_redis_comes_and_goes_many_times(start_redis: StartRedis) -> None:
    server = start_redis()
    async with _open(server.url) as cache:
        traffic = Traffic(cache, _items(40))
        for _ in range(5):
            await _until_all_hit(cache, traffic.items)
            await traffic.run(400, events={200: server.kill})
            await asyncio.to_thread(server.start)
        await _until_all_hit(cache, traffic.items)
        assert await traffic.run(400) == 1600


@pytest.mark.asyncio
async def test_a_restart_between_two_requests_goes_unnoticed(start_redis: StartRedis) -> None:
    """The pool's idle connections are dead then; that is no outage."""
    server = start_redis()
    async with _open(server.url) as cache:
        await _until_all_hit(cache, _items(8))
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        assert await cache.get_many([_key(0)]) == [None]
        assert (cache.counts.errors, cache.counts.skipped) == (0, 0)
        await _until_all_hit(cache, _items(8))


@pytest.mark.asyncio
async def test_everything_is_flushed(start_redis: StartRedis) -> None:
    server = start_redis()
    async with _open(server.url) as cache, _admin(server) as admin:
        traffic = Traffic(cache, _items(40))
        for _ in range(5):
            await _until_all_hit(cache, traffic.items)
            await admin.flushall()
            await traffic.run(400)
        await _until_all_hit(cache, traffic.items)
        assert await traffic.run(1000) == 4000
        assert cache.counts.errors == 0


@pytest.mark.asyncio
async def test_planted_values_are_misses_and_are_put_right(start_redis: StartRedis) -> None:
    server = start_redis()
    async with _open(server.url) as cache, _admin(server) as admin:
        traffic = Traffic(cache, _items(40))
        await _until_all_hit(cache, traffic.items)
        keys = list(traffic.items)
        right = pack(keys[0], traffic.items[keys[0]])
        planted = [b"", b"garbage", b"x" * 1_000_000, right[:-1], right + b"\0", bytes([*right[:20], right[20] ^ 1])]
        for key, value in zip(keys[1:], [*planted, right], strict=False):  # the last is right, but another key's
            await admin.set(key, value)
        errors = cache.counts.errors
        found = await cache.get_many(keys)
        assert [key for key, encoding in zip(keys, found, strict=True) if encoding is None] == keys[1:8]
        assert cache.counts.errors - errors == 7
        assert cache.is_connected
        await traffic.run(2000)
        await _until_all_hit(cache, traffic.items)
        assert await traffic.run(1000) == 4000


@pytest.mark.asyncio
async def test_keys_of_another_type_are_misses_and_are_put_right(start_redis: StartRedis) -> None:
    server = start_redis()
    async with _open(server.url) as cache, _admin(server) as admin:
        traffic = Traffic(cache, _items(40))
        keys = list(traffic.items)
        await admin.lpush(keys[0], "a", "b")
        await admin.hset(keys[1], "field", "value")
        await admin.zadd(keys[2], {"member": 1})
        await traffic.run(2000)
        await _until_all_hit(cache, traffic.items)
        assert await traffic.run(1000) == 4000
        assert cache.counts.errors == 0


@pytest.mark.asyncio
async def test_a_full_redis_refuses_values_and_still_answers(start_redis: StartRedis) -> None:
    server = start_redis("--maxmemory-policy", "noeviction")
    with capture_logs() as lines:
        async with _open(server.url) as cache, _admin(server) as admin:
            traffic = Traffic(cache, _items(40))
            await _until_all_hit(cache, traffic.items)
            await admin.config_set("maxmemory", "1")
            stored = cache.counts.stored
            beside = Traffic(cache, {_key(number): _encoding(number) for number in range(1000, 1040)})
            assert await beside.run(2000) == 0
            assert await traffic.run(1000) == 4000
            assert cache.is_connected
            assert cache.counts.stored == stored
            assert cache.counts.errors > 0
            await admin.config_set("maxmemory", "0")
            await _until_all_hit(cache, beside.items)
            assert await beside.run(1000) == 4000
    events = [line["event"] for line in lines]
    assert events == [
        "encoding cache connected",
        "encoding cache refuses values",
        "encoding cache takes values again",
    ]


@pytest.mark.asyncio
async def test_an_evicting_redis_forgets_and_goes_on(start_redis: StartRedis) -> None:
    server = start_redis("--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru")
    async with _open(server.url) as cache:
        traffic = Traffic(cache, _items(600, latent_size=768))
        assert await traffic.run(3000) > 0
        assert cache.is_connected


@pytest.mark.asyncio
async def test_a_password_opens_and_a_wrong_one_is_like_no_redis(start_redis: StartRedis) -> None:
    server = start_redis("--requirepass", "s3cret")
    async with _open(f"redis://:s3cret@127.0.0.1:{server.port}/1") as cache:
        await _until_all_hit(cache, _items(8))
    for credentials in (":wr0ng@", "user:wr0ng@", ""):
        with capture_logs() as lines:
            async with _open(f"redis://{credentials}127.0.0.1:{server.port}/0") as cache:
                traffic = Traffic(cache, _items(8))
                assert await traffic.run(2000) == 0
                await _until(lambda cache=cache: _is_lost(cache))
                assert not cache.is_connected
        assert [line["event"] for line in lines] == ["encoding cache lost"]
        assert "refuses the user or password" in lines[0]["cause"]
        assert "wr0ng" not in str(lines)


@pytest.mark.asyncio
async def test_a_user_without_the_right_to_look_up_is_like_no_redis(start_redis: StartRedis) -> None:
    """PING is allowed to everybody; a probe by PING would turn the cache on again and again."""
    server = start_redis()
    async with _admin(server) as admin:
        await admin.execute_command("ACL", "SETUSER", "weak", "on", ">pw", "~*", "+ping", "+set")
        async with _open(f"redis://weak:pw@127.0.0.1:{server.port}/0") as cache:
            assert await Traffic(cache, _items(8)).run(1000) == 0
            await _until(lambda: _is_lost(cache))
            await admin.execute_command("ACL", "SETUSER", "weak", "+mget")
            await _until_all_hit(cache, _items(8))


@pytest.mark.asyncio
async def test_a_redis_that_is_absent_at_the_start_serves_once_it_is_there(start_redis: StartRedis) -> None:
    server = start_redis(is_started=False)
    async with _open(server.url) as cache:
        traffic = Traffic(cache, _items(8))
        assert await traffic.run(2000) == 0
        await _until(lambda: _is_lost(cache))
        await asyncio.to_thread(server.start)
        await _until_all_hit(cache, traffic.items)
        assert await traffic.run(1000) == 4000


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "reply",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$abc\r\n", b"*-7\r\n", b"+OK\r\n", b":1\r\n", b"*1\r\n$-1\r\n", b""],
)
async def test_a_server_that_is_no_redis_is_like_none(reply: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, _open(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}") as cache:
        assert await cache.get_many([_key(0), _key(1)]) == [None, None]
        assert await Traffic(cache, _items(8)).run(1000) == 0
        assert cache.counts.errors > 0


@pytest.mark.asyncio
async def test_cancelled_requests_mix_up_no_replies_and_use_up_no_connections(start_redis: StartRedis) -> None:
    """A reply that is left on a connection would be read as the answer to the next look-up."""
    server = start_redis()
    async with _open(server.url, max_connections=2, timeout_ms=1000) as cache:
        traffic = Traffic(cache, _items(40))
        await _until_all_hit(cache, traffic.items)
        for number in range(300):
            task = asyncio.create_task(cache.get_many(list(traffic.items)))
            for _ in range(number % 12):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await traffic.run(2)
        assert await traffic.run(1000) == 4000
        assert cache.is_connected


@pytest.mark.asyncio
async def test_puts_hold_nobody_up_and_are_bounded(start_redis: StartRedis) -> None:
    server = start_redis()
    async with _open(server.url, max_pending_puts=3, timeout_ms=5000) as cache:
        await _until_all_hit(cache, _items(1))
        server.hang()
        for number in range(10):
            await cache.put_many({_key(number): _encoding(number)})
        assert cache.counts.skipped == 7
        server.resume()
        await _until_stored(cache, 1 + 3)
        assert cache.counts.errors == 0


@pytest.mark.asyncio
async def test_numbers_that_are_not_finite_are_not_stored(start_redis: StartRedis) -> None:
    async with _open(start_redis().url) as cache:
        wrong = Encoding(np.array([np.nan], np.float32), np.zeros(1, np.float32), 1, False)
        await cache.put_many({"wrong": wrong, _key(0): _encoding(0)})
        await _until_stored(cache, 1)
        assert cache.counts.errors == 1
        assert await cache.get_many(["wrong"]) == [None]


@pytest.mark.asyncio
async def test_a_closed_cache_misses_and_can_be_closed_again(start_redis: StartRedis) -> None:
    server = start_redis()
    async with _open(server.url) as cache, _admin(server) as admin:
        await _until_all_hit(cache, _items(8))
        await cache.put_many({_key(9): _encoding(9)})
        await cache.close()
        assert await admin.exists(_key(9)) == 1
        assert await cache.get_many([_key(0)]) == [None]
        await cache.put_many(_items(1))
        assert len(await admin.client_list(_type="normal")) == 1
        await cache.close()


@pytest.mark.asyncio
async def test_closing_ends_while_redis_hangs(start_redis: StartRedis) -> None:
    server = start_redis()
    async with _open(server.url) as cache:
        await _until_all_hit(cache, _items(8))
        server.hang()
        await cache.put_many(_items(8))
        await cache.get_many([_key(0)])


@pytest.mark.parametrize(
    "url", ["", "localhost:6379", "http://:s3cret@host", "redis://:s3cret@host:port", "redis://:s3cret@host?colour=red"]
)
def test_an_url_that_is_none_is_refused_at_once_and_never_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="redis_url") as refused:
        RedisCache(url, ttl_s=1, timeout_ms=1)
    assert "s3cret" not in str(refused.value)


async def _is_lost(cache: RedisCache) -> bool:
    await cache.get_many([_key(0)])
    return not cache.is_connected
