"""What a run is judged by on its validation texts: which step was the best, and when to stop.

A run is asked for something, and that decides: a classification run for labels, a generation run for sentences that
come back, a language-modelling run for the bound on their likelihood. Words are never hidden from the decoder here.
"""

from dataclasses import dataclass
from enum import StrEnum

from adavae.model.training.config import Preset
from adavae.model.training.objective import Loss


class Criterion(StrEnum):
    """The figure that is lowest at the best step."""

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
    """One look at the validation texts.

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
