"""The one measure of Tables 1 and 2: the figures of ``training.measures`` for any system, on the same test texts."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from adavae.model.adavae import pad
from adavae.model.parts.posterior import Posterior
from adavae.model.training import measures
from adavae.model.training.micro_batches import micro_batches
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.corpus import TestTexts
from adavae.model.training.reproduction.systems.sentence_model import SentenceModel

_ROWS, _TOKENS = 64, 8192  # at most, a forward pass


@dataclass(frozen=True, slots=True)
class Figures:
    """One row's figures on one set of texts, as ``measures`` defines them; None where there is no latent.

    Attributes:
        ppl_word: By K importance samples; exact without a latent.
        ppl_token: Likewise.
        neg_elbo: Nats a text; without a latent -log p(x).
        mi: Nats, at most ln N.
        au: Active units.
        kl: Nats a text.
        num_texts: N.
        num_cut: How many of them were cut.
    """

    ppl_word: float
    ppl_token: float
    neg_elbo: float
    mi: float | None
    au: int | None
    kl: float | None
    num_texts: int
    num_cut: int

    def to_dict(self) -> dict[str, float | int | None]:
        return asdict(self)


def measured(model: SentenceModel, texts: TestTexts, num_samples: int, device: torch.device, seed: int = 0) -> Figures:
    """Every figure that a system has.

    Args:
        model: The trained system, in evaluation mode.
        texts: The test texts.
        num_samples: K of the perplexity.
        device: Where the model is.
        seed: Of the draws of z.
    """
    N = len(texts.token_ids)
    log_px, bound = torch.empty(N), torch.empty(N)
    mu: list[Tensor] = [torch.empty(0)] * N
    logvar: list[Tensor] = [torch.empty(0)] * N
    generator = torch.Generator(device).manual_seed(seed)
    model.eval()
    with torch.no_grad():
        for rows in _micro_rows(texts):
            batch = _batch([texts.token_ids[row] for row in rows], model.eos_token_id, device)
            posterior = model.posterior(batch)
            if posterior is None:
                bound[rows] = model.nll(batch, None).float().cpu()
                log_px[rows] = -bound[rows]
                continue
            kl = posterior.kl_to_prior().sum(-1)
            bound[rows] = (model.nll(batch, posterior.sample(generator)) + kl).float().cpu()
            log_px[rows] = -_importance_weighted(model, batch, posterior, num_samples, generator).cpu()
            for place, row in enumerate(rows):
                mu[row], logvar[row] = posterior.mu[place].cpu(), posterior.logvar[place].cpu()
    latent = None if not len(mu[0]) else Posterior(torch.stack(mu), torch.stack(logvar))
    return Figures(
        ppl_word=measures.perplexity(-log_px, texts.num_words),
        ppl_token=measures.perplexity(-log_px, texts.num_tokens),
        neg_elbo=float(bound.mean()),
        mi=None
        if latent is None
        else measures.mutual_information(latent.mu, latent.logvar, torch.Generator().manual_seed(seed)),
        au=None if latent is None else measures.active_units(latent.mu),
        kl=None if latent is None else float(latent.kl_to_prior().sum(-1).mean()),
        num_texts=N,
        num_cut=texts.num_cut,
    )


def _importance_weighted(
    model: SentenceModel, batch: TextBatch, posterior: Posterior, num_samples: int, generator: torch.Generator
) -> Tensor:
    """-log p(x) of each text by K samples, (B,), nats."""
    terms = []
    for _ in range(num_samples):
        z = posterior.sample(generator)
        zeros = torch.zeros_like(z)
        terms.append(
            (
                -model.nll(batch, z),
                measures.log_normal(z, zeros, zeros),
                measures.log_normal(z, posterior.mu, posterior.logvar),
            )
        )
    log_px, log_pz, log_qz = (torch.stack(term) for term in zip(*terms, strict=True))  # each (K, B)
    return measures.importance_weighted_nll(log_px, log_pz, log_qz)


def _micro_rows(texts: TestTexts) -> list[list[int]]:
    lengths = [len(row) for row in texts.token_ids]
    groups = micro_batches(range(len(lengths)), lengths, _TOKENS)
    return [list(group[start : start + _ROWS]) for group in groups for start in range(0, len(group), _ROWS)]


def _batch(rows: list[list[int]], eos_token_id: int, device: torch.device) -> TextBatch:
    return TextBatch(*pad(rows, eos_token_id, device), lengths=tuple(map(len, rows)))
