"""The Gaussian that new texts are drawn from."""

import json
from dataclasses import asdict

import pytest
import torch

from adavae.model.errors import ConfigError
from adavae.model.latent.fitted_prior import FittedPrior

Z = 6


def test_draws_come_from_their_seed_alone() -> None:
    state = torch.get_rng_state()
    prior = FittedPrior.standard(Z)
    first = prior.sample(3, seed=4)
    assert torch.equal(first, prior.sample(3, seed=4))
    assert not torch.equal(first, prior.sample(3, seed=5))
    assert torch.equal(state, torch.get_rng_state())


def test_the_standard_one_is_a_standard_normal() -> None:
    z = FittedPrior.standard(4).sample(20_000, seed=1)
    assert z.shape == (20_000, 4)
    assert bool((z.mean(0).abs() < 0.03).all())
    torch.testing.assert_close(torch.cov(z.T), torch.eye(4), atol=0.04, rtol=0)


def test_draws_lie_where_the_fitted_mu_lie() -> None:
    mean, std = torch.tensor([3.0, -1.0, 0.0]), torch.tensor([0.1, 2.0, 0.5])
    mu = mean + std * torch.randn(50_000, 3, generator=torch.Generator().manual_seed(0))
    z = FittedPrior.of(mu).sample(50_000, seed=1)
    torch.testing.assert_close(z.mean(0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(z.std(0), std, atol=0.03, rtol=0)


def test_it_survives_json() -> None:
    prior = FittedPrior.of(torch.randn(10, Z, generator=torch.Generator().manual_seed(0)))
    assert FittedPrior.from_dict(json.loads(json.dumps(asdict(prior))), Z) == prior


@pytest.mark.parametrize(
    ("mean", "std"),
    [([0.0] * 5, [1.0] * 6), ([0.0] * 6, [1.0] * 7), ([0.0] * 6, [-1.0] * 6), ([float("nan")] * 6, [1.0] * 6)],
)
def test_what_is_no_gaussian_over_z_is_refused(mean: list[float], std: list[float]) -> None:
    with pytest.raises(ConfigError, match="6 finite"):
        FittedPrior.from_dict({"mean": mean, "std": std}, Z)


@pytest.mark.parametrize("num", [0, -1])
def test_no_draws_are_refused(num: int) -> None:
    with pytest.raises(ConfigError, match=r"samples is .*at least 1"):
        FittedPrior.standard(Z).sample(num, seed=0)
