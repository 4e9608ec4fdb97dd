"""The posterior q(z|x): a diagonal Gaussian per row, and the layer that reads it off v_z."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from adavae.model.parts.stacked import AdapterIndex, StackedLinear

_LOGVAR_BOUNDS = (-12.0, 2.0)  # far outside what training settles on, so one wild batch cannot blow up the KL


@dataclass(frozen=True, slots=True)
class Posterior:
    """q(z|x) = N(mu, exp(logvar)) of each row.

    Attributes:
        mu: (B, Z).
        logvar: (B, Z), natural logarithm of the variance.
    """

    mu: Tensor
    logvar: Tensor

    @classmethod
    def bounded(cls, mu: Tensor, logvar: Tensor) -> Self:
        """In float32, with the log variance clamped to a sensible range."""
        return cls(mu=mu.float(), logvar=logvar.float().clamp(*_LOGVAR_BOUNDS))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """z = mu + exp(logvar / 2) * epsilon, (B, Z)."""
        epsilon = torch.randn(self.mu.shape, generator=generator, device=self.mu.device, dtype=self.mu.dtype)
        return self.at(epsilon)

    def at(self, epsilon: Tensor) -> Tensor:
        """z = mu + exp(logvar / 2) * epsilon of a given epsilon, both (B, Z)."""
        return self.mu + (0.5 * self.logvar).exp() * epsilon

    def kl_to_prior(self) -> Tensor:
        """KL(q(z_i|x) || N(0, 1)) of each dimension, (B, Z), in nats."""
        return 0.5 * (self.mu.square() + self.logvar.exp() - 1.0 - self.logvar)


class PosteriorHeads(nn.Module):
    """Two linear layers from v_z to mu and logvar (method: "posterior heads")."""

    def __init__(self, num_slots: int, in_features: int, latent_size: int) -> None:
        super().__init__()
        self.mu = StackedLinear(num_slots, in_features, latent_size)
        self.logvar = StackedLinear(num_slots, in_features, latent_size)

    def forward(self, v_z: Tensor, index: AdapterIndex) -> Posterior:
        """v_z, (B, K * C), to a posterior over (B, Z), in float32."""
        return Posterior.bounded(self.mu(v_z, index), self.logvar(v_z, index))
