"""What this project adds to the paper, each on and off: priors to draw from, and how walks and analogies are led."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from adavae.model.latent import defaults
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.latent.space import LatentSpace
from adavae.model.latent.steering import USUAL, Steering
from adavae.model.text_model import TextModel
from adavae.model.training.latent_cases import Group
from adavae.model.training.operations import AsServed

_DEFAULTS = {Group.DRAWS: defaults.DRAW, Group.WALKS: defaults.WALK, Group.ANALOGIES: defaults.ANALOGY}


def _as_fitted(space: LatentSpace) -> LatentSpace:
    return space


def _standard(space: LatentSpace) -> LatentSpace:
    return replace(space, fitted=FittedPrior.standard(space.latent_size), prior=None)


def _diagonal(space: LatentSpace) -> LatentSpace:
    return replace(space, prior=None)


def _without_flow(space: LatentSpace) -> LatentSpace:
    return replace(space, prior=None if space.prior is None else replace(space.prior, network=None))


@dataclass(frozen=True, slots=True)
class Addition:
    """One way to draw, to walk, or to make an analogy.

    Attributes:
        group: Which of the three.
        name: What the table calls it.
        steering: What is not left to the defaults of a request.
        space: The latent space it is asked of, from that of the set.
    """

    group: Group
    name: str
    steering: Steering
    space: Callable[[LatentSpace], LatentSpace] = _as_fitted

    @property
    def settings(self) -> dict[str, float]:
        """The options as they apply."""
        return asdict(self.steering.or_else(_DEFAULTS[self.group]))

    def model(self, text_model: TextModel, name: str) -> TextModel:
        """The model whose set of that name has this way's prior."""
        space = self.space(text_model.space_of(name))
        return text_model.with_prior(name, space.fitted, space.prior)

    def operations(self, text_model: TextModel, name: str) -> AsServed:
        return AsServed(self.model(text_model, name), name, self.steering)


ADDITIONS = (
    Addition(Group.DRAWS, "N(0, I), as in the paper", Steering(truncation=1.0), _standard),
    Addition(Group.DRAWS, "a Gaussian fitted to each dimension", Steering(truncation=1.0), _diagonal),
    Addition(Group.DRAWS, "a Gaussian with covariance", Steering(truncation=1.0), _without_flow),
    Addition(Group.DRAWS, "the flow", Steering(truncation=1.0)),
    Addition(Group.DRAWS, "the flow, drawn in (as served)", USUAL),
    Addition(Group.WALKS, "straight, as in the paper", Steering(refine=0.0, truncation=0.0, candidates=1)),
    Addition(Group.WALKS, "repeats replaced", Steering(refine=0.0)),
    Addition(Group.WALKS, "led back by the flow", Steering(candidates=1)),
    Addition(Group.WALKS, "led back, repeats replaced (as served)", USUAL),
    Addition(Group.ANALOGIES, "c + b - a, as in the paper", Steering(refine=0.0, focus=0.0, candidates=1)),
    Addition(Group.ANALOGIES, "led back by the flow", Steering(focus=0.0, candidates=1)),
    Addition(Group.ANALOGIES, "the change of label alone", Steering(refine=0.0, candidates=1)),
    Addition(Group.ANALOGIES, "the change of label alone, led back", Steering(candidates=1)),
    Addition(Group.ANALOGIES, "led back, no further than the label needs (as served)", USUAL),
)
"""Of each group first the paper's way, last what a request gets that says nothing."""
