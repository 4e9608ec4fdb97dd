"""The compiled cross-entropy of bfloat16 logits against PyTorch's in float64, within what bfloat16 rounds away."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from adavae.model.kernel.library import Library
from adavae.model.kernel.training_loss import cross_entropy
from tests.parity.compiled import RUNS, compiled_for


@pytest.fixture(params=list(RUNS))
def compiled(request: pytest.FixtureRequest) -> Library:
    return compiled_for(request.param)


def _case(num_rows: int, vocab_size: int, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_rows + vocab_size)
    weights = torch.rand(num_rows, generator=generator)
    weights[::3] = 0.0
    logits = scale * torch.randn(num_rows, vocab_size, generator=generator)
    return logits.bfloat16(), torch.randint(0, vocab_size, (num_rows,), generator=generator), weights


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize(("num_rows", "vocab_size"), [(1, 2), (3, 17), (40, 1000), (7, 12_288)])
def test_loss_and_gradient_are_those_of_float64(
    compiled: Library, num_rows: int, vocab_size: int, scale: float
) -> None:
    logits, targets, weights = _case(num_rows, vocab_size, scale)
    exact = logits.double().requires_grad_()
    expected = F.cross_entropy(exact, targets, reduction="none")
    (expected * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert exact.grad is not None
    nll = cross_entropy(compiled, logits, targets, weights)
    torch.testing.assert_close(nll.double(), expected.detach(), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(logits.double(), exact.grad, atol=1e-5, rtol=2**-7)


def test_without_weights_the_logits_stay(compiled: Library) -> None:
    logits, targets, weights = _case(9, 100, 1.0)
    before = logits.clone()
    nll = cross_entropy(compiled, logits, targets, None)
    assert torch.equal(logits, before)
    assert torch.equal(nll, cross_entropy(compiled, logits, targets, weights))


def test_a_loss_that_is_not_finite_is_not_hidden(compiled: Library) -> None:
    logits, targets, _ = _case(3, 50, 1.0)
    logits[1, 7] = float("nan")
    assert cross_entropy(compiled, logits, targets, None).isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("target", [-1, 50])
def test_a_target_outside_the_vocabulary_changes_nothing(compiled: Library, target: int) -> None:
    logits, targets, weights = _case(3, 50, 1.0)
    before, targets[2] = logits.clone(), target
    with pytest.raises(IndexError):
        cross_entropy(compiled, logits, targets, weights)
    assert torch.equal(logits, before)
