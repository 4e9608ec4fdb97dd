"""Where an adapter set's mu lie: the Gaussian that new texts are drawn from.

A small beta holds the posterior to N(0, I) only loosely, and what the decoder has learned to read lies elsewhere. It
writes sentences from draws of a Gaussian that is fitted to mu after training, and seldom from draws of N(0, I) (ex-post
density estimation: Ghosh et al., "From Variational to Deterministic Autoencoders", ICLR 2020).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from adavae.model.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

_DIGITS = 4  # a ten-thousandth of the prior's standard deviation
_LARGEST = 1e4  # mu of texts lie within some tens


def _is_moderate(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


@dataclass(frozen=True, slots=True)
class FittedPrior:
    """A diagonal Gaussian over z.

    Attributes:
        mean: Of each dimension, Z numbers.
        std: Standard deviation of each dimension, Z numbers.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, mu: "Tensor") -> Self:
        """Fitted to the means of the training texts' posteriors, (N, Z); of one text alone the deviations are 0."""
        mean, std = mu.double().mean(dim=0), mu.double().std(dim=0, correction=min(1, len(mu) - 1))
        return cls(*(tuple(round(value, _DIGITS) for value in values.tolist()) for values in (mean, std)))

    @classmethod
    def standard(cls, latent_size: int) -> Self:
        """N(0, I), the prior that the KL is measured against."""
        return cls((0.0,) * latent_size, (1.0,) * latent_size)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], latent_size: int) -> Self:
        """From JSON; raises ConfigError where it is not a Gaussian over Z = ``latent_size`` dimensions."""
        mean, std = values["mean"], values["std"]
        is_list = isinstance(mean, list | tuple) and isinstance(std, list | tuple)
        are_numbers = is_list and all(map(_is_moderate, (*mean, *std))) and all(each >= 0 for each in std)
        if not (are_numbers and len(mean) == len(std) == latent_size):
            rule = f"must be {latent_size} finite means and deviations of at most {_LARGEST:g}, no deviation below 0"
            raise ConfigError("fitted_prior", values, rule)
        return cls(tuple(map(float, mean)), tuple(map(float, std)))

    def sample(self, num: int, seed: int) -> "Tensor":
        """``num`` draws, (num, Z), float32; the same seed gives the same.

        Raises:
            ConfigError: ``num`` is below 1.
        """
        import torch

        if num < 1:
            raise ConfigError("samples", num, "must be at least 1")
        epsilon = torch.randn(num, len(self.mean), generator=torch.Generator().manual_seed(seed))
        return torch.tensor(self.mean) + torch.tensor(self.std) * epsilon
