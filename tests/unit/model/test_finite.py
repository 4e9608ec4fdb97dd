"""One NaN or infinity anywhere is found, in every format that weights are stored in."""

import pytest
import torch

from adavae.model.finite import is_finite

FORMATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("count", [1, 2, 7, 8, 16, 31, 64, 100, 1000, 40_000])
@pytest.mark.parametrize("fault", [float("nan"), float("inf"), float("-inf")])
def test_a_single_fault_is_found_wherever_it_is(dtype: torch.dtype, count: int, fault: float) -> None:
    generator = torch.Generator().manual_seed(count)
    numbers = torch.randn(count, generator=generator).to(dtype)
    assert is_finite(numbers)
    places = {0, count - 1, count // 2, *torch.randint(count, (20,), generator=generator).tolist()}
    for place in places:
        spoilt = numbers.clone()
        spoilt[place] = fault
        assert not is_finite(spoilt)
        assert not is_finite(torch.stack([numbers, spoilt]).T)


@pytest.mark.parametrize("dtype", FORMATS)
def test_the_largest_numbers_are_finite(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    assert is_finite(torch.tensor([largest, -largest, 0.0], dtype=dtype))


@pytest.mark.parametrize("fault", [float("nan"), float("inf")])
def test_a_fault_among_infinities_and_zeros_is_one(fault: float) -> None:
    assert not is_finite(torch.full((100,), fault, dtype=torch.float16))
    assert not is_finite(torch.tensor([float("inf"), float("-inf"), fault]))


def test_nothing_is_finite_and_whole_numbers_are_no_weights() -> None:
    assert is_finite(torch.zeros(0))
    assert not is_finite(torch.zeros(3, dtype=torch.int64))
