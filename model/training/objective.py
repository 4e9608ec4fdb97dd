"""The objective: reconstruction plus beta times the KL with free bits (paper Eq. 3 and 4), and the head's loss.

The paper's Eq. 4 puts the free-bits threshold on the whole KL; with lambda = 0.5 that caps the information at about
half a nat, which cannot give the mutual information the paper reports. Optimus and most later work put it on each
dimension. That form is the default here, the other stays selectable.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from adavae.model.adavae import AdaVAE
from adavae.model.parts.posterior import Posterior
from adavae.model.parts.stacked import AdapterIndex
from adavae.model.training.config import FreeBits
from adavae.model.training.cross_entropy import sliced_cross_entropy


@dataclass(frozen=True, slots=True)
class TextBatch:
    """One padded micro-batch of texts.

    Attributes:
        token_ids: (B, T), int64, right-padded.
        attention_mask: True on real tokens, (B, T).
        label_ids: (B,), int64, or None where texts have no labels.
    """

    token_ids: Tensor
    attention_mask: Tensor
    label_ids: Tensor | None = None

    def __len__(self) -> int:
        return self.token_ids.shape[0]

    def decoder_sides(self, eos_token_id: int) -> tuple[Tensor, Tensor, Tensor]:
        """What the decoder reads and has to predict: end-of-text begins the input and ends the target.

        Returns:
            inputs (B, T + 1), targets (B, T + 1), and is_target (B, T + 1), True where a target counts.
        """
        edge = self.token_ids.new_full((len(self), 1), eos_token_id)
        filled = self.token_ids.masked_fill(~self.attention_mask, eos_token_id)
        is_target = torch.cat([torch.ones_like(edge, dtype=torch.bool), self.attention_mask], 1)
        return torch.cat([edge, filled], 1), torch.cat([filled, edge], 1), is_target


def free_bits_kl(kl_per_dimension: Tensor, free_bits: float, form: FreeBits = FreeBits.PER_DIMENSION) -> Tensor:
    """The KL of each row with its free bits granted.

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
    """One step's loss and its parts, averaged over the batch's texts.

    Attributes:
        total: What is minimised: per token, so that its gradient does not grow with the texts' lengths.
        reconstruction_nats: -log p(x|z).
        kl_nats: KL(q(z|x) || p(z)), without free bits.
        head_nats: The head's cross-entropy; 0 without a head.
        num_tokens: Target tokens in the batch.
    """

    total: Tensor
    reconstruction_nats: float
    kl_nats: float
    head_nats: float
    num_tokens: int

    @property
    def is_finite(self) -> bool:
        return bool(torch.isfinite(self.total))


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """(rec + beta * KL_free_bits + head_weight * CE), divided by the batch's mean number of tokens.

    Attributes:
        free_bits: lambda, nats.
        free_bits_form: What lambda is compared with.
        head_weight: Weight of the classification loss, in nats per text beside the reconstruction.
        word_dropout: Share of the decoder's input tokens replaced by end-of-text, so that it leans on z.
    """

    free_bits: float = 0.0
    free_bits_form: FreeBits = FreeBits.PER_DIMENSION
    head_weight: float = 1.0
    word_dropout: float = 0.0

    def loss(self, vae: AdaVAE, batch: TextBatch, beta: float, generator: torch.Generator) -> Loss:
        """The loss of one batch.

        Args:
            vae: The model being trained; slot 0 of its bank.
            batch: Texts of one micro-batch.
            beta: Weight of the KL.
            generator: All randomness of the step: epsilon, then word dropout.
        """
        index = AdapterIndex.uniform(len(batch))
        posterior = vae.encode(batch.token_ids, batch.attention_mask, index)
        z = posterior.sample(generator)
        reconstruction, nll = self._reconstruction(vae, batch, z, index, generator)
        kl_per_dimension = posterior.kl_to_prior()
        kl = free_bits_kl(kl_per_dimension, self.free_bits, self.free_bits_form).mean()
        head = self._head(vae, batch, posterior, index)
        tokens_per_text = nll.numel() / len(batch)
        return Loss(
            total=reconstruction + (beta * kl + self.head_weight * head) / tokens_per_text,
            reconstruction_nats=float(nll.sum()) / len(batch),
            kl_nats=float(kl_per_dimension.detach().sum(-1).mean()),
            head_nats=float(head.detach()),
            num_tokens=nll.numel(),
        )

    def _reconstruction(
        self, vae: AdaVAE, batch: TextBatch, z: Tensor, index: AdapterIndex, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mean nll per token, differentiable, and each token's nll, (N,)."""
        eos_token_id = vae.backbone.config.eos_token_id
        inputs, targets, is_target = batch.decoder_sides(eos_token_id)
        if self.word_dropout > 0.0:
            drawn = torch.rand(inputs.shape, generator=generator, device=generator.device).to(inputs.device)
            inputs = inputs.masked_fill(drawn < self.word_dropout, eos_token_id)
        hidden = vae.hidden_states(inputs, z, index)[is_target]  # (N, C)
        N = hidden.shape[0]
        weights = torch.full((N,), 1.0 / N, device=hidden.device)
        return sliced_cross_entropy(hidden, vae.backbone.lm_head.weight, targets[is_target], weights)

    def _head(self, vae: AdaVAE, batch: TextBatch, posterior: Posterior, index: AdapterIndex) -> Tensor:
        """The head's cross-entropy, a scalar in nats; 0 where the set has no head."""
        if batch.label_ids is None or vae.bank.head is None:
            return torch.zeros((), device=batch.token_ids.device)
        return F.cross_entropy(vae.classify(posterior.mu, index), batch.label_ids)


def _sum_by_row(values: Tensor, is_present: Tensor) -> Tensor:
    """Values listed for the True places of a (B, T) mask, summed over each row, (B,)."""
    spread = torch.zeros(is_present.shape, dtype=values.dtype, device=values.device)
    spread[is_present] = values
    return spread.sum(1)
