"""The objective: reconstruction plus beta times the KL with free bits (paper Eq. 3 and 4), and the head's loss.

The paper's Eq. 4 puts the free-bits threshold on the whole KL; with lambda = 0.5 that caps the information at about
half a nat, which cannot give the mutual information the paper reports. Optimus and most later work put it on each
dimension. That is the default here; the other form can be selected.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from adavae.model.adavae import AdaVAE
from adavae.model.parts.posterior import Posterior
from adavae.model.parts.stacked import AdapterIndex
from adavae.model.training.config import FreeBits
from adavae.model.training.cross_entropy import sliced_cross_entropy
from adavae.model.training.encoder_input import with_deletions, with_forms
from adavae.model.training.noise import Noise, uniform


@dataclass(frozen=True, slots=True)
class TextBatch:
    """One padded micro-batch of texts.

    Attributes:
        token_ids: (B, T), int64, right-padded.
        attention_mask: True on real tokens, (B, T).
        label_ids: (B,), int64, or None where texts have no labels.
        lengths: Tokens of each text, if known on the host, which then need not wait for the device to count them.
        forms: Another form of each text, which the encoder may read instead.
        has_room: Whether there is a column of padding behind every text, in which its end fits.
    """

    token_ids: Tensor
    attention_mask: Tensor
    label_ids: Tensor | None = None
    lengths: tuple[int, ...] | None = None
    forms: "TextBatch | None" = None
    has_room: bool = False

    def __len__(self) -> int:
        return self.token_ids.shape[0]

    def rows(self, chosen: range) -> "TextBatch":
        """Some of its texts, padded as they were."""
        if len(chosen) == len(self):
            return self
        places = slice(chosen.start, chosen.stop, chosen.step)
        return TextBatch(
            self.token_ids[places],
            self.attention_mask[places],
            None if self.label_ids is None else self.label_ids[places],
            None if self.lengths is None else self.lengths[places],
            None if self.forms is None else self.forms.rows(chosen),
            self.has_room,
        )

    @property
    def decoder_width(self) -> int:
        """W: room for every text and its end."""
        return self.token_ids.shape[1] + (not self.has_room)

    def decoder_sides(self, eos_token_id: int) -> tuple[Tensor, Tensor, Tensor]:
        """What the decoder reads and must predict: end-of-text begins the input and ends the target.

        Returns:
            inputs (B, W), targets (B, W), and is_target (B, W), True where a target counts; W is ``decoder_width``.
        """
        edge, width = self.token_ids.new_full((len(self), 1), eos_token_id), self.decoder_width
        filled = self.token_ids.masked_fill(~self.attention_mask, eos_token_id)
        is_target = torch.cat([torch.ones_like(edge, dtype=torch.bool), self.attention_mask], 1)
        inputs, targets = torch.cat([edge, filled], 1), torch.cat([filled, edge], 1)
        return inputs[:, :width], targets[:, :width], is_target[:, :width]

    def target_places(self, is_target: Tensor) -> Tensor:
        """Flat positions at which ``is_target``, (B, W), is True, (N,), int64."""
        if self.lengths is None:
            return is_target.flatten().nonzero().squeeze(1)
        T = is_target.shape[1]
        places = torch.cat([torch.arange(row * T, row * T + length + 1) for row, length in enumerate(self.lengths)])
        return places.to(is_target.device, non_blocking=True)


def free_bits_kl(kl_per_dimension: Tensor, free_bits: float, form: FreeBits = FreeBits.PER_DIMENSION) -> Tensor:
    """The KL of each row with free bits (paper Eq. 4).

    Args:
        kl_per_dimension: KL of each dimension, (B, Z), nats.
        free_bits: lambda, nats.
        form: ``sum_i max(lambda, KL_i)``, or the paper's ``max(lambda, sum_i KL_i)``.

    Returns:
        (B,), nats.
    """
    if form is FreeBits.WHOLE:
        return kl_per_dimension.sum(-1).clamp_min(free_bits)
    return kl_per_dimension.clamp_min(free_bits).sum(-1)


def reconstruction_nll(vae: AdaVAE, batch: TextBatch, z: Tensor, index: AdapterIndex) -> Tensor:
    """-log p(x|z) of each row: the sum over its tokens, end of text included, (B,), nats; no gradient."""
    inputs, targets, is_target = batch.decoder_sides(vae.backbone.config.eos_token_id)
    hidden = vae.hidden_states(inputs, z, index)[is_target]  # (N, C)
    weights = torch.ones(hidden.shape[0], device=hidden.device)
    _, nll = sliced_cross_entropy(hidden, vae.backbone.lm_head.weight, targets[is_target], weights)
    return _sum_by_row(nll, is_target)


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of a step, or of one of its micro-batches, and its parts.

    Attributes:
        total: What is minimised, per token of the step, so that gradients do not grow with the texts' lengths.
        sums: -log p(x|z), KL(q(z|x) || p(z)) without free bits and the head's cross-entropy, each summed over the
            texts, (3,), nats; no gradient.
        num_texts: Number of texts.
        num_tokens: Target tokens.
    """

    total: Tensor
    sums: Tensor
    num_texts: int
    num_tokens: int

    @classmethod
    def nothing(cls, device: torch.device) -> "Loss":
        """Of no texts at all."""
        return cls(torch.zeros((), device=device), torch.zeros(3, device=device), 0, 0)

    @classmethod
    def together(cls, parts: Sequence["Loss"]) -> "Loss":
        """Sums the micro-batches of a step; without gradient, and without waiting for the device."""
        return cls(
            torch.stack([part.total.detach() for part in parts]).sum(),
            torch.stack([part.sums for part in parts]).sum(0),
            sum(part.num_texts for part in parts),
            sum(part.num_tokens for part in parts),
        )

    @property
    def reconstruction_nats(self) -> float:
        """-log p(x|z), averaged over the texts."""
        return float(self.sums[0]) / self.num_texts

    @property
    def kl_nats(self) -> float:
        """KL(q(z|x) || p(z)) without free bits, averaged over the texts."""
        return float(self.sums[1]) / self.num_texts

    @property
    def head_nats(self) -> float:
        """The head's cross-entropy, averaged over the texts; 0 without a head."""
        return float(self.sums[2]) / self.num_texts

    @property
    def is_finite(self) -> bool:
        return bool(torch.isfinite(self.total))


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """sum over texts of (rec + beta * KL_free_bits + head_weight * CE), divided by the tokens of all of them.

    Attributes:
        free_bits: lambda, nats.
        free_bits_form: What lambda is compared with.
        head_weight: Weight of the classification loss relative to the reconstruction, both in nats per text.
        label_smoothing: Share of the head's target that is spread evenly over all labels.
        word_dropout: Share of the decoder's input tokens replaced by end-of-text, so that it relies on z.
        input_dropout: Largest rate at which tokens of the encoder's input are deleted.
        form_share: Share of the texts whose other form the encoder reads.
    """

    free_bits: float = 0.0
    free_bits_form: FreeBits = FreeBits.PER_DIMENSION
    head_weight: float = 1.0
    label_smoothing: float = 0.0
    word_dropout: float = 0.0
    input_dropout: float = 0.0
    form_share: float = 0.0

    def undisturbed(self) -> "Objective":
        """The same without dropout, other forms or smoothing, for validation texts."""
        return replace(self, label_smoothing=0.0, word_dropout=0.0, input_dropout=0.0, form_share=0.0)

    def draw(self, batch: TextBatch, latent_size: int, generator: torch.Generator) -> Noise:
        """The random numbers for a micro-batch; ``latent_size`` is Z, and their device is the generator's."""
        B, T = batch.token_ids.shape
        form = deletion_rate = deletion = None
        if self.form_share > 0.0 and batch.forms is not None:
            form = uniform(B, 1, generator)
        if self.input_dropout > 0.0:
            read = T if form is None or batch.forms is None else max(T, batch.forms.token_ids.shape[1])
            deletion_rate, deletion = uniform(B, 1, generator), uniform(B, read, generator)
        epsilon = torch.randn(B, latent_size, generator=generator, device=generator.device)
        word = uniform(B, batch.decoder_width, generator) if self.word_dropout > 0.0 else None
        return Noise(epsilon=epsilon, form=form, deletion_rate=deletion_rate, deletion=deletion, word=word)

    def loss(
        self,
        vae: AdaVAE,
        batch: TextBatch,
        beta: float,
        noise: Noise,
        step_tokens: int | None = None,
    ) -> Loss:
        """The loss of one micro-batch; over a step these add up to the step's loss.

        Args:
            vae: The model being trained; slot 0 of its bank.
            batch: Texts of one micro-batch.
            beta: Weight of the KL.
            noise: All that is random about these texts, as ``draw`` makes it.
            step_tokens: Target tokens of the whole step; None if the batch is the whole step.
        """
        index = AdapterIndex.uniform(len(batch))
        posterior = vae.encode(*self._encoder_input(batch, noise), index)
        z = posterior.at(noise.epsilon)
        nll_sum, nll = self._reconstruction(vae, batch, z, index, noise, step_tokens)
        kl_per_dimension = posterior.kl_to_prior()
        kl = free_bits_kl(kl_per_dimension, self.free_bits, self.free_bits_form).sum()
        head = self._head(vae, batch, posterior, index)
        parts = (nll.sum(), kl_per_dimension.detach().sum(), head.detach())
        return Loss(
            total=nll_sum + (beta * kl + self.head_weight * head) / (step_tokens or nll.numel()),
            sums=torch.stack([part.float() for part in parts]),
            num_texts=len(batch),
            num_tokens=nll.numel(),
        )

    def _encoder_input(self, batch: TextBatch, noise: Noise) -> tuple[Tensor, Tensor]:
        """Token ids and mask of what the encoder reads, both (B, T)."""
        token_ids, mask = batch.token_ids, batch.attention_mask
        if noise.form is not None and batch.forms is not None:
            forms = batch.forms
            token_ids, mask = with_forms(
                token_ids, mask, forms.token_ids, forms.attention_mask, self.form_share, noise.form
            )
        if noise.deletion_rate is not None and noise.deletion is not None:
            token_ids, mask = with_deletions(token_ids, mask, self.input_dropout, noise.deletion_rate, noise.deletion)
        return token_ids, mask

    def _reconstruction(
        self,
        vae: AdaVAE,
        batch: TextBatch,
        z: Tensor,
        index: AdapterIndex,
        noise: Noise,
        step_tokens: int | None,
    ) -> tuple[Tensor, Tensor]:
        """The tokens' summed nll divided by the step's number of tokens, differentiable, and each token's nll, (N,)."""
        eos_token_id = vae.backbone.config.eos_token_id
        inputs, targets, is_target = batch.decoder_sides(eos_token_id)
        if noise.word is not None:
            inputs = inputs.masked_fill(noise.word < self.word_dropout, eos_token_id)
        places = batch.target_places(is_target)
        hidden = vae.hidden_states(inputs, z, index).flatten(0, 1)[places]  # (N, C)
        N = hidden.shape[0]
        weights = torch.full((N,), 1.0 / (step_tokens or N), device=hidden.device)
        return sliced_cross_entropy(hidden, vae.backbone.lm_head.weight, targets.reshape(-1)[places], weights)

    def _head(self, vae: AdaVAE, batch: TextBatch, posterior: Posterior, index: AdapterIndex) -> Tensor:
        """The head's cross-entropy summed over the texts, a scalar in nats; 0 if the set has no head."""
        if batch.label_ids is None or vae.bank.head is None:
            return torch.zeros((), device=batch.token_ids.device)
        logits = vae.classify(posterior.mu, index)
        return F.cross_entropy(logits, batch.label_ids, reduction="sum", label_smoothing=self.label_smoothing)


def _sum_by_row(values: Tensor, is_present: Tensor) -> Tensor:
    """Sums over each row, (B,), of values given for the True places of a (B, T) mask."""
    spread = torch.zeros(is_present.shape, dtype=values.dtype, device=values.device)
    spread[is_present] = values
    return spread.sum(1)
