"""An analogy's direction: the plain difference, or the change of label that it shows."""

from dataclasses import replace

import torch

from adavae.model.latent.defaults import LABEL_GAIN
from adavae.model.latent.directions import change
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.latent.space import LatentSpace
from adavae.model.training.prior_fitting import fit_prior

Z = 4


def labelled_space() -> LatentSpace:
    """Labels differ along the first axis; along the others texts differ in what else they say."""
    labels = torch.arange(600) % 2
    mu = 0.3 * torch.randn(600, Z, generator=torch.Generator().manual_seed(0))
    mu[:, 0] += torch.where(labels == 0, -1.0, 1.0)
    prior = fit_prior(mu, torch.full_like(mu, -4.0), labels.tolist(), num_labels=2, flow_steps=0)
    return LatentSpace("set@1", ("no", "yes"), FittedPrior.of(mu), prior)


def changed(space: LatentSpace, z_a: torch.Tensor, z_b: torch.Tensor, focus: float) -> torch.Tensor:
    return change(space, z_a, z_b, focus).by(LABEL_GAIN)


SPACE = labelled_space()
NO, YES = torch.tensor([-1.0, 0.4, -0.3, 0.2]), torch.tensor([1.0, -0.5, 0.6, 0.1])


def test_without_focus_it_is_the_difference() -> None:
    assert torch.equal(changed(SPACE, NO, YES, 0.0), YES - NO)


def test_a_change_of_label_leaves_the_content_of_the_pair_out() -> None:
    assert SPACE.prior is not None
    way = changed(SPACE, NO, YES, 1.0)
    torch.testing.assert_close(way / way[0], SPACE.prior.label_direction(0, 1) / SPACE.prior.label_direction(0, 1)[0])
    assert float(way[0]) >= LABEL_GAIN * 1.9
    assert float(way[1:].abs().max()) < 0.2


def test_the_way_back_is_the_other_way() -> None:
    assert float(changed(SPACE, YES, NO, 1.0)[0]) < -LABEL_GAIN * 1.9


def test_a_pair_of_one_label_keeps_its_difference() -> None:
    other = NO + torch.tensor([0.0, 1.0, 0.0, 0.0])
    torch.testing.assert_close(changed(SPACE, NO, other, 1.0), other - NO)


def test_half_of_each() -> None:
    whole = changed(SPACE, NO, YES, 1.0)
    torch.testing.assert_close(changed(SPACE, NO, YES, 0.5), (whole + YES - NO) / 2)


def test_a_set_without_prior_knows_no_labels() -> None:
    assert torch.equal(changed(replace(SPACE, prior=None), NO, YES, 1.0), YES - NO)


def test_a_larger_gain_goes_further_the_same_way() -> None:
    shown = change(SPACE, NO, YES, 1.0)
    torch.testing.assert_close(shown.by(3.0), 2.0 * shown.by(1.5))


def test_a_plain_difference_knows_no_gain() -> None:
    shown = change(SPACE, NO, YES, 0.0)
    assert torch.equal(shown.by(3.0), shown.by(1.0))
