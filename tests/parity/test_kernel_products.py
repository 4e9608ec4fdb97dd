"""The compiled product of rows with a matrix in panels against a slow obvious one, at every edge of a tile or block."""

import pytest
import torch
from torch import Tensor

from adavae.model.kernel.latent_kernel import LatentKernel
from adavae.model.kernel.library import PANEL, AdapterSetFields, LatentSetFields, Library
from adavae.model.kernel.packing import KeptTensors, PackedAdapterSet
from tests.parity.compiled import RUNS, compiled_for


@pytest.fixture(params=RUNS)
def compiled(request: pytest.FixtureRequest) -> Library:
    return compiled_for(request.param)


def slow_product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """y[row][n] = bias[n] + x[row][0] W[n][0] + x[row][1] W[n][1] + ..., one after the other, in float64."""
    rows, matrix, start = x.double().tolist(), weight.double().tolist(), bias.double().tolist()
    output = []
    for row in rows:
        sums = []
        for n, column in enumerate(matrix):
            total = start[n]
            for value, factor in zip(row, column, strict=True):
                total += value * factor
            sums.append(total)
        output.append(sums)
    return torch.tensor(output, dtype=torch.float32)


def fast_product(compiled: Library, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same through ``multiply_panel``: the layer that reads mu off v_z is nothing else."""
    kept = KeptTensors()
    layer = kept.matrix(weight, bias)
    packed = PackedAdapterSet(
        AdapterSetFields(), AdapterSetFields(), LatentSetFields(mu=layer, logvar=kept.matrix(weight, bias)), kept
    )
    mu, logvar = LatentKernel(compiled).posterior(x, [packed] * len(x), len(weight))
    assert torch.equal(mu, logvar)
    return mu


@pytest.mark.parametrize("num_rows", [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 95, 96, 97])
@pytest.mark.parametrize("out_features", [1, PANEL - 1, PANEL, PANEL + 1])
@pytest.mark.parametrize("is_half", [True, False], ids=["float16", "float32"])
def test_every_edge_of_a_tile_and_of_a_block(
    compiled: Library, num_rows: int, out_features: int, is_half: bool
) -> None:
    generator = torch.Generator().manual_seed(1000 * num_rows + out_features)
    x = torch.randn(num_rows, 37, generator=generator)
    weight = torch.randn(out_features, 37, generator=generator)
    weight = weight.half().float() if is_half else weight + 1e-6
    bias = torch.randn(out_features, generator=generator)
    expected = slow_product(x, weight, bias)
    torch.testing.assert_close(fast_product(compiled, x, weight, bias), expected, atol=1e-5, rtol=1e-5)
