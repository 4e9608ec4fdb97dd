"""The unmodified ``openai`` client through the whole life of files and jobs; a real ``adavae serve`` that trains."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import openai
import pytest
from openai.types.fine_tuning import FineTuningJob

from adavae.service.errors import Overloaded, ServiceError
from tests.integration.real_server import serving
from tests.integration.served import served
from tests.tiny_text import as_tsv, reviews
from tests.unit.service.stub_latent_service import StubLatentService
from tests.unit.service.stub_training_service import FILE, JOB, StubTrainingService

QUICK: dict[str, Any] = {"steps": 30, "batch_size": 8, "latent_size": 4, "adapter_size": 5, "validations": 1}
QUICK |= {"learning_rate": 0.02, "beta": 0.01}
ENDLESS = QUICK | {"steps": 1_000_000}
CONTENT = as_tsv(reviews(36)).encode()
DEADLINE_S = 60.0
USER, TRAINER = "user-of-the-test-keys", "trainer-of-the-test-keys"


class Home(NamedTuple):
    """A running server and a file on it."""

    url: str
    client: openai.OpenAI
    file_id: str

    def job(self, hyperparameters: Any = ENDLESS, **fields: Any) -> FineTuningJob:
        return self.client.fine_tuning.jobs.create(
            **{"model": "bundled", "training_file": self.file_id, "suffix": "mine"} | fields,
            hyperparameters=hyperparameters,
        )

    def wait(self, job: FineTuningJob, is_so: Callable[[FineTuningJob], bool]) -> FineTuningJob:
        wait_for(lambda: is_so(self.client.fine_tuning.jobs.retrieve(job.id)))
        return self.client.fine_tuning.jobs.retrieve(job.id)


def wait_for(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    directory = tmp_path_factory.mktemp("home")
    with served(directory) as server:
        url = server.url()
        with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            stored = client.files.create(file=("reviews.tsv", CONTENT), purpose="fine-tune")
            yield Home(url, client, stored.id)


def events(home: Home, job: FineTuningJob, **headers: str) -> Iterator[dict[str, Any]]:
    """As they happen; ends with the stream."""
    path = f"{home.url}/v1/fine_tuning/jobs/{job.id}/events"
    with httpx2.stream("GET", path, headers={"accept": "text/event-stream"} | headers, timeout=DEADLINE_S) as reply:
        assert reply.status_code == 200
        for line in reply.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                yield json.loads(line.removeprefix("data: "))


@pytest.mark.slow
def test_a_file_lives_and_dies(home: Home, tmp_path: Path) -> None:
    files = home.client.files
    path = tmp_path / "texts.txt"
    path.write_bytes(b"the food was great\nthe staff was rude\n")
    made = [files.create(file=path, purpose="fine-tune") for _ in range(3)]
    assert [file.id for file in files.list(limit=2)][:3] == [file.id for file in made[::-1]]
    assert files.list(limit=2).has_next_page()
    assert [file.id for file in files.list(order="asc", purpose="fine-tune", limit=1)][-3:] == [
        each.id for each in made
    ]
    assert files.retrieve(made[0].id) == made[0]
    assert (made[0].object, made[0].filename, made[0].status) == ("file", "texts.txt", "processed")
    assert files.content(made[0].id).read() == path.read_bytes()
    assert files.wait_for_processing(made[0].id).id == made[0].id
    for each in made:
        assert files.delete(each.id).deleted
        with pytest.raises(openai.NotFoundError):
            files.retrieve(each.id)


@pytest.mark.slow
def test_columns_are_named_by_fields_of_the_form(home: Home) -> None:
    """And what is named is what a job trains on: by the usual names nothing could be read."""
    header, *rows = CONTENT.decode().splitlines()
    assert header == "label\ttext"
    renamed = "\n".join(["stars\tbody", *rows]).encode()
    files = home.client.files
    with pytest.raises(openai.UnprocessableEntityError, match="text_column over HTTP"):
        files.create(file=("odd.tsv", renamed), purpose="fine-tune")
    named = {"text_column": "body", "label_column": "stars"}
    stored = files.create(file=("odd.tsv", renamed), purpose="fine-tune", extra_body=named)
    assert stored.model_extra is not None
    assert stored.model_extra["columns"] == {"text": "body", "label": "stars"}
    assert set(stored.model_extra["labels"]) == {row.partition("\t")[0] for row in rows}
    jobs = home.client.fine_tuning.jobs
    job = home.job(QUICK, suffix="odd", seed=3, training_file=stored.id)
    wait_for(lambda: jobs.retrieve(job.id).status in ("succeeded", "failed"))
    done = jobs.retrieve(job.id)
    assert (done.status, done.error) == ("succeeded", None)


@pytest.mark.slow
def test_from_a_file_to_a_set_that_serves(home: Home) -> None:
    job = home.job(QUICK, suffix="finished", seed=3, metadata={"team": "reviews"})
    assert (job.object, job.model, job.seed, job.metadata) == ("fine_tuning.job", "bundled", 3, {"team": "reviews"})

    first = []
    for event in events(home, job):
        first.append(event)
        if len(first) == 3:
            break
    rest = list(events(home, job, **{"last-event-id": first[-1]["id"]}))
    listed = list(home.client.fine_tuning.jobs.list_events(job.id, limit=2))  # pages itself through all of them
    assert [event["id"] for event in first + rest] == [event.id for event in listed[::-1]]
    assert [event["message"] for event in first + rest] == [event.message for event in listed[::-1]]
    assert {event.type for event in listed} == {"message", "metrics"}

    job = home.client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "succeeded", listed
    assert job.error is None
    assert job.trained_tokens and job.finished_at and job.fine_tuned_model
    assert job.fine_tuned_model.startswith("finished@")
    (checkpoint,) = home.client.fine_tuning.jobs.checkpoints.list(job.id)
    assert checkpoint.fine_tuned_model_checkpoint == job.fine_tuned_model
    assert checkpoint.step_number == checkpoint.metrics.step > 0
    with httpx2.Client(base_url=home.url, timeout=DEADLINE_S) as client:
        wait_for(lambda: client.get(f"/adapters/{job.fine_tuned_model}").status_code == 200)
        encoded = client.post("/encode", json={"text": "the food was great", "adapter": job.fine_tuned_model}).json()
        assert f"{encoded['adapter']['name']}@{encoded['adapter']['version']}" == job.fine_tuned_model
        assert len(encoded["data"][0]["mu"]) == 4
        classified = client.post("/classify", json={"text": "it was bad", "adapter": job.fine_tuned_model}).json()
        assert classified["data"][0]["label"] in ("no", "yes")
        assert client.get(f"/adapters/{job.fine_tuned_model}").json()["metrics"]["rows"] >= 1


@pytest.mark.slow
def test_jobs_are_listed_paused_resumed_and_cancelled(home: Home) -> None:
    jobs = home.client.fine_tuning.jobs
    running, *queued = [home.job(suffix=f"set-{place}", metadata={"kind": f"k{place % 2}"}) for place in range(5)]
    home.wait(running, lambda job: job.status == "running" and bool((job.model_extra or {})["progress"]))

    mine = [each.id for each in (running, *queued)]
    assert [job.id for job in jobs.list(limit=2)][:5] == mine[::-1]
    assert [job.id for job in jobs.list(limit=1, metadata={"kind": "k1"})] == [mine[3], mine[1]]
    assert [job.id for job in jobs.list(after=mine[1], metadata={"kind": "k0"})] == [mine[0]]

    assert jobs.pause(queued[0].id).status == "paused"
    assert jobs.resume(queued[0].id).status == "queued"
    with pytest.raises(openai.ConflictError, match="is used by ftjob-"):
        home.client.files.delete(home.file_id)
    for each in queued:
        assert jobs.cancel(each.id).status == "cancelled"

    assert jobs.pause(running.id).id == running.id
    home.wait(running, lambda job: job.status == "paused")
    jobs.resume(running.id)
    home.wait(running, lambda job: job.status == "running" and (job.model_extra or {})["attempt"] == 2)
    jobs.cancel(running.id)
    ended = home.wait(running, lambda job: job.status == "cancelled")
    assert (ended.fine_tuned_model, ended.finished_at is not None) == (None, True)
    assert jobs.cancel(running.id) == ended
    with pytest.raises(openai.ConflictError, match="create another job"):
        jobs.resume(running.id)


@pytest.mark.slow
def test_what_cannot_be_is_told_by_the_clients_own_errors(home: Home) -> None:
    refused: list[tuple[dict[str, Any], str, str]] = [
        ({"model": "gpt-4o-mini"}, "model", "this service has the backbone 'bundled'"),
        ({"training_file": "file-abc123"}, "training_file", "there is no such file: upload it"),
        ({"suffix": "../../etc/passwd"}, "suffix", r"\.\./\.\./etc/passwd"),
        ({"suffix": openai.omit}, "suffix", "name the adapter set"),
        ({"hyperparameters": {"n_epochs": 1000}}, "hyperparameters.n_epochs", "from 0.01 to 100"),
        ({"hyperparameters": {"latent_size": 4096}}, "hyperparameters.latent_size", "from 1 to 1,024"),
        ({"extra_body": {"beta": 1}}, "beta", "unknown field"),
    ]
    before = [job.id for job in home.client.fine_tuning.jobs.list()]
    for fields, param, told in refused:
        with pytest.raises(openai.UnprocessableEntityError, match=told) as caught:
            home.job(**fields)
        assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
        assert caught.value.code
    assert [job.id for job in home.client.fine_tuning.jobs.list()] == before
    with pytest.raises(openai.NotFoundError, match="ftjob-none") as not_found:
        home.client.fine_tuning.jobs.retrieve("ftjob-none")
    assert not_found.value.code == "job_not_found"
    with pytest.raises(openai.UnprocessableEntityError, match="'assistants', must be 'fine-tune'"):
        home.client.files.create(file=("a.txt", b"a\nb\n"), purpose="assistants")


def test_every_status_is_an_error_of_the_clients() -> None:
    training = StubTrainingService()
    with serving(StubLatentService(problem=None), training, api_keys=f"{USER}:infer {TRAINER}:train") as url:

        def client(key: str, retries: int = 0) -> openai.OpenAI:
            return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries)

        with client("wrong") as stranger, pytest.raises(openai.AuthenticationError):
            stranger.files.list()
        with client(USER) as user, pytest.raises(openai.PermissionDeniedError, match="the scope train"):
            user.fine_tuning.jobs.list()
        with client(TRAINER) as trainer:
            jobs = trainer.fine_tuning.jobs
            new: dict[str, Any] = {"model": "bundled", "training_file": FILE, "suffix": "mine"}
            made = [jobs.create(**new, extra_headers={"Idempotency-Key": "one"}) for _ in range(2)]
            assert made[0].id == made[1].id
            with pytest.raises(openai.ConflictError):
                jobs.create(**new | {"suffix": "other"}, extra_headers={"Idempotency-Key": "one"})
            with pytest.raises(openai.APIStatusError, match="ADAVAE_MAX_BODY_BYTES") as too_large:
                jobs.create(**new, metadata={"a": "b" * 5_000_000})
            assert too_large.value.status_code == 413
            for error, kind in (
                (Overloaded("100 jobs are open", retry_after_s=1), openai.RateLimitError),
                (ServiceError(503, "storage_full", "the volume is full", retry_after_s=1), openai.InternalServerError),
            ):
                training.error = error
                with pytest.raises(kind, match=str(error)):
                    jobs.retrieve(JOB)
