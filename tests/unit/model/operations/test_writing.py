import pytest
import torch

from adavae.model.decoding.decoding import Decoding
from adavae.model.errors import AdapterSetMismatch
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.latent.space import LatentSpace
from adavae.model.latent.steering import ANY, USUAL, Draw
from adavae.model.operations.steps import Decode
from adavae.model.operations.writing import sample


def test_a_draw_may_not_be_empty_and_seeds_count_up() -> None:
    space = LatentSpace("set@1", (), FittedPrior.standard(4))
    plan = sample(space, 3, Decoding(seed=7), ANY, USUAL)
    step = next(plan)
    while not isinstance(step, Decode):
        step = plan.send(step.run())  # type: ignore[union-attr]
    assert [decoding.min_tokens for decoding in step.decodings] == [1, 1, 1]
    assert [decoding.seed for decoding in step.decodings] == [7, 8, 9]
    torch.testing.assert_close(step.z, space.draw(3, 7, truncation=0.95))


def test_guidance_without_effect_is_refused_before_anything_is_drawn() -> None:
    space = LatentSpace("set@1", ("no", "yes"), FittedPrior.standard(4))
    with pytest.raises(AdapterSetMismatch, match="leave guidance out"):
        next(sample(space, 3, Decoding(), Draw(label="yes", guidance=2.0), USUAL))
