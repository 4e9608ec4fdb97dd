"""SA-VAE (Kim et al. 2018): an LSTM-VAE whose posterior is refined for each text, in training and in measuring."""

import torch
from torch import Tensor

from adavae.model.parts.posterior import Posterior
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.systems.lstm import LSTMVAE
from adavae.model.training.reproduction.systems.sentence_model import SentenceModel


class SemiAmortizedVAE(SentenceModel):
    """An LSTM-VAE whose posterior is the encoder's, refined.

    Attributes:
        num_steps: Steps uphill.
        step_size: Of each, on mu and logvar.
    """

    def __init__(self, inner: LSTMVAE, num_steps: int = 10, step_size: float = 0.5) -> None:
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

    def refine(self, batch: TextBatch, posterior: Posterior, beta: float) -> Posterior:
        """The posterior after ``num_steps`` steps uphill, epsilon fixed; of each text, the best on the way.

        Returns:
            Over (B, Z), without gradient; its bound is not below that of ``posterior``.
        """
        mu, logvar = posterior.mu.detach().clone(), posterior.logvar.detach().clone()
        epsilon = torch.randn(mu.shape, generator=torch.Generator().manual_seed(0)).to(mu.device)
        best, least = (mu.clone(), logvar.clone()), torch.full((len(batch),), float("inf"), device=mu.device)
        with torch.enable_grad():
            for number in range(self.num_steps + 1):
                mu, logvar = mu.detach().requires_grad_(True), logvar.detach().requires_grad_(True)
                here = Posterior(mu, logvar)
                z = mu + (0.5 * logvar).exp() * epsilon
                kl = here.kl_to_prior().sum(-1)
                value = self.nll(batch, z.detach()) + beta * kl.detach()  # (B,)
                is_better = value < least
                least = torch.where(is_better, value, least)
                best = (
                    torch.where(is_better.unsqueeze(1), mu.detach(), best[0]),
                    torch.where(is_better.unsqueeze(1), logvar.detach(), best[1]),
                )
                if number == self.num_steps:
                    break
                loss = self.inner.reconstruction(batch, z) + beta * kl.sum()
                of_mu, of_logvar = torch.autograd.grad(loss, (mu, logvar))
                mu, logvar = (
                    mu - self.step_size * _clipped(of_mu),
                    (logvar - self.step_size * _clipped(of_logvar)).clamp(-12.0, 2.0),
                )
        return Posterior(*best)


def _clipped(gradient: Tensor) -> Tensor:
    """Each text's gradient, (B, Z), at most of length 1."""
    clipped: Tensor = gradient / gradient.norm(dim=-1, keepdim=True).clamp_min(1.0)
    return clipped
