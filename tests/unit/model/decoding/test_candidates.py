"""Candidates around a z, and which of them is taken."""

import torch

from adavae.model.decoding.candidates import best_candidates, candidate_costs, candidate_latents
from adavae.model.latent.defaults import FLUENCY_WEIGHT
from adavae.model.latent.fitted_prior import FittedPrior

VARIANCE = torch.tensor([0.25, 1.0, 4.0])


def test_the_first_candidate_is_z_itself_and_the_others_lie_as_wide_as_the_posterior() -> None:
    z = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 0.0, 1.0]])
    around = candidate_latents(z, 2001, VARIANCE, [3, 4]).view(2, 2001, 3)
    assert torch.equal(around[:, 0], z)
    offsets = around[:, 1:] - z.unsqueeze(1)
    torch.testing.assert_close(offsets.std(1), VARIANCE.sqrt().expand(2, 3), rtol=0.1, atol=0.0)


def test_a_rows_candidates_depend_on_its_own_z_and_seed_alone() -> None:
    z = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    together = candidate_latents(z, 4, VARIANCE, [1, 2, 1]).view(3, 4, 3)
    assert torch.equal(together[1], candidate_latents(z[1:2], 4, VARIANCE, [2]))
    torch.testing.assert_close(together[0] - z[0], together[2] - z[2], atol=1e-6, rtol=1e-5)


def test_candidates_noise_is_not_that_of_a_drawn_z() -> None:
    """Both came from the same seed: the second candidate of a draw was z plus its own noise again."""
    z = FittedPrior.standard(3).sample(1, 7)
    around = candidate_latents(z, 2, torch.ones(3), [7])
    assert not torch.allclose(around[1], 2 * z[0])


def test_costs_are_distance_in_posterior_units_plus_weighted_nats() -> None:
    z, mu = torch.zeros(2, 3), torch.tensor([[0.5, 1.0, 2.0], [0.0, 0.0, 0.0]])
    costs = candidate_costs(z, mu, VARIANCE, torch.tensor([2.0, 3.0]))
    torch.testing.assert_close(costs, torch.tensor([1.0 + 2.0 * FLUENCY_WEIGHT, 3.0 * FLUENCY_WEIGHT]))


def test_the_cheapest_is_taken_and_of_equal_ones_the_first() -> None:
    infinity = float("inf")
    assert best_candidates(torch.tensor([[2.0, 1.0, 1.0], [infinity, infinity, infinity]])) == [1, 0]
