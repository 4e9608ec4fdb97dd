"""The measures against slow twins: quadrature, an exactly known likelihood, scikit-learn, and pair-by-pair sums."""

import math
from itertools import pairwise

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor

from adavae.model.parts.posterior import Posterior
from adavae.model.training.measures import (
    accuracy,
    importance_weighted_nll,
    log_normal,
    macro_f1,
    mutual_information,
    mutual_information_ceiling,
    mutual_information_gaussian,
)

_GRID = torch.linspace(-30.0, 30.0, 60_001, dtype=torch.float64)


def integral(values: Tensor) -> Tensor:
    """Over ``_GRID``, which is the last axis, by the trapezoidal rule."""
    return torch.trapezoid(values, _GRID)


def density(mu: Tensor, logvar: Tensor) -> Tensor:
    """log N(x; mu, exp(logvar)) on the grid, (N, len(_GRID)), for mu and logvar of (N,)."""
    return log_normal(_GRID.view(1, -1, 1), mu.view(-1, 1, 1), logvar.view(-1, 1, 1))


def test_log_normal_agrees_with_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    z, mu, logvar = (torch.randn(4, 3, 5, generator=generator, dtype=torch.float64) for _ in range(3))
    normal = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    expected = normal.log_prob(z).sum(-1)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(log_normal(z, mu, logvar), expected)


def test_log_normal_integrates_to_one() -> None:
    mass = integral(density(torch.tensor([0.0, 1.5, -2.0]).double(), torch.tensor([0.0, -3.0, 1.0]).double()).exp())
    torch.testing.assert_close(mass, torch.ones(3, dtype=torch.float64), atol=1e-9, rtol=0)


def test_kl_to_prior_agrees_with_quadrature() -> None:
    mu = torch.tensor([0.0, 1.0, -2.5, 0.3], dtype=torch.float64)
    logvar = torch.tensor([0.0, math.log(0.25), 0.7, -4.0], dtype=torch.float64)
    log_q, log_p = density(mu, logvar), density(torch.zeros(4).double(), torch.zeros(4).double())
    kl = Posterior(mu.unsqueeze(1), logvar.unsqueeze(1)).kl_to_prior().squeeze(1)
    torch.testing.assert_close(kl, integral(log_q.exp() * (log_q - log_p)), atol=1e-8, rtol=0)


def test_mutual_information_of_a_mixture_agrees_with_quadrature() -> None:
    """E_x KL(q(z|x) || p) - KL(q(z) || p), both by quadrature; q(z) is the mixture of the four posteriors.

    Each posterior stands for 1,000 equal texts, so that the average over draws comes close to its expectation.
    """
    mu = torch.tensor([-2.0, -0.5, 0.4, 3.0], dtype=torch.float64)
    logvar = torch.tensor([0.0, -1.0, 0.5, -2.0], dtype=torch.float64)
    log_q = density(mu, logvar)
    log_p = density(torch.zeros(1).double(), torch.zeros(1).double())
    log_aggregate = log_q.logsumexp(0) - math.log(4)
    kl_of_each = integral(log_q.exp() * (log_q - log_p)).mean()
    kl_of_all = integral(log_aggregate.exp() * (log_aggregate - log_p[0]))
    expected = float(kl_of_each - kl_of_all)
    assert 0.4 < expected < math.log(4) - 0.2, "neither limit: the case must tell right from wrong"
    estimate = mutual_information(
        mu.repeat(1000).unsqueeze(1), logvar.repeat(1000).unsqueeze(1), torch.Generator().manual_seed(0)
    )
    assert estimate == pytest.approx(expected, abs=0.03)


def test_mutual_information_agrees_with_a_sum_over_pairs() -> None:
    generator = torch.Generator().manual_seed(3)
    mu, logvar = 2 * torch.randn(23, 6, generator=generator), torch.randn(23, 6, generator=generator) - 1
    noise = torch.randn(mu.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    z = mu.double() + (0.5 * logvar.double()).exp() * noise
    total = 0.0
    for row in range(23):
        log_density = [float(log_normal(z[row], mu[other].double(), logvar[other].double())) for other in range(23)]
        total += log_density[row] - math.log(sum(math.exp(value) for value in log_density) / 23)
    estimate = mutual_information(mu, logvar, torch.Generator().manual_seed(7), chunk=4)
    assert estimate == pytest.approx(total / 23, abs=1e-9)


def test_mutual_information_by_gaussians_agrees_with_the_closed_form_beyond_ln_n() -> None:
    """mu ~ N(0, a^2), q(z|x) = N(mu, s^2): I = 1/2 sum ln(1 + a^2 / s^2), here 22 nats of 2,000 texts (ln N is 7.6)."""
    generator = torch.Generator().manual_seed(0)
    a, s = torch.linspace(0.5, 3.0, 12, dtype=torch.float64), 0.25
    mu = a * torch.randn(2000, 12, generator=generator, dtype=torch.float64)
    logvar = torch.full_like(mu, 2 * math.log(s))
    expected = float(0.5 * (1 + a.square() / s**2).log().sum())
    assert expected > 2 * mutual_information_ceiling(2000)
    assert mutual_information_gaussian(mu, logvar) == pytest.approx(expected, abs=0.2)
    assert mutual_information(mu, logvar, generator) == pytest.approx(mutual_information_ceiling(2000), abs=0.01)


def test_mutual_information_by_gaussians_is_a_bound_for_a_mixture() -> None:
    """Against the exact value by quadrature, and E_x KL(q(z|x) || N(m, S)) by quadrature."""
    mu = torch.tensor([-2.0, -0.5, 0.4, 3.0], dtype=torch.float64)
    logvar = torch.tensor([0.0, -1.0, 0.5, -2.0], dtype=torch.float64)
    log_q = density(mu, logvar)
    log_aggregate = log_q.logsumexp(0) - math.log(4)
    exact = float(integral(log_q.exp() * (log_q - log_aggregate)).mean())
    mean = integral(log_aggregate.exp() * _GRID)
    variance = integral(log_aggregate.exp() * (_GRID - mean).square())
    log_gaussian = density(mean.reshape(1), variance.log().reshape(1))
    expected = float(integral(log_q.exp() * (log_q - log_gaussian)).mean())
    estimate = mutual_information_gaussian(mu.unsqueeze(1), logvar.unsqueeze(1))
    assert estimate == pytest.approx(expected, abs=1e-6)
    assert estimate > exact + 0.01


def bounds(num_samples: int, num_repeats: int, seed: int, *, is_exact_posterior: bool = False) -> tuple[Tensor, float]:
    """Importance-weighted bounds, (num_repeats,), on x = 1.3 of p(z) = N(0, 1), p(x|z) = N(2 z, 0.25), and -log p(x).

    The truth is p(x) = N(0, 4 + 0.25); the true posterior is N(2 x / 4.25, 0.25 / 4.25).
    """
    x, weight, variance = 1.3, 2.0, 0.25
    marginal = weight**2 + variance
    mu, logvar = (weight * x / marginal, math.log(variance / marginal)) if is_exact_posterior else (0.4, math.log(0.2))
    z = mu + math.exp(0.5 * logvar) * torch.randn(
        num_samples, num_repeats, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )  # (K, B, 1)
    at_z = torch.zeros_like(z)
    log_px = log_normal(at_z + x, weight * z, at_z + math.log(variance))
    nll = importance_weighted_nll(log_px, log_normal(z, at_z, at_z), log_normal(z, at_z + mu, at_z + logvar))
    return nll, 0.5 * (math.log(2 * math.pi * marginal) + x**2 / marginal)


def test_importance_weighted_bound_is_exact_with_the_true_posterior() -> None:
    """Every weight is then p(x), whatever z was drawn and however many."""
    for num_samples in (1, 7):
        nll, truth = bounds(num_samples, 20, seed=0, is_exact_posterior=True)
        torch.testing.assert_close(nll, torch.full_like(nll, truth), atol=1e-5, rtol=0)


def test_importance_weighted_bound_comes_to_the_true_likelihood() -> None:
    nll, truth = bounds(20_000, 10, seed=1)
    assert float(nll.mean()) == pytest.approx(truth, abs=0.01)


def test_importance_weighted_bound_tightens_with_more_samples() -> None:
    """In expectation, never below -log p(x) (Burda et al. 2016, Theorem 1); 20,000 repeats stand for it."""
    means = []
    for num_samples in (1, 2, 4, 16, 64):
        nll, truth = bounds(num_samples, 20_000, seed=num_samples)
        means.append(float(nll.mean()))
    assert means[0] - truth > 0.2, "the posterior must be wrong enough for the bound to have a gap"
    assert all(later < earlier for earlier, later in pairwise(means))
    assert means[-1] > truth - 0.005


def test_importance_weighted_bound_with_one_sample_is_the_elbo_in_expectation() -> None:
    """-E log p(x|z) + KL(q || p), in closed form for the linear-Gaussian model."""
    x, mu, variance_q, variance_x = 1.3, 0.4, 0.2, 0.25
    reconstruction = 0.5 * (math.log(2 * math.pi * variance_x) + ((x - 2 * mu) ** 2 + 4 * variance_q) / variance_x)
    kl = 0.5 * (mu**2 + variance_q - 1 - math.log(variance_q))
    nll, _ = bounds(1, 200_000, seed=5)
    assert float(nll.mean()) == pytest.approx(reconstruction + kl, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_and_accuracy_agree_with_scikit_learn(seed: int) -> None:
    labels = ["a", "b", "c", "d"]
    generator = torch.Generator().manual_seed(seed)
    gold = [labels[int(i)] for i in torch.randint(0, 3, (60,), generator=generator)]  # "d" never occurs
    predicted = [labels[int(i)] for i in torch.randint(0, 4, (60,), generator=generator)]
    expected = f1_score(gold, predicted, labels=labels, average="macro", zero_division=0.0)
    assert macro_f1(predicted, gold, labels) == pytest.approx(expected)
    assert accuracy(predicted, gold) == pytest.approx(accuracy_score(gold, predicted))
