"""The systems of Table 3 and Figure 1, each trained on labelled texts by cross-entropy alone, and their accuracy."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from adavae.model.config import AdapterConfig
from adavae.model.training.config import Preset, preset_config
from adavae.model.training.micro_batches import micro_batches
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.adavae_rows import train_adavae
from adavae.model.training.reproduction.checkpoint import Checkpoint
from adavae.model.training.reproduction.elbo import once
from adavae.model.training.reproduction.labelled_corpus import LabelledCorpus, LabelledSplits, has_training_texts
from adavae.model.training.reproduction.own_tokens import OwnTokenizer
from adavae.model.training.reproduction.pools import NUM_POOL_TEXTS
from adavae.model.training.reproduction.precision import fast_matrices
from adavae.model.training.reproduction.procedures import BoundProcedure, run
from adavae.model.training.reproduction.rows import Given, Outcome
from adavae.model.training.reproduction.scale import Scale
from adavae.model.training.reproduction.systems.classifiers import (
    Classifier,
    EncodedOnce,
    LatentClassifier,
    UnmaskedClassifier,
    adavae_encoder,
    encoder_parts,
    num_right,
)
from adavae.model.training.reproduction.systems.optimus import Optimus
from adavae.model.training.reproduction.systems.sentence_model import SentenceModel
from adavae.model.training.reproduction.updates import adam, decay, update

M = TypeVar("M", bound=nn.Module)
_LAMBDA = 0.5
_SEED_WITHOUT_LABELS = 0
_TEST_ROWS, _TEST_TOKENS = 64, 8192  # at most, a forward pass


@dataclass(frozen=True, slots=True)
class Beginning:
    """A classifier before it has seen a label.

    Attributes:
        model: What trains is what has a gradient.
        original_parameters: Of the encoder's language model.
        weights: Where the initial weights come from.
        pretrained: Parts of the model that do not begin as random weights; where they train, they do so more slowly.
        share_percent: The paper's #params where it is 100 by definition; else it is counted.
        is_counted: False where only the head trains, which the paper prints as a dash.
        counted_beside: Parameters that the paper's #params count although labels do not reach them: those of the layer
            to logvar, where mu is classified.
    """

    model: Classifier
    original_parameters: int
    weights: str
    pretrained: tuple[nn.Module, ...] = ()
    share_percent: float | None = None
    is_counted: bool = True
    counted_beside: int = 0

    @property
    def trained_parameters(self) -> int:
        return sum(each.numel() for each in self.model.parameters() if each.requires_grad)

    @property
    def is_encoder_fixed(self) -> bool:
        """Whether nothing trains but the head."""
        in_head = sum(each.numel() for each in self.model.head.parameters())
        return self.trained_parameters == in_head

    @property
    def share(self) -> float | None:
        """The paper's #params, per cent."""
        if self.share_percent is not None or not self.is_counted:
            return self.share_percent
        return 100.0 * (self.trained_parameters + self.counted_beside) / self.original_parameters


Begin = Callable[[Given, LabelledCorpus], Beginning]
"""Makes a classifier, given the data set with all its training texts."""


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """A row of Table 3, or a point of Figure 1.

    Attributes:
        name: As the paper prints it.
        begin: Makes the classifier, given the data set with all its training texts.
        num_labels: Labelled training texts that it may read; None for all.
        procedures: Of how it is trained and measured, as ``TableRow`` says.
        shared: Likewise.
        checkpoint: Likewise; the row reads its texts by this one's tokenizer.
    """

    name: str
    begin: Begin
    num_labels: int | None = None
    procedures: int = 3
    shared: str = ""
    checkpoint: Checkpoint | None = None

    def has_texts(self, folder: Path) -> bool:
        return self.num_labels is None or has_training_texts(folder, self.num_labels)

    def check(self, folder: Path, scale: Scale, seed: int) -> None:
        LabelledSplits.read(folder, scale, seed)

    def run(self, given: Given) -> Outcome:
        corpus = given.data.labelled
        if self.checkpoint is not None:
            corpus = OwnTokenizer(self.checkpoint).labelled(corpus)
        torch.manual_seed(given.seed)
        beginning = self.begin(given, corpus)
        labelled = corpus if self.num_labels is None else corpus.few(self.num_labels, given.seed)
        num_read = train_classifier(beginning, labelled, given)
        return Outcome(
            figures={
                "accuracy": accuracy(beginning.model, corpus, given.device),
                "commonest": commonest_share(corpus),
                "num_labels": num_read,
                "num_texts": len(corpus.test.token_ids),
                NUM_POOL_TEXTS: corpus.test_dataset.rows_there,
            },
            figures_cut={},
            trained_parameters=beginning.trained_parameters,
            share_percent=beginning.share,
            weights=beginning.weights,
            texts=labelled.training.digest,
        )


def train_classifier(beginning: Beginning, corpus: LabelledCorpus, given: Given) -> int:
    """All updates of one classifier, whose learning rates fall to 0; returns how many labelled texts they read."""
    num_texts = len(corpus.training.token_ids)
    steps = given.scale.label_steps(num_texts)
    batches = corpus.batches(given.scale.batch_size, given.seed, given.device)
    if beginning.is_encoder_fixed and steps * given.scale.batch_size > num_texts:
        beginning = replace(beginning, model=EncodedOnce(beginning.model))
    run(ClassifierProcedure(beginning), batches, steps, given.on_step)
    return corpus.num_read(given.scale.batch_size, given.seed, steps)


class ClassifierProcedure:
    """Cross-entropy of the label, nats a text."""

    def __init__(self, beginning: Beginning) -> None:
        self.model = beginning.model
        self.optimizer = adam(beginning.model, pretrained=beginning.pretrained)

    def step(self, batches: Iterator[TextBatch], done: float) -> float:
        batch = next(batches)
        assert batch.label_ids is not None  # a labelled corpus
        decay(self.optimizer, done)
        with fast_matrices(batch.token_ids.device):
            loss = F.cross_entropy(self.model.logits(batch), batch.label_ids)
        return update(loss, self.optimizer)


def accuracy(model: Classifier, corpus: LabelledCorpus, device: torch.device) -> float:
    """Share of the test texts that get their label."""
    lengths, right = corpus.test.lengths, 0
    for group in micro_batches(range(len(lengths)), lengths, _TEST_TOKENS):
        for start in range(0, len(group), _TEST_ROWS):
            rows = group[start : start + _TEST_ROWS]
            right += num_right(model, corpus.test.batch(rows, corpus.pad_token_id, device))
    return right / len(lengths)


def commonest_share(corpus: LabelledCorpus) -> float:
    """Accuracy of always naming the label that is commonest among the test texts."""
    ids = corpus.test.label_ids or []
    return max(map(ids.count, set(ids))) / len(ids)


ADAVAE_OF_TEXTS = "AdaVAE of these texts"
"""``LabelledRow.shared`` of ``adavae_features``."""


def adavae_features(given: Given, corpus: LabelledCorpus) -> Beginning:
    """Trained on the bound of the texts without labels, then frozen."""
    model = _of_texts(given, ADAVAE_OF_TEXTS, _adavae_of_texts).requires_grad_(False)
    classifier = LatentClassifier(model, _wide(given).latent_size, len(corpus.labels)).to(given.device)
    return Beginning(classifier, _size(given), "the backbone's, then the bound", is_counted=False)


def _adavae_of_texts(given: Given) -> SentenceModel:
    setting = given.setting(given.data.labelled.unlabelled, _wide(given))
    return train_adavae(setting, AdapterConfig(), _LAMBDA).model


def adavae_tuned(given: Given, corpus: LabelledCorpus, adapter_size: int | None) -> Beginning:
    """Adapters of the paper's size for a width of 768, or, with None, every weight."""
    backbone, is_full = given.pretrained.backbone, adapter_size is None
    size = narrowed(adapter_size or 1, backbone.config.n_embd)
    layers = preset_config(Preset.LANGUAGE_MODELLING, backbone.config).adapter.encoder_layers
    adapter = AdapterConfig(latent_size=_wide(given).latent_size, encoder_layers=layers, adapter_size=size)
    encoder = adavae_encoder(backbone, adapter, is_full_fine_tuning=is_full)
    model = LatentClassifier(encoder, adapter.latent_size, len(corpus.labels)).to(given.device)
    original = sum(each.numel() for part in encoder_parts(backbone, layers) for each in part.parameters())
    return Beginning(
        model,
        original,
        "the backbone's",
        (encoder.vae.encoder_backbone,),
        100.0 if is_full else None,
        counted_beside=sum(each.numel() for each in encoder.vae.bank.posterior.logvar.parameters()),
    )


def unmasked_features(given: Given, corpus: LabelledCorpus) -> Beginning:
    """The backbone as it is."""
    model = UnmaskedClassifier(given.pretrained.backbone, len(corpus.labels)).to(given.device)
    return Beginning(model, _size(given), _INSTEAD_OF_BERT, is_counted=False)


def unmasked_tuned(given: Given, corpus: LabelledCorpus, adapter_size: int | None) -> Beginning:
    """As ``adavae_tuned``, without a latent."""
    backbone, is_full = given.pretrained.backbone, adapter_size is None
    size = None if adapter_size is None else narrowed(adapter_size, backbone.config.n_embd)
    model = UnmaskedClassifier(backbone, len(corpus.labels), size).to(given.device)
    if is_full:
        model.backbone.requires_grad_(True)
    return Beginning(model, _size(given), _INSTEAD_OF_BERT, (model.backbone,), 100.0 if is_full else None)


OPTIMUS_OF_TEXTS = "Optimus of these texts"
"""``LabelledRow.shared`` of rows of ``optimus`` with the VAE's schedule."""
AUTOENCODER_OF_TEXTS = "Optimus of these texts, beta 0"
"""Likewise of rows with ``beta`` 0."""


def optimus(given: Given, corpus: LabelledCorpus, *, is_frozen: bool, beta: float | None = None) -> Beginning:
    """Trained on the texts without labels; then frozen, or every weight of its encoder tuned.

    Args:
        given: What the cell is run with.
        corpus: The data set.
        is_frozen: Only the head learns from labels.
        beta: Weight of the KL, 0 for an autoencoder; None for the VAE's schedule.
    """
    shared = OPTIMUS_OF_TEXTS if beta is None else AUTOENCODER_OF_TEXTS
    model = _of_texts(given, shared, partial(_optimus_of_texts, beta=beta)).requires_grad_(False)
    if not is_frozen:
        parts: list[nn.Module] = [model.encoder, model.pooler, model.to_posterior]
        for part in parts:
            part.requires_grad_(True)
    classifier = LatentClassifier(model, _wide(given).latent_size, len(corpus.labels)).to(given.device)
    weights = "the backbone's, twice, then the bound of these texts (the paper's: of Wikipedia)"
    return Beginning(
        classifier, _size(given), weights, (model,), None if is_frozen else 100.0, is_counted=not is_frozen
    )


def _optimus_of_texts(given: Given, beta: float | None) -> Optimus:
    setting = given.setting(given.data.labelled.unlabelled, _wide(given))
    model = Optimus(given.pretrained.backbone, setting.scale.latent_size).to(given.device)
    generator = torch.Generator(given.device).manual_seed(given.seed)
    schedule = once() if beta is None else lambda _: beta
    optimizer = adam(model, pretrained=model.pretrained)
    procedure = BoundProcedure(model, optimizer, schedule, generator, free_bits=_LAMBDA, is_decaying=True)
    run(procedure, setting.corpus.batches(setting.scale, given.seed, given.device), setting.scale.steps, given.on_step)
    return model


def _of_texts(given: Given, shared: str, train: Callable[[Given], M]) -> M:
    """What ``train`` makes of a data set's texts without labels, once for all seeds: a published checkpoint is one.

    Only what follows is drawn by the seed: the labelled texts, their order, the head.
    """

    def make() -> M:
        torch.manual_seed(_SEED_WITHOUT_LABELS)
        return train(given.at_seed(_SEED_WITHOUT_LABELS))

    model = given.data.begun(shared, make)
    torch.manual_seed(given.seed)  # whether or not this row was the one that trained the model
    return model


def narrowed(adapter_size: int, width: int) -> int:
    """The paper's adapter size for a width of 768, at this width."""
    return max(1, adapter_size * width // 768)


_INSTEAD_OF_BERT = "the backbone's without its causal mask, in BERT's place"


def _wide(given: Given) -> Scale:
    """Z is the backbone's width, as 768 in the paper's classification."""
    return replace(given.scale, latent_size=given.pretrained.backbone.config.n_embd)


def _size(given: Given) -> int:
    return given.pretrained.backbone.num_parameters
