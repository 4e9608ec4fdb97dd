"""``adavae jobs`` and ``adavae train --remote`` against a real server, with training in memory."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adavae.service.client.training import TrainingClient
from adavae.service.commands import remote
from adavae.service.commands.terminal import Output
from adavae.service.jobs.records.job import Job, JobError, JobStatus, NewJob
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
def test_jobs_are_listed_shown_and_changed(run_command: RunCommand, training: StubTrainingService) -> None:
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
    assert outcome.err == ""


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
@pytest.mark.usefixtures("url")
def test_watching_a_job_that_does_not_succeed_fails(
    run_command: RunCommand, training: StubTrainingService, status: JobStatus
) -> None:
    error = JobError(code="collapsed", message="z says nothing")
    training.jobs.all[JOB] = replace(finished_job(), status=status, error=error)
    outcome = run_command("jobs", "watch", JOB)
    assert outcome.exit_code == 1
    end = {JobStatus.FAILED: "has failed", JobStatus.CANCELLED: "was cancelled"}[status]
    assert outcome.err == f"error: {JOB} {end}: z says nothing\n"


@pytest.mark.parametrize("is_usual", [True, False])
def test_ctrl_c_ends_the_watching_and_says_how_to_go_on(
    run_command: RunCommand,
    monkeypatch: pytest.MonkeyPatch,
    training: StubTrainingService,
    url: str,
    is_usual: bool,
) -> None:
    """A service that was named with --server is named in what is to be typed, too."""

    def interrupted(*_: object, **__: object) -> Iterator[dict[str, object]]:
        yield {"id": "ftevent-000000001"}
        raise KeyboardInterrupt

    training.jobs.all[JOB] = replace(finished_job(), status=JobStatus.RUNNING)
    monkeypatch.setattr(TrainingClient, "events", interrupted)
    if not is_usual:
        monkeypatch.delenv("ADAVAE_SERVER_URL")
    outcome = run_command("jobs", "watch", JOB, *(() if is_usual else ("--server", url)))
    assert outcome.exit_code == 130
    assert "error" not in outcome.err
    where = "" if is_usual else f" --server {url}"
    assert f"adavae jobs watch {JOB}{where}\n" in outcome.err
    assert f"adavae jobs cancel {JOB}{where}\n" in outcome.err
    assert training.jobs.all[JOB].status is JobStatus.RUNNING


def test_ctrl_c_while_texts_are_sent_makes_no_job(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, training: StubTrainingService, url: str, tmp_path: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingClient, "upload", interrupted)
    (tmp_path / "data.txt").write_text("one.\ntwo.\n")
    outcome = run_command("train", str(tmp_path / "data.txt"), "--name", "mine", "--remote", url)
    assert (outcome.exit_code, training.asked) == (130, [])
    assert "`adavae jobs list` says whether it is" in outcome.err


def test_a_person_sees_a_bar_that_moves_and_what_happens_beside_it() -> None:
    shown: list[object] = []
    display = Recorder(shown)
    step = {"step": 10, "total_steps": 20, "loss": 4.5123, "kl_nats": 30.0, "tokens_per_s": 1234.5, "eta_s": 9.5}
    history = [
        event(1, "Attempt 1 begins", data={"attempt": 1}),
        event(2, "Step 10/20", type="metrics", data=step),
        event(3, "Step 20/20", type="metrics", data=step | {"step": 20, "validation_loss": 3.0, "eta_s": 0.0}),
        event(4, "New fine-tuned model created", data={"adapter": "mine@1"}),
    ]
    for each in history:
        remote._show({"type": each.type, "message": each.message, "data": dict(each.data)}, display)
    assert shown == [
        "Attempt 1 begins",
        ("train", 0, None, "getting ready", None),
        ("train", 10, 20, "loss 4.51  kl 30  1,234 tokens/s", 9.5),
        ("train", 20, 20, "loss 4.51  kl 30  validation 3  1,234 tokens/s", 0.0),
        ("measure", 0, None, "", None),
        "New fine-tuned model created",
        ("measure", 1, 1, "", None),
    ]


class Recorder:
    """A ``ProgressDisplay`` that keeps what it is told."""

    def __init__(self, shown: list[object]) -> None:
        self._shown = shown

    def update(self, stage: str, done: int, total: int | None, detail: str = "", *, eta_s: float | None = None) -> None:
        self._shown.append((stage, done, total, detail, eta_s))

    def say(self, message: str) -> None:
        self._shown.append(message)


def test_a_remote_run_sends_texts_and_options_and_says_what_came_of_them(
    run_command: RunCommand, tmp_path: Path, url: str, training: StubTrainingService
) -> None:
    data, held_back = tmp_path / "my texts.tsv", tmp_path / "held.tsv"
    data.write_text(TEXTS)
    held_back.write_text(TEXTS)
    options = ("--preset", "classification", "--epochs", "2", "--max-steps", "9", "--free-bits", "0.5", "--seed", "3")
    options += ("--latent-infusion", "atm", "--prefix-length", "4")
    outcome = run_command(
        "train", str(data), "--name", "mine", "--validation", str(held_back), "--remote", url, *options
    )
    assert outcome.exit_code == 0, outcome.err
    assert json.loads(outcome.out)["adapter"] == "reviews@0123456789ab"
    ((new, key),) = training.asked
    assert key
    assert (new.adapter_name, new.backbone, new.seed) == ("mine", "bundled", 3)
    sizes = {"latent_infusion": "atm", "prefix_length": 4}
    run = {"preset": "classification", "n_epochs": 2.0, "steps": 9, "free_bits": 0.5}
    assert new.hyperparameters == run | sizes
    assert training.files.all[new.training_file].filename == "my texts.tsv"
    assert new.validation_file
    assert training.files.contents[new.training_file] == TEXTS.encode()
    assert "send my texts.tsv 1/1  kB\nmy texts.tsv: 9 texts, 2 labels (yes 5, no 4)\n" in outcome.err
    assert "train 3/3  loss 1.5  kl 7  1,234 tokens/s" in outcome.err
    assert f"reviews@0123456789ab is ready: requests name it as their adapter, for example\n  curl -s {url}/" in (
        outcome.err
    )
    assert not (tmp_path / ".local").exists()


@pytest.mark.parametrize(
    ("held_back", "has_columns"),
    [("held.txt", False), ("HELD.TXT.gz", False), ("held.tsv", True), ("held.jsonl", True)],
)
def test_columns_are_named_only_of_files_that_have_some(
    run_command: RunCommand,
    tmp_path: Path,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    held_back: str,
    has_columns: bool,
) -> None:
    """Validation texts as plain text, which a run here takes, were refused for the training file's columns."""
    sent: dict[str, dict[str, object]] = {}
    upload = TrainingClient.upload

    def note(client: TrainingClient, path: Path, *args: Any, **columns: Any) -> dict[str, Any]:
        sent[path.name] = columns
        return upload(client, path, *args, **columns)

    monkeypatch.setattr(TrainingClient, "upload", note)
    data, held = tmp_path / "data.tsv", tmp_path / held_back
    for path in (data, held):
        path.write_text(TEXTS)
    named = ("--text-column", "text", "--label-column", "label")
    outcome = run_command("train", str(data), "--name", "mine", "--validation", str(held), "--remote", url, *named)
    assert outcome.exit_code == 0, outcome.err
    columns = {"text_column": "text", "label_column": "label", "pair_column": None}
    assert sent == {"data.tsv": columns, held_back: columns if has_columns else {}}


def test_a_remote_run_that_fails_says_why(
    run_command: RunCommand, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PromptJobs, "outcome", JobStatus.FAILED)
    (tmp_path / "data.txt").write_text("one.\ntwo.\n")
    outcome = run_command("train", str(tmp_path / "data.txt"), "--name", "mine", "--remote", url)
    assert (outcome.exit_code, outcome.out) == (1, "")
    assert "has failed: the head guesses" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--limit", "9"), "--limit"),
        (("--resume",), "--resume"),
        (("--adapter-placement", "parallel_attention", "--patience", "3"), "--patience"),
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


def test_what_was_sent_for_a_job_that_is_refused_goes_again(
    run_command: RunCommand, tmp_path: Path, url: str, training: StubTrainingService
) -> None:
    (tmp_path / "data.txt").write_text("one.\ntwo.\n")
    files = set(training.files.all)
    command = ("train", str(tmp_path / "data.txt"), "--name", "mine", "--latent-size", "5000", "--remote", url)
    outcome = run_command(*command)
    assert outcome.exit_code == 1
    assert "latent_size: must be a whole number from 1 to 1,024, not 5000" in outcome.err.splitlines()[-1]
    assert set(training.files.all) == files


@pytest.mark.parametrize(
    "address", ["localhost:8000", "http://[::1", "http://h:port", "http://a b", "ftp://h", "http://"]
)
def test_a_bad_address_is_wrong_usage(run_command: RunCommand, address: str) -> None:
    outcome = run_command("jobs", "list", "--server", address)
    assert (outcome.exit_code, outcome.err.count("\n")) == (2, 1)
    assert f"{address!r}, which is no URL: write it as http://127.0.0.1:8000" in outcome.err


def test_a_service_that_is_not_there_is_one_line(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    make = TrainingClient.__init__
    monkeypatch.setattr(TrainingClient, "__init__", lambda *args, **kwargs: make(*args, **kwargs, max_retries=0))
    outcome = run_command("jobs", "list", "--server", "http://127.0.0.1:1")
    assert (outcome.exit_code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert "could not be reached" in outcome.err
    assert "is `adavae serve` running there" in outcome.err


def test_a_key_is_sent_and_a_wrong_one_explained(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "a-key-of-the-tests"
    with capture_logs(), serving(StubLatentService(), StubTrainingService(), api_keys=f"{key}:train") as server:
        refused = run_command("jobs", "list", "--server", server)
        assert (refused.exit_code, "ADAVAE_API_KEY" in refused.err) == (1, True)
        monkeypatch.setenv("ADAVAE_API_KEY", key)
        assert run_command("jobs", "list", "--server", server).exit_code == 0


@pytest.mark.parametrize("key", ["schlüssel", "two words"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("ADAVAE_API_KEY", key)
    outcome = run_command("jobs", "list")
    assert (outcome.exit_code, outcome.err.count("\n")) == (2, 1)
    assert "ADAVAE_API_KEY" in outcome.err
    assert key not in outcome.err


@pytest.mark.usefixtures("url")
def test_on_a_terminal_jobs_are_a_table_and_one_job_is_what_matters_of_it(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, training: StubTrainingService
) -> None:
    monkeypatch.setattr(Output, "of", lambda wants_json: Output(sys.stdout, is_json=wants_json))
    monkeypatch.setenv("COLUMNS", "100")
    header, row = run_command("jobs", "list").out.splitlines()
    assert header.split() == ["id", "status", "adapter", "set", "steps", "created"]
    assert row.split()[:4] == [JOB, "succeeded", "reviews@0123456789ab", "1/1"]
    error = JobError(code="collapsed", message="z says nothing")
    training.jobs.all[JOB] = replace(finished_job(), status=JobStatus.FAILED, adapter=None, error=error)
    assert run_command("jobs", "list").out.split()[-1] == "collapsed"
    shown = [line.rstrip().split(maxsplit=1) for line in run_command("jobs", "show", JOB).out.splitlines()]
    assert shown[-2:] == [["status", "failed"], ["error", "z says nothing"]]
    assert ["metrics.kl", "7.5"] in shown
    assert ["report.training_file.labels.yes", "5"] in shown
    assert not [line for line in shown if line[1:] in ([], ["null"], ["[]"], ["{}"])]
    training.jobs.all = {}
    outcome = run_command("jobs", "list")
    assert (outcome.out, outcome.err.endswith("has no jobs yet\n")) == ("", True)


@pytest.mark.parametrize("command", ["show", "watch", "cancel"])
def test_an_id_that_is_not_utf8_is_wrong_usage(run_command: RunCommand, command: str) -> None:
    outcome = run_command("jobs", command, "a\udcff")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert "not UTF-8" in outcome.err


def test_a_password_in_the_services_address_is_not_shown(run_command: RunCommand, url: str, tmp_path: Path) -> None:
    secret = url.replace("http://", "http://user:SECRET@")
    data = tmp_path / "texts.tsv"
    data.write_text(TEXTS, encoding="utf-8")
    outcome = run_command("train", str(data), "--name", "mine", "--remote", secret)
    assert outcome.exit_code == 0, outcome.err
    assert f"{url} has the job" in outcome.err
    assert f"{url}/encode" in outcome.err
    assert "SECRET" not in outcome.err
    outcome = run_command("jobs", "list", "--server", "htp://user:SECRET@host")
    assert (outcome.exit_code, "SECRET" in outcome.err) == (2, False)
    service = remote.RemoteService(secret, None, is_usual=False)
    assert service.command("jobs list") == f"adavae jobs list --server {url}"


@pytest.mark.parametrize("command", [["list"], ["show", "a"], ["cancel", "a"]])
@pytest.mark.usefixtures("url")
def test_jobs_of_another_service_are_one_line(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    job = {"id": "a", "status": "queued"}
    monkeypatch.setattr(TrainingClient, "_answer", lambda *_: {**job, "data": [job], "has_more": False})
    outcome = run_command("jobs", *command)
    assert (outcome.exit_code, outcome.err.count("\n")) == (1, 1)
    assert "is it adavae's service? [unreadable_reply]" in outcome.err


_EVENT = {"id": "ftevent-000000001", "type": "message", "message": "hello", "data": {}}


@pytest.mark.parametrize(
    ("event", "is_read"),
    [
        (_EVENT | {"data": None}, True),
        ({name: value for name, value in _EVENT.items() if name != "data"}, True),
        ({"id": "1"}, False),
        (_EVENT | {"message": None}, False),
        (_EVENT | {"data": 7}, False),
        (_EVENT | {"type": "metrics", "data": {"total_steps": 3}}, False),
        (_EVENT | {"type": "metrics", "data": {"total_steps": 3, "step": "one"}}, False),
        (_EVENT | {"type": "metrics", "data": {"total_steps": 3, "step": 1, "loss": "low"}}, False),
    ],
)
def test_events_of_another_service_are_one_line(
    run_command: RunCommand, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, event: Any, is_read: bool
) -> None:
    """OpenAI's events without figures have data: null, of which the command died with a traceback."""
    monkeypatch.setattr(TrainingClient, "events", lambda *_, **__: iter([event]))
    (tmp_path / "data.txt").write_text("one.\ntwo.\n")
    outcome = run_command("train", str(tmp_path / "data.txt"), "--name", "mine", "--remote", url)
    assert "Traceback" not in outcome.err
    assert outcome.exit_code == (0 if is_read else 1)
    last = outcome.err.splitlines()[-1]
    assert ("is it adavae's service" in last and "[unreadable_reply]" in last) is not is_read


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "failed", "error": {}}, "has failed"),
        ({"status": "failed", "error": None}, "has failed"),
        ({"status": "failed", "error": {"code": "x"}}, "the reply lacks message"),
        ({"status": "failed", "error": "it broke"}, "the reply lacks message"),
        ({"status": ["failed"]}, "['failed']"),
    ],
)
def test_the_end_of_a_job_of_another_service_is_one_line(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, url: str, changes: dict[str, Any], said: str
) -> None:
    with TrainingClient(url) as client:
        job = client.job(JOB) | changes
    monkeypatch.setattr(TrainingClient, "job", lambda *_: job)
    outcome = run_command("jobs", "watch", JOB)
    assert (outcome.exit_code, outcome.err.count("\n")) == (1, 1)
    assert said in outcome.err


@pytest.mark.parametrize("command", ["list", "show", "cancel"])
@pytest.mark.parametrize(
    "changes",
    [{"created_at": "yesterday"}, {"created_at": 1e300}, {"error": "broken"}, {"progress": {"total_steps": 3}}],
)
@pytest.mark.usefixtures("training")
def test_a_job_in_another_services_words_is_one_line(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, url: str, command: str, changes: dict[str, Any]
) -> None:
    with TrainingClient(url) as client:
        job = client.job(JOB) | changes
    monkeypatch.setattr(TrainingClient, "_answer", lambda *_: {**job, "data": [job], "has_more": False})
    monkeypatch.setattr(Output, "of", lambda wants_json: Output(sys.stdout, is_json=wants_json))
    outcome = run_command("jobs", command, *(() if command == "list" else (JOB,)))
    if (command, *changes) not in {("cancel", "error"), ("show", "progress")}:  # which it does not show, or as it is
        assert (outcome.exit_code, outcome.err.count("\n")) == (1, 1)
        assert "is it adavae's service" in outcome.err
    else:
        assert outcome.exit_code == 0


@pytest.mark.parametrize("changes", [{"rows": "many"}, {"labels": 3}, {"report": {"warnings": 7}}, {"report": None}])
def test_an_upload_in_another_services_words_is_one_line(
    run_command: RunCommand, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    stored = {"id": "file-1", "rows": 2, "labels": {}, "report": {"warnings": []}} | changes
    monkeypatch.setattr(TrainingClient, "upload", lambda *_, **__: stored)
    (tmp_path / "data.txt").write_text("one.\ntwo.\n")
    outcome = run_command("train", str(tmp_path / "data.txt"), "--name", "mine", "--remote", url)
    assert outcome.exit_code == 1
    assert "is it adavae's service" in outcome.err.splitlines()[-1]
