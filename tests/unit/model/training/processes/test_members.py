"""The other processes: how many there can be, what is told of one that fails, and that none is left behind."""

import os
import sys
from pathlib import Path

import pytest
import torch

from adavae.model.errors import ConfigError, TrainingProcessLost
from adavae.model.training.processes import members
from adavae.model.training.processes.group import OneProcess
from adavae.model.training.processes.handed_run import HandedRun
from adavae.model.training.processes.members import processes
from tests.tiny import tiny_backbone
from tests.unit.model.training.test_loop import CONFIG, _texts


def _handed(directory: Path) -> HandedRun:
    return HandedRun(
        config=CONFIG,
        backbone=tiny_backbone(),
        texts=_texts(20, 1),
        validation=_texts(5, 2),
        directory=directory,
        initial=None,
        is_resumed=False,
    )


def _as_member(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(members, "COMMAND", (sys.executable, "-c", program))


def _children() -> set[str]:
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return set(listed.read_text(encoding="ascii").split()) if listed.exists() else set()


def test_one_process_starts_nothing(tmp_path: Path) -> None:
    with processes(_handed(tmp_path / "run"), 1) as group:
        assert isinstance(group, OneProcess)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("num", [0, -1, 65])
def test_a_number_that_cannot_be_is_refused(tmp_path: Path, num: int) -> None:
    with (
        pytest.raises(ConfigError, match=f"num_processes is {num}: must be from 1 to 64"),
        processes(_handed(tmp_path), num),
    ):
        pass


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    members._check(2, torch.device("cuda:1"))
    with pytest.raises(ConfigError, match="at most the number of GPUs, 2"):
        members._check(3, torch.device("cuda"))
    assert [str(members._device_of(rank, torch.device("cuda:1"))) for rank in range(2)] == ["cuda:1", "cuda:0"]


def test_one_that_does_not_start_is_told_with_what_it_said_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _as_member(monkeypatch, "import sys; sys.exit('no room left')")
    threads = torch.get_num_threads()
    with (
        pytest.raises(
            TrainingProcessLost,
            match=r"process 1 ended with exit code 1: its checkpoints were kept, .* \(no room left\)$",
        ),
        processes(_handed(tmp_path), 2),
    ):
        pass
    assert torch.get_num_threads() == threads
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_leader_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".processes-abc").mkdir()
    with processes(_handed(tmp_path), 1):
        assert list(tmp_path.iterdir()) == []


def test_one_that_hangs_is_not_waited_for_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_ENDING_S", 0.01)
    before = _children()
    _as_member(monkeypatch, "import signal; signal.pause()")
    with (
        pytest.raises(TrainingProcessLost, match=r"not every training process was ready within 0\.05 s"),
        processes(_handed(tmp_path), 3, timeout_s=0.05),
    ):
        pass
    assert _children() == before
