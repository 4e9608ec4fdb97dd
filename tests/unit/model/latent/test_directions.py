"""Directions and walks, in closed form."""

import pytest
import torch

from adavae.model import latent_ops
from adavae.model.errors import ConfigError
from adavae.model.latent import directions
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.latent.space import LatentSpace
from adavae.model.latent.steering import Settled
from tests.tiny import PREFIXED
from tests.tiny_prior import tiny_prior

SPACE = LatentSpace.of("new@1", PREFIXED.labels, FittedPrior.standard(6), tiny_prior(PREFIXED).to_tensors())
WAY = latent_ops.interpolate(torch.full((6,), -2.0), torch.arange(6.0), 11)


def settled(refine: float, truncation: float) -> Settled:
    return Settled(refine=refine, truncation=truncation, candidates=1)


@pytest.mark.parametrize(("refine", "depth"), [(0.0, 0.0), (0.0, 0.6), (0.5, 0.0), (0.5, 0.6), (1.0, 1.0)])
def test_the_ends_of_a_walk_stay_what_they_are_exactly(refine: float, depth: float) -> None:
    walk = directions.denoised_walk(SPACE, WAY, settled(refine, depth))
    assert torch.equal(walk[0], WAY[0])
    assert torch.equal(walk[-1], WAY[-1])
    assert walk.shape == WAY.shape
    assert torch.equal(walk, WAY) == (refine == depth == 0.0)


def test_the_middle_of_a_walk_is_drawn_in_by_the_whole_depth() -> None:
    walk = directions.denoised_walk(SPACE, WAY, settled(0.0, 0.6))
    torch.testing.assert_close(walk[5], SPACE.mean + 0.4 * (WAY[5] - SPACE.mean))
    torch.testing.assert_close(directions.denoised_walk(SPACE, WAY, settled(0.0, 1.0))[5], SPACE.mean)


def test_the_middle_of_a_refined_walk_is_what_the_flow_makes_of_it() -> None:
    assert SPACE.prior is not None
    walk = directions.denoised_walk(SPACE, WAY, settled(0.5, 0.0))
    torch.testing.assert_close(walk[5], SPACE.prior.refine(WAY, 0.5)[5])


def test_a_dimensions_direction_is_its_deviation() -> None:
    direction = directions.along_dimension(SPACE, 2)
    assert float(direction[2]) == pytest.approx(float(SPACE.std[2]))
    assert int((direction != 0).sum()) == 1
    with pytest.raises(ConfigError, match="dimensions 0 to 5"):
        directions.along_dimension(SPACE, 6)


def test_places_are_even_and_a_range_rises() -> None:
    assert directions.places(-1.0, 1.0, 5).tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
    with pytest.raises(ConfigError, match="smaller one first"):
        directions.places(1.0, 1.0, 5)
    with pytest.raises(ConfigError, match="steps is 1"):
        directions.places(0.0, 1.0, 1)
