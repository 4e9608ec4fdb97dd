"""A training run over two real processes: the losses of one, and a clear end when one of them dies."""

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from adavae.model.errors import TrainingProcessLost
from adavae.model.training.loop import train
from adavae.model.training.processes import members
from adavae.model.training.processes.handed_run import HandedRun, Place
from adavae.model.training.progress import Progress
from tests.tiny import tiny_backbone
from tests.unit.model.training.test_loop import CONFIG, _losses, _pretrained, _texts

_TEXTS = (_texts(48, 1), _texts(16, 2))


def _children() -> list[int]:
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if not listed.exists():
        pytest.skip("the kernel does not list a process' children")
    return [int(pid) for pid in listed.read_text().split()]


def test_two_processes_train_as_one_and_one_goes_on_alone_when_the_other_was_killed(tmp_path: Path) -> None:
    config = replace(CONFIG, max_steps=12, epochs=12.0, checkpoint_every=4)
    alone = train(config, _pretrained(), *_TEXTS, tmp_path / "alone")
    others = set(_children())
    told: list[Progress] = []

    def kill_the_other(progress: Progress) -> None:
        told.append(progress)
        if progress.step == 10:
            (member,) = set(_children()) - others
            os.kill(member, signal.SIGKILL)

    directory = tmp_path / "together"
    with pytest.raises(TrainingProcessLost, match=r"process 1 was ended by signal 9: its checkpoints were kept"):
        train(config, _pretrained(), *_TEXTS, directory, num_processes=2, on_progress=kill_the_other)
    assert set(_children()) == others
    assert _losses(directory) == pytest.approx(_losses(tmp_path / "alone")[:1], rel=1e-5)
    assert sorted(path.name for path in directory.iterdir()) == ["checkpoints", "metrics.jsonl"]
    resumed = train(config, _pretrained(), *_TEXTS, directory, resume=True)
    assert resumed.steps == alone.steps
    assert resumed.validation_loss == pytest.approx(alone.validation_loss, rel=1e-3)


def test_a_member_ends_with_its_leader(tmp_path: Path) -> None:
    """Killed before all had joined, it left them waiting for it."""
    run = HandedRun(
        config=CONFIG,
        backbone=tiny_backbone(),
        texts=_TEXTS[0],
        validation=_TEXTS[1],
        directory=tmp_path,
        initial=None,
        is_resumed=False,
    )
    run.write(tmp_path)
    place = Place(directory=tmp_path, rank=1, size=2, device="cpu", num_threads=1, timeout_s=600.0)
    with subprocess.Popen(
        [*members.COMMAND, place.to_json()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as member:
        assert member.stdin is not None and member.stdout is not None
        assert member.stdout.readline() == members.READY
        member.stdin.close()
        assert member.wait(timeout=60) == 1
