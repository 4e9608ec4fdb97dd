"""A set's latent space: labels by name, what is refused without a prior, and what stands in for one."""

from dataclasses import replace

import pytest
import torch

from adavae.model.errors import AdapterSetMismatch, ConfigError
from adavae.model.latent import defaults
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.latent.space import LatentSpace
from adavae.model.latent.steering import USUAL, Draw, Settled, Steering
from tests.tiny import PLAIN, PREFIXED
from tests.tiny_prior import tiny_prior

FITTED = FittedPrior((1.0, 2.0, 3.0, 4.0, 5.0, 6.0), (0.5,) * 6)
WITHOUT = LatentSpace("old@1", ("no", "yes"), FITTED)
WITH = LatentSpace.of("new@1", PREFIXED.labels, FITTED, tiny_prior(PREFIXED).to_tensors())
UNLABELLED = LatentSpace.of("plain@1", (), FittedPrior.standard(4), tiny_prior(PLAIN).to_tensors())


def test_a_set_without_a_prior_draws_as_it_always_did() -> None:
    assert torch.equal(WITHOUT.draw(5, 3), FITTED.sample(5, 3))
    halfway = WITHOUT.draw(5, 3, truncation=0.5)
    torch.testing.assert_close(halfway, (FITTED.sample(5, 3) + torch.tensor(FITTED.mean)) / 2)


def test_a_set_without_a_prior_refines_nothing_and_says_so_where_it_is_asked_to() -> None:
    wanted = Settled(refine=0.4, truncation=1.0, candidates=3)
    assert WITHOUT.settled(USUAL, wanted) == Settled(refine=0.0, truncation=1.0, candidates=3)
    assert WITH.settled(USUAL, wanted) == wanted
    with pytest.raises(AdapterSetMismatch, match=r"old@1 has no prior: leave refine out"):
        WITHOUT.settled(Steering(refine=0.2), wanted)
    assert WITHOUT.settled(Steering(refine=0.0), wanted).refine == 0.0


def test_a_focus_is_refused_where_no_label_can_change() -> None:
    """It was taken and had no effect."""
    assert WITH.settled(Steering(focus=0.5), defaults.ANALOGY).focus == 0.5
    for space, reason in ((WITHOUT, "old@1 has no prior"), (UNLABELLED, "plain@1 has no two labels")):
        assert space.settled(Steering(focus=0.0), defaults.ANALOGY).focus == 0.0
        assert space.settled(USUAL, defaults.ANALOGY).focus == defaults.ANALOGY.focus
        with pytest.raises(AdapterSetMismatch, match=rf"{reason}.*: leave focus out"):
            space.settled(Steering(focus=0.5), defaults.ANALOGY)


def test_guidance_is_refused_where_there_is_no_flow_to_follow_it() -> None:
    """It was taken and had no effect."""
    assert WITH.guidance_of(Draw(label="yes", guidance=2.0)) == 2.0
    assert WITH.prior is not None
    gaussian = LatentSpace("few@1", WITH.labels, FITTED, replace(WITH.prior, network=None))
    assert gaussian.guidance_of(Draw(label="yes")) == gaussian.guidance_of(Draw(label="yes", guidance=1.0)) == 1.0
    with pytest.raises(
        AdapterSetMismatch, match=r"few@1 learned from too few texts to have a flow: leave guidance out"
    ):
        gaussian.guidance_of(Draw(label="yes", guidance=2.0))


def test_typicality_is_unknown_without_a_prior() -> None:
    z = torch.zeros(2, 6)
    assert WITHOUT.typicality(z) == [None, None]
    near, far = WITH.typicality(torch.stack([WITH.mean, WITH.mean + 100.0]))
    assert (near, far) == (1.0, 0.0)


def test_a_label_is_named_and_becomes_its_number() -> None:
    assert [WITH.label_number(label) for label in PREFIXED.labels] == [0, 1]
    with pytest.raises(ConfigError, match=r"the labels of new@1 are no, yes") as unknown:
        WITH.label_number("maybe")
    assert unknown.value.field == "label"
    with pytest.raises(AdapterSetMismatch, match="no prior that knows its labels"):
        WITHOUT.label_number("yes")
    with pytest.raises(AdapterSetMismatch, match="has no labels"):
        UNLABELLED.label_number("yes")


def test_a_labels_draws_are_others_than_those_of_any() -> None:
    any_label, no, yes = (WITH.draw(50, 1, label=label) for label in (None, *PREFIXED.labels))
    assert not torch.allclose(no, yes)
    assert not torch.allclose(no, any_label)


def test_what_is_not_said_is_the_default() -> None:
    assert USUAL.or_else(defaults.WALK) == defaults.WALK
    assert Steering(candidates=5).or_else(defaults.WALK).candidates == 5
    assert Steering(refine=0.0).or_else(Settled(refine=0.7, truncation=1.0, candidates=1)).refine == 0.0


@pytest.mark.parametrize(
    ("fields", "rule"),
    [({"refine": 1.5}, r"refine is 1.5"), ({"truncation": -0.1}, "truncation"), ({"candidates": 0}, "candidates is 0")],
)
def test_values_out_of_range_are_named(fields: dict[str, float], rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        Steering(**fields)


def test_guidance_without_a_label_has_no_effect_and_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no effect without a label"):
        Draw(guidance=2.0)
