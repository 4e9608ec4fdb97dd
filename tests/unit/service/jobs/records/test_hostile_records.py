"""A volume with things on it that nobody writes: each is reported or passed over, and no other job suffers."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adavae.service.errors import ServiceError
from adavae.service.jobs.backbone_description import BackboneDescription
from adavae.service.jobs.job_service import JobService
from adavae.service.jobs.queue.in_process import InProcessQueue
from adavae.service.jobs.records import wishes
from adavae.service.jobs.records.attempt_files import attempt_directory
from adavae.service.jobs.records.decoding import decoded_job
from adavae.service.jobs.records.event_log import EventLog
from adavae.service.jobs.records.job import Job, JobError, JobStatus
from adavae.service.jobs.records.job_errors import JobDamaged, JobNotFound
from adavae.service.jobs.records.volume_file import NotReadable
from adavae.service.jobs.worker.lookout import Lookout
from adavae.service.routes.job_shapes import shape_event, shape_job
from tests.tiny import TINY
from tests.unit.service.jobs.hostile import PLANTS, odd_records, planted
from tests.unit.service.jobs.job_home import FIGURES, JobHome, home, new_job

__all__ = ["home"]

plants = pytest.mark.parametrize("name", PLANTS)


def service_of(home: JobHome) -> JobService:
    files: object = None
    return JobService(home.settings(), home.store, files, InProcessQueue(), lambda: BackboneDescription(TINY, "d"))  # type: ignore[arg-type]


def told(home: JobHome) -> list[str]:
    page = asyncio.run(service_of(home).list(limit=20, after=None))
    return [str(shape_job(job)["id"]) for job in page.items]


def record_path(home: JobHome, job: Job) -> Path:
    return home.store.directory(job.id) / "job.json"


@plants
def test_a_bad_record_hides_no_other_job(home: JobHome, name: str) -> None:
    """Regression: a job.json of 3,000 brackets made the list of jobs a 500, and a worker that started died."""
    before, bad, after = (home.queue_job() for _ in range(3))
    planted(record_path(home, bad), PLANTS[name])
    assert told(home) == [after.id, before.id]
    assert [waiting.job_id for waiting in Lookout(home.claims, 9).view().waiting] == [before.id, after.id]
    assert [job.id for job in home.store.unfinished()] == [before.id, after.id]
    for ask in (home.store.get, lambda job_id: wishes.cancel(home.store, job_id), home.store.history):
        with pytest.raises((JobDamaged, JobNotFound, PermissionError)):
            ask(bad.id)
    assert home.claim(before).attempt == 1


@plants
def test_a_bad_directory_hides_no_other_job(home: JobHome, name: str) -> None:
    job, stray = home.queue_job(), home.store.root / f"ftjob-{'f' * 24}"
    planted(stray, PLANTS[name])
    assert told(home) == [job.id]
    assert [waiting.job_id for waiting in Lookout(home.claims, 9).view().waiting] == [job.id]
    with pytest.raises((JobDamaged, JobNotFound, OSError)):
        home.store.get(stray.name)


def test_odd_values_in_a_record_hide_no_other_job_or_are_harmless(home: JobHome) -> None:
    """Some hundred records, each with one field that is not as we write it."""
    good = home.queue_job(progress=FIGURES, error=JobError(code="c", message="m"), metadata={"a": "b"})
    path = record_path(home, good)
    other = home.queue_job()
    variants = odd_records(path.read_bytes())
    num_damaged = 0
    for name, content in variants.items():
        path.write_bytes(content)
        listed = told(home)
        assert other.id in listed, name
        num_damaged += good.id not in listed
        Lookout(home.claims, 9).view()
    assert len(variants) > 500
    assert num_damaged > len(variants) / 2


@pytest.mark.parametrize("beside", ["events.jsonl", "lock", "setbacks.json", "attempts"])
@plants
def test_what_stands_beside_a_record_spoils_that_job_at_most(home: JobHome, beside: str, name: str) -> None:
    other, job = home.queue_job(), home.queue_job()
    path = home.store.directory(job.id) / beside
    if path.is_dir():
        path.rmdir()
    planted(path, PLANTS[name])
    assert told(home) == [job.id, other.id]
    for event in home.store.history(job.id).read():
        assert shape_event(event)["id"] == event.id
    try:
        claim = home.claims.claim(job.id, "w")
        if claim is not None:
            home.claims.crashed(claim, JobError(code="c", message="m"))
        wishes.cancel(home.store, job.id)
    except (ServiceError, OSError):
        assert home.store.get(job.id).status in (JobStatus.QUEUED, JobStatus.RUNNING)
    Lookout(home.claims, 9).view()
    assert home.claim(other).attempt == 1


@pytest.mark.parametrize("beside", ["lease.json", "progress.json", "checkpoints", "metrics.jsonl"])
@plants
def test_what_stands_in_an_attempt_spoils_that_job_at_most(home: JobHome, beside: str, name: str) -> None:
    other, job = home.queue_job(), home.queue_job()
    claim = home.claim(job)
    planted(claim.directory / beside, PLANTS[name])
    assert told(home) == [job.id, other.id]
    assert home.store.get(job.id).progress is None
    lookout = Lookout(home.claims, 0)
    lookout.view()
    assert other.id in [waiting.job_id for waiting in lookout.view().waiting]


@plants
def test_an_idempotency_key_that_cannot_be_read_counts_as_unused(home: JobHome, name: str) -> None:
    job = home.queue_job(idempotency_key="k")
    (path,) = (home.store.root / ".keys").iterdir()
    planted(path, PLANTS[name])
    if name == "a directory that is closed" and os.geteuid() != 0:
        return
    assert home.store.made_with("k", "d") is None
    assert home.store.get(job.id)


@plants
def test_a_bad_manifest_is_no_set(home: JobHome, name: str) -> None:
    job = home.queue_job()
    claim = home.claim(job)
    with pytest.raises(RuntimeError), home.claims.publishing(claim, "v1"):
        home.publish(job, "v1")
        planted(home.adapters / job.adapter_name / "v1" / "manifest.json", PLANTS[name])
        raise RuntimeError("killed here")
    home.take_over(job)
    after = home.store.get(job.id)
    assert after.status in (JobStatus.RUNNING, JobStatus.SUCCEEDED)
    assert told(home) == [job.id]


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_are_more_than_not_readable(content: bytes) -> None:
    with pytest.raises(NotReadable):
        decoded_job(content, "ftjob-" + "0" * 24)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80) | st.sampled_from([b'{"attempt": 0, "event": {}}', b"[" * 3000]), max_size=9))
def test_whatever_is_in_a_history_the_rest_is_read(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / "events.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    EventLog(path).append("info", "the last")
    assert EventLog(path).events()[-1].message == "the last"


@pytest.mark.parametrize(
    ("field", "value"), [("adapter_name", "../../etc"), ("publishing", "../x"), ("publishing", "/etc"), ("id", "x")]
)
def test_a_record_that_names_places_outside_is_refused(field: str, value: str) -> None:
    job = new_job()
    assert decoded_job(json.dumps(job.to_dict()).encode(), job.id) == job
    with pytest.raises(NotReadable):
        decoded_job(json.dumps(job.to_dict() | {field: value}).encode(), job.id)


def test_attempts_are_bounded(home: JobHome) -> None:
    job = home.queue_job()
    path = record_path(home, job)
    path.write_text(path.read_text().replace('"attempt": 0', '"attempt": 1000000000'), encoding="utf-8")
    with pytest.raises(JobDamaged, match="attempt"):
        home.store.get(job.id)
    assert attempt_directory(path.parent, 1).name == "1"
