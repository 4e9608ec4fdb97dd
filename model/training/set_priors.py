"""The priors of a trained set: a sample of its training texts is encoded, and fitted."""

from dataclasses import dataclass

import torch
from torch import Tensor

from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.latent.prior import LatentPrior
from adavae.model.text_model import TextModel
from adavae.model.training.corpus import drawn_rows
from adavae.model.training.micro_batches import micro_batches
from adavae.model.training.preparation import PreparedData
from adavae.model.training.prior_fitting import FlowSize, fit_prior
from adavae.model.training.progress import OnStage
from adavae.model.training.tokenized_texts import TokenizedTexts

_MAX_ROWS, _MAX_TOKENS = 20_000, 4096  # of the sample, and of one batch of it


@dataclass(frozen=True, slots=True)
class SetPriors:
    """Where a set's texts lie in z.

    Attributes:
        gaussian: The diagonal Gaussian of the manifest.
        latent: The covariance, the labels' means and the flow, which have a file of their own.
    """

    gaussian: FittedPrior
    latent: LatentPrior


def fit_set_priors(trained: TextModel, name: str, data: PreparedData, *, seed: int, on_stage: OnStage) -> SetPriors:
    """Both priors, from the trained set and the seed alone, so that a resumed run fits the same.

    Args:
        trained: Holds the set.
        name: Of the set.
        data: What it was trained on.
        seed: Of the sample, and of the flow.
        on_stage: Told how far each of the two steps is.
    """
    encodings = _encodings(trained, name, data.training_tokens, on_stage, seed=seed)
    label_ids = data.training_tokens.label_ids
    size = FlowSize.for_texts(data.training.rows, encodings.mu.shape[1])
    latent = fit_prior(
        encodings.mu,
        encodings.logvar,
        None if label_ids is None else [label_ids[row] for row in encodings.rows],
        len(data.labels),
        flow_steps=size.steps,
        flow_width=size.width,
        batch_size=size.batch_size,
        device=trained.device,
        seed=seed,
        on_step=lambda step, steps, _: on_stage("fit prior", step, steps),
    )
    return SetPriors(FittedPrior.of(encodings.mu), latent)


@dataclass(frozen=True, slots=True)
class _Encodings:
    """Posteriors of training texts: mu and logvar, (N, Z), float32, and the rows they belong to."""

    mu: Tensor
    logvar: Tensor
    rows: list[int]


@torch.no_grad()
def _encodings(trained: TextModel, name: str, texts: TokenizedTexts, on_stage: OnStage, *, seed: int) -> _Encodings:
    """Encodes some thousands of training texts, drawn by the seed."""
    drawn = drawn_rows(len(texts.token_ids), _MAX_ROWS, seed)
    lengths = {row: len(texts.token_ids[row]) for row in drawn}
    mu: list[Tensor] = []
    logvar: list[Tensor] = []
    rows: list[int] = []
    for chosen in micro_batches(drawn, lengths, _MAX_TOKENS):
        batch = texts.batch(chosen, trained.tokenizer.eos_token_id, trained.device)
        posterior = trained.vae.encode(batch.token_ids, batch.attention_mask, trained.index_of(name, len(chosen)))
        mu.append(posterior.mu.float().cpu())
        logvar.append(posterior.logvar.float().cpu())
        rows += chosen
        on_stage("encode training texts", len(rows), len(drawn))
    return _Encodings(torch.cat(mu), torch.cat(logvar), rows)
