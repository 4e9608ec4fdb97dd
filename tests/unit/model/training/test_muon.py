"""Muon: what it does to a matrix, to stacked ones, and to a run that goes on from a checkpoint."""

import pytest
import torch
from torch import Tensor, nn

from adavae.model.training import muon
from adavae.model.training.checkpoint import flatten_optimizer, restore_optimizer
from adavae.model.training.muon import Muon, is_matrix, orthogonalise


def _matrix(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _with_singular_values(values: Tensor, rows: int, columns: int) -> Tensor:
    left, _, right = torch.linalg.svd(_matrix(rows, columns), full_matrices=False)
    matrix: Tensor = left @ values.diag() @ right
    return matrix


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (24, 8), (8, 24), (96, 32)])
def test_orthogonalised_matrices_have_singular_values_near_one(rows: int, columns: int) -> None:
    before = torch.linspace(0.1, 1.0, min(rows, columns))
    after = torch.linalg.svdvals(orthogonalise(_with_singular_values(before, rows, columns)))
    assert after.min() > 0.6 and after.max() < 1.3


def test_orthogonalising_keeps_the_singular_vectors() -> None:
    matrix = _matrix(24, 8)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ orthogonalise(matrix) @ right.T  # diagonal where the vectors are kept
    assert (inner - inner.diag().diag()).abs().max() < 0.1
    assert inner.diag().min() > 0.5


def test_the_size_of_a_matrix_does_not_matter() -> None:
    matrix = _matrix(8, 24)
    torch.testing.assert_close(orthogonalise(1024 * matrix), orthogonalise(matrix), atol=0.02, rtol=0.02)


def test_a_zero_matrix_stays_zero() -> None:
    assert torch.equal(orthogonalise(torch.zeros(4, 6)), torch.zeros(4, 6))


@pytest.mark.parametrize(("in_hardware", "error"), [(False, 1e-5), (True, 3e-2)])
def test_matrices_are_multiplied_in_bfloat16_where_the_hardware_does_it_else_in_float32(
    in_hardware: bool, error: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(muon, "multiplies_bfloat16", lambda _: in_hardware)
    matrix = _matrix(24, 64)
    deviation = (orthogonalise(matrix).double() - _in_float64(matrix)).abs().max()
    assert error / 100 < deviation < error


def _in_float64(matrix: Tensor) -> Tensor:
    x = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def test_stacked_matrices_are_each_orthogonalised_alone() -> None:
    stacked = _matrix(3, 8, 24) * torch.tensor([1.0, 100.0, 0.01]).view(3, 1, 1)
    alone = torch.stack([orthogonalise(matrix) for matrix in stacked])
    torch.testing.assert_close(orthogonalise(stacked), alone, atol=0.02, rtol=0.02)


def test_a_stacked_parameter_is_updated_as_each_matrix_alone() -> None:
    stacked = nn.Parameter(_matrix(3, 8, 24))
    alone = [nn.Parameter(matrix.clone()) for matrix in stacked.detach()]
    _take_steps(Muon([stacked], lr=0.1), [stacked], [_matrix(3, 8, 24, seed=1)])
    _take_steps(Muon(alone, lr=0.1), alone, list(_matrix(3, 8, 24, seed=1)))
    torch.testing.assert_close(
        stacked.detach(), torch.stack([matrix.detach() for matrix in alone]), atol=2e-3, rtol=0.0
    )


def test_matrices_that_are_updated_together_are_updated_as_each_alone() -> None:
    """Of one shape, of the same shape standing, and of another."""
    shapes = [(2, 8, 24), (24, 8), (8, 24), (6, 6)]
    together = [nn.Parameter(_matrix(*shape, seed=number)) for number, shape in enumerate(shapes)]
    alone = [nn.Parameter(parameter.detach().clone()) for parameter in together]
    gradients = [_matrix(*shape, seed=7 + number) for number, shape in enumerate(shapes)]
    _take_steps(Muon(together, lr=0.1), together, gradients)
    for parameter, gradient in zip(alone, gradients, strict=True):
        _take_steps(Muon([parameter], lr=0.1), [parameter], [gradient])
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.detach(), other.detach(), atol=2e-3, rtol=0.0)


def test_weight_decay_shrinks_a_matrix_by_the_learning_rate_times_it() -> None:
    free, decayed = nn.Parameter(_matrix(8, 8)), nn.Parameter(_matrix(8, 8))
    for parameter, decay in ((free, 0.0), (decayed, 0.5)):
        _take_steps(Muon([parameter], lr=0.1, weight_decay=decay), [parameter], [_matrix(8, 8, seed=1)], times=1)
    torch.testing.assert_close(decayed.detach(), free.detach() - 0.05 * _matrix(8, 8))


def _take_steps(optimizer: Muon, parameters: list[nn.Parameter], gradients: list[Tensor], times: int = 3) -> None:
    for number in range(times):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient * (number + 1)
        optimizer.step()


def test_an_update_is_of_the_size_of_an_adamw_update() -> None:
    parameter = nn.Parameter(torch.zeros(64, 32))
    _take_steps(Muon([parameter], lr=0.1), [parameter], [1000 * _matrix(64, 32)], times=1)
    rms = float(parameter.detach().square().mean().sqrt())
    assert rms == pytest.approx(0.1 * 0.2, rel=0.3)


def test_a_parameter_without_a_gradient_is_left_alone() -> None:
    parameter = nn.Parameter(torch.ones(3, 4))
    optimizer = Muon([parameter], lr=0.1)
    optimizer.step()
    assert torch.equal(parameter.detach(), torch.ones(3, 4))
    assert not optimizer.state


def test_a_restored_optimiser_goes_on_exactly() -> None:
    unbroken = nn.Parameter(_matrix(6, 9))
    first = Muon([unbroken], lr=0.1)
    _take_steps(first, [unbroken], [_matrix(6, 9, seed=1)])
    resumed = nn.Parameter(unbroken.detach().clone())
    second = Muon([resumed], lr=0.5)
    tensors, saved = flatten_optimizer(first)
    restore_optimizer(second, tensors, saved)
    _take_steps(first, [unbroken], [_matrix(6, 9, seed=2)])
    _take_steps(second, [resumed], [_matrix(6, 9, seed=2)])
    assert torch.equal(unbroken, resumed)
    assert torch.equal(first.state[unbroken]["momentum_buffer"], second.state[resumed]["momentum_buffer"])


@pytest.mark.parametrize(
    ("shape", "is_one"), [((4, 5), True), ((2, 4, 5), True), ((5,), False), ((1, 5), False), ((2, 5, 1), False)]
)
def test_matrices_are_told_from_vectors(shape: tuple[int, ...], is_one: bool) -> None:
    assert is_matrix(torch.zeros(shape)) is is_one
