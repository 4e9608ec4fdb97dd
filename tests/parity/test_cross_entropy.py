"""The sliced cross-entropy against its obvious twin, ``F.cross_entropy`` over all logits at once."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from adavae.model.training.cross_entropy import sliced_cross_entropy

N, C, V = 23, 8, 61
SLICES = [1, 7, 23, 512]


@dataclass(frozen=True, slots=True)
class _Case:
    hidden: Tensor  # (N, C)
    weight: Tensor  # (V, C)
    targets: Tensor  # (N,)
    token_weights: Tensor  # (N,)


@dataclass(frozen=True, slots=True)
class _Outcome:
    total: Tensor
    nll: Tensor
    grad_hidden: Tensor | None
    grad_weight: Tensor | None


def _case(scale: float = 1.0) -> _Case:
    generator = torch.Generator().manual_seed(4)
    weights = torch.rand(N, generator=generator)
    weights[::3] = 0.0
    return _Case(
        scale * torch.randn(N, C, generator=generator),
        torch.randn(V, C, generator=generator),
        torch.randint(0, V, (N,), generator=generator),
        weights,
    )


def _sliced(case: _Case, slice_size: int, factor: float = 1.0) -> _Outcome:
    hidden, weight = case.hidden.clone().requires_grad_(), case.weight.clone().requires_grad_()
    total, nll = sliced_cross_entropy(hidden, weight, case.targets, case.token_weights, slice_size)
    (factor * total).backward()  # type: ignore[no-untyped-call]
    return _Outcome(total.detach(), nll, hidden.grad, weight.grad)


def _obvious(case: _Case, factor: float = 1.0) -> _Outcome:
    hidden, weight = case.hidden.clone().requires_grad_(), case.weight.clone().requires_grad_()
    nll = F.cross_entropy(hidden @ weight.T, case.targets, reduction="none")
    total = (nll * case.token_weights).sum()
    (factor * total).backward()  # type: ignore[no-untyped-call]
    return _Outcome(total.detach(), nll.detach(), hidden.grad, weight.grad)


def _assert_same(one: _Outcome, other: _Outcome) -> None:
    torch.testing.assert_close(one.total, other.total, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.nll, other.nll, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.grad_hidden, other.grad_hidden, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.grad_weight, other.grad_weight, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("slice_size", SLICES)
def test_loss_and_both_gradients_equal_the_obvious_ones(slice_size: int) -> None:
    case = _case()
    assert _obvious(case).total > 1.0
    _assert_same(_sliced(case, slice_size), _obvious(case))


def test_a_factor_on_the_loss_is_a_factor_on_the_gradients() -> None:
    _assert_same(_sliced(_case(), 7, factor=-2.5), _obvious(_case(), factor=-2.5))


def test_logits_of_hundreds_neither_overflow_nor_lose_the_loss() -> None:
    case = _case(scale=100.0)
    assert (case.hidden @ case.weight.T).max() > 300
    sliced, obvious = _sliced(case, 7), _obvious(case)
    torch.testing.assert_close(sliced.nll, obvious.nll, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(sliced.grad_hidden, obvious.grad_hidden, atol=1e-4, rtol=1e-4)


def test_tokens_of_weight_zero_have_a_loss_but_no_part_in_sum_and_gradient() -> None:
    case = _case()
    kept = case.token_weights > 0
    without = _Case(case.hidden[kept], case.weight, case.targets[kept], case.token_weights[kept])
    whole, part = _sliced(case, 7), _sliced(without, 7)
    assert whole.grad_hidden is not None and part.grad_hidden is not None
    assert (whole.nll[~kept] > 0).all()
    assert not whole.grad_hidden[~kept].any()
    torch.testing.assert_close(whole.total, part.total)
    torch.testing.assert_close(whole.grad_hidden[kept], part.grad_hidden)
    torch.testing.assert_close(whole.grad_weight, part.grad_weight, atol=1e-6, rtol=1e-5)


def test_a_frozen_output_embedding_gets_no_gradient_and_changes_no_other() -> None:
    case = _case()
    hidden = case.hidden.clone().requires_grad_()
    total, _ = sliced_cross_entropy(hidden, case.weight, case.targets, case.token_weights, 7)
    total.backward()  # type: ignore[no-untyped-call]
    assert case.weight.grad is None
    torch.testing.assert_close(hidden.grad, _obvious(case).grad_hidden, atol=1e-5, rtol=1e-5)


def test_without_gradients_the_loss_is_the_same() -> None:
    case = _case()
    total, nll = sliced_cross_entropy(case.hidden, case.weight, case.targets, case.token_weights, 7)
    assert not total.requires_grad
    torch.testing.assert_close(total, _obvious(case).total)
    torch.testing.assert_close(nll, _obvious(case).nll)


def test_bfloat16_states_are_near_the_obvious_loss() -> None:
    case = _case()
    rounded = _Case(case.hidden.bfloat16(), case.weight, case.targets, case.token_weights)
    sliced, obvious = _sliced(rounded, 7), _obvious(case)
    assert sliced.nll.dtype == torch.float32
    assert sliced.grad_hidden is not None and sliced.grad_hidden.dtype == torch.bfloat16
    torch.testing.assert_close(sliced.nll, obvious.nll, atol=0.1, rtol=0.02)
