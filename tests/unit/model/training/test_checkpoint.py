"""Checkpoints: exact resume, corrupted ones passed over, full disks."""

import errno
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from adavae.model.errors import CheckpointMismatch, StorageFull, WeightsCorrupted
from adavae.model.training.checkpoint import (
    Checkpoint,
    flatten_optimizer,
    latest_checkpoint,
    load_checkpoint,
    restore_optimizer,
    save_checkpoint,
)


def _checkpoint(value: float = 1.0) -> Checkpoint:
    return Checkpoint({"weight": torch.full((2, 3), value)}, {"value": value, "names": ["a", "b"]})


class _Run:
    """A small training run with two optimizers and noise; a second one of these is a second process."""

    def __init__(self, amsgrad: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        self.module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))
        for parameter in self.module.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        biases = [parameter for parameter in self.module.parameters() if parameter.ndim == 1]
        weights = [parameter for parameter in self.module.parameters() if parameter.ndim == 2]
        rates = [{"params": biases[:1], "lr": torch.tensor(0.05)}, {"params": biases[1:], "betas": (0.8, 0.95)}]
        self.adamw = torch.optim.AdamW(rates, lr=0.01, amsgrad=amsgrad)
        self.muon = torch.optim.Muon(weights, lr=0.02)
        self.generator = torch.Generator().manual_seed(1)

    def take_steps(self, num_steps: int) -> None:
        for _ in range(num_steps):
            x = torch.randn(16, 4, generator=self.generator)
            self.module.zero_grad()
            (self.module(x) - x.flip(1)).square().mean().backward()
            self.adamw.step()
            self.muon.step()
            for group in (*self.adamw.param_groups, *self.muon.param_groups):
                group["lr"] = group["lr"] * 0.97

    def checkpoint(self) -> Checkpoint:
        tensors = {f"module.{name}": tensor for name, tensor in self.module.state_dict().items()}
        tensors["generator"] = self.generator.get_state()
        state = {}
        for name, optimizer in (("adamw", self.adamw), ("muon", self.muon)):
            flat, state[name] = flatten_optimizer(optimizer)
            tensors |= {f"{name}.{key}": tensor for key, tensor in flat.items()}
        return Checkpoint(tensors, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        self.module.load_state_dict(_under(checkpoint.tensors, "module."))
        restore_optimizer(self.adamw, _under(checkpoint.tensors, "adamw."), checkpoint.state["adamw"])
        restore_optimizer(self.muon, _under(checkpoint.tensors, "muon."), checkpoint.state["muon"])
        self.generator.set_state(checkpoint.tensors["generator"])


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@pytest.mark.parametrize("amsgrad", [False, True])
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(tmp_path: Path, amsgrad: bool) -> None:
    unbroken, first, second = _Run(amsgrad), _Run(amsgrad), _Run(amsgrad)
    unbroken.take_steps(10)
    first.take_steps(5)
    path = save_checkpoint(tmp_path, 5, first.checkpoint())
    second.restore(load_checkpoint(path))
    second.take_steps(5)
    expected, got, halfway = unbroken.checkpoint(), second.checkpoint(), first.checkpoint()
    assert expected.state == got.state
    assert expected.tensors.keys() == got.tensors.keys()
    assert all(torch.equal(expected.tensors[name], tensor) for name, tensor in got.tensors.items())
    assert not torch.equal(halfway.tensors["module.0.weight"], got.tensors["module.0.weight"])


def test_restoring_does_not_tie_the_optimizer_to_the_checkpoint() -> None:
    run = _Run()
    run.take_steps(1)
    saved = run.checkpoint()
    kept = {name: tensor.clone() for name, tensor in saved.tensors.items()}
    other = _Run()
    restore_optimizer(other.adamw, _under(saved.tensors, "adamw."), saved.state["adamw"])
    other.take_steps(1)
    assert all(torch.equal(tensor, saved.tensors[name]) for name, tensor in kept.items())


def test_options_that_are_pairs_come_back_as_pairs(tmp_path: Path) -> None:
    run = _Run()
    loaded = load_checkpoint(save_checkpoint(tmp_path, 0, run.checkpoint()))
    other = _Run()
    restore_optimizer(other.adamw, _under(loaded.tensors, "adamw."), loaded.state["adamw"])
    assert other.adamw.param_groups[1]["betas"] == (0.8, 0.95)


def test_parameters_that_had_no_update_yet_have_no_state_after_restoring() -> None:
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([unused, used])
    used.grad = torch.ones(2)
    optimizer.step()
    restored = torch.optim.AdamW([unused, used])
    restore_optimizer(restored, *flatten_optimizer(optimizer))
    assert set(restored.state) == {used}


def test_state_of_another_kind_of_optimizer_is_refused() -> None:
    run = _Run()
    with pytest.raises(CheckpointMismatch, match=r"\(AdamW\) differs from this run's \(Muon\) in its kind and shapes"):
        restore_optimizer(run.muon, *flatten_optimizer(run.adamw))


def test_state_for_parameters_of_other_shapes_is_refused() -> None:
    small, large = (torch.optim.AdamW([nn.Parameter(torch.ones(size))]) for size in (2, 3))
    with pytest.raises(CheckpointMismatch, match="in its shapes"):
        restore_optimizer(large, *flatten_optimizer(small))


def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    tensors = {
        "half": torch.tensor([0.1, float("nan")], dtype=torch.bfloat16),
        "count": torch.tensor(3),
        "transposed": torch.arange(6.0).view(2, 3).T,
        "empty": torch.empty(0, 4),
    }
    state = {"loss": float("inf"), "rate": 0.1 + 0.2, "nested": {"none": None, "words": ["ü", "\n"]}}
    loaded = load_checkpoint(save_checkpoint(tmp_path, 1, Checkpoint(tensors, state)))
    assert loaded.state == state
    assert loaded.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        torch.testing.assert_close(loaded.tensors[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_tensors_that_share_memory_are_saved_each_in_full(tmp_path: Path) -> None:
    weight = torch.arange(6.0)
    loaded = load_checkpoint(save_checkpoint(tmp_path, 1, Checkpoint({"a": weight, "b": weight, "c": weight[2:]}, {})))
    assert [loaded.tensors[name].tolist() for name in "abc"] == [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [2, 3, 4, 5]]


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 100, 999_999_999):
        save_checkpoint(tmp_path, step, _checkpoint(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-000000100.safetensors",
        "step-999999999.safetensors",
    ]
    latest = latest_checkpoint(tmp_path)
    assert latest is not None
    assert load_checkpoint(latest).state["value"] == 999_999_999


def test_saving_a_step_once_more_supersedes_the_first(tmp_path: Path) -> None:
    for value in (1.0, 2.0, 3.0):
        save_checkpoint(tmp_path, 5, _checkpoint(value))
    latest = latest_checkpoint(tmp_path)
    assert latest is not None
    assert load_checkpoint(latest).state["value"] == 3.0
    assert list(tmp_path.iterdir()) == [latest]


def test_checkpoints_ahead_of_the_one_saved_belong_to_another_past_and_go(tmp_path: Path) -> None:
    """A run begun afresh in a used directory must not resume from the old run's later steps."""
    save_checkpoint(tmp_path, 100, _checkpoint())
    save_checkpoint(tmp_path, 200, _checkpoint())
    path = save_checkpoint(tmp_path, 20, _checkpoint())
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_file_is_no_checkpoint(tmp_path: Path) -> None:
    """A pipe of that name would never have been read to its end."""
    save_checkpoint(tmp_path, 1, _checkpoint())
    os.mkfifo(tmp_path / "step-000000009.safetensors")
    (tmp_path / "step-000000008.safetensors").mkdir()
    (tmp_path / "step-000000007.safetensors").symlink_to("step-000000007.safetensors")
    latest = latest_checkpoint(tmp_path)
    assert latest is not None and latest.name == "step-000000001.safetensors"


def test_no_directory_and_an_empty_one_have_no_latest_checkpoint(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "none") is None
    assert latest_checkpoint(tmp_path) is None


def test_any_flipped_bit_is_noticed_and_the_checkpoint_before_is_used(tmp_path: Path) -> None:
    before = save_checkpoint(tmp_path, 5, _checkpoint())
    path = save_checkpoint(tmp_path, 10, _checkpoint())
    content = path.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(WeightsCorrupted, match="step-000000010"):
            load_checkpoint(path)
    assert latest_checkpoint(tmp_path) == before


@pytest.mark.parametrize("num_bytes", [0, 10, 32, 100])
def test_a_cut_checkpoint_is_noticed_and_the_one_before_is_used(tmp_path: Path, num_bytes: int) -> None:
    before = save_checkpoint(tmp_path, 5, _checkpoint())
    path = save_checkpoint(tmp_path, 10, _checkpoint())
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(WeightsCorrupted, match="step-000000010"):
        load_checkpoint(path)
    assert latest_checkpoint(tmp_path) == before


def test_a_checkpoint_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(WeightsCorrupted, match="cannot be read"):
        load_checkpoint(tmp_path / "step-000000001.safetensors")


def test_a_directory_with_a_checkpoints_name_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "step-000000007.safetensors").mkdir()
    assert latest_checkpoint(tmp_path) is None


def test_a_killed_writers_leftovers_are_ignored_and_then_removed(tmp_path: Path) -> None:
    (tmp_path / ".writing-left").write_bytes(b"half")
    assert latest_checkpoint(tmp_path) is None
    path = save_checkpoint(tmp_path, 1, _checkpoint())
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_earlier_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_descriptor: int, _content: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    paths = [save_checkpoint(tmp_path, step, _checkpoint()) for step in (1, 2)]
    monkeypatch.setattr("os.write", write)
    with pytest.raises(StorageFull):
        save_checkpoint(tmp_path, 3, _checkpoint())
    assert sorted(tmp_path.iterdir()) == paths
    assert latest_checkpoint(tmp_path) == paths[-1]
