"""Checkpoints on their way to an object store: whole ones, the newest, as soon as the store takes them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adavae.service.jobs.records.claims import Claim
from adavae.service.jobs.worker import sent_checkpoints
from adavae.service.jobs.worker.sent_checkpoints import SentCheckpoints
from adavae.service.objects.errors import StoreError
from adavae.service.objects.object_store import ObjectStore
from tests.unit.service.jobs.shared_home import Machine, SharedHome
from tests.unit.service.objects.memory_objects import needs_obstore

pytestmark = needs_obstore


class Training:
    """What a training process does on its disk."""

    def __init__(self, root: Path) -> None:
        self.home = SharedHome(root)
        self.machine: Machine = self.home.machine()
        self.claim: Claim = self.machine.claim(self.home.queue_job())

    def save(self, step: int) -> Path:
        path = self.claim.directory / "checkpoints" / f"step-{step:09d}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"%d" % step)
        with (self.claim.directory / "metrics.jsonl").open("ab") as file:
            file.write(b"%d\n" % step)
        return path

    def in_store(self) -> list[str]:
        keys = self.home.bucket.keys()
        return [key.rpartition("/")[2] for key in keys if "/checkpoints/" in key or key.endswith("metrics.jsonl")]

    def metrics(self) -> bytes:
        return self.home.bucket.content(f"jobs/{self.claim.job_id}/attempts/1/metrics.jsonl")


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training(tmp_path)


@pytest.fixture
def sent(training: Training, monkeypatch: pytest.MonkeyPatch) -> Iterator[SentCheckpoints]:
    """Looks when it is told to."""
    monkeypatch.setattr(sent_checkpoints, "_LOOK_EVERY_S", 3600.0)
    found = SentCheckpoints(training.machine.records, training.claim, None)
    yield found
    found.end()


def test_the_newest_two_are_in_the_store(training: Training, sent: SentCheckpoints) -> None:
    sent.look()
    assert training.in_store() == []
    for step in (20, 40, 60):
        training.save(step)
        sent.look()
    assert training.in_store() == ["step-000000040.safetensors", "step-000000060.safetensors", "metrics.jsonl"]
    assert training.metrics() == b"20\n40\n60\n"


def test_what_is_being_written_is_not_sent(training: Training, sent: SentCheckpoints) -> None:
    (training.claim.directory / "checkpoints").mkdir()
    (training.claim.directory / "checkpoints" / ".writing-1").write_bytes(b"half")
    sent.look()
    assert training.in_store() == []


def test_a_store_that_takes_nothing_gets_the_newest_later(
    training: Training, sent: SentCheckpoints, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(*_arguments: object) -> None:
        raise StoreError("unreachable", "s3://b", "error sending request")

    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "send", gone)
        for step in (20, 40):
            training.save(step)
            sent.look()
    assert training.in_store() == []
    assert capsys.readouterr().err.count("checkpoint not sent") == 1
    sent.look()
    assert training.in_store() == ["step-000000040.safetensors", "metrics.jsonl"]


def test_a_checkpoint_that_goes_while_it_is_sent_is_passed_over(
    training: Training, sent: SentCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, original = training.save(20), ObjectStore.send

    def pruned(self: ObjectStore, key: str, file: Path) -> None:
        path.unlink(missing_ok=True)
        original(self, key, file)

    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "send", pruned)
        sent.look()
    training.save(40)
    sent.look()
    assert training.in_store() == ["step-000000040.safetensors", "metrics.jsonl"]


def test_at_the_end_the_last_one_and_all_that_was_measured_is_sent(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sent_checkpoints, "_LOOK_EVERY_S", 3600.0)
    sent = SentCheckpoints(training.machine.records, training.claim, None)
    training.save(20)
    sent.look()
    with (training.claim.directory / "metrics.jsonl").open("ab") as file:
        file.write(b"25\n")
    training.save(30)
    sent.end()
    assert training.in_store() == ["step-000000020.safetensors", "step-000000030.safetensors", "metrics.jsonl"]
    assert training.metrics() == b"20\n25\n30\n"


def test_what_an_attempt_goes_on_from_is_not_sent_again(training: Training) -> None:
    path = training.save(20)
    sent = SentCheckpoints(training.machine.records, training.claim, path.name)
    sent.end()
    assert training.in_store() == ["metrics.jsonl"]
