"""How the systems of Table 2 are trained: one update on the bound, or the procedure that a system is named after."""

import math
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from adavae.model.errors import TrainingDiverged
from adavae.model.parts.posterior import Posterior
from adavae.model.training.config import TrainingConfig
from adavae.model.training.encoder_input import with_deletions
from adavae.model.training.measures import mutual_information
from adavae.model.training.muon import is_matrix
from adavae.model.training.noise import uniform
from adavae.model.training.objective import TextBatch
from adavae.model.training.optimizers import Optimizers
from adavae.model.training.reproduction.elbo import Beta, negative_elbo
from adavae.model.training.reproduction.precision import fast_matrices
from adavae.model.training.reproduction.systems.lstm import LSTMVAE, initialise
from adavae.model.training.reproduction.systems.semi_amortized import SemiAmortizedVAE
from adavae.model.training.reproduction.systems.sentence_model import SentenceModel, num_target_tokens
from adavae.model.training.reproduction.systems.t5_vae import T5VAE
from adavae.model.training.reproduction.updates import adam, decay, update
from adavae.model.training.training_run import scheduled_learning_rate


class Procedure(Protocol):
    """Trains one system, batch by batch."""

    def step(self, batches: Iterator[TextBatch], done: float) -> float:
        """One update of the decoder.

        Args:
            batches: Endless; as many are taken as the procedure needs.
            done: Share of the run that is behind, 0 to 1.

        Returns:
            The loss, nats a token.
        """
        ...


class LikelihoodProcedure:
    """A model without a latent: cross-entropy."""

    def __init__(self, model: SentenceModel, learning_rate: float, *, is_decaying: bool = False) -> None:
        """``is_decaying``: the learning rate falls to 0 over the run."""
        self.model, self.optimizer, self.is_decaying = model, adam(model, learning_rate), is_decaying

    def step(self, batches: Iterator[TextBatch], done: float) -> float:
        batch = next(batches)
        if self.is_decaying:
            decay(self.optimizer, done)
        with fast_matrices(batch.token_ids.device):
            loss = self.model.reconstruction(batch, None) / num_target_tokens(batch)
        return update(loss, self.optimizer)


class AdapterProcedure:
    """Cross-entropy of adapters alone, updated as AdaVAE's are: the same optimizers, learning rate and clipping."""

    def __init__(self, model: SentenceModel, config: TrainingConfig) -> None:
        self.model, self.config = model, config
        self.parameters = [each for each in model.parameters() if each.requires_grad]
        self.optimizers = Optimizers(
            self.parameters,
            [each for each in self.parameters if is_matrix(each)],
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
        )

    def step(self, batches: Iterator[TextBatch], done: float) -> float:
        steps, batch = self.config.max_steps or 1, next(batches)
        self.optimizers.set_learning_rate(scheduled_learning_rate(self.config, round(done * steps), steps))
        for parameter in self.parameters:
            parameter.grad = None
        with fast_matrices(batch.token_ids.device):
            loss = self.model.reconstruction(batch, None) / num_target_tokens(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, self.config.max_gradient_norm)
        self.optimizers.step()
        return float(loss.detach())


class BoundProcedure:
    """Encoder and decoder together on the bound, beta by a schedule (M. A., C. A., Optimus)."""

    def __init__(
        self,
        model: SentenceModel,
        optimizer: torch.optim.Optimizer,
        beta: Beta,
        generator: torch.Generator,
        free_bits: float = 0.0,
        *,
        is_decaying: bool = False,
    ) -> None:
        """``is_decaying``: the learning rates fall to 0 over the run."""
        self.model, self.optimizer, self.beta, self.generator = model, optimizer, beta, generator
        self.free_bits, self.is_decaying = free_bits, is_decaying

    def step(self, batches: Iterator[TextBatch], done: float) -> float:
        batch = next(batches)
        if self.is_decaying:
            decay(self.optimizer, done)
        with fast_matrices(batch.token_ids.device):
            posterior = posterior_of(self.model, batch)
            loss = negative_elbo(self.model, batch, posterior, self.beta(done), self.generator, self.free_bits)
        return update(loss, self.optimizer)


class AggressiveProcedure:
    """The encoder is trained until it has caught up, before each step of the decoder (He et al. 2019).

    That ends for good once the mutual information on ``watched`` texts is less than at the look before, which are a few
    in a run, or once the encoder has had ``most_encoder_steps`` by itself.

    Attributes:
        encoder_steps: Updates of the encoder alone so far; ``most_encoder_steps`` is their bound.
        decoder_steps: Updates of the decoder so far.
        is_aggressive: Whether the encoder is still trained by itself.
    """

    _MOST_ENCODER_STEPS = 30  # before one step of the decoder
    _AVERAGED = 10  # steps whose mean has to fall for the encoder to go on
    _LOOKS = 40  # at the mutual information, in the whole run

    def __init__(
        self,
        model: LSTMVAE,
        learning_rate: float,
        beta: Beta,
        generator: torch.Generator,
        watched: TextBatch,
        most_encoder_steps: int,
    ) -> None:
        self.model, self.beta, self.generator, self.watched = model, beta, generator, watched
        self.most_encoder_steps = most_encoder_steps
        self.encoder_optimizer = adam(model.encoder, learning_rate)
        self.decoder_optimizer = adam(model.decoder, learning_rate)
        self.is_aggressive, self.encoder_steps, self.decoder_steps = True, 0, 0
        self._last_mi, self._looks = 0.0, 0

    def step(self, batches: Iterator[TextBatch], done: float) -> float:
        if self.is_aggressive:
            self._catch_up(batches, done)
        loss = self._loss(next(batches), done)
        optimizers = (
            (self.decoder_optimizer,) if self.is_aggressive else (self.encoder_optimizer, self.decoder_optimizer)
        )
        value = update(loss, *optimizers)
        self.decoder_steps += 1
        if self.is_aggressive and done * self._LOOKS >= self._looks + 1:
            self._look()
        return value

    def _catch_up(self, batches: Iterator[TextBatch], done: float) -> None:
        self.model.decoder.requires_grad_(False)  # or half of the work were gradients that nothing uses
        self._train_encoder(batches, done)
        self.model.decoder.requires_grad_(True)

    def _train_encoder(self, batches: Iterator[TextBatch], done: float) -> None:
        before, losses = float("inf"), []
        for number in range(1, self._MOST_ENCODER_STEPS + 1):
            losses.append(update(self._loss(next(batches), done), self.encoder_optimizer))
            self.encoder_steps += 1
            if self.encoder_steps == self.most_encoder_steps:
                self.is_aggressive = False
                return
            if number % self._AVERAGED == 0:
                mean = sum(losses[-self._AVERAGED :]) / self._AVERAGED
                if mean >= before:
                    return
                before = mean

    def _loss(self, batch: TextBatch, done: float) -> Tensor:
        with fast_matrices(batch.token_ids.device):
            return negative_elbo(self.model, batch, self.model.posterior(batch), self.beta(done), self.generator)

    @torch.no_grad()
    def _look(self) -> None:
        self._looks += 1
        posterior = self.model.posterior(self.watched)
        mi = mutual_information(posterior.mu.cpu(), posterior.logvar.cpu(), torch.Generator().manual_seed(0))
        self.is_aggressive = mi >= self._last_mi
        self._last_mi = mi


class AutoencoderFirst:
    """First an autoencoder, beta 0; then the decoder anew, and the bound with free bits (AE-BP, Li et al. 2019)."""

    def __init__(
        self, model: LSTMVAE, learning_rate: float, generator: torch.Generator, free_bits: float, share: float = 1 / 3
    ) -> None:
        self.model, self.learning_rate, self.generator = model, learning_rate, generator
        self.free_bits, self.share = free_bits, share
        self.is_autoencoder = True
        self.optimizer = adam(model, learning_rate)

    def step(self, batches: Iterator[TextBatch], done: float) -> float:
        if self.is_autoencoder and done >= self.share:
            self.is_autoencoder = False
            initialise(self.model.decoder)
            self.optimizer = adam(self.model, self.learning_rate)
        batch = next(batches)
        beta = 0.0 if self.is_autoencoder else min(1.0, 2 * (done - self.share) / (1 - self.share))
        with fast_matrices(batch.token_ids.device):
            posterior = self.model.posterior(batch)
            loss = negative_elbo(self.model, batch, posterior, beta, self.generator, self.free_bits)
        return update(loss, self.optimizer)


class EncoderFirst:
    """First what leads to z, beta 0 and the decoder fixed; then all, beta rising in a line (T5 VAE, Park and Lee 2021).

    The encoder reads texts of which tokens are deleted, each text at its own rate up to ``deleted``.
    """

    def __init__(
        self,
        model: T5VAE,
        learning_rate: float,
        generator: torch.Generator,
        free_bits: float,
        deleted: float,
        share: float = 1 / 3,
        *,
        is_decaying: bool = False,
    ) -> None:
        """``is_decaying``: the learning rates fall to 0 over the run."""
        self.model, self.generator, self.free_bits = model, generator, free_bits
        self.deleted, self.share, self.is_decaying = deleted, share, is_decaying
        self.optimizer = adam(model, learning_rate, model.pretrained)
        of_decoder = (each for part in model.decoder_side for each in part.parameters())
        self._fixed_first = [each for each in of_decoder if each.requires_grad]

    def step(self, batches: Iterator[TextBatch], done: float) -> float:
        batch, is_first = next(batches), done < self.share
        if self.is_decaying:
            decay(self.optimizer, done)
        for parameter in self._fixed_first:
            parameter.requires_grad_(not is_first)
        beta = 0.0 if is_first else (done - self.share) / (1 - self.share)
        with fast_matrices(batch.token_ids.device):
            posterior = self.model.posterior(self._with_deletions(batch))
            loss = negative_elbo(self.model, batch, posterior, beta, self.generator, self.free_bits)
        value = update(loss, self.optimizer)
        for parameter in self._fixed_first:
            parameter.requires_grad_(True)
        return value

    def _with_deletions(self, batch: TextBatch) -> TextBatch:
        B, T = batch.token_ids.shape
        rates, drawn = uniform(B, 1, self.generator), uniform(B, T, self.generator)
        return TextBatch(*with_deletions(batch.token_ids, batch.attention_mask, self.deleted, rates, drawn))


class SemiAmortized:
    """The encoder's posterior is refined for each text by steps uphill on its bound (SA-VAE, Kim et al. 2018).

    Encoder and decoder both learn from the bound at the refined posterior, through the steps that lead to it.
    ``refine`` is used in measuring too.
    """

    def __init__(self, model: SemiAmortizedVAE, learning_rate: float, beta: Beta, generator: torch.Generator) -> None:
        self.model, self.beta, self.generator = model, beta, generator
        self.optimizer = adam(model, learning_rate)

    def step(self, batches: Iterator[TextBatch], done: float) -> float:
        batch, beta = next(batches), self.beta(done)
        with fast_matrices(batch.token_ids.device):
            refined = self.model.refine(batch, self.model.inner.posterior(batch), beta, is_differentiable=True)
            loss = negative_elbo(self.model, batch, refined, beta, self.generator)
        return update(loss, self.optimizer)


def posterior_of(model: SentenceModel, batch: TextBatch) -> Posterior:
    """The posterior of a model that has one."""
    posterior = model.posterior(batch)
    assert posterior is not None  # the bound is asked of models with a latent alone
    return posterior


def run(
    procedure: Procedure, batches: Iterator[TextBatch], steps: int, on_step: Callable[[int, int, float], None]
) -> None:
    """All steps of one system.

    Raises:
        TrainingDiverged: The loss is no longer finite.
    """
    for step in range(steps):
        loss = procedure.step(batches, step / steps)
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"the loss is {loss} at step {step + 1} of {steps}: try another seed or another scale"
            )
        on_step(step + 1, steps, loss)
