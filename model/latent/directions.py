"""Ways through the latent space: directions with a meaning, walks that stay where texts lie, steps around a point.

Pure functions over z; what is written along them is for ``operations``.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from adavae.model.decoding.decoding import NUM_SEEDS
from adavae.model.errors import ConfigError
from adavae.model.latent.defaults import LEAST_LABEL_SHARE
from adavae.model.latent.prior import LabelChange, walk_bump
from adavae.model.latent.space import LatentSpace
from adavae.model.latent.steering import Settled


def along_dimension(space: LatentSpace, index: int) -> Tensor:
    """One standard deviation of a dimension, (Z,).

    Raises:
        ConfigError: There is no such dimension.
    """
    if not 0 <= index < space.latent_size:
        rule = f"{space.reference} has the dimensions 0 to {space.latent_size - 1}: name one"
        raise ConfigError("direction.dimension", index, rule)
    direction = torch.zeros(space.latent_size)
    direction[index] = space.std[index]
    return direction


def between_labels(space: LatentSpace, source: str, target: str) -> Tensor:
    """From one label's mean to another's, (Z,); raises as ``LatentSpace.label_number`` does."""
    numbers = space.label_number(source, "direction.from"), space.label_number(target, "direction.to")
    assert space.prior is not None  # or label_number would have refused
    return space.prior.label_direction(*numbers)


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What an analogy adds to z_C, as its examples a and b show it.

    Attributes:
        difference: z_B - z_A, (Z,).
        labels: The change of label in it; None where it shows none, or none is asked for.
        way: From the mean of the one label to that of the other, (Z,).
        focus: 0 is the difference as it is (paper Table 4), 1 the change of label alone.
    """

    difference: Tensor
    labels: LabelChange | None
    way: Tensor
    focus: float

    def by(self, gain: float) -> Tensor:
        """What is added, (Z,); ``gain`` times the way between the labels, where there is one."""
        return self.difference if self.labels is None else torch.lerp(self.difference, gain * self.way, self.focus)


def change(space: LatentSpace, z_a: Tensor, z_b: Tensor, focus: float) -> Change:
    """What a, (Z,), becoming b, (Z,), shows: their difference, and the change of label in it.

    The difference of two sentences is mostly what else they say. Where a set knows labels and a becomes b by crossing
    from one to another, the way between these labels' means says the same without that: the part of z_B - z_A in
    directions of content is left out (Fisher's S^-1 (m_b - m_a) tells how much of it is label).
    """
    difference = z_b - z_a
    labels = None if space.prior is None or focus == 0.0 else space.prior.label_change(difference)
    if labels is None or labels.share < LEAST_LABEL_SHARE:
        return Change(difference, None, torch.zeros_like(difference), focus)
    assert space.prior is not None  # no change of label without one
    return Change(difference, labels, space.prior.label_direction(labels.source, labels.target), focus)


def denoised_walk(space: LatentSpace, way: Tensor, settled: Settled) -> Tensor:
    """A walk whose inner points are drawn towards the middle and led back to where texts lie, most in its middle.

    Both are blended in by sin(pi tau), so that neighbours stay neighbours and the ends are what they were, exactly.

    Args:
        space: Where it leads through.
        way: (steps, Z).
        settled: ``truncation`` is the depth of the bump, ``refine`` that of the flow.

    Returns:
        (steps, Z).
    """
    if len(way) < 3 or (settled.truncation == 0.0 and (settled.refine == 0.0 or space.prior is None)):
        return way
    drawn = space.truncate(way, walk_bump(len(way), settled.truncation))
    if space.prior is not None and settled.refine > 0.0:
        share = 1.0 - walk_bump(len(way), 1.0)  # (steps, 1), 0 at both ends
        drawn = drawn + share * (space.prior.refine(drawn, settled.refine) - drawn)
    return torch.cat([way[:1], drawn[1:-1], way[-1:]])


def places(low: float, high: float, steps: int) -> Tensor:
    """Even places of a traversal, ends included, (steps,), float64.

    Raises:
        ConfigError: Fewer than two steps, or not two finite numbers, the smaller one first.
    """
    if steps < 2:
        raise ConfigError("steps", steps, "must be at least 2: both ends are counted")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError("range", [low, high], "must be two finite numbers, the smaller one first")
    return torch.linspace(low, high, steps, dtype=torch.float64)


def around(z: Tensor, width: Tensor, num: int, seed: int) -> Tensor:
    """``num`` points around z, (Z,), as far away as ``width``, (Z,), says: (num, Z); the same seed gives the same."""
    noise = torch.randn(num, len(z), generator=torch.Generator().manual_seed(seed % NUM_SEEDS))
    return z + width * noise
