"""Interpolation and analogy in the latent space (paper Section 3.4): pure functions over z."""

import torch
from torch import Tensor

from adavae.model.config import Interpolation
from adavae.model.errors import ConfigError, LatentShapeError

_NEARLY_PARALLEL = 1e-4  # radians; below this the arc is practically a line


def taus(steps: int) -> Tensor:
    """Evenly spaced numbers from 0 to 1, ends included, (steps,), float64.

    Raises:
        ConfigError: Fewer than two steps.
    """
    if steps < 2:
        raise ConfigError("steps", steps, "must be at least 2: both ends are counted")
    return torch.linspace(0.0, 1.0, steps, dtype=torch.float64)


def interpolate(source: Tensor, target: Tensor, steps: int, method: Interpolation = Interpolation.LINEAR) -> Tensor:
    """Points from ``source`` to ``target``.

    Linear is ``z = source * (1 - tau) + target * tau`` (paper Table 5); spherical goes along the arc between the two
    directions while the length changes evenly, and along the line where no arc is defined (parallel, opposite, zero).

    Args:
        source: (Z,).
        target: (Z,).
        steps: Number of points, both ends included.
        method: Along the line, or along the arc.

    Returns:
        (steps, Z); the first row is ``source`` and the last ``target``, exactly.

    Raises:
        LatentShapeError: Different sizes, or numbers that are not finite.
    """
    _check_latents(source=source, target=target)
    tau = taus(steps).to(source).unsqueeze(1)  # (steps, 1)
    is_arc = method is Interpolation.SPHERICAL
    way = _arc(source.double(), target.double(), tau.double()).to(source) if is_arc else _line(source, target, tau)
    way[0], way[-1] = source, target
    return way


def analogy(a: Tensor, b: Tensor, c: Tensor, scale: float = 1.0) -> Tensor:
    """z_D = z_C + scale * (z_B - z_A), each (Z,) (paper Table 4).

    Raises:
        LatentShapeError: Different sizes, or numbers that are not finite.
    """
    _check_latents(a=a, b=b, c=c)
    if not abs(scale) < float("inf"):
        raise ConfigError("scale", scale, "must be a finite number")
    return c + scale * (b - a)


def _line(source: Tensor, target: Tensor, tau: Tensor) -> Tensor:
    return source * (1 - tau) + target * tau


def _arc(source: Tensor, target: Tensor, tau: Tensor) -> Tensor:
    """In float64: float32 cannot tell opposite directions from nearly opposite ones, nor square a length of 1e20."""
    lengths = source.norm(), target.norm()
    if not (lengths[0] > 0 and lengths[1] > 0):
        return _line(source, target, tau)
    directions = source / lengths[0], target / lengths[1]
    angle = torch.arccos(torch.dot(*directions).clamp(-1, 1))
    if not _NEARLY_PARALLEL < float(angle) < torch.pi - _NEARLY_PARALLEL:
        return _line(source, target, tau)
    first, second = torch.sin((1 - tau) * angle), torch.sin(tau * angle)
    direction = (first * directions[0] + second * directions[1]) / torch.sin(angle)
    arc: Tensor = direction * (lengths[0] * (1 - tau) + lengths[1] * tau)
    return arc


def _check_latents(**latents: Tensor) -> None:
    (first_name, first), *others = latents.items()
    for name, z in latents.items():
        if z.ndim != 1 or not z.numel():
            raise LatentShapeError(f"{name} has shape {tuple(z.shape)}: must be one vector, (Z,)")
        if not bool(torch.isfinite(z).all()):
            raise LatentShapeError(f"{name} holds NaN or infinite numbers: every number must be finite")
    for name, z in others:
        if z.shape != first.shape:
            raise LatentShapeError(f"{name} has {len(z)} numbers and {first_name} {len(first)}: sizes must be equal")
