"""One ``adavae serve`` over a tiny installation, with keys, a Redis and everything that tells how it fares."""

import contextlib
import hashlib
import json
import math
import queue
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2

from adavae.service.settings import Settings
from tests.bench.abuse.process_use import ProcessUse
from tests.bench.abuse.verdict import complaint
from tests.integration.redis_server import RedisServer
from tests.integration.served import Served
from tests.tiny_home import tiny_settings

PATIENCE_S = 20.0
FILES, JOBS = "/v1/files", "/v1/fine_tuning/jobs"
SCOPES = {
    "admin": "infer,train,admin",
    "alice": "infer,train",
    "bob": "infer,train",
    "reader": "infer",
    "greedy": "infer",
    "bystander": "infer",
}
KNOWN_TEXTS = ("the food was great .", "my room was bad and the staff was rude .", "caf\u00e9 \u2603")
_OWN = {
    "ADAVAE_DECODE_ROWS": "8",
    "ADAVAE_REFRESH_S": "0.1",
    "ADAVAE_MAX_TOKENS": "24",
    "ADAVAE_LOG_LEVEL": "warning",
    "ADAVAE_MAX_UPLOAD_BYTES": str(8 * 1024**2),
}
_CLOSE = 1e-4
ENDED = ("done", "failed", "cancelled")
_SHORT: dict[str, Any] = {"steps": 30, "batch_size": 8, "latent_size": 4, "adapter_size": 5, "validations": 1}
_SHORT |= {"learning_rate": 0.02, "beta": 0.01}


def key_of(who: str) -> str:
    return f"{who}-{hashlib.sha256(who.encode()).hexdigest()[:32]}"


class Stage:
    """The server, its clients by name, its volume, and its Redis."""

    def __init__(self, home: Path, redis: RedisServer, **variables: str) -> None:
        keys = " ".join(f"{key_of(who)}:{scopes},name={who}" for who, scopes in SCOPES.items())
        environment = {"ADAVAE_API_KEYS": keys, "ADAVAE_REDIS_URL": redis.url, **_OWN, **variables}
        self.home, self.redis = home, redis
        self.settings: Settings = tiny_settings(home, redis_url=redis.url)
        self._clients: dict[str, httpx2.Client] = {}
        self.server = Served(home, before=None, **environment)
        try:
            self.url = self.server.url()
        except queue.Empty:
            self.kill()
            raise
        host, port = self.url.removeprefix("http://").split(":")
        self.address = host, int(port)
        self.use = ProcessUse(self.server.process.pid)
        self._known: list[list[float]] = []
        self._num_read_lines = 0

    @property
    def data(self) -> Path:
        return self.settings.data

    def client(self, who: str) -> httpx2.Client:
        """Somebody's client, by the names of ``SCOPES``; ``nobody`` has no key."""
        if who not in self._clients:
            headers = {} if who == "nobody" else {"authorization": f"Bearer {key_of(who)}"}
            self._clients[who] = httpx2.Client(base_url=self.url, headers=headers, timeout=90)
        return self._clients[who]

    def wait_until_ready(self) -> None:
        """Returns once ordinary requests are answered, and keeps what they are answered."""
        until(lambda: self.client("nobody").get("/readyz").status_code == 200)
        self._known = [self.encoded(text) for text in KNOWN_TEXTS]

    def encoded(self, text: str, **more: Any) -> list[float]:
        """mu of an ordinary request."""
        reply = self.client("alice").post("/encode", json={"text": text, **more})
        if reply.status_code != 200:
            raise Unexpected(f"an ordinary request was answered {reply.status_code}: {reply.text[:300]}")
        return [float(number) for number in reply.json()["data"][0]["mu"]]

    def problem(self) -> str | None:
        """What is wrong with the server now; it has some time to come to itself again."""
        found: list[str | None] = [None]

        def is_sound() -> bool:
            found[0] = self._problem_now()
            return found[0] is None or self.server.process.poll() is not None  # which nothing mends

        with contextlib.suppress(TimeoutError):
            until(is_sound)
        return found[0]

    def news_of_log(self) -> list[str]:
        """Lines since the last time."""
        lines = self.server.lines[self._num_read_lines :]
        self._num_read_lines += len(lines)
        return lines

    def _problem_now(self) -> str | None:
        if self.server.process.poll() is not None:
            return f"the server has ended with {self.server.process.returncode}"
        try:
            ready = self.client("nobody").get("/readyz")
            if ready.status_code != 200:
                return f"readiness says {ready.status_code} {ready.text[:200]}"
            return next((why for why in map(self._compared, KNOWN_TEXTS, self._known) if why), None)
        except httpx2.TransportError as exc:
            return repr(exc)
        except Unexpected as exc:
            return str(exc)

    def _compared(self, text: str, known: list[float]) -> str | None:
        now = self.encoded(text)
        is_same = len(now) == len(known) and all(
            math.isclose(a, b, abs_tol=_CLOSE) for a, b in zip(now, known, strict=True)
        )
        return None if is_same else f"{text!r} was answered {now} and not {known}"

    def end(self) -> str | None:
        """SIGTERM; what was wrong with how it ended."""
        self._close_clients()
        if self.server.process.poll() is not None:
            return f"the server had ended with {self.server.process.returncode}"
        self.server.process.terminate()
        try:
            code, _ = self.server.ended()
        except TimeoutError:
            return "SIGTERM did not end the server"
        return None if code == 0 else f"the server ended with {code} on SIGTERM"

    def _close_clients(self) -> None:
        for client in self._clients.values():
            client.close()

    def kill(self) -> None:
        self._close_clients()
        if self.server.process.poll() is None:
            self.server.process.kill()
            self.server.ended()


class Unexpected(Exception):
    """An ordinary request was not answered as it should have been."""


def upload(client: httpx2.Client, name: str, content: bytes) -> httpx2.Response:
    return client.post(FILES, data={"purpose": "fine-tune"}, files={"file": (name, content)})


def job_body(file_id: str, suffix: str) -> dict[str, Any]:
    """A short training run."""
    body = {"model": "bundled", "training_file": file_id, "suffix": suffix, "hyperparameters": _SHORT}
    return body | {"seed": 0}


def fate_of(job: Mapping[str, Any]) -> str:
    """How a job stands; ``done`` too where the latent has collapsed: over random weights that is a rightful verdict."""
    is_collapsed = job["status"] == "failed" and job["error"]["code"] == "latent_collapsed"
    return "done" if is_collapsed or job["status"] == "succeeded" else str(job["status"])


def taken(reply: httpx2.Response) -> Mapping[str, Any]:
    """The JSON of an answer that an ordinary request gets."""
    if reply.status_code != 200:
        raise Unexpected(complaint(reply) or f"{reply.status_code}: {reply.text[:300]}")
    answered: dict[str, Any] = json.loads(reply.content)
    return answered


def until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Raises TimeoutError where it does not come about."""
    end_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError(f"did not come about within {patience_s:g} s")
        time.sleep(0.05)


@contextlib.contextmanager
def staged(home: Path, redis: RedisServer, **variables: str) -> Iterator[Stage]:
    """A stage that is ready; whatever happens, its server is gone when this is left."""
    stage = Stage(home, redis, **variables)
    try:
        stage.wait_until_ready()
        yield stage
    finally:
        stage.kill()
