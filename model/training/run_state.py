"""What a training run remembers from step to step: where it is, and what was best so far."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from adavae.model.training.validation import Validation

_NONE_YET = float("inf")


@dataclass(slots=True)
class RunState:
    """What changes from step to step besides the tensors that train; saved with every checkpoint.

    Attributes:
        step: Steps taken.
        decoder_from: The step after which the decoder alone is trained; None while all of it is.
        best_step: The step of ``best``; None before the first validation, and of versions that did not keep it.
        best_score: The run's criterion at that step.
        best_loss: The objective at that step, nats a token.
        start_score: The criterion of the set that the run goes on from, measured before its first step; None without.
        start_loss: The objective likewise.
        score: The criterion at the latest validation.
        validation_loss: The objective likewise.
        validations_without_gain: Validations since that step.
        duration_s: Seconds of training.
        best: Tensors of that step, as ``AdapterBank.export`` returns them.
    """

    step: int = 0
    decoder_from: int | None = None
    best_step: int | None = None
    best_score: float = _NONE_YET
    best_loss: float = _NONE_YET
    start_score: float | None = None
    start_loss: float = _NONE_YET
    score: float | None = None
    validation_loss: float | None = None
    validations_without_gain: int = 0
    duration_s: float = 0.0
    best: dict[str, Tensor] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Everything but the tensors."""
        return {name: value for name, value in asdict(self).items() if name != "best"}

    def take(self, validation: Validation) -> bool:
        """Takes note of a validation; returns whether it is the best so far, whose tensors are to be kept."""
        self.validation_loss, self.score = validation.loss, validation.score
        is_best = validation.score < self.best_score
        self.validations_without_gain = 0 if is_best else self.validations_without_gain + 1
        if is_best:
            self.best_score, self.best_loss, self.best_step = validation.score, validation.loss, self.step
        return is_best

    def begin_decoder(self) -> None:
        """From here on the decoder alone is trained: by another criterion, so what was best is best no more."""
        self.decoder_from, self.best_step = self.step, None
        self.best_score = self.best_loss = _NONE_YET
        self.score, self.validations_without_gain = None, 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run comes to.

    Attributes:
        tensors: The adapter set of the best step by the run's criterion, as ``AdapterBank.export`` returns it.
        best_step: That step, 0 for what the run began with; None where a checkpoint of a version before did not say.
        validation_loss: Of ``tensors``, the objective in nats a token.
    """

    tensors: Mapping[str, Tensor]
    best_step: int | None
    validation_loss: float
