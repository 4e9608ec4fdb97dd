"""A small GPT-2 from plain text: how the bundled backbone is made again, and how another is made.

    texts -> one stream, end-of-text before each -> shuffled windows -> next-token cross-entropy -> Muon and AdamW

A text sees nothing of those beside it in a window: its positions begin at its own end-of-text. Short windows are cheap
and enough for most of the run; the last steps see long ones, so that every position of the context is trained. A step's
windows come from (seed, step) alone, so that a resumed run takes the steps an unbroken one takes. Adapter sets are
trained by ``loop``; reading files is for ``corpus``.
"""

import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adavae.model.backbone import Backbone
from adavae.model.config import BackboneConfig
from adavae.model.errors import (
    CheckpointMismatch,
    ConfigError,
    DatasetError,
    TrainingInterrupted,
)
from adavae.model.storage.pretrained import PretrainedBackbone, load_backbone, save_backbone
from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.training.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from adavae.model.training.config import Precision
from adavae.model.training.corpus import Dataset, read_dataset
from adavae.model.training.language_model import HiddenStates, attention_on, next_token_loss
from adavae.model.training.loop import uses_bfloat16
from adavae.model.training.optimizers import Optimizers, diverged, under
from adavae.model.training.schedule import learning_rate_at
from adavae.model.training.token_windows import WindowStream, repeated, token_stream, train_tokenizer

_log = logging.getLogger(__name__)

SMALL_GPT2 = BackboneConfig(vocab_size=12_288, n_positions=256, n_embd=384, n_layer=6, n_head=6, n_inner=1536)

_LOG_EVERY = 10
_MOST_REPEATS = 1000.0
_BYTES_AND_END = 257  # the smallest byte-level vocabulary
_LIMITS: dict[str, tuple[float, float]] = {
    "epochs": (0.001, 10_000),
    "batch_size": (1, 65_536),
    "window": (2, 1_000_000),
    "long_window": (2, 1_000_000),
    "long_share": (0.0, 1.0),
    "learning_rate": (1e-7, 1.0),
    "weight_decay": (0.0, 10.0),
    "warmup_steps": (0, 1_000_000),
    "max_gradient_norm": (1e-3, 1e3),
    "checkpoint_every": (1, 1_000_000),
    "seed": (0, 2**63 - 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """Every setting of one run.

    Attributes:
        backbone: Shape of a fresh model, its ``vocab_size`` the size of the tokenizer to train; None for a small GPT-2,
            or for the checkpoint's own shape where the run starts from one.
        epochs: Passes over the stream; fractions allowed.
        max_steps: Stops earlier than ``epochs`` would; None for no such bound.
        batch_size: Short windows a step; the long phase keeps the number of tokens.
        window: Tokens a window.
        long_window: Tokens a window in the last ``long_share`` of the steps.
        learning_rate: Its peak, for Muon and AdamW alike.
        warmup_steps: Until the peak; at most a third of the run.
        weight_decay: Of the blocks' matrices; embeddings half of it, norms and biases none.
        is_separate: Texts do not attend across each other; False takes the stream as one long text.
        max_gradient_norm: Gradients are clipped to this norm.
        checkpoint_every: Steps between checkpoints.
    """

    backbone: BackboneConfig | None = None
    epochs: float = 1.0
    max_steps: int | None = None
    batch_size: int = 128
    window: int = 128
    long_window: int = 256
    long_share: float = 0.15
    learning_rate: float = 3e-3
    weight_decay: float = 0.4
    is_separate: bool = True
    warmup_steps: int = 100
    max_gradient_norm: float = 1.0
    checkpoint_every: int = 200
    precision: Precision = Precision.AUTO
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(name, value, f"must be in [{low:g}, {high:g}]")
        if self.max_steps is not None and self.max_steps < 1:
            raise ConfigError("max_steps", self.max_steps, "must be at least 1")
        if self.window > self.long_window:
            raise ConfigError("window", self.window, f"must be at most long_window ({self.long_window})")
        if self.backbone is not None:
            self._check_shape(self.backbone)

    def _check_shape(self, shape: BackboneConfig) -> None:
        if shape.vocab_size < _BYTES_AND_END:
            raise ConfigError("vocab_size", shape.vocab_size, f"must be at least {_BYTES_AND_END}: bytes, end of text")
        if shape.eos_token_id != 0:
            raise ConfigError("eos_token_id", shape.eos_token_id, "must be 0 in a fresh model")
        self.check_context(shape)

    def check_context(self, shape: BackboneConfig) -> None:
        """Raises ConfigError where a window does not fit the context."""
        if self.long_window > shape.n_positions:
            raise ConfigError("long_window", self.long_window, f"must be at most n_positions ({shape.n_positions})")


@dataclass(frozen=True, slots=True)
class PretrainProgress:
    """What a run reports, over the steps since the last report.

    Attributes:
        step: Steps taken.
        total_steps: Steps of the whole run.
        loss: Nats per token.
        tokens_per_s: Target tokens per second.
        eta_s: Seconds to the end at this speed.
    """

    step: int
    total_steps: int
    loss: float
    tokens_per_s: float
    eta_s: float


OnPretrainProgress = Callable[[PretrainProgress], None]


class PretrainRun:
    """One run over one stream; ``pretrain`` drives it."""

    def __init__(
        self,
        config: PretrainConfig,
        backbone: Backbone,
        tokenizer: Tokenizer,
        tokens: NDArray[np.int32],
        origin: dict[str, Any],
        directory: Path,
    ) -> None:
        config.check_context(backbone.config)
        if len(tokens) <= config.long_window:
            raise DatasetError(
                f"the texts have {len(tokens):,} tokens, a window of {config.long_window} needs one more: add texts"
            )
        self.config, self.backbone, self.tokenizer, self.origin = config, backbone, tokenizer, origin
        self.directory = directory
        self.device = backbone.wte.weight.device
        self.autocast = uses_bfloat16(config.precision, self.device)
        self.optimizers = _build_optimizers(backbone, config.learning_rate, config.weight_decay)
        self.hidden_states = _compiled(backbone) if self.device.type == "cuda" else None
        self.stream = WindowStream(tokens, config.seed)
        self.total_steps = max(1, round(config.epochs * len(tokens) / (config.batch_size * config.window)))
        if config.max_steps is not None:
            self.total_steps = min(self.total_steps, config.max_steps)
        self.first_long_step = round(self.total_steps * (1 - config.long_share))
        self.step = 0
        self._unchecked: list[Tensor] = []  # loss and norm of steps that nobody has waited for

    @property
    def is_finished(self) -> bool:
        return self.step >= self.total_steps

    def take_step(self) -> tuple[Tensor, int]:
        """One update.

        Returns:
            The loss in nats per token, and how many tokens it is the mean of.

        Raises:
            TrainingDiverged: The loss or its gradient is not finite. On a CPU nothing was updated; on a GPU, which is
                asked every few steps and before every checkpoint, the newest checkpoint is good.
        """
        self._apply_schedule()
        windows = self._windows()
        if self.device.type == "cuda":
            windows = windows.pin_memory().to(self.device, non_blocking=True)
        with self._precision():
            loss = next_token_loss(
                self.backbone,
                windows,
                torch.bfloat16 if self.autocast else torch.float32,
                is_separate=self.config.is_separate,
                hidden_states=self.hidden_states,
            )
        self.backbone.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.backbone.parameters(), self.config.max_gradient_norm)
        self._unchecked.append(torch.stack([loss.detach(), norm]))
        if self._is_check_due():
            self._check()
        self.optimizers.step()
        self.step += 1
        return loss.detach(), windows[:, 1:].numel()

    def _is_check_due(self) -> bool:
        step = self.step + 1  # that is being taken
        is_told = step % _LOG_EVERY == 0 or step == self.total_steps
        return self.device.type == "cpu" or is_told or step % self.config.checkpoint_every == 0

    def _check(self) -> None:
        is_finite = bool(torch.isfinite(torch.stack(self._unchecked)).all())
        self._unchecked = []
        if not is_finite:
            raise diverged(self.step + 1, self.total_steps, self.config.learning_rate, self.directory)

    def _windows(self) -> Tensor:
        """This step's windows, (B, T + 1)."""
        config = self.config
        if self.step < self.first_long_step:
            return self.stream.windows_at(self.step, config.window, config.batch_size)
        batch_size = max(1, config.batch_size * config.window // config.long_window)
        return self.stream.windows_at(self.step - self.first_long_step, config.long_window, batch_size)

    def _apply_schedule(self) -> None:
        learning_rate = learning_rate_at(
            self.step,
            self.total_steps,
            peak=self.config.learning_rate,
            warmup=min(self.config.warmup_steps, self.total_steps // 3),
            kind="linear",
        )
        self.optimizers.set_learning_rate(learning_rate)

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.autocast else nullcontext()

    def save(self) -> None:
        """Writes a checkpoint from which ``restore`` goes on exactly."""
        tensors: dict[str, Tensor] = {
            f"backbone.{name}": parameter for name, parameter in self.backbone.named_parameters()
        }
        optimizer_tensors, optimizer_states = self.optimizers.save()
        tensors |= optimizer_tensors
        state = {
            "config": asdict(self.config),
            "origin": self.origin,
            "tokenizer": self.tokenizer.content,
            "optimizers": optimizer_states,
            "step": self.step,
        }
        save_checkpoint(self.directory, self.step, Checkpoint(tensors, state))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on from a checkpoint of this very run."""
        parameters = dict(self.backbone.named_parameters())
        for name, tensor in under(checkpoint.tensors, "backbone.").items():
            parameters[name].data.copy_(tensor)
        self.optimizers.restore(checkpoint)
        self.step = checkpoint.state["step"]


def pretrain(
    config: PretrainConfig,
    sources: Sequence[Path],
    output: Path,
    *,
    repeats: Sequence[float] | None = None,
    init_from: str | Path | None = None,
    tokenizer_from: Path | None = None,
    resume: bool = False,
    on_progress: OnPretrainProgress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    device: torch.device | None = None,
) -> PretrainedBackbone:
    """Trains a backbone.

    Args:
        config: The run's settings.
        sources: Files of one text a line, ``.txt`` or ``.txt.xz``; labels of other formats are not used.
        output: Gets the checkpoint in the Hugging Face layout; keeps ``checkpoints/`` until then.
        repeats: How often the texts of each source are seen in a pass, fractions allowed; once each if left out.
        init_from: A directory or hub id to start from, with its tokenizer; None to start afresh.
        tokenizer_from: A directory whose tokenizer a fresh backbone takes over; None makes one from the texts.
        resume: Go on from the newest training checkpoint in ``output`` if there is one.
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
    times = _checked_repeats(repeats, sources)
    if tokenizer_from is not None and init_from is not None:
        raise ConfigError("tokenizer_from", str(tokenizer_from), "is for a fresh backbone: leave it out, or init_from")
    own_tokenizer = None if tokenizer_from is None else Tokenizer.from_directory(tokenizer_from)
    initial = None if init_from is None else load_backbone(init_from, device=device)
    datasets = [read_dataset(source) for source in sources]
    origin = {
        "data": [dataset.digest for dataset in datasets],
        "init_from": None if initial is None else initial.digest,
        "repeats": times,
        "tokenizer": None if own_tokenizer is None else own_tokenizer.digest,
    }
    directory = output / "checkpoints"
    checkpoint = _checkpoint_of(directory, config, origin) if resume else None
    backbone, tokenizer = _starting_point(config, initial, own_tokenizer, checkpoint, datasets)
    seen = [repeated(dataset, number, config.seed) for dataset, number in zip(datasets, times, strict=True)]
    tokens = token_stream(seen, tokenizer)
    run = PretrainRun(config, backbone.to(device).train(), tokenizer, tokens, origin, directory)
    if checkpoint is not None:
        run.restore(checkpoint)
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
        self.num_tokens = 0
        self.started = time.perf_counter()

    def add(self, loss: Tensor, num_tokens: int) -> None:
        self.losses.append(loss)
        self.num_tokens += num_tokens
        if self.run.step % _LOG_EVERY and not self.run.is_finished:
            return
        if self.on_progress is not None:
            self.on_progress(self._progress())
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
            eta_s=(total_steps - step) * elapsed / len(self.losses),
        )


def fresh_backbone(config: BackboneConfig, seed: int) -> Backbone:
    """GPT-2's initialisation: N(0, 0.02), narrower by sqrt(2 L) where a branch joins the residual stream."""
    backbone = Backbone(config)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in backbone.named_parameters():
        if name.endswith(".bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            shrink = math.sqrt(2 * config.n_layer) if name.endswith("c_proj.weight") else 1.0
            nn.init.normal_(parameter, std=0.02 / shrink, generator=generator)
    return backbone


def _check_request(config: PretrainConfig, sources: Sequence[Path], output: Path, init_from: str | Path | None) -> None:
    if not sources:
        raise ConfigError("sources", [], "name at least one file of texts")
    if config.backbone is not None and init_from is not None:
        raise ConfigError("backbone", str(init_from), "has a shape of its own: give a shape or init_from, not both")
    if (output / "config.json").exists():
        raise ConfigError("output", str(output), "holds a backbone already: name another directory")


def _checkpoint_of(directory: Path, config: PretrainConfig, origin: dict[str, Any]) -> Checkpoint | None:
    path = latest_checkpoint(directory)
    if path is None:
        return None
    checkpoint = load_checkpoint(path)
    has_same_origin = checkpoint.state["origin"] == origin
    what = "settings" if has_same_origin else "texts, repeats, tokenizer or init_from"
    if checkpoint.state["config"] != asdict(config) or not has_same_origin:
        raise CheckpointMismatch(
            f"{path} belongs to a run with other {what}: "
            f"repeat the first command exactly, or start afresh in another directory"
        )
    return checkpoint


def _starting_point(
    config: PretrainConfig,
    initial: PretrainedBackbone | None,
    own_tokenizer: Tokenizer | None,
    checkpoint: Checkpoint | None,
    datasets: Sequence[Dataset],
) -> tuple[Backbone, Tokenizer]:
    if initial is not None:
        return initial.backbone.requires_grad_(True), initial.tokenizer
    shape = config.backbone or SMALL_GPT2
    config.check_context(shape)
    if own_tokenizer is not None:
        tokenizer = own_tokenizer
    elif checkpoint is not None:
        tokenizer = Tokenizer(checkpoint.state["tokenizer"])
    else:
        tokenizer = train_tokenizer(datasets, shape.vocab_size)
    shape = replace(shape, vocab_size=tokenizer.vocab_size, eos_token_id=tokenizer.eos_token_id)
    return fresh_backbone(shape, config.seed), tokenizer


def _checked_repeats(repeats: Sequence[float] | None, sources: Sequence[Path]) -> list[float]:
    times = [1.0] * len(sources) if repeats is None else list(repeats)
    if len(times) != len(sources):
        raise ConfigError("repeats", times, f"must be one number for each of the {len(sources)} sources")
    for number in times:
        if not 0.0 < number <= _MOST_REPEATS:
            raise ConfigError("repeats", number, f"must be above 0 and at most {_MOST_REPEATS:g}")
    return times


def _compiled(backbone: Backbone) -> HiddenStates:
    """The backbone's hidden states, compiled for its shapes; as they are where the compiler fails."""
    compiled: HiddenStates = torch.compile(backbone.hidden_states, dynamic=False)
    is_broken = False

    def hidden_states(token_ids: Tensor, positions: Tensor | None, mask: Tensor | None) -> Tensor:
        nonlocal is_broken
        if not is_broken:
            try:
                return compiled(token_ids, positions, mask)
            except (RuntimeError, OSError) as exc:  # the compiler's own errors are RuntimeErrors
                is_broken = True
                _log.warning("the compiler failed (%s): training goes on without it, more slowly", exc)
        return backbone.hidden_states(token_ids, positions, mask)

    return hidden_states


def _build_optimizers(backbone: Backbone, learning_rate: float, weight_decay: float) -> Optimizers:
    """Muon for the blocks' matrices, AdamW for embeddings, norms and biases."""
    named = list(backbone.named_parameters())
    matrices = [parameter for name, parameter in named if name.startswith("blocks.") and parameter.ndim == 2]
    return Optimizers(
        [parameter for _, parameter in named],
        matrices,
        learning_rate=learning_rate,
        weight_decay=weight_decay / 2,
        muon_decay=weight_decay,
    )
