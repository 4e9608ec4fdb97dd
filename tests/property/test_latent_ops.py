"""What holds of ways through the latent space between any two latents."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adavae.model.config import Interpolation
from adavae.model.latent_ops import analogy, interpolate, taus

_LONGEST = 2.0**60
_NUMBERS = st.floats(-_LONGEST, _LONGEST, width=32) | st.floats(-3, 3, width=32) | st.sampled_from([0.0, 1.0, -1.0])
_STEPS = st.integers(2, 12)
_METHODS = st.sampled_from(Interpolation)


@st.composite
def latents(draw: st.DrawFn, num: int) -> list[Tensor]:
    """``num`` latents of one size, now and then multiples of each other."""
    size = draw(st.integers(1, 8))
    rows = [torch.tensor(draw(st.lists(_NUMBERS, min_size=size, max_size=size))) for _ in range(num)]
    if draw(st.booleans()):
        rows[-1] = rows[0] * draw(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0]))
    return rows


@settings(max_examples=200, deadline=None)
@given(ends=latents(2), steps=_STEPS, method=_METHODS)
def test_a_way_has_its_exact_ends_and_is_finite(ends: list[Tensor], steps: int, method: Interpolation) -> None:
    way = interpolate(ends[0], ends[1], steps, method)
    assert way.shape == (steps, len(ends[0]))
    assert torch.equal(way[0], ends[0])
    assert torch.equal(way[-1], ends[1])
    assert bool(way.isfinite().all())


@settings(max_examples=200, deadline=None)
@given(ends=latents(2), steps=_STEPS, method=_METHODS)
def test_a_way_leaves_neither_the_box_nor_the_ball_of_its_ends(
    ends: list[Tensor], steps: int, method: Interpolation
) -> None:
    """Linear stays between the ends in every dimension; no point is longer than the longer end."""
    source, target = (end.double() for end in ends)
    way = interpolate(ends[0], ends[1], steps, method).double()
    longest = max(float(source.norm()), float(target.norm()))
    slack = 1e-5 * longest
    assert float(way.norm(dim=1).max()) <= longest + slack
    if method is Interpolation.LINEAR:
        assert bool((way <= torch.maximum(source, target) + slack).all())
        assert bool((way >= torch.minimum(source, target) - slack).all())


@settings(max_examples=200, deadline=None)
@given(ends=latents(2), steps=_STEPS)
def test_spherical_changes_the_length_evenly_wherever_an_arc_is_defined(ends: list[Tensor], steps: int) -> None:
    source, target = (end.double() for end in ends)
    lengths = source.norm(), target.norm()
    if not min(lengths):
        return
    angle = math.acos(max(-1.0, min(1.0, float(torch.dot(source / lengths[0], target / lengths[1])))))
    if not 1e-3 < angle < math.pi - 1e-3:
        return
    way = interpolate(ends[0], ends[1], steps, Interpolation.SPHERICAL).double()
    tau = taus(steps).double()
    expected = lengths[0] * (1 - tau) + lengths[1] * tau
    torch.testing.assert_close(way.norm(dim=1), expected, rtol=1e-4, atol=1e-30)


@settings(max_examples=200, deadline=None)
@given(ends=latents(2), steps=_STEPS, method=_METHODS)
def test_the_way_back_is_the_way_there_reversed(ends: list[Tensor], steps: int, method: Interpolation) -> None:
    there, back = interpolate(ends[0], ends[1], steps, method), interpolate(ends[1], ends[0], steps, method)
    slack = 1e-5 * max(float(end.abs().max()) for end in ends) + 1e-30
    torch.testing.assert_close(there, back.flip(0), rtol=0, atol=slack)


@settings(max_examples=200, deadline=None)
@given(rows=latents(3), scale=st.floats(-4, 4))
def test_an_analogy_and_its_opposite_cancel(rows: list[Tensor], scale: float) -> None:
    a, b, c = (row.double() for row in rows)
    slack = 1e-12 * max(float(row.abs().max()) for row in (a, b, c)) + 1e-30
    torch.testing.assert_close(analogy(b, a, analogy(a, b, c, scale), scale), c, rtol=0, atol=slack)
    assert torch.equal(analogy(a, a, c, scale), c)
