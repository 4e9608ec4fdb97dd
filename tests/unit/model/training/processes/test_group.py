"""Several processes share a step: the same losses and weights as one process, whatever their number.

Here they are threads of one process, each with a gloo group of its own; tests/integration starts real ones.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import pytest
import torch
from torch import nn

from adavae.model.errors import TrainingInterrupted, TrainingProcessLost
from adavae.model.training import training_run
from adavae.model.training.config import Precision, TrainingConfig
from adavae.model.training.loop import follow, train
from adavae.model.training.objective import Loss
from adavae.model.training.processes.group import (
    OneProcess,
    ProcessGroup,
    SeveralProcesses,
    check_agreement,
    is_said,
    share_of,
    sum_gradients,
    sum_losses,
    take_over,
)
from adavae.model.training.processes.handed_run import HandedRun
from adavae.model.training.training_run import TrainingRun
from tests.tiny import PREFIXED, tiny_backbone
from tests.unit.model.training.test_loop import CONFIG, FITTED, _pretrained, _texts, _with_forms

_Result = TypeVar("_Result")
_STEPS = 4
_SEEDING = Lock()  # a run's first weights come from torch's own generator, which threads share and processes do not
_DISTURBED = replace(
    CONFIG,
    adapter=PREFIXED,
    batch_size=16,
    micro_batch_tokens=64,
    word_dropout=0.3,
    input_dropout=0.4,
    form_share=0.4,
)


def _together(size: int, do: Callable[[int], _Result]) -> list[_Result]:
    """``do(rank)`` of every rank at once."""
    with ThreadPoolExecutor(size) as threads:
        return [future.result() for future in [threads.submit(do, rank) for rank in range(size)]]


def _groups(size: int, meeting: Path, timeout_s: float = 10.0) -> list[SeveralProcesses]:
    return _together(size, lambda rank: SeveralProcesses.join(meeting, rank, size, timeout_s=timeout_s))


def _run(config: TrainingConfig, directory: Path, group: ProcessGroup) -> TrainingRun:
    return TrainingRun(config, tiny_backbone(), _with_forms(_texts(48, 1)), _texts(16, 2), directory, None, group)


def _steps(run: TrainingRun) -> tuple[list[float], list[float], float]:
    """Losses, gradient norms, and the loss of the validation texts in the end."""
    taken = [run.take_step() for _ in range(_STEPS)]
    return [float(loss.total) for loss, _ in taken], [norm for _, norm in taken], run.validate().loss


@pytest.mark.parametrize(
    ("size", "precision", "tolerance"),
    [(2, Precision.FLOAT32, 1e-5), (3, Precision.FLOAT32, 1e-5), (2, Precision.BFLOAT16, 2e-3)],
)
def test_several_processes_take_the_steps_of_one(
    tmp_path: Path, size: int, precision: Precision, tolerance: float
) -> None:
    config = replace(_DISTURBED, precision=precision, learning_rate=1e-3)
    alone = _steps(_run(config, tmp_path, OneProcess()))
    runs = [_run(config, tmp_path, group) for group in _groups(size, tmp_path / "meeting")]
    for losses, norms, validation in _together(size, lambda rank: _steps(runs[rank])):
        assert losses == pytest.approx(alone[0], rel=tolerance)
        assert norms == pytest.approx(alone[1], rel=10 * tolerance)
        assert validation == pytest.approx(alone[2], rel=tolerance)
    first, *others = [dict(run.vae.bank.named_parameters()) for run in runs]
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


def test_more_processes_than_texts_in_a_step_change_nothing(tmp_path: Path) -> None:
    config = replace(_DISTURBED, batch_size=2)
    alone = _steps(_run(config, tmp_path, OneProcess()))
    runs = [_run(config, tmp_path, group) for group in _groups(3, tmp_path / "meeting")]
    for losses, _, _ in _together(3, lambda rank: _steps(runs[rank])):
        assert losses == pytest.approx(alone[0], rel=1e-4)


def test_a_fitted_start_is_the_leaders_in_every_process(tmp_path: Path) -> None:
    def begin(run: TrainingRun) -> list[float]:
        run.fit_start()
        return [float(run.take_step()[0].total) for _ in range(2)]

    config = replace(FITTED, encoder_texts=100)
    alone = begin(_run(config, tmp_path, OneProcess()))
    runs = [_run(config, tmp_path, group) for group in _groups(2, tmp_path / "meeting")]
    for losses in _together(2, lambda rank: begin(runs[rank])):
        assert losses == pytest.approx(alone, rel=1e-5)
    assert runs[0].state.best_score == runs[1].state.best_score < float("inf")


def test_every_process_fits_the_start_so_that_none_waits_for_the_leader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader alone did: where that took five minutes the others gave up, every time, before any checkpoint."""
    fitted = []
    monkeypatch.setattr(training_run, "fit_start", lambda vae, *_: fitted.append(vae))
    runs = [_run(FITTED, tmp_path, group) for group in _groups(2, tmp_path / "meeting")]
    _together(2, lambda rank: runs[rank].fit_start())
    assert {id(vae) for vae in fitted} == {id(run.vae) for run in runs}


@contextmanager
def _members_as_threads(size: int, handed: HandedRun, meeting: Path) -> Iterator[SeveralProcesses]:
    def take_part(rank: int) -> None:
        follow(handed, SeveralProcesses.join(meeting, rank, size, timeout_s=10))

    with ThreadPoolExecutor(size) as threads:
        members = [threads.submit(take_part, rank) for rank in range(1, size)]
        yield SeveralProcesses.join(meeting, 0, size, timeout_s=10)
        for member in members:
            assert isinstance(member.exception(), TrainingInterrupted | None)


@pytest.mark.parametrize("sizes", [(1, 2), (3, 1), (2, 3)])
def test_a_run_goes_on_with_another_number_of_processes(
    tmp_path: Path, sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the same checkpoint, so that what follows differs by rounding alone."""
    config = replace(CONFIG, max_steps=8, epochs=8.0)
    meetings = iter(tmp_path / f"meeting-{number}" for number in range(2))

    @contextmanager
    def started(handed: HandedRun, num_processes: int) -> Iterator[ProcessGroup]:
        if num_processes == 1:
            yield OneProcess()
            return
        with _members_as_threads(num_processes, handed, next(meetings)) as group:
            yield group

    def built_alone(*arguments: Any) -> TrainingRun:
        with _SEEDING:
            return TrainingRun(*arguments)

    monkeypatch.setattr("adavae.model.training.loop.processes", started)
    monkeypatch.setattr("adavae.model.training.loop.TrainingRun", built_alone)
    texts = (_texts(48, 1), _texts(16, 2))
    unbroken = train(config, _pretrained(), *texts, tmp_path / "unbroken")
    asked, directory = iter([False] * 4 + [True]), tmp_path / "broken"
    before, after = sizes
    with pytest.raises(TrainingInterrupted, match="step 4"):
        train(config, _pretrained(), *texts, directory, should_stop=lambda: next(asked), num_processes=before)
    resumed = train(config, _pretrained(), *texts, directory, resume=True, num_processes=after)
    assert resumed.steps == unbroken.steps
    assert resumed.validation_loss == pytest.approx(unbroken.validation_loss, rel=1e-4)
    assert len((directory / "metrics.jsonl").read_text().splitlines()) == 1  # of the leader alone


def test_rows_are_dealt_out_evenly_over_the_micro_batches_of_a_step() -> None:
    sizes, counts, seen = (1, 1, 1, 4, 3), [0, 0, 0], []
    for rank in range(3):
        group, num_before = _Fake(rank, 3), 0
        for number, num_rows in enumerate(sizes):
            share = share_of(group, num_rows, num_before)
            counts[rank] += len(share)
            seen += [(number, place) for place in share]
            num_before += num_rows
    assert sorted(seen) == [(number, place) for number, size in enumerate(sizes) for place in range(size)]
    assert max(counts) - min(counts) <= 1
    assert share_of(OneProcess(), 5, 7) == range(5)


class _Fake:
    """A group whose other processes hold what they are told."""

    def __init__(self, rank: int, size: int, others: torch.Tensor | None = None) -> None:
        self.rank, self.size, self.others = rank, size, others

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        assert self.others is not None
        return tensor + self.others.to(tensor.dtype)


def test_a_parameter_without_a_gradient_anywhere_keeps_none() -> None:
    """Optimisers have no state for such a parameter, and checkpoints would differ otherwise."""
    used, unused, frozen = (nn.Parameter(torch.ones(2)) for _ in range(3))
    frozen.requires_grad_(False)
    used.grad = torch.tensor([1.0, 2.0])
    sum_gradients(_Fake(0, 2, torch.tensor([10.0, 20.0, 0.0, 0.0, 1.0, 0.0])), [used, unused, frozen])
    assert used.grad.tolist() == [11.0, 22.0]
    assert unused.grad is None and frozen.grad is None


def test_a_parameter_with_a_gradient_elsewhere_gets_it() -> None:
    parameter = nn.Parameter(torch.ones(2))
    sum_gradients(_Fake(0, 2, torch.tensor([3.0, 4.0, 1.0])), [parameter])
    assert parameter.grad is not None and parameter.grad.tolist() == [3.0, 4.0]


def test_losses_add_up() -> None:
    mine = Loss(torch.tensor(0.5), torch.tensor([1.0, 2.0, 3.0]), 4, 20)
    summed = sum_losses(_Fake(1, 2, torch.tensor([0.25, 1.0, 1.0, 1.0, 2.0, 10.0])), mine)
    assert float(summed.total) == 0.75 and summed.sums.tolist() == [2.0, 3.0, 4.0]
    assert (summed.num_texts, summed.num_tokens) == (6, 30)
    assert sum_losses(OneProcess(), mine) is mine


def test_one_that_says_so_is_enough() -> None:
    assert is_said(_Fake(0, 2, torch.tensor([1])), by_me=False)
    assert not is_said(_Fake(0, 2, torch.tensor([0])), by_me=False)
    assert is_said(OneProcess(), by_me=True) and not is_said(OneProcess(), by_me=False)


def test_everyone_begins_with_the_leaders_weights(tmp_path: Path) -> None:
    groups = _groups(2, tmp_path / "meeting")
    weights = [nn.Parameter(torch.randn(2, 3)) for _ in range(2)]
    leaders = weights[0].detach().clone()
    assert not torch.equal(weights[0], weights[1])
    _together(2, lambda rank: take_over(groups[rank], [weights[rank]]))
    assert all(torch.equal(each, leaders) for each in weights)


def test_weights_that_have_come_apart_end_the_run(tmp_path: Path) -> None:
    groups = _groups(2, tmp_path / "meeting")
    weights = [torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0])]
    _together(2, lambda rank: check_agreement(groups[rank], 7, [weights[rank]]))
    weights[1][1] = torch.nextafter(weights[1][1], torch.tensor(3.0))
    with pytest.raises(TrainingProcessLost, match="come apart by step 7"):
        _together(2, lambda rank: check_agreement(groups[rank], 7, [weights[rank]]))


def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    groups = _groups(2, tmp_path / "meeting", timeout_s=0.05)
    with pytest.raises(TrainingProcessLost, match=r"did not answer within 0\.05 s"):
        groups[0].sum(torch.ones(3))
    with pytest.raises(TrainingProcessLost):
        SeveralProcesses.join(tmp_path / "nobody-comes", 0, 2, timeout_s=0.05)
