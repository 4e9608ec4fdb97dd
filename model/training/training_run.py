"""One training run over one dataset: a step, a validation, a checkpoint; ``loop`` puts them in order.

A batch goes through the model in micro-batches whose gradients add up, which bounds memory. A step's randomness comes
from (seed, step) and its batch from (seed, epoch), so a run that was killed and resumed takes exactly the steps of an
unbroken one. Of every micro-batch each process of the run takes its share of rows, with the noise that those rows have
in any number of processes.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adavae.model.adavae import AdaVAE
from adavae.model.backbone import Backbone
from adavae.model.errors import CheckpointMismatch, ConfigError
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.training.batches import Batches
from adavae.model.training.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from adavae.model.training.config import BetaSchedule, Start, TrainingConfig
from adavae.model.training.fitted_start import fit_start
from adavae.model.training.micro_batches import micro_batches
from adavae.model.training.muon import is_matrix
from adavae.model.training.objective import Loss, Objective
from adavae.model.training.optimizers import Optimizers, diverged, under
from adavae.model.training.precision import uses_bfloat16
from adavae.model.training.processes.group import (
    OneProcess,
    ProcessGroup,
    check_agreement,
    share_of,
    sum_gradients,
    sum_losses,
    take_over,
)
from adavae.model.training.run_origin import RunOrigin
from adavae.model.training.run_state import Outcome, RunState
from adavae.model.training.schedule import Stage, beta_at, is_due, learning_rate_at, stage_at
from adavae.model.training.tokenized_texts import TokenizedTexts, width_of
from adavae.model.training.validation import CRITERIA, Criterion, Validation

_LEAST_RUN_FOR_WARMUP = 10  # the warm-up is at most one step in this many
_ENCODER = ("encoder_", "latent_attention", "pooled", "posterior.mu", "head")
_MICRO_BATCH_TOKENS = {False: 2048, True: 32_768}  # on a CPU, on a GPU


class TrainingRun:
    """One run over one dataset; ``loop`` drives it."""

    def __init__(
        self,
        config: TrainingConfig,
        backbone: Backbone,
        texts: TokenizedTexts,
        validation: TokenizedTexts,
        directory: Path,
        initial: Mapping[str, Tensor] | None = None,
        group: ProcessGroup | None = None,
        origin: RunOrigin | None = None,
    ) -> None:
        """Takes the arguments of ``loop.train``, and two more.

        Args:
            config: The run's settings.
            backbone: Its weights are not changed.
            texts: Training texts.
            validation: Texts held back.
            directory: Where ``checkpoints/`` is.
            initial: Tensors to start with.
            group: The processes that share the run; None for this one.
            origin: What checkpoints name as what they were trained over; without it ``resume`` does not ask.
        """
        if config.form_share > 0 and texts.form_ids is None:
            raise ConfigError(
                "form_share", config.form_share, "needs other forms of the texts: make them, or set it to 0"
            )
        self.config, self.texts, self.validation, self.directory = config, texts, validation, directory
        self.group, self.origin = group or OneProcess(), origin
        self.device = backbone.wte.weight.device
        self.eos_token_id = backbone.config.eos_token_id
        self.context = backbone.config.n_positions if self.device.type == "cpu" else None
        self.autocast = uses_bfloat16(config.precision, self.device)
        torch.manual_seed(config.seed)
        self.vae = self._build(backbone)
        if initial is not None:
            self.vae.bank.load(0, config.adapter, {**self.vae.bank.export(0), **initial})
        self.objective = Objective(
            free_bits=config.free_bits,
            free_bits_form=config.free_bits_form,
            head_weight=config.head_weight,
            label_smoothing=config.label_smoothing,
            word_dropout=config.word_dropout,
            input_dropout=config.input_dropout,
            form_share=config.form_share,
        )
        self.optimizers = self._build_optimizers()
        self.lengths, self.validation_lengths = texts.lengths, validation.lengths
        self.micro_batch_tokens = config.micro_batch_tokens or _MICRO_BATCH_TOKENS[self.device.type == "cuda"]
        batch_size = config.batch_size_for(len(self.lengths))
        self.batches = Batches(self.lengths, batch_size=batch_size, seed=config.seed)
        self.part_steps = config.total_steps(self.batches.batches_per_epoch)
        self.state = RunState()
        self.last_beta, self.last_learning_rate = self.beta, self.learning_rate  # of the latest step
        self.begins_fitted = config.start is Start.FITTED and initial is None
        self.has_few_texts = len(self.lengths) < config.encoder_texts
        own = self.vae.bank.export()
        self.begun_with = own if initial is not None and own.keys() <= initial.keys() else None
        self.is_fresh = initial is None

    def _build(self, backbone: Backbone) -> AdaVAE:
        bank = AdapterBank.for_training(backbone.config, self.config.adapter).to(self.device)
        if self.config.is_full_fine_tuning:  # the baseline: two backbones, every weight trained
            decoder, encoder = copy.deepcopy(backbone), copy.deepcopy(backbone)
            return AdaVAE(decoder.requires_grad_(True), bank, encoder.requires_grad_(True))
        if self.autocast:  # frozen weights are cast once, not at every step
            backbone = copy.deepcopy(backbone).to(torch.bfloat16)
        return AdaVAE(backbone.requires_grad_(False), bank)

    def _build_optimizers(self) -> Optimizers:
        """Muon for the adapter set's matrices, AdamW for everything else and for backbones that are tuned."""
        parameters = [parameter for parameter in self.vae.parameters() if parameter.requires_grad]
        own = {id(parameter) for parameter in self.vae.bank.parameters()}
        return Optimizers(
            parameters,
            [parameter for parameter in parameters if is_matrix(parameter) and id(parameter) in own],
            pretrained=[parameter for parameter in parameters if id(parameter) not in own],
            learning_rate=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            muon_decay=self.config.weight_decay,
            is_fused=self.config.is_full_fine_tuning,
        )

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self.state.step

    @property
    def total_steps(self) -> int:
        """Steps of the whole run: as many again where the decoder is trained once more by itself."""
        return self.part_steps + (self.state.decoder_from or 0)

    @property
    def _part_step(self) -> int:
        """Steps taken since the run began, or since the decoder is trained by itself."""
        return self.state.step - (self.state.decoder_from or 0)

    @property
    def has_fixed_encoder(self) -> bool:
        """Whether steps train the decoder's side alone, and encoder, mu and head stay as they are."""
        return (self.begins_fitted and self.has_few_texts) or self.state.decoder_from is not None

    @property
    def criterion(self) -> Criterion:
        """What decides which step is best."""
        return Criterion.OBJECTIVE if self.has_fixed_encoder else CRITERIA[self.config.preset]

    @property
    def has_untrained_decoder(self) -> bool:
        """Whether the best step is one before which the decoder's adapters had none, so that its set does not decode.

        Never of a run that goes on from a set: that one's decoder is trained.
        """
        if not self.is_fresh or self.state.best_step is None:
            return False
        best = self.state.best_step - (self.state.decoder_from or 0)
        return best == 0 or stage_at(best - 1, self.part_steps, self.config.stage_one_share) is Stage.LATENT_FIRST

    @property
    def can_train_decoder(self) -> bool:
        """Whether the decoder is to be trained by itself: the head was best before it had a step.

        A prefix is left as it is, since its MLP is no part of what is kept of the best step.
        """
        has_prefix = self.config.adapter.prefix_length > 0
        return self.criterion is Criterion.HEAD and self.has_untrained_decoder and not has_prefix

    @property
    def validation_loss(self) -> float | None:
        """Nats per token at the latest validation; None before the first."""
        return self.state.validation_loss

    @property
    def score(self) -> float | None:
        """The criterion at the latest validation; None before the first."""
        return self.state.score

    @property
    def best_score(self) -> float | None:
        """The criterion at its best so far; None before the first validation."""
        return None if self.state.best_step is None else self.state.best_score

    @property
    def is_finished(self) -> bool:
        return self.state.step >= self.total_steps or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        is_long_enough = self._part_step >= min(self.config.min_steps, self.part_steps)
        return is_long_enough and self.state.validations_without_gain >= self.config.patience

    @property
    def outcome(self) -> Outcome:
        """The best step, or what the run went on from where no step of it is better."""
        state = self.state
        if self.begun_with is not None and state.start_score is not None and state.start_score < state.best_score:
            return Outcome(self.begun_with, 0, state.start_loss)
        return Outcome(state.best, state.best_step, state.best_loss)

    def begin(self) -> None:
        """Before the first step: a fitted start, where the run has one, or how good the set is that it goes on from.

        That set is no step of the run, and patience does not count from it: steps at a high learning rate lose against
        a trained set before they win.
        """
        if self.begins_fitted:
            self.fit_start()
        elif self.begun_with is not None:
            validation = self._validation()
            self.state.start_score, self.state.start_loss = validation.score, validation.loss

    def fit_start(self) -> None:
        """Begins where the texts' own statistics say, and remembers that as the best step so far.

        Every process fits, so that none waits for the leader, whose start they then all have.
        """
        fit_start(self.vae, self.texts, torch.Generator().manual_seed(self.config.seed), self._precision())
        take_over(self.group, self.vae.bank.parameters())
        self.validate()

    def begin_decoder(self) -> None:
        """Goes back to the best step and from here on trains the decoder's side alone, for as many steps again."""
        self.vae.bank.load(0, self.config.adapter, self.state.best)
        self.vae.bank.requires_grad_(True)
        self.optimizers = self._build_optimizers()
        self.state.begin_decoder()
        self.validate()

    def take_step(self) -> tuple[Loss, float]:
        """One update.

        Returns:
            The loss, and the norm of its gradient before clipping.

        Raises:
            TrainingDiverged: The loss or its gradient is not finite; nothing was updated.
        """
        self._apply_schedules()
        generator = step_generator(self.config.seed, self.state.step, self.device)
        self.vae.zero_grad(set_to_none=True)
        rows, parts = self.batches.rows_at(self.state.step), []
        for part in self._losses(self.objective, self.texts, rows, self.last_beta, generator):
            part.total.backward()  # type: ignore[no-untyped-call]
            parts.append(replace(part, total=part.total.detach()))
        sum_gradients(self.group, self.vae.parameters())
        loss, norm = _fetched(
            self._together(parts), nn.utils.clip_grad_norm_(self.vae.parameters(), self.config.max_gradient_norm)
        )
        if not (loss.is_finite and norm < float("inf")):
            config, checkpoints = self.config, self.directory / "checkpoints"
            raise diverged(self.state.step + 1, self.total_steps, config.learning_rate, checkpoints)
        self.optimizers.step()
        self.state.step += 1
        return loss, norm

    def _losses(
        self,
        objective: Objective,
        texts: TokenizedTexts,
        rows: Sequence[int],
        beta: float,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """The loss of this process' share of each micro-batch of ``rows``; together they are the loss of all.

        Args:
            objective: What is measured.
            texts: The dataset of the rows.
            rows: The texts of one step, or all validation texts.
            beta: Weight of the KL.
            generator: Source of all randomness.
        """
        lengths = self.lengths if texts is self.texts else self.validation_lengths
        step_tokens, num_before = sum(lengths[row] + 1 for row in rows), 0
        widths = {row: width_of(lengths[row], self.context) for row in rows}
        for chosen in micro_batches(rows, widths, self.micro_batch_tokens):
            batch = texts.batch(chosen, self.eos_token_id, self.device, self.context)
            noise = objective.draw(batch, self.config.adapter.latent_size, generator)
            share = share_of(self.group, len(chosen), num_before)
            num_before += len(chosen)
            if share:
                with self._precision():
                    yield objective.loss(self.vae, batch.rows(share), beta, noise.rows(share), step_tokens)

    def _together(self, parts: Sequence[Loss]) -> Loss:
        """The loss of all micro-batches in all processes."""
        return sum_losses(self.group, Loss.together(parts) if parts else Loss.nothing(self.device))

    @property
    def beta(self) -> float:
        """Weight of the KL in the next step."""
        if self.config.beta_schedule is BetaSchedule.CONSTANT:
            return self.config.beta
        return beta_at(
            self._part_step,
            self.part_steps,
            cycles=self.config.beta_cycles,
            zero_share=self.config.beta_zero_share,
            rise_share=self.config.beta_rise_share,
            maximum=self.config.beta,
        )

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        return scheduled_learning_rate(self.config, self._part_step, self.part_steps)

    def _apply_schedules(self) -> None:
        self.last_beta, self.last_learning_rate = self.beta, self.learning_rate
        self.optimizers.set_learning_rate(self.last_learning_rate)
        stage = stage_at(self._part_step, self.part_steps, self.config.stage_one_share)
        is_joined = stage is Stage.ALL
        if self.config.is_full_fine_tuning:
            self.vae.backbone.requires_grad_(is_joined)
        for name, parameter in self.vae.bank.named_parameters():
            if name.startswith(("decoder_adapters", "decoder_prefix")):
                parameter.requires_grad_(is_joined)
            elif self.has_fixed_encoder and name.startswith(_ENCODER):
                parameter.requires_grad_(False)

    def _precision(self) -> AbstractContextManager[Any]:
        if not self.autocast:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def is_validation_due(self) -> bool:
        """Whether the step that was just taken is one of those after which the run is validated."""
        return is_due(self._part_step, self.part_steps, self.config.validations)

    def validate(self) -> Validation:
        """Measures the validation texts at full beta with nothing hidden, and remembers the best tensors."""
        validation = self._validation()
        self._remember(validation)
        return validation

    @torch.no_grad()
    def _validation(self) -> Validation:
        generator = step_generator(self.config.seed, 0, self.device)
        rows = range(len(self.validation_lengths))
        loss = self._together(
            list(self._losses(self.objective.undisturbed(), self.validation, rows, self.config.beta, generator))
        )
        return Validation.of(_fetched(loss, loss.total)[0], self.criterion)

    def _remember(self, validation: Validation) -> None:
        if self.state.take(validation):
            self.state.best = self.vae.bank.export()

    def save(self) -> None:
        """Writes a checkpoint from which ``resume`` continues exactly, in any number of processes; the leader does.

        Raises:
            TrainingProcessLost: The processes do not have the same weights any more.
        """
        check_agreement(self.group, self.state.step, self._trained().values())
        if self.group.rank:
            return
        tensors = {f"vae.{name}": tensor for name, tensor in self._trained().items()}
        optimizer_tensors, optimizer_states = self.optimizers.save()
        tensors |= optimizer_tensors
        tensors |= {f"best.{name}": tensor for name, tensor in self.state.best.items()}
        state = {
            "config": self.config.to_dict(),
            "data": [self.texts.digest, self.validation.digest],
            "origin": None if self.origin is None else asdict(self.origin),
            "optimizers": optimizer_states,
            "run": self.state.to_json(),
        }
        save_checkpoint(self.directory / "checkpoints", self.state.step, Checkpoint(tensors, state))

    def resume(self) -> bool:
        """Continues from the newest undamaged checkpoint.

        Returns:
            Whether there was one.

        Raises:
            CheckpointMismatch: It belongs to a run with other settings or data, or over another backbone.
        """
        path = latest_checkpoint(self.directory / "checkpoints")
        if path is None:
            return False
        checkpoint = load_checkpoint(path)
        same_data = checkpoint.state["data"] == [self.texts.digest, self.validation.digest]
        if TrainingConfig.from_dict(checkpoint.state["config"]) != self.config or not same_data:
            raise CheckpointMismatch(
                f"{path} belongs to a run with other {'settings' if same_data else 'data'}: repeat the first command "
                f"exactly, or start afresh under another name"
            )
        saved = checkpoint.state.get("origin")  # None of a run by hand, missing from versions before
        if saved is not None and self.origin is not None:
            self.origin.check_is(RunOrigin(**saved), path)
        trained = self._trained()
        for name, tensor in under(checkpoint.tensors, "vae.").items():
            trained[name].data.copy_(tensor)
        self.optimizers.restore(checkpoint)
        self.state = RunState(**checkpoint.state["run"], best=under(checkpoint.tensors, "best."))
        return True

    def _trained(self) -> dict[str, Tensor]:
        part: nn.Module = self.vae if self.config.is_full_fine_tuning else self.vae.bank
        return dict(part.named_parameters())


def scheduled_learning_rate(config: TrainingConfig, step: int, total_steps: int) -> float:
    """That of one step; the warm-up is shortened where the run is short."""
    return learning_rate_at(
        step,
        total_steps,
        peak=config.learning_rate,
        warmup=min(config.warmup_steps, total_steps // _LEAST_RUN_FOR_WARMUP),
        kind=config.learning_rate_schedule.value,
    )


def step_generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """All randomness of one step, from (seed, step) alone."""
    return torch.Generator(device).manual_seed((seed * 1_000_003 + step) % 2**63)


def _fetched(loss: Loss, norm: Tensor) -> tuple[Loss, float]:
    """Fetches both from the device: the only time a step waits for it."""
    numbers = torch.cat([torch.stack([loss.total, norm]), loss.sums]).cpu()
    return replace(loss, total=numbers[0], sums=numbers[2:]), float(numbers[1])
