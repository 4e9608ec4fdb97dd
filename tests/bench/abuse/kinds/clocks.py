"""Clocks that are wrong, as they show on the volume: dates in records and files from another century.

The server's own clock is this machine's and cannot be set for it alone; what other machines wrote with theirs can.
"""

import json
import os
import random
import socket
from collections.abc import Generator
from pathlib import Path

from tests.bench.abuse.stage import FILES, JOBS, Stage, job_body, key_of, taken, until, upload
from tests.bench.abuse.tries import Kind, Try
from tests.bench.abuse.verdict import complaint, first
from tests.bench.abuse.wire import head, last_answer, received
from tests.bench.abuse.written import FORM, PURPOSE, file_part, form
from tests.tiny_home import publish_tiny
from tests.tiny_text import NAMED, as_tsv, reviews

_DATES = (
    "1970-01-01T00:00:00+00:00",
    "1999-12-31T23:59:59+00:00",
    "2026-01-01T00:00:00+00:00",
    "2199-01-01T00:00:00+00:00",
)
_SECONDS = (0, 1, 86_400, 1_500_000_000, 2**31 - 1, 2**31, 2**33)
_TEXTS = as_tsv(reviews(40)).encode()


def tries(stage: Stage, draw: random.Random) -> Generator[Try, None, None]:
    """Versions, uploads and jobs, each with times that no clock here gave."""
    file_id: str = taken(upload(stage.client("alice"), "a.tsv", _TEXTS))["id"]
    for number in range(10**9):
        yield draw.choice((_version, _version, _upload, _job))(stage, draw, file_id, number)


def _version(stage: Stage, draw: random.Random, _file: str, number: int) -> Try:
    """Whatever the dates, the version that was published last is the one that the name means."""
    name = f"dated-{number % 5}"
    created_at, seconds = draw.choice(_DATES), draw.choice(_SECONDS)
    seed = draw.randrange(10, 10**9)

    def publish() -> str | None:
        root, weights = stage.settings.own_adapters, stage.settings.weights
        path = publish_tiny(root, weights, name, NAMED["plain"], seed, created_at=created_at)
        _dated(path, seconds)
        admin = stage.client("admin")

        def current() -> str:
            reply = admin.post("/encode", json={"text": "x", "adapter": name})
            return str(reply.json()["adapter"]["version"]) if reply.status_code == 200 else reply.text[:200]

        try:
            until(lambda: current() == path.name)
        except TimeoutError:
            return f"{name} is answered by {current()}, the last published is {path.name}"
        return complaint(admin.get("/adapters"))

    return Try(f"a version of {created_at}, its files of {seconds}", publish)


def _upload(stage: Stage, draw: random.Random, _file: str, _number: int) -> Try:
    """An upload under way whose files seem to be of another year is not taken for an abandoned one."""
    seconds = draw.choice(_SECONDS)
    body = form([PURPOSE, file_part(b"slow.tsv", _TEXTS)])
    lines = (f"authorization: Bearer {key_of('alice')}", f"content-type: {FORM['content-type']}", "connection: close")

    def send() -> str | None:
        alice = stage.client("alice")
        with socket.create_connection(stage.address, timeout=30) as connection:
            connection.sendall(head("POST", FILES, *lines, f"content-length: {len(body)}") + body[:-200])
            until(lambda: any(stage.settings.files.glob(".staging-*")))
            for path in stage.settings.files.glob(".staging-*"):
                _dated(path, seconds)
            other = upload(alice, "other.tsv", _TEXTS)  # which looks for what is abandoned
            connection.sendall(body[-200:])
            answer = last_answer(received(connection, 30))
        if answer is None or answer[0] != 200:
            return f"the upload under way was answered {answer}"
        gone = [alice.delete(f"{FILES}/{file_id}") for file_id in (json.loads(answer[1])["id"], taken(other)["id"])]
        return first(*map(complaint, gone))

    return Try(f"an upload under way, its files of {seconds}", send)


def _job(stage: Stage, draw: random.Random, file_id: str, _number: int) -> Try:
    """Times in a record decide nothing: it is listed where it was, and can be cancelled."""
    times = {name: draw.choice((*_SECONDS, None)) for name in ("started_at", "finished_at", "estimated_finish")}
    times["created_at"] = draw.choice(_SECONDS)

    def ask() -> str | None:
        alice = stage.client("alice")
        ids = [str(taken(alice.post(JOBS, json=job_body(file_id, name)))["id"]) for name in ("a", "b", "c")]
        record = stage.settings.jobs / ids[1] / "job.json"
        record.write_text(json.dumps(json.loads(record.read_bytes()) | times), encoding="utf-8")
        listed = [entry["id"] for entry in taken(alice.get(JOBS, params={"limit": 3}))["data"]]
        cancelled = [alice.post(f"{JOBS}/{job_id}/cancel") for job_id in ids]
        order = None if listed == ids[::-1] else f"listed {listed}, made {ids}"
        return first(order, *map(complaint, cancelled))

    return Try(f"a job of {times}", ask)


def _dated(path: Path, seconds: int) -> None:
    for each in (*path.rglob("*"), path):
        os.utime(each, (seconds, seconds))


CLOCKS = Kind(name="clocks", told="clocks of others that are wrong", tries=tries, num_tries=40, most_mib=150)
