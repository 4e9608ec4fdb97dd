"""Records of jobs and files that something has damaged: each is told alone, and a worker that starts works on."""

import json
import random
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

from tests.bench.abuse import odd
from tests.bench.abuse.stage import ENDED, FILES, JOBS, Stage, fate_of, job_body, taken, until, upload
from tests.bench.abuse.tries import Kind, Try
from tests.bench.abuse.verdict import complaint, first
from tests.integration.training_home import WorkerProcess
from tests.tiny_text import as_tsv, reviews
from tests.unit.service.jobs.hostile import PLANTS, planted

_OF_JOB = ("job.json", "job.json", "events.jsonl", "lock", "setbacks.json", "attempts", "wish.json")
_OF_FILE = ("file.json", "file.json", "content.tsv", "lock")
_A_WORKER_EVERY = 60
_WORKER_PATIENCE_S = 120.0


def tries(stage: Stage, draw: random.Random) -> Generator[Try, None, None]:
    """Victims are made for each; those of jobs stay until a worker has seen them."""
    alice = stage.client("alice")
    file_id: str = taken(upload(alice, "a.tsv", as_tsv(reviews(40)).encode()))["id"]
    good: str = taken(alice.post(JOBS, json=job_body(file_id, "good")))["id"]
    victims: list[Path] = []
    number = 0
    while True:
        number += 1
        if number % _A_WORKER_EVERY == 0:
            yield Try(f"a worker starts beside {len(victims)} damaged jobs", lambda: _worked(stage, file_id, victims))
        elif draw.random() < 0.7:
            yield _damaged_job(stage, draw, file_id, good, victims)
        else:
            yield _damaged_file(stage, draw, file_id)


def _damage(draw: random.Random, place: Path) -> str:
    """Puts something in its place, or changes a field of what is there."""
    if place.suffix == ".json" and place.is_file() and draw.random() < 0.5:
        values: dict[str, Any] = json.loads(place.read_bytes())
        name = draw.choice([*values, "more", ""])
        values[name] = draw.choice([each for each in odd.VALUES if each != 10**400])
        place.write_text(json.dumps(values), encoding="utf-8")
        return f"{place.name}: {name} = {odd.shown(values[name])}"
    told = draw.choice(list(PLANTS))
    if place.is_dir():
        shutil.rmtree(place)
    planted(place, PLANTS[told])
    return f"{place.name} is {told}"


def _damaged_job(stage: Stage, draw: random.Random, file_id: str, good: str, victims: list[Path]) -> Try:
    alice = stage.client("alice")
    job_id: str = taken(alice.post(JOBS, json=job_body(file_id, "victim")))["id"]
    directory = stage.settings.jobs / job_id
    if draw.random() < 0.1:
        shutil.rmtree(directory)
        told = draw.choice(list(PLANTS))
        planted(directory, PLANTS[told])
        told = f"the directory is {told}"
    else:
        told = _damage(draw, directory / draw.choice(_OF_JOB))
    if draw.random() < 0.2:
        told += " and " + _damage(draw, directory / "events.jsonl") if directory.is_dir() else ""
    victims.append(directory)

    def ask() -> str | None:
        listed = alice.get(JOBS, params={"limit": 100})
        lost = None if listed.status_code != 200 or good in listed.text else "the good job is not listed"
        path = f"{JOBS}/{job_id}"
        asked = [
            alice.get(path),
            alice.get(f"{path}/events"),
            alice.post(f"{path}/pause"),
            alice.post(f"{path}/cancel"),
        ]
        asked += [stage.client("admin").get(JOBS, params={"limit": 100}), alice.get(f"{JOBS}/{good}/events")]
        if len(victims) > 60:
            _remove(victims.pop(0))
        return first(*map(complaint, [listed, *asked]), lost)

    return Try(f"job: {told}", ask)


def _damaged_file(stage: Stage, draw: random.Random, file_id: str) -> Try:
    alice, admin = stage.client("alice"), stage.client("admin")
    victim: str = taken(upload(alice, "b.tsv", as_tsv(reviews(40, 1)).encode()))["id"]
    directory = stage.settings.files / victim
    told = _damage(draw, directory / draw.choice(_OF_FILE))

    def ask() -> str | None:
        listed = alice.get(FILES)
        lost = None if listed.status_code != 200 or file_id in listed.text else "the good file is not listed"
        path = f"{FILES}/{victim}"
        asked = [alice.get(path), alice.get(f"{path}/content"), alice.post(JOBS, json=job_body(victim, "of-victim"))]
        if asked[-1].status_code == 200:
            asked.append(alice.post(f"{JOBS}/{asked[-1].json()['id']}/cancel"))
        asked += [alice.delete(path), admin.delete(path)]
        _remove(directory)
        return first(*map(complaint, [listed, *asked]), lost)

    return Try(f"file: {told}", ask)


def _worked(stage: Stage, file_id: str, victims: list[Path]) -> str | None:
    """A worker that starts while the victims are there carries out a new job."""
    alice = stage.client("alice")
    worker = WorkerProcess(stage.settings, stage.redis.url)
    try:
        job_id: str = taken(alice.post(JOBS, json=job_body(file_id, "worked")))["id"]
        until(
            lambda: fate_of(alice.get(f"{JOBS}/{job_id}").json()) in ENDED or not worker.is_running, _WORKER_PATIENCE_S
        )
        job = alice.get(f"{JOBS}/{job_id}").json()
        if fate_of(job) != "done":
            fate = "runs" if worker.is_running else "has ended"
            return f"the job is {job['status']} ({job['error']}); the worker {fate}: {worker.output[-800:]}"
        return f"the worker ended badly: {worker.output[-800:]}" if worker.stop() else None
    except TimeoutError:
        return f"the job was not done in {_WORKER_PATIENCE_S:g} s; the worker said: {worker.output[-800:]}"
    finally:
        worker.kill()
        while victims:
            _remove(victims.pop())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


RECORDS = Kind(name="records", told="damaged records of jobs and files", tries=tries, num_tries=100, most_mib=200)
