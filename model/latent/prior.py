"""Where real texts lie in z: drawing from there, leading back to it, and telling how far off a z is.

Three views of one region, all fitted after training to the encodings of training texts (``training.prior_fitting``):
the Gaussian N(mean, Cov(mu) + E[diag(exp(logvar))]) of the aggregated posterior q(z) = E_x q(z|x), the means of the
labels, and a rectified flow (``flow``), which is what draws and refines.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from adavae.model.empty_model import without_memory
from adavae.model.errors import ConfigError
from adavae.model.finite import is_finite
from adavae.model.latent.compiled_flow import CompiledFlow
from adavae.model.latent.flow import FlowConfig, VelocityNetwork

DRAW_STEPS = 12  # of Heun's method, from noise to z
REFINE_STEPS = 4
_LABEL_START = 0.5  # time at which the flow takes over a draw from a label's Gaussian
QUANTILES = 101
_FLOW = "flow."
_SMALLEST_STD = 1e-4
_RIDGE_SHARES = (0.0, 1e-6, 1e-4)  # of the largest variance: what sums in float32 are off by, and at worst
_RIDGE = 0.05  # of the posterior's variance, added to the covariance within a label


@dataclass(frozen=True, slots=True)
class LabelChange:
    """From which label to which a difference leads, and how far: 1 is from one's mean to the other's."""

    source: int
    target: int
    share: float


@dataclass(frozen=True, eq=False)
class LatentPrior:
    """The region that the encodings of real texts fill, of one adapter set.

    Attributes:
        mean: Of mu, (Z,).
        covariance: Of mu within its label, (Z, Z).
        posterior_variance: Mean of exp(logvar), (Z,).
        label_means: Mean of mu of each label, (num_labels, Z); no rows without labels.
        label_shares: Share of each label among the texts, (num_labels,).
        distance_quantiles: Quantiles 0, 0.01 ... 1 of the texts' Mahalanobis distances under q(z), (101,).
        network: The flow over standardised z; None where only the Gaussian was fitted.
    """

    mean: Tensor
    covariance: Tensor
    posterior_variance: Tensor
    label_means: Tensor
    label_shares: Tensor
    distance_quantiles: Tensor
    network: VelocityNetwork | None = None

    @property
    def latent_size(self) -> int:
        return len(self.mean)

    @cached_property
    def std(self) -> Tensor:
        """Standard deviation of mu over all texts, (Z,): the unit of the flow."""
        offsets = self.label_means - self.mean
        between = (self.label_shares.unsqueeze(1) * offsets.square()).sum(0)
        return (self.covariance.diagonal() + between).clamp_min(_SMALLEST_STD**2).sqrt()

    @cached_property
    def principal_directions(self) -> Tensor:
        """Eigenvectors of the covariance of mu over all texts, (Z, Z), in columns, the largest variance first.

        Each points to where its largest entry is positive, so that a set gives the same ones everywhere.
        """
        _, vectors = torch.linalg.eigh(self._covariance_of_mu)
        vectors = vectors.flip(1)
        largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
        directions: Tensor = (vectors * largest.sign()).float()
        return directions

    def prepare(self) -> None:
        """Packs the flow for the compiled code, which the first draw would do otherwise."""
        _ = self._flow

    @torch.no_grad()
    def draw(
        self, num: int, seed: int, *, label: int | None = None, truncation: float = 1.0, guidance: float = 1.0
    ) -> Tensor:
        """New z as real texts have them, (num, Z), float32; the same seed gives the same, row by row.

        With a label the flow does not begin in noise: it learns from few texts where texts lie, and hardly how their
        labels differ. It begins half-way, with a draw from the label's Gaussian.

        Args:
            num: At least 1.
            seed: Of the noise that the flow starts from.
            label: Number of the label that texts should have; None for any.
            truncation: 1 draws from the whole region, less from nearer its middle (m + truncation (z - m)).
            guidance: Above 1 leads further towards the label than texts of that label lie.

        Raises:
            ConfigError: A number outside its range, or no such label.
        """
        if num < 1:
            raise ConfigError("samples", num, "must be at least 1")
        generator = torch.Generator().manual_seed(seed)
        is_led = label is not None and self.network is not None
        noise = torch.stack([torch.randn(1 + is_led, self.latent_size, generator=generator) for _ in range(num)])
        labels = self._label_ids(label, num)
        if self._flow is None:
            root = self._root_of_all if label is None else self._root_within
            return self.truncate(self._centre_of(labels) + noise[:, 0] @ root.T, truncation)
        start, begun = 0.0, noise[:, 0]
        if label is not None:
            start, drawn = _LABEL_START, self._centre_of(labels) + noise[:, 0] @ self._root_within.T
            begun = start * self._standardised(drawn) + (1.0 - start) * noise[:, 1]
        z = self._flow.integrate(begun, start=start, steps=DRAW_STEPS, label_ids=labels, guidance=guidance)
        return self.truncate(self._restored(z), truncation)

    @torch.no_grad()
    def refine(
        self,
        z: Tensor,
        amount: float,
        *,
        seed: int = 0,
        noise: float = 0.0,
        label: int | None = None,
        guidance: float = 1.0,
    ) -> Tensor:
        """Leads z back to where texts lie: into the flow at t = 1 - ``amount``, then along it to t = 1.

        Without noise the flow takes z for a point that still has to become definite, and leads it to a likely z near
        it; with noise (1: as much as the flow expects at that time) another one near it is drawn. All rows get the same
        noise, so that a walk stays a walk.

        Args:
            z: (N, Z).
            amount: 0 leaves z as it is; near 1 little of it is left.
            seed: Of the noise.
            noise: Its share, 0 to 1.
            label: Number of the label that texts should have; None for any.
            guidance: As for ``draw``.

        Returns:
            (N, Z), float32.
        """
        if not 0.0 <= amount <= 1.0:
            raise ConfigError("refine", amount, "must be in [0, 1]")
        if amount == 0.0 or self._flow is None or len(z) == 0:
            return z
        t = 1.0 - amount
        drawn = torch.randn(1, self.latent_size, generator=torch.Generator().manual_seed(seed))
        z_t = t * self._standardised(z) + (1.0 - t) * noise * drawn
        labels = self._label_ids(label, len(z))
        return self._restored(
            self._flow.integrate(z_t, start=t, steps=REFINE_STEPS, label_ids=labels, guidance=guidance)
        )

    def truncate(self, z: Tensor, truncation: float | Tensor) -> Tensor:
        """m + truncation (z - m): towards the mean; a number, or one a row, (N, 1)."""
        truncated: Tensor = self.mean + truncation * (z - self.mean)
        return truncated

    def distance(self, z: Tensor) -> Tensor:
        """Mahalanobis distance of z, (N, Z), from the mean under q(z), (N,)."""
        whitened: Tensor = torch.linalg.solve_triangular(self._cholesky, (z - self.mean).double().T, upper=False)
        return whitened.square().sum(0).sqrt().float()

    def typicality(self, z: Tensor) -> Tensor:
        """Share of real texts that lie at least as far from the middle as z, (N, Z) to (N,): 0 is farther than any."""
        place = torch.searchsorted(self.distance_quantiles, self.distance(z).contiguous())
        return 1.0 - place.clamp(max=QUANTILES - 1) / (QUANTILES - 1)

    def label_change(self, difference: Tensor) -> "LabelChange | None":
        """The change of label that a difference of two z shows, (Z,), as linear discriminant analysis sees it.

        With the labels' means m_k and the covariance S within a label, the difference d raises the label of the largest
        m_k' S^-1 d at the cost of that of the smallest; how far, in distances between their means, is its ``share``.

        Returns:
            None without two labels.
        """
        if len(self.label_means) < 2:
            return None
        offsets = (self.label_means - self.mean).double()
        scores = offsets @ torch.cholesky_solve(difference.double().unsqueeze(1), self._within)  # (K, 1)
        source, target = int(scores.argmin()), int(scores.argmax())
        way = (offsets[target] - offsets[source]).unsqueeze(1)
        length = float((way.T @ torch.cholesky_solve(way, self._within)).squeeze())
        share = float(scores[target] - scores[source]) / length if length > 0.0 else 0.0
        return LabelChange(source, target, share)

    def label_side(self, mu: Tensor, source: int, target: int) -> Tensor:
        """On which side of two labels' boundary texts lie, by the same discriminant: mu, (N, Z), to (N,), float32.

        0 is half-way between the labels' means, 0.5 the target's mean, -0.5 the source's.
        """
        way = (self.label_means[target] - self.label_means[source]).double().unsqueeze(1)  # (Z, 1)
        half_way = (self.label_means[target] + self.label_means[source]).double() / 2
        normal = torch.cholesky_solve(way, self._within)  # (Z, 1)
        length = (way.T @ normal).clamp_min(torch.finfo(torch.float64).tiny)
        side: Tensor = ((mu.double() - half_way) @ normal / length).squeeze(1).float()
        return side

    def label_direction(self, source: int, target: int) -> Tensor:
        """From the mean of one label to that of another, (Z,)."""
        return self.label_means[target] - self.label_means[source]

    def to_tensors(self) -> dict[str, Tensor]:
        """By name, for a file; ``from_tensors`` is the inverse."""
        fields = ("mean", "covariance", "posterior_variance", "label_means", "label_shares", "distance_quantiles")
        tensors = {name: getattr(self, name).clone() for name in fields}
        if self.network is not None:
            tensors |= {f"{_FLOW}{name}": tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], latent_size: int, num_labels: int) -> Self:
        """Reads and checks what a file holds.

        Raises:
            ConfigError: A tensor is missing, left over, of a wrong shape or not finite.
        """
        config = check_prior_shapes(
            {name: tuple(tensor.shape) for name, tensor in tensors.items()}, latent_size, num_labels
        )
        flow = {name.removeprefix(_FLOW): tensor for name, tensor in tensors.items() if name.startswith(_FLOW)}
        plain = {name: tensor for name, tensor in tensors.items() if not name.startswith(_FLOW)}
        for name, tensor in tensors.items():
            if not is_finite(tensor):
                raise ConfigError(f"prior.{name}", "NaN or infinite", "must hold finite numbers")
        network = None if config is None else _network_of(flow, config)
        prior = cls(**{name: tensor.float() for name, tensor in plain.items()}, network=network)
        prior.distance(
            prior.mean.unsqueeze(0)
        )  # a matrix that is no covariance is refused here, not at the first request
        prior.label_change(prior.mean)
        return prior

    def _label_ids(self, label: int | None, num: int) -> Tensor:
        num_labels = len(self.label_means)
        if label is not None and not 0 <= label < num_labels:
            raise ConfigError("label", label, f"must be one of the {num_labels} labels")
        return torch.full((num,), num_labels if label is None else label)

    def _centre_of(self, label_ids: Tensor) -> Tensor:
        centres = torch.cat([self.label_means, self.mean.unsqueeze(0)])
        return centres[label_ids]

    def _standardised(self, z: Tensor) -> Tensor:
        return (z.float() - self.mean) / self.std

    def _restored(self, z: Tensor) -> Tensor:
        return self.mean + self.std * z

    @cached_property
    def _flow(self) -> CompiledFlow | None:
        return None if self.network is None else CompiledFlow(self.network)

    @cached_property
    def _root_within(self) -> Tensor:
        """R with R R' the covariance of mu within its label, (Z, Z)."""
        return _square_root(self.covariance)

    @cached_property
    def _root_of_all(self) -> Tensor:
        """R with R R' the covariance of mu over all texts, (Z, Z)."""
        return _square_root(self._covariance_of_mu)

    @cached_property
    def _cholesky(self) -> Tensor:
        """Lower triangle of q(z)'s covariance, (Z, Z), float64."""
        return _cholesky_of(self._covariance_of_mu + torch.diag(self.posterior_variance.double()))

    @property
    def _covariance_of_mu(self) -> Tensor:
        """Over all texts: within the labels and between them, (Z, Z), float64."""
        offsets = (self.label_means - self.mean).double()
        between = torch.einsum("k,ki,kj->ij", self.label_shares.double(), offsets, offsets)
        return self.covariance.double() + between

    @cached_property
    def _within(self) -> Tensor:
        """Lower triangle of mu's covariance within a label, (Z, Z), float64; firm also where texts were few."""
        return _cholesky_of(self.covariance.double() + _RIDGE * torch.diag(self.posterior_variance.double()))


def check_prior_shapes(found: Mapping[str, tuple[int, ...]], latent_size: int, num_labels: int) -> FlowConfig | None:
    """Whether tensors of these shapes are a prior of such a set; nothing is allocated.

    Returns:
        The shape of its flow's network; None where it has no flow.

    Raises:
        ConfigError: A tensor is missing, left over or of a wrong shape.
    """
    Z, K = latent_size, num_labels
    expected: dict[str, tuple[int, ...]] = {
        "mean": (Z,),
        "covariance": (Z, Z),
        "posterior_variance": (Z,),
        "label_means": (K, Z),
        "label_shares": (K,),
        "distance_quantiles": (QUANTILES,),
    }
    flow = {name.removeprefix(_FLOW): shape for name, shape in found.items() if name.startswith(_FLOW)}
    plain = {name: shape for name, shape in found.items() if not name.startswith(_FLOW)}
    if plain != expected:
        raise ConfigError("prior", plain, f"must hold {expected}")
    return _flow_config(flow, Z, K) if flow else None


def _flow_config(found: Mapping[str, tuple[int, ...]], latent_size: int, num_labels: int) -> FlowConfig:
    """The network's shape, read off those of its tensors."""
    if len(found.get("input.weight", ())) != 2:
        raise ConfigError("prior.flow", sorted(found), "must hold input.weight, (width, Z)")
    depth = len({name.split(".")[1] for name in found if name.startswith("blocks.")})
    config = FlowConfig(latent_size=latent_size, num_labels=num_labels, width=found["input.weight"][0], depth=depth)
    expected = {name: tuple(tensor.shape) for name, tensor in _empty_network(config).state_dict().items()}
    if found != expected:
        raise ConfigError("prior.flow", found, f"must hold {expected}")
    return config


def _network_of(tensors: Mapping[str, Tensor], config: FlowConfig) -> VelocityNetwork:
    network = _empty_network(config)
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return network.requires_grad_(False).eval()


def _empty_network(config: FlowConfig) -> VelocityNetwork:
    """Without memory for its weights."""
    with without_memory():
        return VelocityNetwork(config)


def _cholesky_of(covariance: Tensor) -> Tensor:
    """Lower triangle, (Z, Z), float64; raises ConfigError for what is no covariance.

    Of fewer texts than dimensions it is singular, and what float32 rounds away can make it negative: where a ridge that
    changes nothing else is not enough, one in proportion to that rounding is added.
    """
    identity = torch.eye(len(covariance), dtype=torch.float64)
    largest = float(covariance.diagonal().max())
    for share in _RIDGE_SHARES:
        ridge = max(_SMALLEST_STD**2, share * largest)
        triangle, failed_at = torch.linalg.cholesky_ex(covariance + ridge * identity)
        if not int(failed_at) and bool(torch.isfinite(triangle).all()):
            lower: Tensor = triangle
            return lower
    raise ConfigError("prior.covariance", "not positive", "must be a covariance matrix")


def _square_root(covariance: Tensor) -> Tensor:
    """Symmetric square root of a covariance, (Z, Z), also where it is singular."""
    values, vectors = torch.linalg.eigh(covariance.double())
    root: Tensor = (vectors * values.clamp_min(0.0).sqrt() @ vectors.T).float()
    return root


def mahalanobis_quantiles(distances: Tensor) -> Tensor:
    """What ``typicality`` is read off: quantiles 0, 0.01 ... 1 of distances, (N,) to (101,)."""
    return torch.quantile(distances.double(), torch.linspace(0, 1, QUANTILES, dtype=torch.float64)).float()


def walk_bump(num_steps: int, depth: float) -> Tensor:
    """Truncation along a walk, (num_steps, 1): 1 at both ends, 1 - ``depth`` in the middle."""
    tau = torch.linspace(0.0, math.pi, num_steps)
    return (1.0 - depth * tau.sin()).unsqueeze(1)
