"""A rectified flow over z: noise becomes the z of a sentence along nearly straight lines.

    z1: standardised z of a text      z0 ~ N(0, I)      z_t = (1 - t) z0 + t z1
    v(z_t, t, label) is trained on |v - (z1 - z0)|^2; dz/dt = v leads from noise (t = 0) to sentences (t = 1)

(Liu et al. 2023; Lipman et al. 2023.) The label is dropped at random in training, so one network learns both v(.|label)
and v(.), and guidance, v + w (v_label - v), can go further than the label alone. ``prior`` draws, refines and judges
with it; ``training.flow_fitting`` fits one to a set's encodings.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adavae.model.errors import ConfigError

_TIME_FEATURES = 64
_LIMITS = {"latent_size": (1, 4096), "num_labels": (0, 1000), "width": (1, 4096), "depth": (1, 32)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig:
    """Shape of a velocity network.

    Attributes:
        latent_size: Z.
        num_labels: Labels it knows; 0 for none.
        width: Of its residual stream.
        depth: Residual blocks.
    """

    latent_size: int
    num_labels: int = 0
    width: int = 512
    depth: int = 4

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"flow.{name}", value, f"must be in [{low}, {high}]")


class VelocityNetwork(nn.Module):
    """v(z_t, t, label): a residual MLP that reads time and label at every block."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.input = nn.Linear(config.latent_size, config.width)
        self.label = nn.Embedding(config.num_labels + 1, config.width)  # the last one stands for "any"
        self.blocks = nn.ModuleList(Block(config.width) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, config.latent_size)
        nn.init.zeros_(self.label.weight)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, z: Tensor, t: Tensor, label_ids: Tensor) -> Tensor:
        """Velocities.

        Args:
            z: Standardised points at times ``t``, (N, Z).
            t: Their times in [0, 1], (N,).
            label_ids: Their labels, (N,), int64; ``any_label`` for none.

        Returns:
            (N, Z).
        """
        time = time_features(t)  # (N, 64)
        hidden = self.input(z) + self.label(label_ids)  # (N, width)
        for block in self.blocks:
            hidden = block(hidden, time)
        velocity: Tensor = self.output(self.norm(hidden))
        return velocity

    @property
    def any_label(self) -> int:
        """The label id that stands for no label."""
        return self.config.num_labels

    def averaged(self, other: Self, share: float) -> None:
        """Moves every weight by ``share`` towards ``other``'s: a running average over training."""
        for average, newest in zip(self.parameters(), other.parameters(), strict=True):
            average.data.lerp_(newest.data, share)


class Block(nn.Module):
    """x + W2 GELU(W1 LN(x) + time)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width)
        self.time = nn.Linear(_TIME_FEATURES, width, bias=False)
        self.down = nn.Linear(width, width)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        inner = F.gelu(self.up(self.norm(x)) + self.time(time))
        added: Tensor = self.down(inner)
        return x + added


def flow_loss(
    network: VelocityNetwork, z1: Tensor, label_ids: Tensor, generator: torch.Generator, label_dropout: float = 0.15
) -> Tensor:
    """Mean |v(z_t, t, label) - (z1 - z0)|^2 over rows and dimensions, for one draw of z0, t and dropped labels.

    Args:
        network: Being trained.
        z1: Standardised z of texts, (N, Z).
        label_ids: (N,), int64; ``any_label`` where a text has none.
        generator: Source of all randomness, on the device of ``z1``.
        label_dropout: Share of the rows whose label is dropped.
    """
    N = len(z1)
    z0 = torch.randn(z1.shape, generator=generator, device=z1.device)
    t = torch.rand(N, generator=generator, device=z1.device)
    is_left_out = torch.rand(N, generator=generator, device=z1.device) < label_dropout
    z_t = z0.lerp(z1, t.unsqueeze(1))
    v = network(z_t, t, label_ids.masked_fill(is_left_out, network.any_label))
    loss: Tensor = (v - (z1 - z0)).square().mean()
    return loss


def integrate(
    network: VelocityNetwork, z: Tensor, *, start: float, steps: int, label_ids: Tensor, guidance: float = 1.0
) -> Tensor:
    """Follows the flow from t = ``start`` to 1 by Heun's method, two evaluations a step.

    Args:
        network: The velocities.
        z: Standardised points at t = ``start``, (N, Z).
        start: In [0, 1].
        steps: At least 1; evenly spaced.
        label_ids: (N,), int64; ``any_label`` for none.
        guidance: w in v + w (v_label - v): 1 follows the label, more leads further towards it.

    Returns:
        Standardised points at t = 1, (N, Z).
    """
    times = torch.linspace(start, 1.0, steps + 1).tolist()
    for now, then in pairwise(times):
        v = _guided(network, z, now, label_ids, guidance)
        ahead = z + (then - now) * v
        z = z + (then - now) / 2 * (v + _guided(network, ahead, then, label_ids, guidance))
    return z


def _guided(network: VelocityNetwork, z: Tensor, t: float, label_ids: Tensor, guidance: float) -> Tensor:
    time = z.new_full((len(z),), t)
    v: Tensor = network(z, time, label_ids)
    if guidance == 1.0:
        return v
    without: Tensor = network(z, time, torch.full_like(label_ids, network.any_label))
    return without.lerp(v, guidance)


def time_features(t: Tensor) -> Tensor:
    """Sines and cosines of t at 32 frequencies, (N,) to (N, 64)."""
    frequencies = torch.exp(torch.linspace(0.0, math.log(100.0), _TIME_FEATURES // 2, device=t.device))
    angles = 2.0 * math.pi / 4.0 * t.unsqueeze(1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(t.dtype)
