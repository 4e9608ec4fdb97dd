"""A row of a table: a system, how it is trained, and what its cell holds once it is measured."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

import torch

from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.reproduction.checkpoint import Checkpoint
from adavae.model.training.reproduction.corpus import Corpus, Splits, TestTexts
from adavae.model.training.reproduction.data_folder import DataFolder
from adavae.model.training.reproduction.measuring import Draws, measured, reconstruction
from adavae.model.training.reproduction.own_tokens import OwnTokenizer
from adavae.model.training.reproduction.scale import AUTHORS_CUT, Scale
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
class Given:
    """What a cell is run with.

    Attributes:
        pretrained: The backbone; a system that tunes it takes a copy.
        data: The data set's folder.
        scale: Sizes and steps.
        seed: Of initial weights, batches and draws.
        device: Where it trains.
        on_step: Hears of every step.
    """

    pretrained: PretrainedBackbone
    data: DataFolder
    scale: Scale
    seed: int
    device: torch.device
    on_step: OnStep

    def at_seed(self, seed: int) -> Self:
        """The same with the texts and draws of another seed."""
        return replace(self, data=self.data.at_seed(seed), seed=seed)

    def setting(self, corpus: Corpus, scale: Scale | None = None) -> Setting:
        """The same for a system that reads ``corpus``."""
        return Setting(self.pretrained, corpus, scale or self.scale, self.seed, self.device, self.on_step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a cell holds, besides what it was run with.

    Attributes:
        figures: By name; which ones depends on the table.
        figures_cut: The same with texts cut where the authors' code cuts them; empty where that is not asked.
        trained_parameters: Parameters that training changed.
        share_percent: The same as the paper counts them, or None.
        weights: Where the initial weights come from, in words.
        texts: Digest of the training texts.
    """

    figures: dict[str, Any]
    figures_cut: dict[str, Any]
    trained_parameters: int
    share_percent: float | None
    weights: str
    texts: str


class TableRow(Protocol):
    """A row of any table."""

    @property
    def name(self) -> str:
        """As the paper prints it."""
        ...

    @property
    def procedures(self) -> int:
        """Raised by hand whenever the row is trained or measured in another way: its older cells are run again."""
        ...

    @property
    def shared(self) -> str:
        """Rows with the same word here begin, on one data set, with the same training; empty for none."""
        ...

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What it begins from, where that is a checkpoint of transformers: with another one it is another cell."""
        ...

    def has_texts(self, folder: Path) -> bool:
        """Whether a data set has as many texts as the row is named after; a cell of one that lacks them is none."""
        ...

    def check(self, folder: Path, scale: Scale, seed: int) -> None:
        """Reads the texts that it would be given and keeps none; raises DatasetError where they cannot be used."""
        ...

    def run(self, given: Given) -> Outcome:
        """Trains the system from its beginning, and measures it."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One row of Tables 1 and 2.

    Attributes:
        name: As the paper prints it.
        train: Trains the system from its beginning.
        procedures: Of how it is trained and measured, as ``TableRow`` says.
        shared: Likewise.
        checkpoint: Likewise; the row reads its texts by this one's tokenizer.
    """

    name: str
    train: Callable[[Setting], Trained]
    procedures: int = 2
    shared: str = ""
    checkpoint: Checkpoint | None = None

    def has_texts(self, folder: Path) -> bool:
        del folder  # named after no number
        return True

    def check(self, folder: Path, scale: Scale, seed: int) -> None:
        Splits.read(folder, scale, seed)

    def run(self, given: Given) -> Outcome:
        corpus, scale = given.data.corpus, given.scale
        whole, cut = (
            TestTexts.of(corpus.test, corpus.tokenizer, min(most, scale.most_tokens))
            for most in (scale.most_tokens, AUTHORS_CUT)
        )
        more = TestTexts.of(corpus.posterior_test, corpus.tokenizer, scale.most_tokens)
        if self.checkpoint is not None:
            own = OwnTokenizer(self.checkpoint)
            whole, cut, more = (own.measured(texts, corpus.tokenizer) for texts in (whole, cut, more))
            corpus = own.sentences(corpus)
        untrained = self.train(given.setting(corpus, replace(scale, steps=0))).model
        began = reconstruction(untrained, whole, given.device, given.seed)
        del untrained  # some are large
        trained = self.train(given.setting(corpus))
        draws = Draws(scale.importance_samples, scale.perplexity_texts, given.seed)
        figures, figures_cut = measured(trained.model, whole, cut, more, draws, given.device)
        return Outcome(
            figures=figures.to_dict() | {"reconstruction_began": began},
            figures_cut=figures_cut.to_dict(),
            trained_parameters=trained.trained_parameters,
            share_percent=trained.share_percent,
            weights=trained.weights,
            texts=corpus.training.digest,
        )
