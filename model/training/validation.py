"""How a run is judged on its validation texts: which step was best, and when to stop.

The preset decides: a classification run is judged by its labels, a generation run by reconstruction, a
language-modelling run by the bound on the likelihood. Where encoder and head stay as a fitted start put them, as with
fewer than ``encoder_texts`` texts of a classification run, steps change no label: the bound decides there too. No words
are hidden from the decoder here.
"""

from dataclasses import dataclass
from enum import StrEnum

from adavae.model.training.config import Preset
from adavae.model.training.objective import Loss


class Criterion(StrEnum):
    """The figure that is to be lowest."""

    HEAD = "head cross-entropy, nats a text"
    RECONSTRUCTION = "reconstruction, nats a token"
    OBJECTIVE = "objective, nats a token"


CRITERIA = {
    Preset.CLASSIFICATION: Criterion.HEAD,
    Preset.GENERATION: Criterion.RECONSTRUCTION,
    Preset.LANGUAGE_MODELLING: Criterion.OBJECTIVE,
}


@dataclass(frozen=True, slots=True)
class Validation:
    """Figures of the validation texts at one step.

    Attributes:
        loss: The objective at full beta, nats per token.
        score: The run's criterion; lower is better.
    """

    loss: float
    score: float

    @classmethod
    def of(cls, loss: Loss, criterion: Criterion) -> "Validation":
        """From the loss of all validation texts together."""
        objective = float(loss.total)
        scores = {
            Criterion.HEAD: loss.head_nats,
            Criterion.RECONSTRUCTION: loss.reconstruction_nats * loss.num_texts / loss.num_tokens,
            Criterion.OBJECTIVE: objective,
        }
        return cls(objective, scores[criterion])
