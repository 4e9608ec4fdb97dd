"""Somebody who can write to Redis: garbage for encodings and for the queue of jobs, other types, everything gone."""

import contextlib
import random
from collections.abc import Generator, Iterator

import numpy as np
from redis import Redis
from redis.exceptions import RedisError

from adavae.service.encodings.cache import KEY_PREFIX, pack, packed_size
from adavae.service.jobs.queue.redis_streams import GROUP, STREAM
from adavae.service.results import Encoding
from tests.bench.abuse.stage import ENDED, JOBS, KNOWN_TEXTS, Stage, fate_of, job_body, taken, until, upload
from tests.bench.abuse.tries import Kind, Try
from tests.integration.training_home import WorkerProcess
from tests.tiny_text import as_tsv, reviews

_A_JOB_EVERY = 25
_JOB_PATIENCE_S = 120.0
_MOST_KEYS = 60


def tries(stage: Stage, draw: random.Random) -> Generator[Try, None, None]:
    """Poison of one sort or the other, and again and again a job that must be carried out."""
    client = Redis.from_url(stage.redis.url)
    file_id: str = taken(upload(stage.client("alice"), "a.tsv", as_tsv(reviews(40)).encode()))["id"]
    worker = WorkerProcess(stage.settings, stage.redis.url)
    try:
        for number in range(1, 10**9):
            if number % _A_JOB_EVERY == 0:
                yield Try("a job is carried out", lambda: _carried_out(stage, worker, file_id))
            else:
                yield draw.choice((_encodings, _encodings, _queue, _outage))(stage, client, draw)
    finally:
        worker.kill()
        client.close()


def _encodings(stage: Stage, client: "Redis", draw: random.Random) -> Try:
    """Every value of the cache is another one; the known texts, whose values these are, must be answered as before."""
    told, put = draw.choice(
        (
            ("random bytes", lambda key, value, _: client.set(key, draw.randbytes(len(value)))),
            ("a bit changed", lambda key, value, _: client.set(key, _with_a_bit_changed(draw, value))),
            ("cut off", lambda key, value, _: client.set(key, value[: draw.randrange(len(value))])),
            ("longer", lambda key, value, _: client.set(key, value + draw.randbytes(9))),
            ("nothing", lambda key, _value, _: client.set(key, b"")),
            ("of another text", lambda key, _value, other: client.set(key, other)),
            ("made without the secret", lambda key, value, _: client.set(key, _made_up(key, value))),
            ("twenty megabytes", lambda key, _value, _: client.set(key, bytes(20_000_000))),
            ("a number", lambda key, _value, _: client.set(key, 10**18)),
            ("a pickle", lambda key, _value, _: client.set(key, b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93.")),
            ("a list", lambda key, value, _: (client.delete(key), client.rpush(key, value))),
            ("a set", lambda key, value, _: (client.delete(key), client.sadd(key, value))),
            ("a hash", lambda key, value, _: (client.delete(key), client.hset(key, "x", value))),
            ("a stream", lambda key, value, _: (client.delete(key), client.xadd(key, {"x": value}))),
        )
    )

    def poison() -> None:
        kept = _kept(stage, client)
        others = [*list(kept.values())[1:], b"x"]
        for (key, value), other in zip(kept.items(), others, strict=True):
            put(key, value, other)

    return Try(f"encodings: {told}", poison)


def _kept(stage: Stage, client: "Redis") -> dict[bytes, bytes]:
    """Values of the cache by key, among them those of the known texts."""
    found: dict[bytes, bytes] = {}

    def is_there() -> bool:
        for text in KNOWN_TEXTS:
            stage.encoded(text)  # so that it is in there
        keys: list[bytes] = list(client.scan_iter(f"{KEY_PREFIX}*", count=1000))[:_MOST_KEYS]
        values = {key: client.get(key) for key in keys if client.type(key) == b"string"}
        found.update({key: value for key, value in values.items() if isinstance(value, bytes) and value})
        return bool(found)

    until(is_there)
    return found


def _made_up(key: bytes, value: bytes) -> bytes:
    """Zeros for a text, as whoever knows the format but no secret can write them."""
    zeros = np.zeros((len(value) - packed_size(0)) // 8, np.float32)
    return pack(key.decode(), Encoding(zeros, zeros, 3, False))


def _with_a_bit_changed(draw: random.Random, value: bytes) -> bytes:
    changed = bytearray(value)
    changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _queue(_stage: Stage, client: "Redis", draw: random.Random) -> Try:
    """What a worker finds in its stream, or in place of it."""
    value = draw.choice(
        (b"", b"x" * 1_000_000, b"../../etc", b"ftjob-" + b"0" * 24, b"\xff\x00", b"\x80\x04N.", b"[" * 3000)
    )
    told, put = draw.choice(
        (
            ("an entry", lambda: client.xadd(STREAM, {"job": value})),
            (
                "an entry of another field",
                lambda: client.xadd(STREAM, {draw.choice((b"", b"\xff", b"task")): value or b"x"}),
            ),
            ("many entries", lambda: [client.xadd(STREAM, {"job": value[:100]}) for _ in range(500)]),
            ("a list in its place", lambda: (client.delete(STREAM), client.rpush(STREAM, value))),
            ("a text in its place", lambda: (client.delete(STREAM), client.set(STREAM, value))),
            ("no stream", lambda: client.delete(STREAM)),
            ("no group", lambda: client.xgroup_destroy(STREAM, GROUP)),
            ("an entry claimed by another", lambda: client.xreadgroup(GROUP, "stranger", {STREAM: ">"}, count=10)),
            ("a group that is ahead", lambda: client.xgroup_setid(STREAM, GROUP, "$")),
            ("a last id that is the last there is", lambda: client.xadd(STREAM, {"job": value}, id=f"{2**63}-1")),
        )
    )

    def poison() -> None:
        with contextlib.suppress(RedisError):  # where another try has put something else in its place
            put()

    return Try(f"queue: {told}, {value[:10]!r}", poison)


def _outage(stage: Stage, client: "Redis", draw: random.Random) -> Try:
    """Redis as a whole."""
    told = draw.choice(("flushed", "killed", "frozen", "full", "wants a password", "few clients"))

    def strike() -> None:
        match told:
            case "flushed":
                client.flushall()
            case "killed":
                stage.redis.kill()
                _asked_meanwhile(stage, draw)
                stage.redis.start()
            case "frozen":
                stage.redis.hang()
                _asked_meanwhile(stage, draw)
                stage.redis.resume()
            case "full":
                with _set(client, "maxmemory", "1mb", "0"):
                    _asked_meanwhile(stage, draw)
            case "wants a password":
                with _set(client, "requirepass", "x", ""):
                    _asked_meanwhile(stage, draw)
            case _:
                with _set(client, "maxclients", "1", "10000"):
                    _asked_meanwhile(stage, draw)

    return Try(f"Redis: {told}", strike)


def _asked_meanwhile(stage: Stage, draw: random.Random) -> None:
    """Raises where an ordinary request is not answered."""
    for _ in range(3):
        stage.encoded(f"the plate was number {draw.random()}")
        stage.encoded(KNOWN_TEXTS[0])


@contextlib.contextmanager
def _set(client: "Redis", name: str, value: str, usual: str) -> Iterator[None]:
    client.config_set(name, value)
    try:
        yield
    finally:
        client.config_set(name, usual)


def _carried_out(stage: Stage, worker: WorkerProcess, file_id: str) -> str | None:
    """Whatever has happened to the queue, a new job is found and done."""
    alice = stage.client("alice")
    job_id: str = taken(alice.post(JOBS, json=job_body(file_id, "worked")))["id"]
    path = f"{JOBS}/{job_id}"
    try:
        until(lambda: fate_of(alice.get(path).json()) in ENDED, _JOB_PATIENCE_S)
    except TimeoutError:
        return f"the job was not done in {_JOB_PATIENCE_S:g} s; the worker said: {worker.output[-800:]}"
    job = alice.get(path).json()
    said = "Traceback" if "Traceback" in worker.output else None
    return said or (None if fate_of(job) == "done" else f"the job has {job['status']}: {job['error']}")


POISON = Kind(
    name="poison",
    told="poison in Redis",
    tries=tries,
    num_tries=75,
    most_mib=250,
    settings={"ADAVAE_CACHE_SECRET": "a secret of this deployment, of a suite"},
)
