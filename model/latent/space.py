"""The latent space of one adapter set as requests use it: labels by name, and its prior or the substitute for one.

Sets trained before priors were fitted have only a diagonal Gaussian (``fitted_prior``): they draw from that, refine
nothing, and cannot tell how typical a z is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NoReturn, Self

import torch
from torch import Tensor

from adavae.model.errors import AdapterSetMismatch, ConfigError
from adavae.model.latent import defaults
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.latent.prior import LatentPrior
from adavae.model.latent.steering import Draw, Settled, Steering

_LEAST_VARIANCE = 0.01


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """The latent space of one adapter set.

    Attributes:
        reference: ``name@version`` of the set, for messages.
        labels: Names of the labels, in the order of their ids.
        fitted: The diagonal Gaussian that every set has.
        prior: The prior with flow and label means; None for a set without one.
    """

    reference: str
    labels: tuple[str, ...]
    fitted: FittedPrior
    prior: LatentPrior | None = None

    @classmethod
    def of(
        cls, reference: str, labels: Sequence[str], fitted: FittedPrior, prior_tensors: Mapping[str, Tensor] | None
    ) -> Self:
        """From the contents of a set's files; raises ConfigError if the tensors are not a prior of that set."""
        Z = len(fitted.mean)
        prior = None if prior_tensors is None else LatentPrior.from_tensors(prior_tensors, Z, len(labels))
        return cls(reference, tuple(labels), fitted, prior)

    @property
    def latent_size(self) -> int:
        return len(self.fitted.mean)

    @cached_property
    def mean(self) -> Tensor:
        """Of mu over all texts, (Z,)."""
        return torch.tensor(self.fitted.mean) if self.prior is None else self.prior.mean

    @cached_property
    def std(self) -> Tensor:
        """Of mu over all texts, (Z,)."""
        return torch.tensor(self.fitted.std) if self.prior is None else self.prior.std

    @cached_property
    def posterior_variance(self) -> Tensor:
        """Mean of exp(logvar) over texts, (Z,): the variance that z has around mu.

        Without a prior it is estimated as 1 - Var(mu), as if q(z) were the N(0, I) it was trained towards.
        """
        if self.prior is not None:
            return self.prior.posterior_variance.clamp_min(torch.finfo(torch.float32).tiny)
        return (1.0 - self.std.square()).clamp_min(_LEAST_VARIANCE)

    def posterior_distance(self, z: Tensor, mu: Tensor) -> Tensor:
        """mean_i (mu_i - z_i)^2 / E[exp(logvar_i)], (...,): how far a text's mu is from a wanted z, (..., Z)."""
        distance: Tensor = ((mu - z).square() / self.posterior_variance).mean(-1)
        return distance

    def settled(self, steering: Steering, default: Settled) -> Settled:
        """The requested values, and defaults for the rest; without a flow nothing is refined.

        Raises:
            AdapterSetMismatch: ``refine`` is requested, but the set has no flow; or ``focus``, but it has no two labels
                whose means it knows.
        """
        chosen = steering.or_else(default)
        if steering.focus and (self.prior is None or len(self.prior.label_means) < 2):
            self._refuse("focus", "has no prior" if self.prior is None else "has no two labels to change between")
        if self._has_flow:
            return chosen
        if steering.refine:
            self._refuse_without_flow("refine")
        return replace(chosen, refine=0.0)

    def guidance_of(self, draw: Draw) -> float:
        """The requested guidance, or the default.

        Raises:
            AdapterSetMismatch: A guidance is requested that only a flow can follow, and the set has none.
        """
        if draw.guidance is None:
            return defaults.GUIDANCE
        if draw.guidance != 1.0 and not self._has_flow:
            self._refuse_without_flow("guidance")
        return draw.guidance

    def label_number(self, label: str, param: str = "label") -> int:
        """The id of a label.

        Raises:
            AdapterSetMismatch: The set has no labels, or no prior that knows them.
            ConfigError: It has no label of this name.
        """
        if not self.labels or self.prior is None:
            self._refuse(param, "has no labels" if not self.labels else "has no prior that knows its labels")
        if label not in self.labels:
            raise ConfigError(param, label, f"the labels of {self.reference} are {', '.join(self.labels)}: name one")
        return self.labels.index(label)

    def prepare(self) -> None:
        """Does ahead of time what would keep the first request waiting."""
        if self.prior is not None:
            self.prior.prepare()

    def draw(
        self, num: int, seed: int, *, label: str | None = None, truncation: float = 1.0, guidance: float = 1.0
    ) -> Tensor:
        """New z, (num, Z), float32, the same for the same seed; raises as ``label_number`` and the priors do."""
        number = None if label is None else self.label_number(label)
        if self.prior is None:
            return self.truncate(self.fitted.sample(num, seed), truncation)
        return self.prior.draw(num, seed, label=number, truncation=truncation, guidance=guidance)

    def truncate(self, z: Tensor, truncation: float | Tensor) -> Tensor:
        """m + truncation (z - m), (N, Z), towards the mean; ``truncation`` is a number, or one per row, (N, 1)."""
        return self.mean + truncation * (z - self.mean)

    def steered(self, z: Tensor, settled: Settled) -> Tensor:
        """z, (N, Z), truncated and refined as ``settled`` says."""
        if settled.truncation != 1.0:
            z = self.truncate(z, settled.truncation)
        return z if self.prior is None else self.prior.refine(z, settled.refine)

    def typicality(self, z: Tensor) -> list[float] | list[None]:
        """How typical each z, (N, Z), is among real texts; None where the set has no prior."""
        if self.prior is None:
            return [None] * len(z)
        values: list[float] = self.prior.typicality(z).tolist()
        return values

    @property
    def _has_flow(self) -> bool:
        return self.prior is not None and self.prior.network is not None

    def _refuse_without_flow(self, what: str) -> NoReturn:
        self._refuse(what, "has no prior" if self.prior is None else "learned from too few texts to have a flow")

    def _refuse(self, what: str, reason: str = "has no prior") -> NoReturn:
        raise AdapterSetMismatch(
            f"{self.reference} {reason}: leave {what} out, choose another adapter set, or train the set again"
        )
