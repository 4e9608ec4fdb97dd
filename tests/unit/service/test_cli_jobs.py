"""``adavae jobs`` and ``adavae train --remote`` against a real server, with training in memory."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.commands import remote
from service.http_retries import Attempts
from service.jobs.job import Job, JobError, JobStatus, NewJob
from service.training_client import TrainingClient
from tests.integration.real_server import serving
from tests.unit.service.conftest import RunCommand
from tests.unit.service.stub_latent_service import StubLatentService
from tests.unit.service.stub_training_service import JOB, StubJobs, StubTrainingService, event, finished_job

TEXTS = "label\ttext\n" + "".join(f"{label}\tthe food was {word}.\n" for label in "ab" for word in ("hot", "cold"))


class PromptJobs(StubJobs):
    """Every new job has ended by the time it is asked for."""

    outcome = JobStatus.SUCCEEDED

    async def create(self, new: NewJob, *, idempotency_key: str | None = None) -> Job:
        job = await super().create(new, idempotency_key=idempotency_key)
        figures = {"step": 3, "total_steps": 3, "loss": 1.5, "kl_nats": 7.0, "tokens_per_s": 1234.0}
        self.told[job.id].append(event(2, "Step 3 of 3", type="metrics", data=figures))
        done = replace(finished_job(), id=job.id, status=self.outcome)
        if self.outcome is JobStatus.FAILED:
            done = replace(done, adapter=None, error=JobError(code="head_at_chance", message="the head guesses"))
        self.all[job.id] = done
        return job


@pytest.fixture
def training() -> StubTrainingService:
    stub = StubTrainingService()
    stub.jobs = PromptJobs(stub)
    return stub


@pytest.fixture
def url(training: StubTrainingService, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with capture_logs(), serving(StubLatentService(), training) as server:
        monkeypatch.setenv("ADAVAE_SERVER_URL", server)
        yield server


@pytest.mark.usefixtures("url")
def test_jobs_are_listed_shown_and_told_what_to_do(run_command: RunCommand, training: StubTrainingService) -> None:
    listed = run_command("jobs", "list")
    assert listed.exit_code == 0
    assert [json.loads(line)["id"] for line in listed.out.splitlines()] == [JOB]
    shown = json.loads(run_command("jobs", "show", JOB).out)
    assert (shown["fine_tuned_model"], shown["metrics"]) == ("reviews@0123456789ab", {"kl": 7.5})
    training.jobs.all[JOB] = replace(finished_job(), status=JobStatus.RUNNING)
    for change, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert json.loads(run_command("jobs", change, JOB).out)["status"] == status



@pytest.mark.usefixtures("url")
def test_a_job_is_watched_to_its_end(run_command: RunCommand) -> None:
    outcome = run_command("jobs", "watch", JOB)
    assert outcome.exit_code == 0
    assert [json.loads(line)["message"] for line in outcome.out.splitlines()] == [
        "The job is created",
        "Step 1 of 1",
        "Done",
    ]
    assert "The job is created" in outcome.err


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
@pytest.mark.usefixtures("url")
def test_watching_a_job_that_does_not_succeed_fails(
    run_command: RunCommand, training: StubTrainingService, status: JobStatus
) -> None:
    error = JobError(code="collapsed", message="z says nothing")
    training.jobs.all[JOB] = replace(finished_job(), status=status, error=error)
    outcome = run_command("jobs", "watch", JOB)
    assert outcome.exit_code == 1
    assert outcome.err.endswith(f"error: {JOB} is {status}: z says nothing\n")




def test_a_remote_run_sends_texts_and_options_and_says_what_came_of_them(
    run_command: RunCommand, tmp_path: Path, url: str, training: StubTrainingService
) -> None:
    data, held_back = tmp_path / "my texts.tsv", tmp_path / "held.tsv"
    data.write_text(TEXTS)
    held_back.write_text(TEXTS)
    options = ("--preset", "classification", "--epochs", "2", "--max-steps", "9", "--free-bits", "0.5", "--seed", "3")
    outcome = run_command(
        "train", str(data), "--name", "mine", "--validation", str(held_back), "--remote", url, *options
    )
    assert outcome.exit_code == 0, outcome.err
    assert json.loads(outcome.out)["adapter"] == "reviews@0123456789ab"
    ((new, key),) = training.asked
    assert key
    assert (new.adapter_name, new.backbone, new.seed) == ("mine", "bundled", 3)
    assert new.hyperparameters == {"preset": "classification", "n_epochs": 2.0, "steps": 9, "free_bits": 0.5}
    assert training.files.all[new.training_file].filename == "my texts.tsv"
    assert new.validation_file
    assert training.files.contents[new.training_file] == TEXTS.encode()
    assert "train 3/3  loss 1.500  kl 7.000  1,234 tokens/s" in outcome.err
    assert not (tmp_path / ".local").exists()


def test_a_remote_run_that_fails_says_why(
    run_command: RunCommand, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PromptJobs, "outcome", JobStatus.FAILED)
    (tmp_path / "data.txt").write_text("one.\ntwo.\n")
    outcome = run_command("train", str(tmp_path / "data.txt"), "--name", "mine", "--remote", url)
    assert (outcome.exit_code, outcome.out) == (1, "")
    assert "is failed: the head guesses" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--limit", "9"), "--limit"),
        (("--resume",), "--resume"),
        (("--adapter-placement", "parallel_attention", "--patience", "3"), "--patience, --adapter-placement"),
    ],
)
def test_options_that_only_a_run_on_this_machine_takes_are_refused(
    run_command: RunCommand, tmp_path: Path, arguments: tuple[str, ...], named: str
) -> None:
    (tmp_path / "data.txt").write_text("one.\ntwo.\n")
    remote_run = ("train", str(tmp_path / "data.txt"), "--name", "mine", "--remote", "http://127.0.0.1:1")
    outcome = run_command(*remote_run, *arguments)
    assert outcome.exit_code == 2
    assert f"{named} cannot be sent" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("jobs", "show", "ftjob-nothing"), "no job ftjob-nothing"),
        (("jobs", "show", "../files"), "there is no"),
        (("jobs", "cancel", JOB), f"{JOB} is succeeded"),
        (("train", "no such file.tsv", "--name", "mine", "--remote", "URL"), "No such file"),
        (("train", "EMPTY", "--name", "mine", "--remote", "URL"), "empty"),
    ],
)
def test_refusals_are_one_line(
    run_command: RunCommand, tmp_path: Path, url: str, arguments: tuple[str, ...], said: str
) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    outcome = run_command(*({"URL": url, "EMPTY": str(empty)}.get(each, each) for each in arguments))
    assert (outcome.exit_code, outcome.out) == (1, "")
    assert said in outcome.err.splitlines()[-1]
    assert "Traceback" not in outcome.err




def test_a_key_is_sent_and_a_wrong_one_explained(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = "k" * 32 + ":train"
    with capture_logs(), serving(StubLatentService(), StubTrainingService(), api_keys=keys) as server:
        refused = run_command("jobs", "list", "--server", server)
        assert (refused.exit_code, "ADAVAE_API_KEY" in refused.err) == (1, True)
        monkeypatch.setenv("ADAVAE_API_KEY", "k" * 32)
        assert run_command("jobs", "list", "--server", server).exit_code == 0
