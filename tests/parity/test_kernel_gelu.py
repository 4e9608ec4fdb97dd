"""The compiled GELU and its slope against PyTorch's in float64, within what bfloat16 rounds away."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from adavae.model.kernel import training_gelu
from adavae.model.kernel.library import Library
from tests.parity.compiled import RUNS, compiled_for


@pytest.fixture(params=list(RUNS), autouse=True)
def _compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    found: Library = compiled_for(request.param)
    monkeypatch.setattr(training_gelu, "library", lambda: found)


def _both(x: Tensor) -> tuple[Tensor, Tensor]:
    """The value of every number, and its slope."""
    x = x.clone().requires_grad_()
    output = training_gelu.gelu_tanh(x)
    output.backward(torch.ones_like(output))  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return output.detach(), x.grad


@pytest.mark.parametrize("count", [1, 15, 16, 17, 16384, 16385, 50_000])
def test_value_and_slope_are_those_of_float64(count: int) -> None:
    x = (3 * torch.randn(count, generator=torch.Generator().manual_seed(count))).bfloat16()
    exact = x.double().requires_grad_()
    expected = F.gelu(exact, approximate="tanh")
    expected.sum().backward()  # type: ignore[no-untyped-call]
    assert exact.grad is not None
    value, slope = _both(x)
    torch.testing.assert_close(value.double(), expected.detach(), atol=1e-4, rtol=2**-8)
    torch.testing.assert_close(slope.double(), exact.grad, atol=1e-3, rtol=2**-8)


def test_far_from_zero_it_is_the_number_or_nothing() -> None:
    value, slope = _both(torch.tensor([-1e38, -100.0, 0.0, 100.0, 1e38]).bfloat16())
    assert value.tolist()[:3] == [0.0, 0.0, 0.0] and slope.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert value.tolist()[3] == 100.0


def test_what_is_not_finite_is_not_hidden() -> None:
    value, _ = _both(torch.tensor([float("nan"), float("inf")]).bfloat16())
    assert value.isnan().tolist() == [True, False] and value.isinf().tolist() == [False, True]


def test_other_numbers_are_left_to_pytorch() -> None:
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(training_gelu.gelu_tanh(x), F.gelu(x, approximate="tanh"))
