"""A small GPT-2 from plain text: how the bundled backbone is made again, and how another is made.

    texts -> one stream, end-of-text before each -> shuffled windows -> next-token cross-entropy -> Muon and AdamW

A text sees nothing of those beside it in a window: its positions begin at its end-of-text. Steps and checkpoints are
for ``pretrain_run``, the texts and weights to begin with for ``pretrain_start``. Adapter sets are trained by ``loop``.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from adavae.model.errors import ConfigError, TrainingInterrupted
from adavae.model.storage.pretrained import PretrainedBackbone, load_backbone, save_backbone
from adavae.model.training.language_model import attention_on
from adavae.model.training.pretrain_config import PretrainConfig
from adavae.model.training.pretrain_run import REPORT_EVERY, PretrainRun
from adavae.model.training.pretrain_start import InitialWeights, SourceTexts, checkpoint_to_resume, origin_of
from adavae.model.training.progress import Pace


@dataclass(frozen=True, slots=True)
class PretrainProgress:
    """What a run reports, over the steps since the last report.

    Attributes:
        step: Steps taken.
        total_steps: Steps of the whole run.
        loss: Nats per token.
        tokens_per_s: Target tokens per second.
        eta_s: Seconds to the end at this speed; None before the third step that was taken here.
    """

    step: int
    total_steps: int
    loss: float
    tokens_per_s: float
    eta_s: float | None


OnPretrainProgress = Callable[[PretrainProgress], None]


def pretrain(
    config: PretrainConfig,
    sources: Sequence[Path],
    output: Path,
    *,
    repeats: Sequence[float] | None = None,
    init_from: str | Path | None = None,
    tokenizer_from: Path | None = None,
    resume: bool = False,
    on_begin: Callable[[], None] = lambda: None,
    on_progress: OnPretrainProgress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    device: torch.device | None = None,
) -> PretrainedBackbone:
    """Trains a backbone.

    Args:
        config: The run's settings.
        sources: Files of any kind that ``readers`` read; labels are not used.
        output: Gets the checkpoint in the Hugging Face layout; keeps ``checkpoints/`` until then.
        repeats: How often the texts of each source are seen in a pass, fractions allowed; once each if left out.
        init_from: A directory or hub id to start from, with its tokenizer; None to start afresh.
        tokenizer_from: A directory whose tokenizer a fresh backbone takes over; None makes one from the texts.
        resume: Go on from the newest training checkpoint in ``output`` if there is one.
        on_begin: Called once when everything is checked, before the first step.
        on_progress: Called every few steps.
        should_stop: Asked before every step; True saves a checkpoint and raises TrainingInterrupted.
        device: Where to train; the CPU by default.

    Returns:
        What was written, read back.

    Raises:
        ConfigError: ``output`` holds a backbone already, or the settings do not fit ``init_from``.
        DatasetError: A source cannot be used, or all of them are too short.
        TrainingDiverged: The loss is no longer finite.
        TrainingInterrupted: ``should_stop`` said so.
        CheckpointMismatch: ``resume`` found the checkpoint of another run.
    """
    _check_request(config, sources, output, init_from)
    initial = InitialWeights.load(init_from, tokenizer_from, device)
    texts = SourceTexts.read(sources, repeats)
    origin, directory = origin_of(texts, initial), output / "checkpoints"
    checkpoint = checkpoint_to_resume(directory, config, origin) if resume else None
    backbone, tokenizer = initial.model(config, texts, checkpoint)
    tokens = texts.tokens(tokenizer, config.seed)
    run = PretrainRun(config, backbone.to(device).train(), tokenizer, tokens, origin, directory)
    if checkpoint is not None:
        run.restore(checkpoint)
    on_begin()
    _run_to_the_end(run, on_progress, should_stop)
    save_backbone(output, run.backbone, tokenizer)
    shutil.rmtree(directory, ignore_errors=True)
    return load_backbone(output, device=device)


def _run_to_the_end(run: PretrainRun, on_progress: OnPretrainProgress | None, should_stop: Callable[[], bool]) -> None:
    report = _Report(run, on_progress)
    with attention_on(run.device):
        while not run.is_finished:
            if should_stop():
                run.save()
                raise TrainingInterrupted(f"stopped after step {run.step} of {run.total_steps}; checkpoint kept")
            report.add(*run.take_step())
            if run.step % run.config.checkpoint_every == 0 or run.is_finished:
                run.save()


class _Report:
    """Averages steps into ``PretrainProgress``."""

    def __init__(self, run: PretrainRun, on_progress: OnPretrainProgress | None) -> None:
        self.run, self.on_progress = run, on_progress
        self.losses: list[Tensor] = []
        self.pace = Pace()
        self.num_tokens = 0
        self.started = time.perf_counter()

    def add(self, loss: Tensor, num_tokens: int) -> None:
        self.losses.append(loss)
        self.num_tokens += num_tokens
        self.pace.step()
        if self.run.step % REPORT_EVERY and not self.run.is_finished and not self.pace.is_due():
            return
        if self.on_progress is not None:
            self.on_progress(self._progress())
        self.pace.told()
        self.losses, self.num_tokens, self.started = [], 0, time.perf_counter()

    def _progress(self) -> PretrainProgress:
        loss = float(torch.stack(self.losses).mean())  # waits for the device, before the clock is read
        elapsed = time.perf_counter() - self.started
        step, total_steps = self.run.step, self.run.total_steps
        return PretrainProgress(
            step=step,
            total_steps=total_steps,
            loss=loss,
            tokens_per_s=self.num_tokens / elapsed,
            eta_s=self.pace.eta_s(total_steps - step),
        )


def _check_request(config: PretrainConfig, sources: Sequence[Path], output: Path, init_from: str | Path | None) -> None:
    if not sources:
        raise ConfigError("sources", [], "name at least one file of texts")
    if config.backbone is not None and init_from is not None:
        raise ConfigError("backbone", str(init_from), "has a shape of its own: give a shape or init_from, not both")
    if (output / "config.json").exists():
        raise ConfigError("output", str(output), "holds a backbone already: name another directory")
