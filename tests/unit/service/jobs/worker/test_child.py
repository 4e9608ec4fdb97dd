"""The training process: what it says, how it ends, and that it never outlives its worker."""

import io
import itertools
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from adavae.model.training.checkpoint import latest_checkpoint
from adavae.service.jobs.records import wishes
from adavae.service.jobs.records.claims import Claim
from adavae.service.jobs.records.job import Job, JobStatus
from adavae.service.jobs.records.set_owners import SetOwners
from adavae.service.jobs.worker.child import WorkerPipe, carry_out
from adavae.service.jobs.worker.child_process import COMMAND
from adavae.service.jobs.worker.child_protocol import DONE, FAILED, ORPHANED, STOPPED, SUPERSEDED, Line, Order
from adavae.service.settings import environment_of_child
from tests.integration.training_home import TrainingHome

NUM_STEPS = 20


class Training:
    """A claimed job, and the order to train it."""

    def __init__(self, home: TrainingHome, **fields: object) -> None:
        self.home, self.should_stop = home, threading.Event()
        self.job = home.queue_job(**({"max_steps": NUM_STEPS, "checkpoint_every": 10} | fields))  # type: ignore[arg-type]
        claim = home.claims.claim(self.job.id, "w1")
        assert claim is not None
        self.claim: Claim = claim

    @property
    def order(self) -> Order:
        settings = {"weights": str(self.home.settings.weights), "data": str(self.home.settings.data), "threads": 1}
        return Order(
            job_id=self.job.id,
            attempt=self.claim.attempt,
            worker="w1",
            settings=settings,
            training_file=str(self.home.data),
            validation_file=None,
            training_columns={},
            validation_columns={},
            niceness=0,
            alive_every_s=0.05,
        )

    def carry_out(self) -> tuple[int, list[Line]]:
        """The exit code, and what was said."""
        said = io.BytesIO()
        code = carry_out(self.order, WorkerPipe(said), self.should_stop)
        return code, [line for content in said.getvalue().splitlines() if (line := Line.decode(content)) is not None]

    def now(self) -> Job:
        return self.home.store.get(self.job.id)


@pytest.fixture
def home(tmp_path: Path) -> TrainingHome:
    return TrainingHome(tmp_path)


def test_a_run_is_reported_and_published(home: TrainingHome) -> None:
    training = Training(home)
    code, said = training.carry_out()
    assert code == DONE, said
    kinds = [line.kind for line in said]
    assert kinds.index("preparing") < kinds.index("started") < kinds.index("progress")
    assert kinds.count("progress") >= NUM_STEPS // 10 + 2, "the first and the third step, and every tenth"
    begins = [line.values for line in said if line.kind == "preparing" and line.values["stage"] == "train"]
    assert begins == [{"stage": "train", "done": 0, "total": NUM_STEPS}]
    assert "measuring" in kinds
    done = training.now()
    assert (done.status, [done.adapter]) == (JobStatus.SUCCEEDED, [f"mine@{v}" for v in home.versions("mine")])
    assert done.progress is not None and done.progress["step"] == NUM_STEPS
    assert done.trained_tokens is not None and done.trained_tokens > NUM_STEPS
    assert not list(training.claim.directory.glob(".staging*"))


def test_it_stops_with_a_checkpoint_that_the_next_attempt_goes_on_from(home: TrainingHome) -> None:
    training = Training(home)
    training.should_stop.set()
    assert training.carry_out()[0] == STOPPED
    assert latest_checkpoint(training.claim.directory / "checkpoints") is not None
    home.claims.stopped(training.claim)
    again = home.claims.claim(training.job.id, "w2")
    assert again is not None
    training.claim, training.should_stop = again, threading.Event()
    code, said = training.carry_out()
    assert (code, said[1].kind, said[1].values) == (DONE, "started", {"step": 0})


def test_it_stops_while_the_trained_set_is_measured(home: TrainingHome, monkeypatch: pytest.MonkeyPatch) -> None:
    training, say = Training(home), WorkerPipe.say

    def stop_when_measuring(pipe: WorkerPipe, kind: str, **values: object) -> None:
        say(pipe, kind, **values)
        if kind == "measuring":
            training.should_stop.set()

    monkeypatch.setattr(WorkerPipe, "say", stop_when_measuring)
    assert training.carry_out()[0] == STOPPED
    assert home.versions("mine") == []


def test_bad_data_is_final_and_reported_without_the_servers_directories(home: TrainingHome) -> None:
    home.data.write_text("label\ttext\nno\tone\tthree\n", encoding="utf-8")
    code, said = Training(home).carry_out()
    assert code == FAILED
    failure = said[-1].values
    assert (failure["code"], failure["param"], failure["is_final"]) == ("invalid_training_file", "training_file", True)
    assert failure["message"].startswith("training_file:2: has 3 columns, the header 2")


def test_a_collapsed_latent_is_not_published(home: TrainingHome) -> None:
    training = Training(home, beta=50.0)
    code, said = training.carry_out()
    assert (code, said[-1].values["code"], said[-1].values["is_final"]) == (FAILED, "latent_collapsed", True)
    assert home.versions("mine") == []
    assert training.now().publishing is None


def test_another_backbone_than_the_jobs_is_refused(home: TrainingHome, monkeypatch: pytest.MonkeyPatch) -> None:
    training, get = Training(home), home.store.get
    monkeypatch.setattr(type(home.store), "get", lambda _, job_id: replace(get(job_id), backbone_digest="f" * 64))
    code, said = training.carry_out()
    assert (code, said[-1].values["code"]) == (FAILED, "backbone_mismatch")


def test_a_name_that_was_taken_while_it_trained_is_not_published_under(
    home: TrainingHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the job and its end somebody else may have published under that name."""
    training, get, say = Training(home), home.store.get, WorkerPipe.say
    monkeypatch.setattr(
        type(home.store), "get", lambda _, job_id: replace(get(job_id), owner="alice", may_shadow=False)
    )
    others = home.settings.own_adapters / "mine" / "others"

    def take_name_when_measuring(pipe: WorkerPipe, kind: str, **values: object) -> None:
        say(pipe, kind, **values)
        if kind == "measuring":
            others.mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(WorkerPipe, "say", take_name_when_measuring)
    code, said = training.carry_out()
    assert (code, said[-1].values["code"], said[-1].values["is_final"]) == (FAILED, "name_taken", True)
    assert [path.name for path in others.parent.iterdir()] == ["others"]
    others.rmdir()
    others.parent.rmdir()


def test_a_set_is_its_jobs_owners(home: TrainingHome, monkeypatch: pytest.MonkeyPatch) -> None:
    training, get = Training(home), home.store.get
    monkeypatch.setattr(
        type(home.store), "get", lambda _, job_id: replace(get(job_id), owner="alice", may_shadow=False)
    )
    assert training.carry_out()[0] == DONE
    assert SetOwners(home.settings).owner_of("mine") == "alice"


@pytest.mark.parametrize("wish", [wishes.cancel, wishes.pause])
def test_a_wish_that_it_has_not_heard_of_keeps_the_set_out(home: TrainingHome, wish: object) -> None:
    training = Training(home)
    wish(home.store, training.job.id)  # type: ignore[operator]
    assert training.carry_out()[0] == SUPERSEDED
    assert home.versions("mine") == []


def test_an_attempt_that_was_taken_over_publishes_nothing(home: TrainingHome) -> None:
    training = Training(home)
    assert home.claims.claim(training.job.id, "w2", abandoned=home.claims.lease(training.now())) is not None
    assert training.carry_out()[0] == SUPERSEDED
    assert home.versions("mine") == []
    assert training.now().attempt == 2


def test_what_nobody_foresaw_is_reported_without_texts(
    home: TrainingHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "".join(["some", "body's text"])

    def fail(*_: object) -> None:
        raise KeyError(text)

    monkeypatch.setattr(WorkerPipe, "on_progress", fail)
    code, said = Training(home).carry_out()
    assert (code, said[-1].values["code"], said[-1].values["is_final"]) == (FAILED, "internal_error", False)
    complaint = capsys.readouterr().err
    assert "KeyError" in complaint
    assert "somebody" not in complaint + str(said[-1].values)


@pytest.mark.slow
def test_it_dies_with_its_worker(home: TrainingHome) -> None:
    """A worker that is gone closes the pipe, however it went."""
    training = Training(home, max_steps=1_000_000)
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment_of_child()
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(training.order.to_line())
        child.stdin.flush()
        said = (Line.decode(content) for content in child.stdout)
        kinds = list(itertools.takewhile(lambda kind: kind != "started", (line.kind for line in said if line)))
        assert set(kinds) == {"alive", "preparing"}
        child.stdin.close()
        assert child.wait(60) == ORPHANED
    assert training.now().status is JobStatus.RUNNING


def test_without_an_order_it_ends() -> None:
    ended = subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (ORPHANED, b"", b"")
    assert COMMAND[0] == sys.executable
