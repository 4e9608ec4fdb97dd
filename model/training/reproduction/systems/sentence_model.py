"""What a system of Table 2 offers, so that one measure fits all: a posterior, and the likelihood of a text given z."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from adavae.model.parts.posterior import Posterior
from adavae.model.training.cross_entropy import sliced_cross_entropy
from adavae.model.training.objective import TextBatch


class SentenceModel(nn.Module, ABC):
    """A model of sentences, with a latent or without.

    Attributes:
        eos_token_id: Begins the decoder's input and ends every text.
    """

    eos_token_id: int

    @abstractmethod
    def posterior(self, batch: TextBatch) -> Posterior | None:
        """q(z|x) over (B, Z); None for a model without a latent."""

    @abstractmethod
    def hidden_states(self, batch: TextBatch, z: Tensor | None) -> Tensor:
        """The teacher-forced decoder over end-of-text and the text, (B, T + 1, C), ready for ``output``.

        Args:
            batch: The texts.
            z: (B, Z); None for a model without a latent.
        """

    @property
    @abstractmethod
    def output(self) -> Tensor:
        """The output embedding, (V, C)."""

    def nll(self, batch: TextBatch, z: Tensor | None) -> Tensor:
        """-log p(x|z) of each text, the end included, (B,), nats; without gradient."""
        total, nll, rows = self._cross_entropy(batch, z)
        del total
        return torch.zeros(len(batch), device=nll.device).index_add_(0, rows, nll)

    def reconstruction(self, batch: TextBatch, z: Tensor | None) -> Tensor:
        """-log p(x|z) summed over the batch, a scalar in nats, with gradient."""
        total, _, _ = self._cross_entropy(batch, z)
        return total

    def _cross_entropy(self, batch: TextBatch, z: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The differentiable sum over all tokens, each token's nll, (N,), and the text it belongs to, (N,)."""
        _, targets, is_target = batch.decoder_sides(self.eos_token_id)
        hidden = self.hidden_states(batch, z)[is_target]
        weights = torch.ones(len(hidden), device=hidden.device)
        total, nll = sliced_cross_entropy(hidden, self.output, targets[is_target], weights)
        return total, nll, is_target.nonzero()[:, 0]


class UnconditionalModel(SentenceModel):
    """A language model: no latent."""

    def posterior(self, batch: TextBatch) -> None:
        del batch


def num_target_tokens(batch: TextBatch) -> int:
    """Tokens that a model of these texts predicts, the ends included."""
    return int(batch.attention_mask.sum()) + len(batch)
