"""SA-VAE (Kim et al. 2018): an LSTM-VAE whose posterior is refined for each text, in training and in measuring."""

import torch
from torch import Tensor
from torch.nn import functional as F

from adavae.model.parts.posterior import Posterior
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.systems.lstm import LSTMVAE
from adavae.model.training.reproduction.systems.sentence_model import SentenceModel


class SemiAmortizedVAE(SentenceModel):
    """An LSTM-VAE whose posterior is the encoder's, refined.

    As in Kim et al. every step draws fresh noise, and the last posterior is kept. Theirs are steps of 1.0 with momentum
    0.5, clipped at 5; here they are of 0.5, without momentum, and each text's gradient is at most of length 1. A step's
    noise is the same for every text, so that a posterior depends on its text alone.

    Attributes:
        num_steps: Steps uphill, K in Kim et al.
        step_size: Of each, on mu and logvar.
    """

    def __init__(self, inner: LSTMVAE, num_steps: int, step_size: float = 0.5) -> None:
        super().__init__()
        self.inner, self.num_steps, self.step_size = inner, num_steps, step_size
        self.eos_token_id = inner.eos_token_id

    def posterior(self, batch: TextBatch) -> Posterior:
        return self.refine(batch, self.inner.posterior(batch), 1.0)

    def hidden_states(self, batch: TextBatch, z: Tensor | None) -> Tensor:
        return self.inner.hidden_states(batch, z)

    @property
    def output(self) -> Tensor:
        return self.inner.output

    def refine(
        self, batch: TextBatch, posterior: Posterior, beta: float, *, is_differentiable: bool = False
    ) -> Posterior:
        """The posterior after ``num_steps`` steps uphill.

        Args:
            batch: The texts.
            posterior: Where the steps begin.
            beta: Weight of the KL.
            is_differentiable: The result has a gradient through the steps themselves, to ``posterior`` and to the
                decoder (Kim et al., Section 3); else it has none.

        Returns:
            Over (B, Z).
        """
        mu, logvar = posterior.mu, posterior.logvar
        generator = torch.Generator().manual_seed(0)
        for _ in range(self.num_steps):
            if not is_differentiable:
                mu, logvar = mu.detach().requires_grad_(True), logvar.detach().requires_grad_(True)
            here, epsilon = Posterior(mu, logvar), torch.randn((1, mu.shape[1]), generator=generator).to(mu)
            with torch.enable_grad():
                nll = self._nll(batch, here.at(epsilon.expand_as(mu)), is_differentiable=is_differentiable)
                value = nll + beta * here.kl_to_prior().sum(-1)  # (B,)
            ones = torch.ones_like(value)
            of_mu, of_logvar = torch.autograd.grad(value, (mu, logvar), ones, create_graph=is_differentiable)
            mu = mu - self.step_size * _clipped(of_mu)
            logvar = (logvar - self.step_size * _clipped(of_logvar)).clamp(-12.0, 2.0)
        return Posterior(mu, logvar) if is_differentiable else Posterior(mu.detach(), logvar.detach())

    def _nll(self, batch: TextBatch, z: Tensor, *, is_differentiable: bool) -> Tensor:
        """-log p(x|z) of each text, (B,), with a gradient to z, which itself has one if ``is_differentiable``.

        Neither torch's LSTM nor ``sliced_cross_entropy`` can be differentiated twice.
        """
        inputs, targets, is_target = batch.decoder_sides(self.eos_token_id)
        decoder = self.inner.decoder
        hidden = decoder.written_out(inputs, z) if is_differentiable else decoder(inputs, z)
        logits = hidden[is_target] @ decoder.head.weight.T  # (N, V)
        nll = F.cross_entropy(logits, targets[is_target], reduction="none")
        return nll.new_zeros(len(batch)).index_add(0, is_target.nonzero()[:, 0], nll)


def _clipped(gradient: Tensor) -> Tensor:
    """Each text's gradient, (B, Z), at most of length 1."""
    clipped: Tensor = gradient / gradient.norm(dim=-1, keepdim=True).clamp_min(1.0)
    return clipped
