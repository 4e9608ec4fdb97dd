"""A Redis that is set up otherwise than the URL says: told once, with the remedy, and requests go on as misses."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adavae.service.encodings.cache import pack, place_of
from adavae.service.encodings.redis_cache import RedisCache
from adavae.service.results import Encoding
from tests.integration.redis_server import StartRedis, _free_port, start_redis
from tests.integration.test_redis_cache import _admin, _items, _open, _until, _until_stored

__all__ = ["start_redis"]


async def lines_of(cache: RedisCache, *, requests: int = 30) -> list[dict[str, Any]]:
    """What is logged while requests of several texts and of one come and go, some of it after probes."""
    items = _items(12)
    with capture_logs() as lines:
        for number in range(requests):
            keys = list(items)[: 12 if number % 2 else 1]
            found = await cache.get_many(keys)
            assert len(keys) == 1 or found == [None] * len(keys)
            await cache.put_many({key: items[key] for key in keys})
            await asyncio.sleep(0.05)

        async def is_told() -> bool:
            return bool(lines)

        await _until(is_told)
    return [dict(line) for line in lines if line["log_level"] in ("warning", "error")]


@pytest.mark.asyncio
async def test_a_node_of_a_cluster_is_told(start_redis: StartRedis) -> None:
    """Requests of several texts never hit, for their keys lie in several slots, and nothing was logged."""
    server = start_redis("--cluster-enabled", "yes", "--cluster-port", str(_free_port()))
    async with _admin(server) as admin:
        await admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)

        async def is_whole() -> bool:
            return b"cluster_state:ok" in await admin.execute_command("CLUSTER", "INFO")

        await _until(is_whole)
    async with _open(server.url) as cache:
        (line,) = await lines_of(cache)
    assert "a node of a Redis Cluster" in line["cause"]
    assert "give a single Redis" in line["cause"]


@pytest.mark.asyncio
async def test_half_a_cluster_is_told(start_redis: StartRedis) -> None:
    server = start_redis("--cluster-enabled", "yes", "--cluster-port", str(_free_port()))
    async with _open(server.url) as cache:
        (line,) = await lines_of(cache)
    assert "a node of a Redis Cluster" in line["cause"]


@pytest.mark.asyncio
async def test_tls_to_a_plain_port_is_told(start_redis: StartRedis) -> None:
    server = start_redis()
    async with _open(server.url.replace("redis://", "rediss://")) as cache:
        (line,) = await lines_of(cache)
    assert "rediss:// where it speaks TLS, redis:// where not" in line["cause"]


@pytest.mark.asyncio
async def test_a_plain_connection_to_a_tls_port_is_told(start_redis: StartRedis, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    port = _free_port()
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no"]
    start_redis("--tls-port", str(port), *files)
    async with _open(f"redis://127.0.0.1:{port}/0") as cache:
        (line,) = await lines_of(cache)
    assert "rediss:// where it speaks TLS, redis:// where not" in line["cause"]
    async with _open(f"rediss://127.0.0.1:{port}/0") as cache:
        (line,) = await lines_of(cache)
    assert "certificate" in line["cause"].lower()


@pytest.mark.asyncio
async def test_a_database_that_is_none_is_told(start_redis: StartRedis) -> None:
    async with _open(start_redis().url.replace("/0", "/99")) as cache:
        (line,) = await lines_of(cache)
    assert "DB index is out of range" in line["cause"]


@pytest.mark.parametrize(
    ("rules", "event", "cause"),
    [
        (("~adavae:enc:*", "+set"), "encoding cache lost", "mget"),
        (("~other:*", "+@all"), "encoding cache lost", "key"),
        (("~adavae:enc:*", "-@all", "+mget"), "encoding cache refuses values", "set"),
        (("%R~adavae:enc:*", "+@all"), "encoding cache refuses values", "key"),
    ],
)
@pytest.mark.asyncio
async def test_a_user_that_may_not_is_told_what(
    start_redis: StartRedis, rules: tuple[str, ...], event: str, cause: str
) -> None:
    server = start_redis()
    async with _admin(server) as admin:
        await admin.execute_command("ACL", "SETUSER", "adavae", "on", ">secret", *rules)
    async with _open(server.url.replace("redis://", "redis://adavae:secret@")) as cache:
        (line,) = await lines_of(cache)
    assert line["event"] == event
    assert cause in line["cause"].lower()
    assert "secret" not in str(line)


@pytest.mark.parametrize("credentials", ["adavae:wrong-one@", ":wrong-one@", "nobody:wrong-one@"])
@pytest.mark.asyncio
async def test_a_password_that_is_wrong_is_told_and_not_shown(start_redis: StartRedis, credentials: str) -> None:
    server = start_redis("--requirepass", "right-one")
    async with _open(server.url.replace("redis://", f"redis://{credentials}")) as cache:
        (line,) = await lines_of(cache)
    assert "Redis refuses the user or password of ADAVAE_REDIS_URL" in line["cause"]
    assert "wrong-one" not in str(line)


@pytest.mark.asyncio
async def test_values_that_others_wrote_are_misses_told_once(start_redis: StartRedis) -> None:
    server, items = start_redis(), _items(20)
    async with _open(server.url, secret=b"ours") as cache, _admin(server) as admin:
        await cache.put_many(items)
        await _until_stored(cache, len(items))
        assert None not in await cache.get_many(list(items))
        for key, encoding in items.items():
            made_up = Encoding(encoding.mu + 1, encoding.logvar, encoding.num_tokens, encoding.is_truncated)
            await admin.set(place_of(key, b"ours"), pack(key, made_up))
        with capture_logs() as lines:
            for _ in range(3):
                assert await cache.get_many(list(items)) == [None] * len(items)
        assert [line["event"] for line in lines] == ["encoding cache holds values that are not ours"]
        assert cache.counts.errors == 3 * len(items)


@pytest.mark.asyncio
async def test_services_of_one_secret_share_and_of_two_do_not(start_redis: StartRedis) -> None:
    server, items = start_redis(), _items(5)
    async with _open(server.url, secret=b"ours") as one, _open(server.url, secret=b"ours") as other:
        await one.put_many(items)
        await _until_stored(one, len(items))
        assert None not in await other.get_many(list(items))
        async with _open(server.url, secret=b"theirs") as third, _open(server.url) as fourth:
            for cache in (third, fourth):
                assert await cache.get_many(list(items)) == [None] * len(items)
