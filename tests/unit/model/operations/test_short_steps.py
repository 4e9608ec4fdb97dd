"""What is computed on latents comes in short steps, between which others have their turn, with the same numbers."""

from typing import Any

import pytest
import torch

from adavae.model import latent_ops
from adavae.model.config import Interpolation
from adavae.model.decoding.decoding import Decoding
from adavae.model.latent import defaults, directions
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.latent.space import LatentSpace
from adavae.model.latent.steering import USUAL
from adavae.model.operations.moves import walks
from adavae.model.operations.steps import COMPUTED_AT_ONCE, Compute, Decode, Encode, Plan
from adavae.model.operations.writing import steered
from tests.tiny import PREFIXED
from tests.tiny_prior import tiny_prior

PRIOR = tiny_prior(PREFIXED)
SPACE = LatentSpace("set@1", PREFIXED.labels, FittedPrior.standard(PRIOR.latent_size), PRIOR)


def computed(plan: Plan[Any], answer: object = None) -> tuple[object, int]:
    """What follows the next computations, or the plan's result, and how many they were."""
    num_steps = 0
    try:
        step = plan.send(answer)
        while isinstance(step, Compute):
            num_steps += 1
            step = plan.send(step.run())
    except StopIteration as end:
        return end.value, num_steps
    return step, num_steps


@pytest.mark.parametrize(("num_rows", "num_expected"), [(1, 1), (64, 1), (65, 2), (384, 6)])
def test_many_latents_are_led_back_a_few_at_a_time(num_rows: int, num_expected: int) -> None:
    """384 of an analogy were one computation, for which every other client's tokens stood still."""
    z = torch.randn(num_rows, PRIOR.latent_size, generator=torch.Generator().manual_seed(1))
    settled = SPACE.settled(USUAL, defaults.ANALOGY)
    led, num_steps = computed(steered(SPACE, z, settled))
    assert num_steps == num_expected
    assert isinstance(led, torch.Tensor)
    assert torch.equal(led, SPACE.steered(z, settled))
    assert not torch.equal(led, z)


def test_walks_beside_each_other_are_computed_one_at_a_time() -> None:
    """32 walks of 64 steps held the device for a second."""
    pairs, steps = [("a", "b")] * 5, COMPUTED_AT_ONCE
    ends = torch.randn(10, PRIOR.latent_size, generator=torch.Generator().manual_seed(2))
    plan = walks(
        SPACE,
        pairs,
        steps=steps,
        method=Interpolation.LINEAR,
        decoding=Decoding(),
        steering=USUAL,
        params=["text"] * 10,
    )
    assert isinstance(next(plan), Encode)
    step, num_steps = computed(plan, ends)
    assert num_steps == 5
    assert isinstance(step, Decode)
    settled = SPACE.settled(USUAL, defaults.WALK)
    ways = [latent_ops.interpolate(ends[row], ends[row + 1], steps, Interpolation.LINEAR) for row in range(0, 10, 2)]
    assert torch.equal(step.z, torch.cat([directions.denoised_walk(SPACE, way, settled) for way in ways]))
