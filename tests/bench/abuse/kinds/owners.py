"""Keys that want what is not theirs: others' files, jobs and sets, wrong keys, addresses and sites made up."""

import random
from collections.abc import Generator
from typing import Any

import httpx2

from tests.bench.abuse.stage import FILES, JOBS, Stage, Unexpected, job_body, key_of, taken, upload
from tests.bench.abuse.tries import Kind, Try
from tests.bench.abuse.verdict import complaint, first, refused
from tests.tiny_home import publish_tiny
from tests.tiny_text import NAMED, as_tsv, reviews

_SHADOWED = ("plain", "prefixed", "pooled", "of-alice")


class Owned:
    """What is alice's: a file, a job, a set, and an idempotency key."""

    def __init__(self, stage: Stage) -> None:
        alice = stage.client("alice")
        self.file_id: str = taken(upload(alice, "a.tsv", as_tsv(reviews(40)).encode()))["id"]
        self.once = {"idempotency-key": "alice-once"}
        self.job_id: str = taken(alice.post(JOBS, json=job_body(self.file_id, "mine"), headers=self.once))["id"]
        publish_tiny(stage.settings.own_adapters, stage.settings.weights, "of-alice", NAMED["plain"], 7)

    def is_whole(self, stage: Stage) -> str | None:
        """Whether everything is alice's and as it was."""
        alice = stage.client("alice")
        file, job = alice.get(f"{FILES}/{self.file_id}"), alice.get(f"{JOBS}/{self.job_id}")
        if (file.status_code, job.status_code) != (200, 200):
            return f"alice's file is answered {file.status_code}, her job {job.status_code}"
        return None if job.json()["status"] == "queued" else f"alice's job is {job.json()['status']}"


def tries(stage: Stage, draw: random.Random) -> Generator[Try, None, None]:
    """Nobody works on jobs here: they stay queued."""
    owned = Owned(stage)
    bobs_file: str = taken(upload(stage.client("bob"), "b.tsv", as_tsv(reviews(40, 1)).encode()))["id"]
    while True:
        told, act = draw.choice((_others, _others, _shadow, _wrong_key, _wrong_key, _scope, _site, _host))(
            stage, draw, owned, bobs_file
        )
        yield Try(told, lambda act=act: first(act(), owned.is_whole(stage)))  # type: ignore[misc]


def _others(stage: Stage, draw: random.Random, owned: Owned, bobs_file: str) -> tuple[str, Any]:
    """What is alice's, asked for by bob, or by somebody who may train nothing."""
    who = draw.choice(("bob", "bob", "reader", "nobody"))
    client = stage.client(who)
    file, job = f"{FILES}/{owned.file_id}", f"{JOBS}/{owned.job_id}"
    if who == "bob" and draw.random() < 0.3:
        return draw.choice(
            (
                ("bob lists files", lambda: _lacks(client.get(FILES), owned.file_id)),
                ("bob lists jobs", lambda: _lacks(client.get(JOBS), owned.job_id)),
                (
                    "bob goes on behind alice's job",
                    lambda: _lacks(client.get(JOBS, params={"after": owned.job_id}), owned.job_id),
                ),
                ("bob has alice's idempotency key", lambda: _own_job(client, owned, bobs_file)),
                ("bob names alice's file", lambda: refused(client.post(JOBS, json=job_body(owned.file_id, "x")))),
            )
        )
    method, path = draw.choice(
        (
            *(("GET", file), ("DELETE", file), ("GET", f"{file}/content"), ("GET", job), ("GET", f"{job}/events")),
            *(("POST", f"{job}/cancel"), ("POST", f"{job}/pause"), ("POST", f"{job}/resume")),
            *(
                ("GET", f"{job}/events?stream=true"),
                ("DELETE", "/adapters/of-alice"),
                ("GET", "/adapters/of-alice/archive"),
            ),
        )
    )
    return f"{who}: {method} {path[:40]}", lambda: refused(client.request(method, path), 401, 403, 404)


def _lacks(reply: httpx2.Response, what: str) -> str | None:
    if reply.status_code != 200:
        return refused(reply, 404, 422)
    return f"the list shows {what}" if what in reply.text else None


def _own_job(client: httpx2.Client, owned: Owned, bobs_file: str) -> str | None:
    """The key of one names nothing of another's."""
    reply = client.post(JOBS, json=job_body(bobs_file, "bobs"), headers=owned.once)
    if reply.status_code != 200:
        return complaint(reply)
    made: str = reply.json()["id"]
    return "bob got alice's job" if made == owned.job_id else complaint(client.post(f"{JOBS}/{made}/cancel"))


def _shadow(stage: Stage, draw: random.Random, _owned: Owned, bobs_file: str) -> tuple[str, Any]:
    """A job whose set would take the place of one that others rely on."""
    name = draw.choice(_SHADOWED)
    body = job_body(bobs_file, name)
    return f"bob trains {name}", lambda: refused(stage.client("bob").post(JOBS, json=body), 403, 409, 422)


def _wrong_key(stage: Stage, draw: random.Random, owned: Owned, _file: str) -> tuple[str, Any]:
    """Near misses, and places where keys do not belong."""
    good = key_of(draw.choice(("admin", "alice")))
    place = draw.randrange(len(good))
    told, headers = draw.choice(
        (
            ("one letter off", {"authorization": f"Bearer {good[:place]}~{good[place + 1 :]}"}),
            ("cut off", {"authorization": f"Bearer {good[:-1]}"}),
            ("longer", {"authorization": f"Bearer {good}x"}),
            ("capitals", {"authorization": f"Bearer {good.upper()}"}),
            ("as basic", {"authorization": f"Basic {good}"}),
            ("empty", {"authorization": "Bearer"}),
            ("with scopes", {"x-api-key": f"{good}:infer,train,admin"}),
            ("a wildcard", {"x-api-key": "*"}),
            ("no letters", {"x-api-key": "()[]{}~~~~~~~~~~"}),
            ("the hash of it", {"x-api-key": f"key:{good}"}),
            ("in a cookie", {"cookie": f"key={good}; api_key={good}"}),
            ("no key", {}),
        )
    )
    if draw.random() < 0.5:
        told += " and a made-up address"
        headers = headers | {"x-forwarded-for": f"10.0.{draw.randrange(256)}.{draw.randrange(256)}"}
    path = draw.choice((f"{JOBS}/{owned.job_id}", f"{FILES}?api_key={good}", "/adapters", "/metrics"))
    client = stage.client("nobody")
    return f"{told}: {path[:30]}", lambda: refused(client.get(path, headers=headers), 401, 429)


def _scope(stage: Stage, draw: random.Random, _owned: Owned, bobs_file: str) -> tuple[str, Any]:
    """More than a key may do."""
    who, method, path = draw.choice(
        (
            *(("reader", "GET", FILES), ("reader", "GET", JOBS), ("reader", "POST", JOBS), ("reader", "POST", FILES)),
            *(("bob", "DELETE", "/adapters/plain"), ("bob", "GET", "/adapters/plain/archive")),
            *(("reader", "DELETE", "/adapters/prefixed"), ("bystander", "DELETE", f"{FILES}/{bobs_file}")),
        )
    )
    return f"{who}: {method} {path[:40]}", lambda: refused(stage.client(who).request(method, path), 403)


def _site(stage: Stage, draw: random.Random, owned: Owned, _file: str) -> tuple[str, Any]:
    """A page of another site, in the browser of somebody who may reach the service; no such page has a key."""
    headers = draw.choice(
        (
            {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
            {"origin": "null", "sec-fetch-site": "cross-site"},
            {"origin": "http://localhost.evil.example", "sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "cross-site", "content-type": "text/plain"},
            {"origin": "https://evil.example"},
        )
    )
    path = f"{JOBS}/{owned.job_id}/" + draw.choice(("cancel", "pause"))
    return f"{path[-6:]} from {headers}", lambda: refused(stage.client("nobody").post(path, headers=headers), 401, 403)


def _host(stage: Stage, draw: random.Random, _owned: Owned, _file: str) -> tuple[str, Any]:
    """With keys any name of this machine is right; what is no name at all never is."""
    host = draw.choice(
        (
            "[::1].evil.com",
            "a b",
            "localhost:99999999",
            "",
            "localhost/",
            "user@localhost",
            "[::1",
            "a" * 3000,
            "'--",
        )
    )
    client = stage.client("nobody")

    def ask() -> str | None:
        try:
            return refused(client.get("/adapters", headers={"host": host}))
        except httpx2.LocalProtocolError:
            return None  # the client itself does not send it
        except Unexpected as exc:
            return str(exc)

    return f"host {host[:30]!r}", ask


OWNERS = Kind(name="owners", told="keys and owners", tries=tries, num_tries=140, most_mib=150)
