"""The whole service while its Redis is killed, hung, flushed and planted with garbage: no request fails or is wrong."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr
from redis.asyncio import Redis

from adavae.service.latent_service import LatentService
from adavae.service.metrics import Metrics
from tests.integration.redis_server import RedisServer, StartRedis
from tests.integration.redis_server import start_redis as start_redis
from tests.tiny_home import tiny_settings

TEXTS = [f"the pizza was number {number} ." for number in range(40)]
NUM_CLIENTS = 8


async def expected_mu(service: LatentService) -> dict[str, NDArray[np.float32]]:
    rows = (await service.encode(TEXTS, adapter="plain", truncate=False)).rows
    return {text: row.encoding.mu for text, row in zip(TEXTS, rows, strict=True)}


class Load:
    """Clients that ask without a pause and check every answer."""

    def __init__(self, service: LatentService, expected: dict[str, NDArray[np.float32]]) -> None:
        self.service, self.expected = service, expected
        self.num_answers = self.num_hits = 0
        self._is_over = False
        self._clients = [asyncio.ensure_future(self._ask(number)) for number in range(NUM_CLIENTS)]

    async def _ask(self, number: int) -> None:
        draw = np.random.default_rng(number)
        while not self._is_over:
            texts = [TEXTS[place] for place in draw.integers(0, len(TEXTS), size=3)]
            reply = await self.service.encode(texts, adapter="plain", truncate=False)
            for text, row in zip(texts, reply.rows, strict=True):
                np.testing.assert_allclose(row.encoding.mu, self.expected[text], atol=1e-5, rtol=0)
                self.num_hits += row.is_cached
            self.num_answers += 1

    async def more(self, num: int) -> None:
        """Until so many more requests were answered."""
        await self._until(lambda start=self.num_answers: self.num_answers >= start + num)  # type: ignore[misc]

    async def hits_again(self) -> None:
        """Until the cache answers again."""
        await self._until(lambda start=self.num_hits: self.num_hits >= start + 50)  # type: ignore[misc]

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.005)
                failed = [client for client in self._clients if client.done()]
                if failed:
                    failed[0].result()

    async def end(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._clients)


async def plant_garbage(server: RedisServer) -> None:
    async with Redis.from_url(server.url) as redis:
        keys = await redis.keys("*")
        for number, key in enumerate(keys):
            if number % 2:
                await redis.set(key, b"\x00garbage" * (number + 1))
            else:
                await redis.delete(key)
                await redis.lpush(key, "another type")


@pytest.mark.asyncio
@pytest.mark.slow
async def test_thousands_of_requests_while_redis_goes_through_everything(
    tmp_path: Path, start_redis: StartRedis
) -> None:
    server = start_redis()
    settings = tiny_settings(tmp_path, redis_url=SecretStr(server.url), cache_timeout_ms=50)
    service = LatentService(settings, Metrics())
    await service.start()
    load = Load(service, await expected_mu(service))
    try:
        await load.hits_again()
        for _ in range(2):
            server.hang()
            await load.more(300)
            server.resume()
            await load.hits_again()
            server.kill()
            await load.more(300)
            await asyncio.to_thread(server.start)
            await load.hits_again()
            await plant_garbage(server)
            await load.more(300)
            await load.hits_again()
            async with Redis.from_url(server.url) as redis:
                await redis.flushall()
                await load.hits_again()
                await redis.config_set("maxmemory", "1")
                await load.more(300)
                await redis.config_set("maxmemory", "0")
            await load.hits_again()
        await load.end()
    finally:
        await service.stop()
    assert load.num_answers >= 2400
    assert service.metrics.cache_errors_total._value.get() > 0


@pytest.mark.asyncio
async def test_two_services_share_one_redis(tmp_path: Path, start_redis: StartRedis) -> None:
    url = SecretStr(start_redis().url)
    first = LatentService(tiny_settings(tmp_path, redis_url=url), Metrics())
    second = LatentService(tiny_settings(tmp_path, redis_url=url), Metrics())
    await first.start()
    await second.start()
    try:
        expected = await first.encode(TEXTS, adapter="plain", truncate=False)
        async with asyncio.timeout(10):
            while True:
                reply = await second.encode(TEXTS, adapter="plain", truncate=False)
                if all(row.is_cached for row in reply.rows):
                    break
        for encoded, other in zip(reply.rows, expected.rows, strict=True):
            np.testing.assert_array_equal(encoded.encoding.mu, other.encoding.mu)
    finally:
        await first.stop()
        await second.stop()
