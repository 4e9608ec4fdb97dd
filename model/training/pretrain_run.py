"""One pretraining run: its steps, their schedule, and the checkpoints it continues from.

Short windows are cheap and enough for most of the run; the last steps see long ones, so that every position of the
context is trained. A step's windows come from (seed, step) alone: a resumed run takes the steps an unbroken one takes.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adavae.model.backbone import Backbone
from adavae.model.errors import DatasetError
from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.training.checkpoint import Checkpoint, save_checkpoint
from adavae.model.training.language_model import (
    both_ways_loss,
    compiled,
    hidden_states_with_dropout,
    next_token_loss,
)
from adavae.model.training.masked_prediction import HiddenTokens
from adavae.model.training.optimizers import Optimizers, diverged, under
from adavae.model.training.precision import uses_bfloat16
from adavae.model.training.pretrain_config import PretrainConfig
from adavae.model.training.schedule import learning_rate_at
from adavae.model.training.token_windows import WindowStream

REPORT_EVERY = 10  # steps


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
        hidden_states = (
            hidden_states_with_dropout(backbone, config.dropout) if config.dropout else backbone.hidden_states
        )
        self.hidden_states = compiled(hidden_states) if self.device.type == "cuda" else hidden_states
        self.stream = WindowStream(tokens, config.seed)
        tokens_a_step = config.window * self.stream.num_at_once(config.window, config.batch_size)
        self.total_steps = max(1, round(config.epochs * len(tokens) / tokens_a_step))
        if config.max_steps is not None:
            self.total_steps = min(self.total_steps, config.max_steps)
        self.first_long_step = round(self.total_steps * (1 - config.long_share))
        self.step = 0
        self._unchecked: list[Tensor] = []  # loss and norm of steps not yet checked

    @property
    def is_finished(self) -> bool:
        return self.step >= self.total_steps

    def take_step(self) -> tuple[Tensor, int]:
        """One update.

        Returns:
            The loss in nats per token, and how many tokens it is the mean of.

        Raises:
            TrainingDiverged: The loss or its gradient is not finite. On a CPU nothing was updated; a GPU is only
                checked every few steps and before every checkpoint, so the newest checkpoint is good.
        """
        self._apply_schedule()
        windows = self._windows()
        torch.manual_seed((self.config.seed * 1_000_003 + self.step) % 2**63)  # for dropout, here and on the device
        loss = self._loss(windows)
        self.backbone.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.backbone.parameters(), self.config.max_gradient_norm)
        self._unchecked.append(torch.stack([loss.detach(), norm]))
        if self._is_check_due():
            self._check()
        self.optimizers.step()
        self.step += 1
        return loss.detach(), windows[:, 1:].numel()

    def _loss(self, windows: Tensor) -> Tensor:
        """The loss of this step's windows, (B, T + 1), a scalar."""
        config = self.config
        num_masked = round(config.masked_share * len(windows))
        hidden_tokens = None
        if num_masked:
            eos, seed = self.tokenizer.eos_token_id, (config.seed, self.step)
            drawn = HiddenTokens.draw(windows, num_masked, config.mask_rate, eos, seed)
            hidden_tokens = drawn.to(self.device)
        if self.device.type == "cuda":
            windows = windows.pin_memory().to(self.device, non_blocking=True)
        dtype = torch.bfloat16 if self.autocast else torch.float32
        with self._precision():
            if hidden_tokens is None:
                return next_token_loss(
                    self.backbone,
                    windows,
                    dtype,
                    is_separate=config.is_separate,
                    hidden_states=self.hidden_states,
                )
            return both_ways_loss(
                self.backbone,
                windows,
                hidden_tokens,
                dtype,
                is_separate=config.is_separate,
                hidden_states=self.hidden_states,
            )

    def _is_check_due(self) -> bool:
        step = self.step + 1  # the one being taken
        is_told = step % REPORT_EVERY == 0 or step == self.total_steps
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
        """Writes a checkpoint from which ``restore`` continues exactly."""
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
        """Continues from a checkpoint of this same run."""
        parameters = dict(self.backbone.named_parameters())
        for name, tensor in under(checkpoint.tensors, "backbone.").items():
            parameters[name].data.copy_(tensor)
        self.optimizers.restore(checkpoint)
        self.step = checkpoint.state["step"]


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
