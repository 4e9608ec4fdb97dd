"""A volume that is away, full, or holds something else than directories: said by name, and encodings go on."""

import contextlib
import random
import resource
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import httpx2

from tests.bench.abuse.stage import FILES, JOBS, Stage, job_body, taken, upload
from tests.bench.abuse.tries import Kind, Try
from tests.bench.abuse.verdict import complaint, error_of, first
from tests.tiny_text import as_tsv, reviews

_TEXTS = as_tsv(reviews(40)).encode()
Fault = Callable[[Stage, random.Random], contextlib.AbstractContextManager[None]]
Ask = Callable[[httpx2.Client, str, str], httpx2.Response]
OPERATIONS: dict[str, Ask] = {
    "upload": lambda client, _file, _job: upload(client, "b.tsv", _TEXTS),
    "list files": lambda client, _file, _job: client.get(FILES),
    "file": lambda client, file, _job: client.get(f"{FILES}/{file}"),
    "content": lambda client, file, _job: client.get(f"{FILES}/{file}/content"),
    "job": lambda client, file, _job: client.post(JOBS, json=job_body(file, "x")),
    "list jobs": lambda client, _file, _job: client.get(JOBS),
    "get job": lambda client, _file, job: client.get(f"{JOBS}/{job}"),
    "events": lambda client, _file, job: client.get(f"{JOBS}/{job}/events"),
    "pause": lambda client, _file, job: client.post(f"{JOBS}/{job}/pause"),
    "resume": lambda client, _file, job: client.post(f"{JOBS}/{job}/resume"),
    "list sets": lambda client, _file, _job: client.get("/adapters"),
    "delete a set": lambda client, _file, _job: client.delete("/adapters/gone"),
    "encode": lambda client, _file, _job: client.post("/encode", json={"text": "fine"}),
    "encode with another set": lambda client, _file, _job: client.post(
        "/encode", json={"text": "x", "adapter": "gone"}
    ),
}
_WRITING = ("upload", "job")
_AWAY = ("upload", "list files", "file", "content", "list jobs", "get job", "events")


def tries(stage: Stage, draw: random.Random) -> Generator[Try, None, None]:
    """A fault, and some operations while it lasts; then everything is as before."""
    alice = stage.client("alice")
    stage.settings.own_adapters.mkdir(parents=True, exist_ok=True)
    file_id: str = taken(upload(alice, "a.tsv", _TEXTS))["id"]
    job_id: str = taken(alice.post(JOBS, json=job_body(file_id, "mine")))["id"]
    while True:
        told = draw.choice(list(FAULTS))
        operations = draw.sample(list(OPERATIONS), 4)
        seed = draw.random()
        yield Try(
            f"{told}: {', '.join(operations)}",
            lambda told=told, operations=operations, seed=seed: _suffer(  # type: ignore[misc]
                stage, random.Random(seed), told, operations, (file_id, job_id)
            ),
        )


def _suffer(stage: Stage, draw: random.Random, told: str, operations: list[str], known: tuple[str, str]) -> str | None:
    alice, found = stage.client("alice"), list[str | None]()
    with FAULTS[told](stage, draw):
        for name in [*operations, "encode"]:
            reply = OPERATIONS[name](alice, *known)
            found.append(_of(name, told, reply))
            _tidy(alice, name, reply)
    file_id, job_id = known
    after = [alice.get(f"{FILES}/{file_id}"), alice.get(f"{JOBS}/{job_id}"), upload(alice, "c.tsv", _TEXTS)]
    found += [None if reply.status_code == 200 else f"afterwards: {reply.text[:200]}" for reply in after]
    _tidy(alice, "upload", after[-1])
    return first(*found)


def _of(name: str, told: str, reply: httpx2.Response) -> str | None:
    """What is wrong with an answer during a fault."""
    if name == "encode" and reply.status_code != 200:
        return f"encode: {reply.status_code} {reply.text[:200]}"
    must_fail = (told in ("away", "an empty place") and name in _AWAY) or (told == "full" and name in _WRITING)
    error = error_of(reply.content)
    if must_fail and (error is None or not str(error["code"]).startswith("storage_")):
        return f"{name} while it is {told}: {reply.status_code} {reply.text[:200]}"
    why = complaint(reply)
    return f"{name}: {why}" if why else None


def _tidy(alice: httpx2.Client, name: str, reply: httpx2.Response) -> None:
    """What came into being is taken away again, so that no limit is reached."""
    if reply.status_code == 200 and name == "upload":
        alice.delete(f"{FILES}/{reply.json()['id']}")
    if reply.status_code == 200 and name == "job":
        alice.post(f"{JOBS}/{reply.json()['id']}/cancel")


@contextlib.contextmanager
def _away(stage: Stage, _draw: random.Random) -> Iterator[None]:
    with _moved(stage.data):
        yield


@contextlib.contextmanager
def _empty(stage: Stage, _draw: random.Random) -> Iterator[None]:
    """As a mount point looks under a volume that has gone; nothing may land there."""
    with _moved(stage.data):
        stage.data.mkdir()
        try:
            yield
            if left := list(stage.data.rglob("*")):
                raise OSError(f"landed underneath: {left[:3]}")
        finally:
            shutil.rmtree(stage.data)


@contextlib.contextmanager
def _full(stage: Stage, draw: random.Random) -> Iterator[None]:
    """The kernel lets the server write no file longer than some bytes, as a quota does."""
    pid = stage.server.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (draw.choice((0, 16, 64)), hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def _instead(make: Callable[[Path], object], *names: str) -> Fault:
    """Something else in place of one of the directories."""

    @contextlib.contextmanager
    def fault(stage: Stage, draw: random.Random) -> Iterator[None]:
        place = stage.data / draw.choice(names)
        with _moved(place):
            make(place)
            try:
                yield
            finally:
                shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink(missing_ok=True)

    return fault


@contextlib.contextmanager
def _moved(place: Path) -> Iterator[None]:
    aside = place.with_name(f"{place.name}.aside")
    place.rename(aside)
    try:
        yield
    finally:
        aside.rename(place)


_ROOMS = ("files", "jobs", "adapters")
FAULTS: dict[str, Fault] = {
    "away": _away,
    "an empty place": _empty,
    "full": _full,
    "a room is a file": _instead(Path.touch, *_ROOMS),
    "a room is a link to itself": _instead(lambda path: path.symlink_to(path), *_ROOMS),
    "a room is a link to nothing": _instead(lambda path: path.symlink_to("gone"), *_ROOMS),
    "a room is a link to a device": _instead(lambda path: path.symlink_to("/dev/full"), *_ROOMS),
    "a room is gone": _instead(lambda _: None, *_ROOMS),
    "a room cannot be written": _instead(lambda path: path.symlink_to("/proc/self"), "files", "jobs"),
}

VOLUME = Kind(name="volume", told="trouble with the volume", tries=tries, num_tries=60, most_mib=150)
