"""Mixed requests for a long time, sets that come and go, jobs, and a fault every ten seconds.

    python -m tests.bench.soak --minutes 30

Counts requests that fail although they are sent again for a while, jobs that are lost, and what the server has of
memory, threads and descriptors meanwhile. Writes one JSON object; exit code 1 where a request or a job was lost.
"""

import argparse
import contextlib
import json
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from redis import Redis

from tests.bench.abuse.kinds import KINDS
from tests.bench.abuse.process_use import MIB
from tests.bench.abuse.stage import FILES, JOBS, Stage, fate_of, job_body, staged, taken, upload
from tests.integration.redis_server import RedisServer
from tests.integration.training_home import WorkerProcess
from tests.tiny_home import publish_tiny
from tests.tiny_text import NAMED, as_tsv, reviews

_A_FAULT_EVERY_S, _A_JOB_EVERY_S, _A_SAMPLE_EVERY_S = 10.0, 45.0, 15.0
_NUM_CLIENTS = 3
_HEALED_WITHIN_S = 30.0
_JOBS_WITHIN_S = 300.0
_TEXTS = as_tsv(reviews(40)).encode()
_HOSTILE = ("texts", "requests", "uploads", "sets", "volume")
Request = Callable[[httpx2.Client, random.Random], httpx2.Response]


@dataclass(slots=True)
class Findings:
    """What the soak has seen; samples are seconds, MiB, threads, descriptors."""

    seed: int
    minutes: float
    requests: int = 0
    sent_again: int = 0
    not_healed: list[str] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    jobs: dict[str, int] = field(default_factory=dict)
    sets_published: int = 0
    samples: list[tuple[float, float, int, int]] = field(default_factory=list)
    growth: dict[str, float] = field(default_factory=dict)
    traceback: str | None = None

    @property
    def is_broken(self) -> bool:
        return bool(self.not_healed or self.traceback or set(self.jobs) - {"done"})


def _text(draw: random.Random) -> str:
    return f"the {draw.choice(('food', 'room', 'staff'))} was number {draw.randrange(5000)}"


def _post(path: str, body: Callable[[random.Random], dict[str, Any]]) -> Request:
    return lambda client, draw: client.post(path, json={"adapter": draw.choice(list(NAMED)), **body(draw)})


REQUESTS: tuple[Request, ...] = (
    _post("/encode", lambda draw: {"texts": [_text(draw) for _ in range(draw.randrange(1, 9))]}),
    _post("/encode", lambda draw: {"text": _text(draw), "include": ["logvar"]}),
    _post("/decode", lambda draw: {"samples": draw.randrange(1, 4), "candidates": 1}),
    _post("/interpolate", lambda draw: {"source": _text(draw), "target": _text(draw), "steps": 3, "candidates": 1}),
    _post("/analogy", lambda draw: {"a": _text(draw), "b": _text(draw), "c": _text(draw), "candidates": 1}),
    _post("/variations", lambda draw: {"text": _text(draw), "n": 2}),
    lambda client, _: client.get("/adapters"),
    lambda client, _: client.get(JOBS),
    lambda client, _: client.get(FILES),
)


class Soak:
    """One soak over one stage."""

    def __init__(self, stage: Stage, findings: Findings) -> None:
        self._stage, self._findings = stage, findings
        self._draw = random.Random(findings.seed)
        self._is_over = threading.Event()
        self._counting = threading.Lock()
        self._worker = WorkerProcess(stage.settings, stage.redis.url)
        self._redis = Redis.from_url(stage.redis.url)
        self._jobs: list[str] = []
        self._faults: tuple[Callable[[], None], ...] = (
            self._kill_redis,
            self._freeze_redis,
            self._wipe_redis,
            self._kill_worker,
            self._freeze_worker,
            *(self._hostile(kind) for kind in _HOSTILE),
        )

    def run(self, minutes: float) -> None:
        """Everything, until the time is over and every job is done."""
        file_id: str = taken(upload(self._stage.client("alice"), "a.tsv", _TEXTS))["id"]
        clients = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(_NUM_CLIENTS)]
        for client in clients:
            client.start()
        try:
            self._strike_until(time.monotonic() + 60 * minutes, file_id)
        finally:
            self._is_over.set()
            for client in clients:
                client.join(2 * _HEALED_WITHIN_S)
        self._end_jobs()
        self._sample()

    def close(self) -> None:
        self._worker.kill()
        self._redis.close()

    def _strike_until(self, end_s: float, file_id: str) -> None:
        self._began_s = time.monotonic()
        due = {
            self._fault: [_A_FAULT_EVERY_S, _A_FAULT_EVERY_S],
            lambda: self._start_job(file_id): [0.0, _A_JOB_EVERY_S],
            self._sample: [0.0, _A_SAMPLE_EVERY_S],
            self._publish_and_delete: [5.0, 7.0],
        }
        while time.monotonic() < end_s:
            for act, times in due.items():
                if time.monotonic() - self._began_s >= times[0]:
                    times[0] += times[1]
                    act()
            time.sleep(0.1)

    def _ask(self, number: int) -> None:
        """One client: request after request, each until it is answered."""
        draw = random.Random(f"{self._findings.seed} {number}")
        client = self._stage.client(("alice", "bob", "admin")[number])
        while not self._is_over.is_set():
            request = draw.choice(REQUESTS)
            num_again, why = self._healed(lambda request=request: request(client, draw))  # type: ignore[misc]
            with self._counting:
                self._findings.requests += 1
                self._findings.sent_again += num_again
                self._findings.not_healed += [why] if why else []

    def _healed(self, send: Callable[[], httpx2.Response]) -> tuple[int, str | None]:
        """How often it was sent again, and why it was never answered."""
        end_s, num_again, why = time.monotonic() + _HEALED_WITHIN_S, 0, "never sent"
        while time.monotonic() < end_s:
            try:
                reply = send()
                if reply.status_code == 200:
                    return num_again, None
                why = f"{reply.request.url.path}: {reply.status_code} {reply.text[:200]}"
            except httpx2.TransportError as exc:
                why = repr(exc)
            num_again += 1
            time.sleep(0.5)
        return num_again, why

    def _fault(self) -> None:
        fault = self._draw.choice(self._faults)
        fault()
        name = getattr(fault, "__name__", "hostile").strip("_")
        self._findings.faults[name] = self._findings.faults.get(name, 0) + 1

    def _kill_redis(self) -> None:
        self._stage.redis.kill()
        time.sleep(self._draw.uniform(0.0, 2.0))
        self._stage.redis.start()

    def _freeze_redis(self) -> None:
        self._stage.redis.hang()
        time.sleep(self._draw.uniform(0.5, 2.0))
        self._stage.redis.resume()

    def _wipe_redis(self) -> None:
        self._redis.flushall()

    def _kill_worker(self) -> None:
        self._worker.kill()
        self._worker = WorkerProcess(self._stage.settings, self._stage.redis.url)

    def _freeze_worker(self) -> None:
        self._worker.freeze()
        time.sleep(self._draw.uniform(0.5, 3.0))
        self._worker.thaw()

    def _hostile(self, kind: str) -> Callable[[], None]:
        """The next try of a kind of abuse; how that is judged is for the suite of abuse."""
        tries = KINDS[kind].tries(self._stage, random.Random(f"{kind} {self._findings.seed}"))

        def strike() -> None:
            with contextlib.suppress(httpx2.TransportError, OSError):
                next(tries).act()

        strike.__name__ = kind
        return strike

    def _start_job(self, file_id: str) -> None:
        alice = self._stage.client("alice")
        made: list[httpx2.Response] = []

        def send() -> httpx2.Response:
            made.append(alice.post(JOBS, json=job_body(file_id, f"soaked-{len(self._jobs)}")))
            return made[-1]

        _, why = self._healed(send)
        if why is None:
            self._jobs.append(made[-1].json()["id"])
        else:
            self._findings.not_healed.append(why)

    def _publish_and_delete(self) -> None:
        """A set comes, is used, and goes."""
        settings, admin = self._stage.settings, self._stage.client("admin")
        name = f"churn-{self._findings.sets_published % 5}"
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(settings.own_adapters / name)
        config = NAMED[self._draw.choice(list(NAMED))]
        publish_tiny(settings.own_adapters, settings.weights, name, config, self._draw.randrange(10, 10**9))
        self._findings.sets_published += 1
        _, why = self._healed(lambda: admin.post("/encode", json={"text": "fine", "adapter": name}))
        self._findings.not_healed += [why] if why else []

    def _end_jobs(self) -> None:
        """Each has some time to come to its end."""
        alice, end_s = self._stage.client("alice"), time.monotonic() + _JOBS_WITHIN_S
        statuses: list[str] = []
        while time.monotonic() < end_s:
            statuses = [fate_of(alice.get(f"{JOBS}/{job_id}").json()) for job_id in self._jobs]
            if not {"queued", "running"} & set(statuses):
                break
            time.sleep(1.0)
        self._findings.jobs = dict(Counter(statuses))

    def _sample(self) -> None:
        use = self._stage.use
        seconds, memory = round(time.monotonic() - self._began_s, 1), round(use.resident_bytes() / MIB, 1)
        self._findings.samples.append((seconds, memory, use.num_threads(), use.num_descriptors()))


def soak(root: Path, redis: RedisServer, *, minutes: float, seed: int) -> Findings:
    """Runs one; every process that it started is gone when it returns."""
    findings = Findings(seed=seed, minutes=minutes)
    with staged(root, redis, ADAVAE_MAX_OPEN_JOBS="1000") as stage:
        running = Soak(stage, findings)
        try:
            running.run(minutes)
        finally:
            running.close()
        lines = stage.news_of_log()
        findings.traceback = next((line for line in lines if "Traceback" in line), None)
    for place, name in enumerate(("mib", "threads", "descriptors"), start=1):
        findings.growth[name] = _growth([sample[place] for sample in findings.samples])
    return findings


def _growth(values: list[float]) -> float:
    """From the second quarter, when all has been used once, to the last; medians, for single samples are chance."""
    quarter = max(1, len(values) // 4)
    return round(statistics.median(values[-quarter:]) - statistics.median(values[quarter : 2 * quarter] or values), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    binary = shutil.which("redis-server")
    if binary is None:
        sys.exit("redis-server is not installed (Debian: apt-get install redis-server)")
    with tempfile.TemporaryDirectory(prefix="soak-") as directory, contextlib.ExitStack() as ending:
        redis = RedisServer(binary, Path(directory))
        ending.callback(redis.kill)
        redis.start()
        findings = soak(Path(directory) / "home", redis, minutes=chosen.minutes, seed=chosen.seed)
    sys.stdout.write(json.dumps(asdict(findings)) + "\n")
    sys.exit(1 if findings.is_broken else 0)


if __name__ == "__main__":
    main()
