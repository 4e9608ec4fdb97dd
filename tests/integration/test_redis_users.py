"""The Redis users of the compose file, in real servers: what the service needs is allowed, and nothing else is."""

import asyncio
import hashlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, OutOfMemoryError

from adavae.service.encodings.cache import encoding_key
from adavae.service.encodings.redis_cache import RedisCache
from adavae.service.jobs.queue.redis_streams import FIELD, GROUP, STREAM, RedisStreams
from adavae.service.results import Encoding
from tests.compose_file import FORMS, read_compose
from tests.integration.redis_server import RedisServer, StartRedis, start_redis

__all__ = ["start_redis"]

PASSWORD = "Geheim-0-1-2"
JOB_ID = "ftjob-0123456789abcdef01234567"
DEADLINE_S = 60.0


def options(service: str) -> list[str]:
    """What the compose file's server is told of users and of memory, with the digest of a password put in."""
    command = str(read_compose(FORMS["cpu"])["services"][service]["command"][-1])
    arguments, _, standard_input = command.partition("<<END")
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    lines = [re.sub(r"#\$\(.*\)", f"#{digest}", line) for line in standard_input.splitlines() if "user" in line]
    users = [word for line in lines for word in f"--{line.strip()}".split()]
    memory = re.findall(r"--maxmemory\S* \S+", arguments)
    return [*users, *(word for option in memory for word in option.split())]


def url_of(server: RedisServer, password: str = PASSWORD) -> str:
    return server.url.replace("redis://", f"redis://adavae:{password}@")


def key(text: str) -> str:
    return encoding_key(backbone_digest="b", adapter_digest="a", max_tokens=5, is_truncating=False, text=text)


@pytest.mark.asyncio
async def test_the_cache_does_all_that_it_does(start_redis: StartRedis) -> None:
    cache = RedisCache(url_of(start_redis(*options("cache"))), ttl_s=60, timeout_ms=5000)
    kept = Encoding(np.ones(4, np.float32), np.zeros(4, np.float32), 3, is_truncated=False)
    keys = [key(str(number)) for number in range(3)]
    try:
        assert await cache.get_many(keys) == [None] * 3
        await cache.put_many(dict.fromkeys(keys, kept))
        async with asyncio.timeout(DEADLINE_S):
            while cache.counts.stored < 3:
                await asyncio.sleep(0.01)
        found = await cache.get_many(keys)
        assert all(each is not None and np.array_equal(each.mu, kept.mu) for each in found)
        assert (cache.counts.errors, cache.counts.skipped, cache.is_connected) == (0, 0, True)
    finally:
        await cache.close()


@pytest.mark.asyncio
async def test_the_queue_does_all_that_it_does(start_redis: StartRedis) -> None:
    """Also for an entry whose reader died, and for one that no service wrote."""
    server = start_redis(*options("queue"))
    queue, delivered = RedisStreams(url_of(server), lease_s=0.5), asyncio.Event()
    seen: list[str] = []

    async def deliver(job_id: str) -> None:
        seen.append(job_id)
        if len(seen) == 2:
            await asyncio.sleep(1.2)  # for longer than its lease, which is renewed meanwhile
            delivered.set()

    with Redis.from_url(url_of(server)) as other:
        other.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        other.xadd(STREAM, {FIELD: JOB_ID})
        other.xreadgroup(GROUP, "dead", {STREAM: ">"}, count=1)
        other.xadd(STREAM, {"garbage": "x"})
    await queue.enqueue(JOB_ID)
    consuming = asyncio.create_task(queue.consume(deliver))
    try:
        await asyncio.wait_for(delivered.wait(), DEADLINE_S)
        assert seen == [JOB_ID, JOB_ID]
        assert await queue.problem() is None
        with Redis.from_url(url_of(server)) as other:
            async with asyncio.timeout(DEADLINE_S):
                while other.xlen(STREAM):
                    await asyncio.sleep(0.02)
    finally:
        consuming.cancel()
        await queue.close()


FORBIDDEN: dict[str, Callable[[Any], object]] = {
    "the keys of others": lambda redis: redis.execute_command("SET", "others", "x"),
    "every key": lambda redis: redis.keys("*"),
    "deleting": lambda redis: redis.delete("adavae:enc:1:x"),
    "wiping": lambda redis: redis.flushall(),
    "wiping one database": lambda redis: redis.flushdb(),
    "another database": lambda redis: redis.execute_command("SELECT", 1),
    "configuration": lambda redis: redis.config_get("*"),
    "a change of configuration": lambda redis: redis.config_set("dir", "/tmp"),
    "scripts": lambda redis: redis.eval("return 1", 0),
    "modules": lambda redis: redis.execute_command("MODULE", "LIST"),
    "replication": lambda redis: redis.execute_command("REPLICAOF", "10.0.0.1", 6379),
    "copying out": lambda redis: redis.execute_command("MIGRATE", "10.0.0.1", 6379, "k", 0, 10),
    "other users": lambda redis: redis.acl_list(),
    "other connections": lambda redis: redis.client_list(),
    "what passes": lambda redis: redis.execute_command("MONITOR"),
    "publishing": lambda redis: redis.publish("channel", "x"),
    "a stop": lambda redis: redis.execute_command("SHUTDOWN", "NOSAVE"),
    "saving": lambda redis: redis.save(),
}
OF_THE_OTHER: dict[str, dict[str, Callable[[Any], object]]] = {
    "cache": {
        "adding a job": lambda redis: redis.xadd(STREAM, {"job": "x"}),
        "reading the queue as values": lambda redis: redis.mget([STREAM]),
        "one value": lambda redis: redis.get("adavae:enc:1:x"),
    },
    "queue": {
        "an encoding": lambda redis: redis.execute_command("SET", "adavae:enc:1:x", "x"),
        "another stream": lambda redis: redis.xadd("adavae:other", {"job": "x"}),
        "reading all of it": lambda redis: redis.xrange(STREAM),
        "taking it away": lambda redis: redis.delete(STREAM),
        "another group's end": lambda redis: redis.xgroup_destroy(STREAM, GROUP),
        "cutting it": lambda redis: redis.xtrim(STREAM, maxlen=0),
    },
}


@pytest.mark.parametrize("service", ["cache", "queue"])
def test_nothing_else_is_allowed(service: str, start_redis: StartRedis) -> None:
    server = start_redis(*options(service))
    for attempt in [*FORBIDDEN.values(), *OF_THE_OTHER[service].values()]:
        with Redis.from_url(url_of(server), protocol=2) as redis, pytest.raises(NoPermissionError):
            attempt(redis)
    with Redis.from_url(url_of(server), protocol=2) as redis:
        assert redis.ping()


@pytest.mark.parametrize("service", ["cache", "queue"])
def test_nobody_else_gets_in(service: str, start_redis: StartRedis) -> None:
    server = start_redis(*options(service))
    for url in (server.url, url_of(server, "wrong"), server.url.replace("redis://", f"redis://:{PASSWORD}@")):
        with Redis.from_url(url, protocol=2) as redis, pytest.raises(AuthenticationError):
            redis.ping()


def test_a_full_queue_refuses_and_forgets_nothing(start_redis: StartRedis) -> None:
    """Queue and cache shared one server and its policy: what was evicted could have been a message."""
    given = options("queue")
    given[given.index("--maxmemory") + 1] = "3mb"
    server = start_redis(*given)
    num_added = 0
    with Redis.from_url(url_of(server), protocol=2) as redis:
        with pytest.raises(OutOfMemoryError):
            while num_added < 100_000:
                redis.xadd(STREAM, {FIELD: b"x" * 1000})
                num_added += 1
        assert redis.xlen(STREAM) == num_added
