"""What one attempt leaves to the next, and that neither touches the other's files."""

import os
from pathlib import Path

import pytest

from adavae.service.jobs.records.attempt_files import discard_checkpoints, inherit, newest_step
from tests.unit.service.jobs.job_home import JobHome, home

__all__ = ["home"]


def newest_whole(directory: Path) -> Path | None:
    """As ``latest_checkpoint``: what reads "damaged" is passed over."""
    paths = sorted(directory.glob("step-*.safetensors"), reverse=True) if directory.is_dir() else []
    return next((path for path in paths if path.read_bytes() != b"damaged"), None)


class Attempts:
    """A job that has been taken up ``number`` times."""

    def __init__(self, home: JobHome, number: int) -> None:
        job = home.queue_job()
        self.claims = [home.claim(job)]
        for _ in range(number - 1):
            claim = home.take_over(job)
            assert claim is not None
            self.claims.append(claim)
        self.directory = home.store.directory(job.id)

    def inherit(self) -> Path | None:
        return inherit(self.directory, len(self.claims), newest_whole)


def test_the_first_attempt_begins_afresh(home: JobHome) -> None:
    attempts = Attempts(home, 1)
    assert attempts.inherit() is None
    assert newest_step(attempts.directory) == -1


def test_an_attempt_begins_with_the_newest_whole_checkpoint(home: JobHome) -> None:
    attempts = Attempts(home, 2)
    first, second = attempts.claims
    home.checkpoint(first, 10)
    home.checkpoint(first, 20)
    home.checkpoint(first, 30, b"damaged")
    (first.directory / "metrics.jsonl").write_text('{"step": 10}\n', encoding="utf-8")
    assert attempts.inherit() == first.directory / "checkpoints" / "step-000000020.safetensors"
    assert newest_whole(second.directory / "checkpoints") == second.directory / "checkpoints/step-000000020.safetensors"
    assert (second.directory / "metrics.jsonl").read_text(encoding="utf-8") == '{"step": 10}\n'
    assert newest_step(attempts.directory) == 30


def test_attempts_that_never_got_going_are_passed_over(home: JobHome) -> None:
    attempts = Attempts(home, 4)
    home.checkpoint(attempts.claims[0], 10)
    assert attempts.inherit() is not None
    assert newest_whole(attempts.claims[-1].directory / "checkpoints") is not None


def test_a_superseded_attempt_that_goes_on_disturbs_nobody(home: JobHome) -> None:
    attempts = Attempts(home, 2)
    first, second = attempts.claims
    checkpoint = home.checkpoint(first, 10)
    metrics = first.directory / "metrics.jsonl"
    metrics.write_text('{"step": 10}\n', encoding="utf-8")
    attempts.inherit()
    checkpoint.unlink()
    with metrics.open("a", encoding="utf-8") as file:
        file.write('{"step": 20}\n')
    assert (second.directory / "checkpoints" / checkpoint.name).read_bytes() == b"tensors"
    assert (second.directory / "metrics.jsonl").read_text(encoding="utf-8") == '{"step": 10}\n'


def test_only_the_last_two_attempts_keep_checkpoints(home: JobHome) -> None:
    attempts = Attempts(home, 3)
    for number, claim in enumerate(attempts.claims[:2], start=1):
        home.checkpoint(claim, 10 * number)
    attempts.inherit()
    kept = [(claim.directory / "checkpoints").is_dir() for claim in attempts.claims]
    assert kept == [False, True, True]


def test_without_hard_links_checkpoints_are_copied(home: JobHome, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(home, 2)
    home.checkpoint(attempts.claims[0], 10)

    def refuse(*_: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    attempts.inherit()
    copy = attempts.claims[1].directory / "checkpoints" / "step-000000010.safetensors"
    assert (copy.read_bytes(), copy.stat().st_nlink) == (b"tensors", 1)


def test_inheriting_twice_is_no_error(home: JobHome) -> None:
    attempts = Attempts(home, 2)
    home.checkpoint(attempts.claims[0], 10)
    assert attempts.inherit() == attempts.inherit()


def test_a_finished_job_keeps_its_metrics_only(home: JobHome) -> None:
    attempts = Attempts(home, 1)
    directory = attempts.claims[0].directory
    home.checkpoint(attempts.claims[0], 10)
    (directory / "metrics.jsonl").touch()
    (directory / ".staging-0").mkdir()
    discard_checkpoints(attempts.directory)
    assert sorted(path.name for path in directory.iterdir()) == ["lease.json", "metrics.jsonl"]
