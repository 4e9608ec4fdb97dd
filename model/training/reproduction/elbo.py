"""The evidence lower bound of any system with a latent (paper Eq. 3), and how the weight of its KL changes."""

from collections.abc import Callable

import torch
from torch import Tensor

from adavae.model.parts.posterior import Posterior
from adavae.model.training.objective import TextBatch, free_bits_kl
from adavae.model.training.reproduction.systems.sentence_model import SentenceModel, num_target_tokens
from adavae.model.training.schedule import beta_at

Beta = Callable[[float], float]
"""From the share of the run that is done, 0 to 1, to the weight of the KL."""

_FINE = 100_000  # steps that a share is counted in


def monotonic(share: float = 0.5) -> Beta:
    """From 0 to 1 over the first ``share`` of the run, then 1 (M. A., Bowman et al. 2016)."""
    return lambda done: min(1.0, done / share)


def cyclical(cycles: int = 4, rise_share: float = 0.5) -> Beta:
    """``cycles`` times from 0 to 1 in half a cycle and 1 for its rest (C. A., Fu et al. 2019)."""
    return lambda done: beta_at(
        round(done * _FINE), _FINE, cycles=cycles, zero_share=0.0, rise_share=rise_share, maximum=1.0
    )


def once(zero_share: float = 0.5, rise_share: float = 0.25) -> Beta:
    """0, then up to 1, then 1 for the rest, as Optimus is fine-tuned (Li et al. 2020)."""
    return lambda done: beta_at(
        round(done * _FINE), _FINE, cycles=1, zero_share=zero_share, rise_share=rise_share, maximum=1.0
    )


def negative_elbo(
    model: SentenceModel,
    batch: TextBatch,
    posterior: Posterior,
    beta: float,
    generator: torch.Generator,
    free_bits: float = 0.0,
) -> Tensor:
    """-log p(x|z) + beta KL with free bits a dimension, over the tokens of the batch: a scalar, nats a token.

    Args:
        model: Its decoder is used.
        batch: The texts.
        posterior: q(z|x) of each, from which one z is drawn.
        beta: Weight of the KL.
        generator: Draws epsilon.
        free_bits: lambda, nats a dimension.
    """
    reconstruction = model.reconstruction(batch, posterior.sample(generator))
    kl = free_bits_kl(posterior.kl_to_prior(), free_bits).sum()
    return (reconstruction + beta * kl) / num_target_tokens(batch)
