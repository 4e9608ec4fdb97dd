"""Two services and a worker on one volume and one Redis: what one is asked for, both serve, and no request fails."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from tests.integration.redis_server import StartRedis, start_redis
from tests.integration.served import served
from tests.integration.training_home import WorkerProcess
from tests.tiny import PLAIN
from tests.tiny_home import publish_tiny, tiny_settings
from tests.tiny_text import as_tsv, reviews

__all__ = ["start_redis"]

DEADLINE_S, BOUND_S = 90.0, 15.0
PAUSE_S = 0.05  # leaves some of the processor to the training
HYPERPARAMETERS: dict[str, Any] = {"steps": 30, "batch_size": 8, "latent_size": 4, "adapter_size": 5, "validations": 1}
HYPERPARAMETERS |= {"learning_rate": 0.02, "beta": 0.01}


class Asker:
    """Asks one service all the time, in a thread of its own, and keeps when which version answered first."""

    def __init__(self, url: str) -> None:
        self.first_seen: dict[str, float] = {}
        self.failures: list[str] = []
        self.num_answers = 0
        self._url, self._is_over = url, threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        with httpx2.Client(base_url=self._url, timeout=DEADLINE_S) as client:
            while not self._is_over.wait(PAUSE_S):
                self._keep(client.post("/encode", json={"texts": ["the food was great", "rude"], "adapter": "mine"}))
                self._keep(client.post("/decode", json={"samples": 1, "adapter": "mine"}))
                self._keep(client.post("/encode", json={"text": "the staff", "adapter": "plain"}))

    def _keep(self, reply: httpx2.Response) -> None:
        self.num_answers += 1
        if reply.status_code != 200:
            self.failures.append(reply.text)
            return
        adapter = reply.json()["adapter"]
        self.first_seen.setdefault(f"{adapter['name']}@{adapter['version']}", time.monotonic())

    def end(self) -> None:
        self._is_over.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()


@contextmanager
def two_services(root: Path, redis_url: str) -> Iterator[tuple[httpx2.Client, httpx2.Client]]:
    """Both started at once, with a worker beside them; default settings but for the sizes."""
    settings = tiny_settings(root, redis_url=SecretStr(redis_url), training_threads=1)
    publish_tiny(settings.own_adapters, settings.weights, "mine", PLAIN, seed=9)
    worker = WorkerProcess(settings, redis_url)
    try:
        with ExitStack() as stack:
            servers = [stack.enter_context(served(root, ADAVAE_REDIS_URL=redis_url)) for _ in range(2)]
            one, other = (
                stack.enter_context(httpx2.Client(base_url=server.url(), timeout=DEADLINE_S)) for server in servers
            )
            yield one, other
        assert worker.stop() == 0, worker.output
    finally:
        worker.kill()


def wait_for(condition: Callable[[], bool], timeout_s: float = DEADLINE_S) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def finished(client: httpx2.Client, job_id: str) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = client.get(f"/v1/fine_tuning/jobs/{job_id}").json()
        if job["status"] not in ("queued", "running"):
            assert job["status"] == "succeeded", job
            return job
        time.sleep(0.02)


@pytest.mark.slow
def test_both_serve_a_new_version_and_no_request_fails(tmp_path: Path, start_redis: StartRedis) -> None:
    """The name is in use at both while its new version is published."""
    with two_services(tmp_path, start_redis().url) as (one, other):
        content = as_tsv(reviews(36)).encode()
        form: dict[str, Any] = {"data": {"purpose": "fine-tune"}, "files": {"file": ("reviews.tsv", content)}}
        body = {"model": "bundled", "training_file": one.post("/v1/files", **form).json()["id"], "suffix": "mine"}
        headers = {"idempotency-key": "the-same"}
        job = one.post("/v1/fine_tuning/jobs", json=body | {"hyperparameters": HYPERPARAMETERS}, headers=headers).json()
        again = other.post("/v1/fine_tuning/jobs", json=body | {"hyperparameters": HYPERPARAMETERS}, headers=headers)
        assert again.json()["id"] == job["id"]
        askers = [Asker(str(client.base_url)) for client in (one, other)]
        try:
            model = finished(other, job["id"])["fine_tuned_model"]
            succeeded_at = time.monotonic()
            wait_for(lambda: all(model in asker.first_seen for asker in askers), BOUND_S)
        finally:
            for asker in askers:
                asker.end()
        delays = [asker.first_seen[model] - succeeded_at for asker in askers]
        told = f"seconds from succeeded to served: {delays[0]:.2f} and {delays[1]:.2f}, the target is 2"
        assert max(delays) < BOUND_S, told
        for client, asker in zip((one, other), askers, strict=True):
            assert asker.failures == [], asker.failures[:3]
            assert asker.num_answers > 10
            assert len(asker.first_seen) == 3  # mine in both versions, and plain
            entry = client.get(f"/adapters/{model}").json()
            assert (entry["current"], entry["labels"]) == (True, ["no", "yes"])
            assert client.post("/classify", json={"text": "good", "adapter": model}).status_code == 200
