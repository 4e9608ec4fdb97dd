"""Interpolation, analogy and draws from the prior."""

import math

import pytest
import torch
from torch import Tensor

from adavae.model.config import Interpolation
from adavae.model.errors import ConfigError, LatentShapeError
from adavae.model.latent_ops import analogy, interpolate, taus

METHODS = list(Interpolation)
Z = 6


def latent(seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(Z, generator=torch.Generator().manual_seed(seed))


def line(source: Tensor, target: Tensor, steps: int) -> Tensor:
    return torch.stack([source * (1 - tau) + target * tau for tau in taus(steps)])


def test_taus_are_even_and_count_both_ends() -> None:
    assert taus(2).tolist() == [0.0, 1.0]
    assert taus(5).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("steps", [1, 0, -3])
def test_fewer_than_two_steps_are_refused(steps: int) -> None:
    with pytest.raises(ConfigError, match=r"steps is .*at least 2"):
        taus(steps)
    with pytest.raises(ConfigError, match=r"steps is .*at least 2"):
        interpolate(latent(1), latent(2), steps)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [2, 3, 7, 50])
def test_both_ends_are_exact(method: Interpolation, steps: int) -> None:
    source, target = latent(1, 0.1), latent(2, 7.3)
    way = interpolate(source, target, steps, method)
    assert way.shape == (steps, Z)
    assert torch.equal(way[0], source)
    assert torch.equal(way[-1], target)


def test_linear_goes_along_the_line_in_even_steps() -> None:
    source, target = latent(1), latent(2)
    torch.testing.assert_close(interpolate(source, target, 9), line(source, target, 9))


def test_spherical_turns_evenly_while_the_length_changes_evenly() -> None:
    source, target = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0])
    way = interpolate(source, target, 5, Interpolation.SPHERICAL)
    torch.testing.assert_close(way.norm(dim=1), torch.tensor([2.0, 2.5, 3.0, 3.5, 4.0]))
    torch.testing.assert_close(torch.atan2(way[:, 1], way[:, 0]), torch.arange(5) * math.pi / 8)


@pytest.mark.parametrize("method", METHODS)
def test_the_way_back_is_the_way_there_reversed(method: Interpolation) -> None:
    there, back = (interpolate(*ends, 8, method) for ends in ((latent(1), latent(2, 3.0)), (latent(2, 3.0), latent(1))))
    torch.testing.assert_close(there, back.flip(0))


@pytest.mark.parametrize("factor", [1.0, 2.0, 1e-3, 1 + 1e-6])
@pytest.mark.parametrize("seed", range(8))
def test_spherical_between_parallel_latents_is_the_line(seed: int, factor: float) -> None:
    source = latent(seed)
    way = interpolate(source, source * factor, 6, Interpolation.SPHERICAL)
    torch.testing.assert_close(way, line(source, source * factor, 6))


@pytest.mark.parametrize("factor", [-1.0, -2.0, -1e-3])
@pytest.mark.parametrize("seed", range(8))
def test_spherical_between_opposite_latents_is_the_line(seed: int, factor: float) -> None:
    """In float32 the angle of some opposite latents came to less than pi, and the way was no line."""
    source = latent(seed)
    way = interpolate(source, source * factor, 6, Interpolation.SPHERICAL)
    torch.testing.assert_close(way, line(source, source * factor, 6))


@pytest.mark.parametrize(("first", "second"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)])
def test_spherical_from_or_to_zero_is_the_line(first: float, second: float) -> None:
    source, target = latent(1, first), latent(2, second)
    torch.testing.assert_close(interpolate(source, target, 6, Interpolation.SPHERICAL), line(source, target, 6))


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e18, 1e25, 3e37])
def test_spherical_stays_finite_whatever_the_length(scale: float) -> None:
    """The length of a latent of 1e20 overflowed float32, and every point between the ends was NaN."""
    source, target = latent(1, scale), latent(2, scale)
    way = interpolate(source, target, 5, Interpolation.SPHERICAL)
    assert bool(way.isfinite().all())
    torch.testing.assert_close(way / scale, interpolate(latent(1), latent(2), 5, Interpolation.SPHERICAL))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", METHODS)
def test_the_way_has_the_dtype_of_its_ends(dtype: torch.dtype, method: Interpolation) -> None:
    assert interpolate(latent(1).to(dtype), latent(2).to(dtype), 4, method).dtype is dtype


@pytest.mark.parametrize("method", METHODS)
def test_the_ends_are_left_as_they_were(method: Interpolation) -> None:
    source, target = latent(1), latent(2)
    interpolate(source, target, 4, method).zero_()
    assert torch.equal(source, latent(1))
    assert torch.equal(target, latent(2))


def test_analogy_adds_the_difference_to_c() -> None:
    a, b, c = latent(1), latent(2), latent(3)
    torch.testing.assert_close(analogy(a, b, c), c + b - a)
    torch.testing.assert_close(analogy(a, b, c, scale=-0.5), c - 0.5 * (b - a))
    assert torch.equal(analogy(a, a, c), c)
    assert torch.equal(analogy(a, b, c, scale=0.0), c)


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -float("inf")])
def test_a_scale_that_is_not_finite_is_refused(scale: float) -> None:
    with pytest.raises(ConfigError, match=r"scale is .*finite"):
        analogy(latent(1), latent(2), latent(3), scale)


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (torch.zeros(Z + 1), f"target has {Z + 1} numbers and source {Z}"),
        (torch.zeros(1, Z), r"target has shape \(1, 6\)"),
        (torch.zeros(0), r"target has shape \(0,\)"),
        (torch.tensor(1.0), r"target has shape \(\)"),
        (torch.full((Z,), float("nan")), "target holds NaN or infinite"),
        (torch.full((Z,), float("inf")), "target holds NaN or infinite"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_a_latent_that_does_not_fit_is_refused_by_name(z: Tensor, message: str, method: Interpolation) -> None:
    with pytest.raises(LatentShapeError, match=message):
        interpolate(latent(1), z, 3, method)
    with pytest.raises(LatentShapeError, match=message.replace("target", "b").replace("source", "a")):
        analogy(latent(1), z, latent(3))
