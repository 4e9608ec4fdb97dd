"""A row of a table: a system, how it is trained, and what the paper says of it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.reproduction.corpus import Corpus
from adavae.model.training.reproduction.scale import Scale
from adavae.model.training.reproduction.systems.sentence_model import SentenceModel

OnStep = Callable[[int, int, float], None]
"""Told the step, the number of steps, and the loss in nats a token."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What every system of a table is given alike.

    Attributes:
        pretrained: The backbone; a system that tunes it takes a copy.
        corpus: The texts.
        scale: Sizes and steps.
        seed: Of initial weights, batches and draws.
        device: Where it trains.
        on_step: Hears of every step.
    """

    pretrained: PretrainedBackbone
    corpus: Corpus
    scale: Scale
    seed: int
    device: torch.device
    on_step: OnStep


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished system.

    Attributes:
        model: What is measured.
        trained_parameters: Parameters that training changed.
        original_parameters: Of the language model that it began from; None where it began from nothing.
        weights: Where the initial weights come from, in words.
    """

    model: SentenceModel
    trained_parameters: int
    original_parameters: int | None
    weights: str

    @property
    def share_percent(self) -> float | None:
        """The paper's #params: the trained share of the language model."""
        if self.original_parameters is None:
            return None
        return 100.0 * self.trained_parameters / self.original_parameters


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        name: As the paper prints it.
        train: Trains the system from its beginning.
    """

    name: str
    train: Callable[[Setting], Trained]
