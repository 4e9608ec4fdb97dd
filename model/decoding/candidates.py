"""Several candidate texts for one z, and the choice of the best: near the wanted z, and fluent."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adavae.model.decoding.decoding import counted_seed
from adavae.model.latent.defaults import CANDIDATE_NOISE, FLUENCY_WEIGHT
from adavae.model.latent.directions import around

_SEED_OFFSET = 2**31
"""From the seeds that z is drawn with, whose noise the candidates' must not be; torch reads a seed's lowest 32 bits."""


def candidate_latents(z: Tensor, num: int, posterior_variance: Tensor, seeds: Sequence[int]) -> Tensor:
    """Latents to decode each row's candidates from: z itself, and points around it as wide as the posterior.

    Args:
        z: Wanted latent vectors, (N, Z).
        num: Candidates per row.
        posterior_variance: (Z,).
        seeds: Of each row's noise; a row's candidates depend on nothing else.

    Returns:
        (N * num, Z), row by row, z itself first.
    """
    width = CANDIDATE_NOISE * posterior_variance.sqrt()
    rows = [
        torch.cat([wanted[None], around(wanted, width, num - 1, counted_seed(seed, _SEED_OFFSET))])
        for wanted, seed in zip(z, seeds, strict=True)
    ]
    return torch.cat(rows)


def candidate_costs(z: Tensor, mu: Tensor, posterior_variance: Tensor, nats: Tensor) -> Tensor:
    """mean_i (mu_i - z_i)^2 / E[exp(logvar_i)] + FLUENCY_WEIGHT * nats: the lower, the better.

    Args:
        z: Wanted latent vectors, (M, Z).
        mu: Encodings of the candidates' texts, (M, Z).
        posterior_variance: (Z,).
        nats: Per token of the candidate's text, by the bare backbone, (M,).

    Returns:
        (M,).
    """
    return ((mu - z).square() / posterior_variance).mean(1) + FLUENCY_WEIGHT * nats


def best_candidates(costs: Tensor) -> list[int]:
    """The cheapest candidate of each row, (N, num); the first of equal ones, hence z itself where all are infinite."""
    best: list[int] = costs.argmin(1).tolist()
    return best
