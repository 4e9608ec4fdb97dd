"""From a data file to a trained, measured and published adapter set, for ``adavae train`` and for the worker."""

import copy
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adavae.model import cleaning
from adavae.model.errors import AdaVAEError, ConfigError, TrainingDiverged, WeightsCorrupted
from adavae.model.storage.adapter_set import (
    AdapterSet,
    NewAdapterSet,
    Publishing,
    publish_freely,
    read_adapter_set,
    write_adapter_set,
)
from adavae.model.storage.card_metadata import Origin, is_hub_id
from adavae.model.storage.manifest import check_fits
from adavae.model.storage.model_card import model_card
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.text_model import TextModel
from adavae.model.training.batches import Batches
from adavae.model.training.config import TrainingConfig
from adavae.model.training.corpus import Dataset
from adavae.model.training.evaluation import evaluate
from adavae.model.training.loop import TrainingResult, train
from adavae.model.training.precision import uses_bfloat16
from adavae.model.training.preparation import PreparedData, TrainingRequest, prepare
from adavae.model.training.progress import OnProgress, OnStage, ignore_stage
from adavae.model.training.set_priors import SetPriors, fit_set_priors
from adavae.model.training.tokenized_texts import TokenizedTexts
from adavae.model.trial import try_out

_HEAD = "head."  # of the names of its tensors


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
    on_preparation: OnStage = ignore_stage,
    on_begin: Callable[[], None] = lambda: None,
    on_progress: OnProgress | None = None,
    on_evaluation: OnStage = ignore_stage,
    on_note: Callable[[str], None] = ignore_note,
    should_stop: Callable[[], bool] = lambda: False,
    publishing: Publishing = publish_freely,
    num_processes: int = 1,
) -> AdapterSet:
    """Trains, measures and publishes one adapter set.

    Args:
        request: What to train, and on what.
        pretrained: The backbone.
        directory: Holds checkpoints and metrics, and briefly the set; on the same disk as ``destination``.
        destination: Root of adapter sets; the set appears there whole or not at all.
        resume: Continue from the newest checkpoint in ``directory``.
        on_preparation: As ``on_evaluation``, before the first step; total is 0 while unknown, "train" comes last.
        on_begin: Called once when everything is checked, before the first step.
        on_progress: Called after the first training step, and then every few steps or seconds.
        on_evaluation: Called after training with the stage (prior, measures), the number of items done and their total.
        on_note: Called before the first step with what a user should know of the data.
        should_stop: Called before every step.
        publishing: Entered once the set is measured and written, left once it is in place.
        num_processes: As for ``loop.train``; this one alone prepares, measures and publishes.

    Raises:
        AdaVAEError: Whatever the parts raise; nothing is published then, and checkpoints are kept.
    """
    data = prepare(request, pretrained, on_preparation)
    for note in data.notes:
        on_note(note)
    config = request.config.with_labels(data.labels)
    config.adapter.check_fits(pretrained.backbone.config)
    if request.initial is not None:
        _check_initial(request.initial, config, pretrained)

    def begin(done: int, total: int) -> None:
        on_begin()
        on_preparation("train", done, total)

    result = train(
        config,
        pretrained,
        data.training_tokens,
        data.validation_tokens,
        directory,
        initial=None if request.initial is None else _begun_with(request.initial, config),
        resume=resume,
        on_begin=begin,
        on_progress=on_progress,
        should_stop=should_stop,
        num_processes=num_processes,
    )
    _refuse_diverged(result, config)
    request = replace(request, config=config)
    trained = TextModel.of_tensors(pretrained, request.name, config.adapter, result.tensors)
    faster = _in_bfloat16(pretrained, request.name, config, result.tensors) or trained
    priors = fit_set_priors(faster, request.name, data, seed=config.seed, on_stage=on_evaluation)
    trained = trained.with_prior(request.name, priors.gaussian, priors.latent)
    figures = _measured(trained, faster, request, data, on_evaluation)
    return _publish(
        request,
        pretrained,
        data,
        result,
        figures,
        priors,
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


def _in_bfloat16(
    pretrained: PretrainedBackbone, name: str, config: TrainingConfig, tensors: dict[str, Tensor]
) -> TextModel | None:
    """The set as it was trained, where that was in bfloat16: several times as fast, for figures of many texts."""
    if not uses_bfloat16(config.precision, pretrained.backbone.wte.weight.device):
        return None
    backbone = copy.deepcopy(pretrained.backbone).to(torch.bfloat16)
    return TextModel.of_tensors(replace(pretrained, backbone=backbone), name, config.adapter, tensors)


def _measured(
    trained: TextModel, faster: TextModel, request: TrainingRequest, data: PreparedData, on_evaluation: OnStage
) -> dict[str, Any]:
    """The set's figures on the validation texts."""
    figures = evaluate(
        trained,
        request.name,
        data.validation,
        request.evaluation,
        on_evaluation,
        learned=data.learned,
        faster=faster,
    )
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


def _publish(
    request: TrainingRequest,
    pretrained: PretrainedBackbone,
    data: PreparedData,
    result: TrainingResult,
    figures: dict[str, Any],
    priors: SetPriors,
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
            "cleaning": cleaning.RULE,
        },
        "steps": result.steps,
        "trained_tokens": trained_tokens(request.config, data.training_tokens, result.steps),
        "stopped_early": result.stopped_early,
        "best_step": result.best_step,
        "decoder_from": result.decoder_from,
        "is_decoder_trained": result.is_decoder_trained,
        "validation_loss": result.validation_loss,
        "duration_s": round(result.duration_s),
    }
    card = model_card(
        name=request.name,
        config=request.config.adapter,
        metrics=metrics,
        training=training,
        created_at=created_at,
        origin=Origin(base_model=_hub_id_of(pretrained)),
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
            fitted_prior=priors.gaussian,
            prior_tensors=priors.latent.to_tensors(),
        ),
        staging_parent=directory,
        trying=lambda written: _try_out(written, pretrained, data.validation.texts[0]),
        publishing=publishing,
    )
    return read_adapter_set(path)


def _try_out(written: AdapterSet, pretrained: PretrainedBackbone, text: str) -> None:
    """Raises TrainingDiverged for a set that cannot answer, and what is no fault of the set as it is."""
    try:
        try_out(written, pretrained, text)
    except WeightsCorrupted as exc:
        cause = exc.__cause__
        if cause is not None and not isinstance(cause, AdaVAEError):
            raise cause from None  # such as memory that ran out
        raise TrainingDiverged(f"what was trained cannot be served, lower the learning rate: {exc}") from exc


def _hub_id_of(pretrained: PretrainedBackbone) -> str | None:
    """Its backbone's id on the Hub, where it came from there."""
    source = pretrained.source
    return source if is_hub_id(source) and not Path(source).exists() else None
