"""The way for few rows against the plain product."""

import copy

import pytest
import torch

from adavae.model.projection import Projection


def projection(*, is_exact: bool = True, has_bias: bool = True) -> Projection:
    layer = Projection(96, 200, bias=has_bias).requires_grad_(False)
    if is_exact:
        layer.weight.copy_(layer.weight.half())
    return layer


@pytest.mark.parametrize("num_rows", [1, 2, 7, 63, 64, 65, 200])
@pytest.mark.parametrize("has_bias", [True, False])
def test_few_rows_give_what_the_plain_product_gives(num_rows: int, has_bias: bool) -> None:
    layer = projection(has_bias=has_bias)
    x = torch.randn(num_rows, 1, 96, generator=torch.Generator().manual_seed(num_rows))
    with torch.inference_mode():
        plain = layer(x)
        layer.pack()
        packed = layer(x)
    assert layer._packed is not None
    assert packed.shape == plain.shape
    torch.testing.assert_close(packed, plain, atol=1e-5, rtol=0)


def test_a_weight_that_half_precision_cannot_hold_is_left_alone() -> None:
    layer = projection(is_exact=False)
    layer.pack()
    assert layer._packed is None


def test_gradients_flow_and_copies_are_not_packed() -> None:
    layer = projection()
    layer.pack()
    x = torch.randn(2, 96, requires_grad=True)
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(2, 96))
    again = copy.deepcopy(layer).to(torch.bfloat16)
    assert again._packed is None
    assert again(x.detach().bfloat16()).dtype is torch.bfloat16
    assert layer._packed is not None
