"""From a data file to a trained, measured and published adapter set, for ``adavae train`` and for the worker."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adavae.model.errors import ConfigError, DatasetError, TrainingDiverged
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.latent.prior import LatentPrior
from adavae.model.storage.adapter_set import (
    AdapterSet,
    NewAdapterSet,
    Publishing,
    publish_freely,
    read_adapter_set,
    write_adapter_set,
)
from adavae.model.storage.manifest import check_fits
from adavae.model.storage.model_card import model_card
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.text_model import TextModel
from adavae.model.training.batches import Batches
from adavae.model.training.config import Preset, TrainingConfig
from adavae.model.training.corpus import Dataset, drawn_rows, read_dataset
from adavae.model.training.evaluation import EvaluationConfig, evaluate
from adavae.model.training.latent_space import LatentSpaceConfig
from adavae.model.training.likeness import label_warnings, overlap_notes
from adavae.model.training.loop import TrainingResult, train
from adavae.model.training.micro_batches import micro_batches
from adavae.model.training.prior_fitting import FlowSize, fit_prior
from adavae.model.training.progress import OnProgress, OnStage, ignore_stage
from adavae.model.training.readers.columns import GUESSED, Columns
from adavae.model.training.splitting import split_validation
from adavae.model.training.text_forms import form_rows
from adavae.model.training.tokenized_texts import TokenizedTexts, tokenize
from adavae.model.trial import try_out

_MAX_PRIOR_ROWS, _PRIOR_TOKENS, _MAX_LEARNED_ROWS = 20_000, 4096, 20_000
_HEAD = "head."  # of the names of its tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """What to train, and on what.

    Attributes:
        name: Name of the adapter set.
        data: Training texts.
        validation: Validation texts; None to split some off the training texts.
        config: The run's settings; labels are taken from the data.
        truncate: Cut texts that are longer than the context instead of refusing them.
        limit: Use only this many rows, drawn by the run's seed; None for all.
        columns: Which columns of the files hold text and label.
        initial: The set to continue from, which ``config.init_from`` names; None to start afresh.
        command: The user's command, for the model card.
        source: Name of the training data in the model card; the file's name if left out.
        evaluation: How the finished set is measured on the validation texts.
    """

    name: str
    data: Path
    validation: Path | None
    config: TrainingConfig
    truncate: bool = False
    limit: int | None = None
    columns: Columns = GUESSED
    initial: AdapterSet | None = None
    command: str = ""
    source: str | None = None
    evaluation: EvaluationConfig = field(
        default_factory=lambda: EvaluationConfig(
            max_decoded=1000,
            latent_space=LatentSpaceConfig(
                num_walks=40, num_draws=500, num_pairs=20, num_sentences=10, num_texts=1000, num_samples=30
            ),
        )
    )


@dataclass(frozen=True, slots=True)
class DataOrigin:
    """Facts about the training texts, of which only the token ids are kept."""

    source: str
    rows: int
    digest: str

    @classmethod
    def of(cls, dataset: Dataset) -> "DataOrigin":
        return cls(dataset.source, len(dataset.texts), dataset.digest)


@dataclass(frozen=True, slots=True)
class PreparedData:
    """Checked texts, ready to train on.

    Attributes:
        training: Origin of the training texts.
        learned: A bounded sample of them, from which the judges of the latent space learn.
        validation: Held-back texts.
        labels: Names of the head's classes; empty for no head.
        num_truncated: Number of texts that were cut to the context.
        notes: What a user should know of the data, in plain words.
    """

    training: DataOrigin
    learned: Dataset
    validation: Dataset
    training_tokens: TokenizedTexts
    validation_tokens: TokenizedTexts
    labels: tuple[str, ...]
    num_truncated: int
    notes: tuple[str, ...] = ()


def prepare(request: TrainingRequest, pretrained: PretrainedBackbone) -> PreparedData:
    """Reads and checks everything before the first step.

    Raises:
        DatasetError: A file or a line of it cannot be used.
        SequenceTooLong: A text is longer than the context and ``truncate`` is not set.
    """
    needs_labels = request.config.preset is Preset.CLASSIFICATION
    seed = request.config.seed
    training = read_dataset(
        request.data, require_labels=needs_labels, limit=request.limit, seed=seed, columns=request.columns
    )
    notes = (*training.notes, *label_warnings(Counter(training.labels or ())))
    if request.validation is None:
        training, validation = split_validation(training, seed=seed)
    else:
        needs_labels = training.labels is not None
        validation = read_dataset(request.validation, require_labels=needs_labels, columns=request.columns)
        notes += overlap_notes(training, validation)
    labels = () if request.config.preset is Preset.LANGUAGE_MODELLING else training.label_names
    if unknown := sorted(set(validation.label_names) - set(labels)) if labels else []:
        raise DatasetError(f"{validation.source}: has labels that the training data lacks: {unknown}")
    max_tokens = pretrained.backbone.config.n_positions - 1
    tokens, num_truncated = tokenize(training, pretrained.tokenizer, max_tokens, truncate=request.truncate)
    forms = None
    if request.config.form_share > 0:
        forms = form_rows(training.texts, tokens, pretrained.tokenizer, max_tokens, seed=seed)
    held_tokens, _ = tokenize(validation, pretrained.tokenizer, max_tokens, truncate=True)
    return PreparedData(
        DataOrigin.of(training),
        training.rows(drawn_rows(len(training.texts), _MAX_LEARNED_ROWS, seed), training.source),
        validation,
        TokenizedTexts.of(training, tokens, labels, forms),
        TokenizedTexts.of(validation, held_tokens, labels),
        labels,
        num_truncated,
        notes,
    )


def ignore_note(note: str) -> None:
    """Nobody listens."""
    del note


def train_adapter_set(
    request: TrainingRequest,
    pretrained: PretrainedBackbone,
    *,
    directory: Path,
    destination: Path,
    resume: bool = False,
    on_progress: OnProgress | None = None,
    on_evaluation: OnStage = ignore_stage,
    on_note: Callable[[str], None] = ignore_note,
    should_stop: Callable[[], bool] = lambda: False,
    publishing: Publishing = publish_freely,
) -> AdapterSet:
    """Trains, measures and publishes one adapter set.

    Args:
        request: What to train, and on what.
        pretrained: The backbone.
        directory: Holds checkpoints and metrics, and briefly the set; on the same disk as ``destination``.
        destination: Root of adapter sets; the set appears there whole or not at all.
        resume: Continue from the newest checkpoint in ``directory``.
        on_progress: Called every few training steps.
        on_evaluation: Called after training with the stage (prior, measures), the number of items done and their total.
        on_note: Called before the first step with what a user should know of the data.
        should_stop: Called before every step.
        publishing: Entered once the set is measured and written, left once it is in place.

    Raises:
        AdaVAEError: Whatever the parts raise; nothing is published then, and checkpoints are kept.
    """
    data = prepare(request, pretrained)
    for note in data.notes:
        on_note(note)
    config = request.config.with_labels(data.labels)
    config.adapter.check_fits(pretrained.backbone.config)
    if request.initial is not None:
        _check_initial(request.initial, config, pretrained)
    result = train(
        config,
        pretrained,
        data.training_tokens,
        data.validation_tokens,
        directory,
        initial=None if request.initial is None else _begun_with(request.initial, config),
        resume=resume,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    _refuse_diverged(result, config)
    request = replace(request, config=config)
    trained = TextModel.of_tensors(pretrained, request.name, config.adapter, result.tensors)
    encodings = _encodings(trained, request.name, data.training_tokens, on_evaluation, seed=config.seed)
    fitted = FittedPrior.of(encodings.mu)
    prior = _prior(encodings, data, config, trained.device, on_evaluation)
    trained = trained.with_prior(request.name, fitted, prior)
    figures = _measured(trained, request, data, on_evaluation)
    return _publish(
        request,
        pretrained,
        data,
        result,
        figures,
        fitted,
        prior,
        directory=directory,
        destination=destination,
        publishing=publishing,
    )


def _refuse_diverged(result: TrainingResult, config: TrainingConfig) -> None:
    if not math.isfinite(result.validation_loss):
        raise TrainingDiverged(
            f"the validation loss was never finite in {result.steps} steps: lower the learning rate (it was "
            f"{config.learning_rate:g}) and start again"
        )


def _measured(
    trained: TextModel, request: TrainingRequest, data: PreparedData, on_evaluation: OnStage
) -> dict[str, Any]:
    """The set's figures on the validation texts."""
    figures = evaluate(trained, request.name, data.validation, request.evaluation, on_evaluation, learned=data.learned)
    if request.validation is None and request.source is not None:
        figures["data"] = request.source
    if "accuracy" in figures:
        figures["majority_share"] = _majority_share(data.validation)
    return figures


def _check_initial(initial: AdapterSet, config: TrainingConfig, pretrained: PretrainedBackbone) -> None:
    """Raises AdapterSetMismatch or ConfigError if the run cannot continue from ``initial``."""
    manifest = initial.manifest
    check_fits(manifest, pretrained.digests, pretrained.tokenizer.digest)
    if manifest.config.prefix_length:
        rule = "has a prefix, whose MLP is dropped after training: a set without one can be gone on from"
        raise ConfigError("init_from", manifest.reference, rule)
    wanted, there = config.adapter.to_dict(), manifest.config.to_dict()
    for name, value in wanted.items():
        if value != there[name] and name != "labels":  # the head of other labels begins afresh
            raise ConfigError(name, value, f"{manifest.reference} has {there[name]!r}: going on from it keeps that")


def _begun_with(initial: AdapterSet, config: TrainingConfig) -> dict[str, Tensor]:
    """The tensors that a run over these labels takes over: all of them, or all but the head of others."""
    if initial.manifest.config.labels == config.adapter.labels:
        return initial.tensors
    return {name: tensor for name, tensor in initial.tensors.items() if not name.startswith(_HEAD)}


def _majority_share(dataset: Dataset) -> float:
    """The accuracy of always naming the commonest label."""
    ((_, count),) = Counter(dataset.labels).most_common(1)
    return count / len(dataset.texts)


def trained_tokens(config: TrainingConfig, texts: TokenizedTexts, steps: int) -> int:
    """Target tokens of the first ``steps`` batches, each text's end included."""
    lengths = [len(row) + 1 for row in texts.token_ids]
    batches = Batches(lengths, batch_size=config.batch_size_for(len(lengths)), seed=config.seed)
    num_epochs, rest = divmod(steps, batches.batches_per_epoch)
    begun = [row for step in range(steps - rest, steps) for row in batches.rows_at(step)]
    return num_epochs * sum(lengths) + sum(lengths[row] for row in begun)


@dataclass(frozen=True, slots=True)
class _Encodings:
    """Posteriors of training texts: mu and logvar, (N, Z), float32, and the rows they belong to."""

    mu: Tensor
    logvar: Tensor
    rows: list[int]


@torch.no_grad()
def _encodings(trained: TextModel, name: str, texts: TokenizedTexts, on_stage: OnStage, *, seed: int) -> _Encodings:
    """Encodes some thousands of training texts, drawn by the seed."""
    drawn = drawn_rows(len(texts.token_ids), _MAX_PRIOR_ROWS, seed)
    lengths = {row: len(texts.token_ids[row]) for row in drawn}
    mu: list[Tensor] = []
    logvar: list[Tensor] = []
    rows: list[int] = []
    for chosen in micro_batches(drawn, lengths, _PRIOR_TOKENS):
        batch = texts.batch(chosen, trained.tokenizer.eos_token_id, trained.device)
        posterior = trained.vae.encode(batch.token_ids, batch.attention_mask, trained.index_of(name, len(chosen)))
        mu.append(posterior.mu.float().cpu())
        logvar.append(posterior.logvar.float().cpu())
        rows += chosen
        on_stage("encode training texts", len(rows), len(drawn))
    return _Encodings(torch.cat(mu), torch.cat(logvar), rows)


def _prior(
    encodings: _Encodings, data: PreparedData, config: TrainingConfig, device: torch.device, on_stage: OnStage
) -> LatentPrior:
    """The prior over the training texts; from the trained set and the seed alone, so a resumed run fits the same."""
    label_ids = data.training_tokens.label_ids
    size = FlowSize.for_texts(data.training.rows, config.adapter.latent_size)
    return fit_prior(
        encodings.mu,
        encodings.logvar,
        None if label_ids is None else [label_ids[row] for row in encodings.rows],
        len(data.labels),
        flow_steps=size.steps,
        flow_width=size.width,
        batch_size=size.batch_size,
        device=device,
        seed=config.seed,
        on_step=lambda step, steps, _: on_stage("fit prior", step, steps),
    )


def _publish(
    request: TrainingRequest,
    pretrained: PretrainedBackbone,
    data: PreparedData,
    result: TrainingResult,
    figures: dict[str, Any],
    fitted: FittedPrior,
    prior: LatentPrior,
    *,
    directory: Path,
    destination: Path,
    publishing: Publishing,
) -> AdapterSet:
    metrics = {name: value for name, value in figures.items() if name != "adapter"}
    created_at = datetime.now(UTC).isoformat(timespec="seconds")
    training: dict[str, Any] = {
        "preset": str(request.config.preset),
        "settings": request.config.to_dict(),
        "command": request.command,
        "data": {
            "source": request.source or data.training.source,
            "rows": data.training.rows,
            "digest": data.training.digest,
            "truncated": data.num_truncated,
        },
        "steps": result.steps,
        "trained_tokens": trained_tokens(request.config, data.training_tokens, result.steps),
        "stopped_early": result.stopped_early,
        "validation_loss": result.validation_loss,
        "duration_s": round(result.duration_s),
    }
    card = model_card(
        name=request.name, config=request.config.adapter, metrics=metrics, training=training, created_at=created_at
    )
    path = write_adapter_set(
        destination,
        NewAdapterSet(
            name=request.name,
            config=request.config.adapter,
            tensors=result.tensors,
            backbone_digest=pretrained.digest,
            tokenizer_digest=pretrained.tokenizer.digest,
            metrics=metrics,
            training=training,
            created_at=created_at,
            model_card=card,
            fitted_prior=fitted,
            prior_tensors=prior.to_tensors(),
        ),
        staging_parent=directory,
        trying=lambda written: try_out(written, pretrained, data.validation.texts[0]),
        publishing=publishing,
    )
    return read_adapter_set(path)
