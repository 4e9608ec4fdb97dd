"""The one measure of Tables 1 and 2: the figures of ``training.measures`` for any system, on the same test texts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from adavae.model.adavae import pad
from adavae.model.parts.posterior import Posterior
from adavae.model.training import measures
from adavae.model.training.micro_batches import micro_batches
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.corpus import TestTexts
from adavae.model.training.reproduction.precision import fast_matrices
from adavae.model.training.reproduction.systems.sentence_model import SentenceModel

_ROWS, _TOKENS = 64, 8192  # at most, a forward pass


@dataclass(frozen=True, slots=True)
class Figures:
    """One row's figures on one set of texts, as ``measures`` defines them; None where there is no latent.

    Attributes:
        ppl_word: By K importance samples; exact without a latent.
        ppl_token: Likewise.
        neg_elbo: Nats a text; without a latent -log p(x).
        reconstruction: -E log p(x|z), nats a text, by one z of each: ``neg_elbo`` without the KL.
        mi: Nats, at most ln ``num_mi_texts``; not measured of texts that were cut.
        mi_gaussian: Likewise by Gaussians, which nothing stops.
        au: Active units, of the same texts.
        kl: Nats a text.
        num_texts: What all other figures but the perplexities are of.
        num_mi_texts: Texts of ``mi``.
        num_ppl_texts: Those that the perplexities are of.
        num_cut: How many of all were cut.
    """

    ppl_word: float
    ppl_token: float
    neg_elbo: float
    reconstruction: float
    mi: float | None
    mi_gaussian: float | None
    au: int | None
    kl: float | None
    num_texts: int
    num_mi_texts: int | None
    num_ppl_texts: int
    num_cut: int

    def to_dict(self) -> dict[str, float | int | None]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Draws:
    """What is drawn to measure.

    Attributes:
        num_samples: K of the perplexity.
        num_ppl_texts: Texts that it is measured on.
        seed: Of the draws of z.
    """

    num_samples: int
    num_ppl_texts: int
    seed: int = 0


def reconstruction(model: SentenceModel, texts: TestTexts, device: torch.device, seed: int) -> float:
    """``Figures.reconstruction`` alone: how well a system rebuilds texts before it has been trained."""
    model.eval()
    readings, generator = _Readings.of(len(texts.token_ids), 0), torch.Generator(device).manual_seed(seed)
    readings.read(model, texts, range(len(texts.token_ids)), 0, generator)
    return readings.reconstruction


def measured(
    model: SentenceModel, whole: TestTexts, cut: TestTexts, more: TestTexts, draws: Draws, device: torch.device
) -> tuple[Figures, Figures]:
    """Every figure that a system has, on the whole texts and on the cut ones; what is not cut is measured once.

    Args:
        model: The trained system.
        whole: The test texts.
        cut: The same, cut earlier.
        more: Texts for what only needs posteriors: MI and AU.
        draws: How much is drawn.
        device: Where the model is.
    """
    model.eval()
    readings = _Readings.of(len(whole.token_ids), draws.num_ppl_texts)
    generator = torch.Generator(device).manual_seed(draws.seed)
    readings.read(model, whole, range(len(whole.token_ids)), draws.num_samples, generator)
    figures = readings.figures(whole)
    if readings.latent is not None:
        figures = replace(figures, **_of_posteriors(posteriors(model, more, device), draws.seed))
    shorter = [row for row, ids in enumerate(cut.token_ids) if ids != whole.token_ids[row]]
    readings.read(model, cut, shorter, draws.num_samples, generator)
    return figures, readings.figures(cut)


@torch.no_grad()
def posteriors(model: SentenceModel, texts: TestTexts, device: torch.device) -> Posterior:
    """q(z|x) of every text of a system with a latent, over (N, Z), on the CPU."""
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for group in _micro_rows(texts, range(len(texts.token_ids))):
        batch = _batch([texts.token_ids[row] for row in group], model.eos_token_id, device)
        with fast_matrices(device):
            posterior = model.posterior(batch)
        assert posterior is not None  # a system with a latent
        found |= dict(zip(group, zip(posterior.mu.cpu(), posterior.logvar.cpu(), strict=True), strict=True))
    mu, logvar = zip(*(found[row] for row in sorted(found)), strict=True)
    return Posterior(torch.stack(mu), torch.stack(logvar))


def _of_posteriors(latent: Posterior, seed: int) -> dict[str, Any]:
    """The fields of ``Figures`` that only need posteriors."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "mi": measures.mutual_information(latent.mu, latent.logvar, generator),
        "mi_gaussian": measures.mutual_information_gaussian(latent.mu, latent.logvar),
        "au": measures.active_units(latent.mu),
        "num_mi_texts": len(latent.mu),
    }


def perplexity_rows(num_texts: int, num_ppl_texts: int) -> list[int]:
    """Numbers of the texts of the perplexity, spread evenly over all."""
    count = min(num_texts, num_ppl_texts)
    return [place * num_texts // count for place in range(count)]


@dataclass(slots=True)
class _Readings:
    """What is known of each text, the perplexity's texts being spread evenly over all."""

    bound: Tensor  # (N,)
    log_px: dict[int, float]
    ppl_rows: list[int]
    mu: list[Tensor]
    logvar: list[Tensor]

    @classmethod
    def of(cls, num_texts: int, num_ppl_texts: int) -> Self:
        ppl_rows = perplexity_rows(num_texts, num_ppl_texts)
        return cls(torch.empty(num_texts), {}, ppl_rows, [torch.empty(0)] * num_texts, [torch.empty(0)] * num_texts)

    @torch.no_grad()
    def read(
        self,
        model: SentenceModel,
        texts: TestTexts,
        rows: Sequence[int],
        num_samples: int,
        generator: torch.Generator,
    ) -> None:
        """Measures some of the texts; what was known of them is replaced."""
        for group in _micro_rows(texts, rows):
            batch = _batch([texts.token_ids[row] for row in group], model.eos_token_id, generator.device)
            with fast_matrices(generator.device):
                posterior = model.posterior(batch)
                if posterior is None:
                    self.bound[group] = model.nll(batch, None).float().cpu()
                    self.log_px |= {row: -float(self.bound[row]) for row in group}
                    continue
                kl = posterior.kl_to_prior().sum(-1)
                self.bound[group] = (model.nll(batch, posterior.sample(generator)) + kl).float().cpu()
            for place, row in enumerate(group):
                self.mu[row], self.logvar[row] = posterior.mu[place].cpu(), posterior.logvar[place].cpu()
        if self.latent is not None:
            self._read_likelihood(model, texts, sorted({*rows} & {*self.ppl_rows}), num_samples, generator)

    def _read_likelihood(
        self,
        model: SentenceModel,
        texts: TestTexts,
        rows: Sequence[int],
        num_samples: int,
        generator: torch.Generator,
    ) -> None:
        device = generator.device
        for group in _micro_rows(texts, rows):
            batch = _batch([texts.token_ids[row] for row in group], model.eos_token_id, device)
            mu, logvar = (torch.stack([of[row] for row in group]).to(device) for of in (self.mu, self.logvar))
            with fast_matrices(device):
                nll = _importance_weighted(model, batch, Posterior(mu, logvar), num_samples, generator)
            self.log_px |= dict(zip(group, (-nll).tolist(), strict=True))

    @property
    def latent(self) -> Posterior | None:
        """Of all texts, (N, Z); None for a system without a latent."""
        return Posterior(torch.stack(self.mu), torch.stack(self.logvar)) if len(self.mu[0]) else None

    @property
    def kl(self) -> float | None:
        return None if self.latent is None else float(self.latent.kl_to_prior().sum(-1).mean())

    @property
    def reconstruction(self) -> float:
        return float(self.bound.mean()) - (self.kl or 0.0)

    def figures(self, texts: TestTexts) -> Figures:
        """Of all that was read, but for what only needs posteriors."""
        nll = -torch.tensor([self.log_px[row] for row in self.ppl_rows])
        return Figures(
            ppl_word=measures.perplexity(nll, texts.num_words[self.ppl_rows]),
            ppl_token=measures.perplexity(nll, texts.num_tokens[self.ppl_rows]),
            neg_elbo=float(self.bound.mean()),
            reconstruction=self.reconstruction,
            mi=None,
            mi_gaussian=None,
            au=None,
            kl=self.kl,
            num_texts=len(self.bound),
            num_mi_texts=None,
            num_ppl_texts=len(self.ppl_rows),
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


def _micro_rows(texts: TestTexts, rows: Sequence[int]) -> list[list[int]]:
    lengths = [len(row) for row in texts.token_ids]
    groups = micro_batches(rows, lengths, _TOKENS)
    return [list(group[start : start + _ROWS]) for group in groups for start in range(0, len(group), _ROWS)]


def _batch(rows: list[list[int]], eos_token_id: int, device: torch.device) -> TextBatch:
    return TextBatch(*pad(rows, eos_token_id, device), lengths=tuple(map(len, rows)))
