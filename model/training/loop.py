"""The training loop: one adapter set from texts to trained tensors, resumable at any step.

    for step in range(start, total):  batch -> loss -> clip -> update -> sometimes validate, sometimes checkpoint

``training_run`` has what happens within a step, ``processes`` divides it among several, ``corpus`` reads the data,
``run`` publishes the result.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from adavae.model.errors import ConfigError, TrainingInterrupted
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.config import TrainingConfig
from adavae.model.training.plain_attention import plain_attention
from adavae.model.training.processes.group import ProcessGroup, check_agreement, is_said, take_over
from adavae.model.training.processes.handed_run import HandedRun
from adavae.model.training.processes.members import processes
from adavae.model.training.progress import NoReport, OnDone, OnProgress, Report, ignore_done
from adavae.model.training.run_origin import RunOrigin
from adavae.model.training.tokenized_texts import TokenizedTexts
from adavae.model.training.training_run import TrainingRun


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished run.

    Attributes:
        tensors: The adapter set of the best step by the run's criterion, as ``AdapterBank.export`` returns it.
        steps: Steps taken.
        stopped_early: Whether patience ran out before the last step.
        validation_loss: Of ``tensors``, the objective in nats per token.
        duration_s: Seconds of training, over all attempts.
        best_step: The step of ``tensors``; 0 is what the run began with, None is not known.
        decoder_from: The step after which the decoder alone was trained, as the head was best before it had a step;
            None where that was not so.
        is_decoder_trained: Whether ``tensors`` have a decoder whose adapters took steps.
    """

    tensors: dict[str, Tensor]
    steps: int
    stopped_early: bool
    validation_loss: float
    duration_s: float
    best_step: int | None = None
    decoder_from: int | None = None
    is_decoder_trained: bool = True


def train(
    config: TrainingConfig,
    pretrained: PretrainedBackbone,
    texts: TokenizedTexts,
    validation: TokenizedTexts,
    directory: Path,
    *,
    initial: Mapping[str, Tensor] | None = None,
    resume: bool = False,
    on_begin: OnDone = ignore_done,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    num_processes: int = 1,
) -> TrainingResult:
    """Trains one adapter set.

    Args:
        config: The run's settings.
        pretrained: The backbone; its weights are not changed.
        texts: Training texts.
        validation: Texts that decide which step was best and when to stop.
        directory: Holds ``checkpoints/`` and ``metrics.jsonl``.
        initial: Tensors to start with, as ``AdapterBank.export`` names them; what is missing starts afresh.
        resume: Continue from the newest checkpoint in ``directory`` if there is one.
        on_begin: Called before the first step with the steps that were taken before, and those of the whole run, as far
            as it is known then: where the head is best before the decoder had a step, there are as many again.
        on_progress: Called after the first step, and then every few steps or seconds.
        should_stop: Called before every step; True saves a checkpoint and raises TrainingInterrupted.
        num_processes: Processes of this machine that share each step's texts, this one included; on GPUs one for each.

    Raises:
        TrainingDiverged: The loss is no longer finite.
        TrainingInterrupted: ``should_stop`` said so.
        TrainingProcessLost: One of several processes ended or did not answer; the newest checkpoint is kept.
        CheckpointMismatch: ``resume`` found the checkpoint of another run.
        ConfigError: Full fine-tuning, whose result is two backbones and no adapter set; more processes than can be.
    """
    if config.is_full_fine_tuning:
        rule = "is for timing single steps: an adapter set cannot hold the two tuned backbones; leave it out"
        raise ConfigError("is_full_fine_tuning", True, rule)
    handed = HandedRun(
        config=config,
        backbone=pretrained.backbone,
        texts=texts,
        validation=validation,
        directory=directory,
        initial=initial,
        is_resumed=resume,
        origin=RunOrigin.of(pretrained),
    )
    with processes(handed, num_processes) as group:
        run, is_resumed = _begun(handed, group)
        report = Report(run, directory / "metrics.jsonl", on_progress, is_resumed=is_resumed)
        on_begin(run.step, run.total_steps)
        _take_steps(run, report, should_stop, is_resumed=is_resumed)
    outcome = run.outcome
    return TrainingResult(
        tensors=dict(outcome.tensors),
        steps=run.step,
        stopped_early=run.stopped_early and run.step < run.total_steps,
        validation_loss=outcome.validation_loss,
        duration_s=run.state.duration_s,
        best_step=outcome.best_step,
        decoder_from=run.state.decoder_from,
        is_decoder_trained=not run.has_untrained_decoder,
    )


def follow(handed: HandedRun, group: ProcessGroup) -> None:
    """Takes part in a run that another process leads, to its end.

    Raises:
        TrainingInterrupted: The leader was asked to stop.
        TrainingProcessLost: Another process ended or fell silent.
    """
    run, is_resumed = _begun(handed, group)
    _take_steps(run, NoReport(), lambda: False, is_resumed=is_resumed)


def _begun(handed: HandedRun, group: ProcessGroup) -> tuple[TrainingRun, bool]:
    """The run where it begins in every process alike, and whether it goes on from a checkpoint."""
    run = TrainingRun(
        handed.config,
        handed.backbone,
        handed.texts,
        handed.validation,
        handed.directory,
        handed.initial,
        group,
        handed.origin,
    )
    take_over(group, run.vae.bank.parameters())
    is_resumed = handed.is_resumed and run.resume()
    check_agreement(group, run.step, run.vae.bank.parameters())
    return run, is_resumed


def _take_steps(
    run: TrainingRun, report: Report | NoReport, should_stop: Callable[[], bool], *, is_resumed: bool
) -> None:
    with attention_on(run.device):
        if not is_resumed:
            run.begin()
        _take_each(run, report, should_stop)
        if run.can_train_decoder:
            run.begin_decoder()
            _take_each(run, report, should_stop)


def _take_each(run: TrainingRun, report: Report | NoReport, should_stop: Callable[[], bool]) -> None:
    while not run.is_finished:
        if is_said(run.group, should_stop()):
            run.save()
            raise TrainingInterrupted(f"stopped after step {run.state.step} of {run.total_steps}; checkpoint kept")
        started = time.perf_counter()
        loss, norm = run.take_step()
        if run.is_validation_due():
            run.validate()
        run.state.duration_s += time.perf_counter() - started
        report.add(loss, norm)
        if run.state.step % run.config.checkpoint_every == 0 or run.is_finished:
            run.save()


def attention_on(device: torch.device) -> AbstractContextManager[Any]:
    """Attention as steps and validations compute it."""
    return plain_attention() if device.type == "cpu" else sdpa_kernel(attention_backends(device))


def attention_backends(device: torch.device) -> list[SDPBackend]:
    """On a CPU, plain attention is several times faster than the fused one's backward pass at sentence length."""
    if device.type == "cpu":
        return [SDPBackend.MATH]
    return [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
