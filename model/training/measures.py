"""The measures of the paper's Tables 1 to 3, as pure functions over tensors and strings (nats throughout).

Each is defined once, as in Optimus (Li et al. 2020) and He et al. (2019), where x is the tokens of a text that the
model has read, its end included:

    reconstruction_nats  -E_q log p(x|z), one z ~ q(z|x) a text            mean over the texts
    kl                   KL(q(z|x) || N(0, I)) = 1/2 sum_i (mu_i^2 + s_i^2 - 1 - ln s_i^2)      mean over the texts
    neg_elbo             reconstruction_nats + kl: beta is 1, no free bits
    ppl_word_iwK         exp(-sum log p_K(x) / sum words), p_K by K importance samples (``importance_weighted_nll``)
    ppl_token_iwK        the same over tokens: comparable between models of one tokenizer only
    mi                   ``mutual_information``, which stops at mi_ceiling = ln N
    mi_gaussian          ``mutual_information_gaussian``, which does not
    au                   dimensions with Var_x(mu_i) > 0.01

``evaluation`` runs the model.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

MI_TEXTS = 10_000
"""Texts that the mutual information is estimated from at most: its cost grows with their square."""


def log_normal(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """log N(z; mu, exp(logvar)), diagonal, summed over the last axis."""
    per_dimension = math.log(2 * math.pi) + logvar + (z - mu).square() * (-logvar).exp()
    return -0.5 * per_dimension.sum(-1)


def importance_weighted_nll(log_px_given_z: Tensor, log_pz: Tensor, log_qz: Tensor) -> Tensor:
    """-log (1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)) of each text: a bound that tightens with K (Burda et al. 2016).

    Args:
        log_px_given_z: (K, B).
        log_pz: (K, B).
        log_qz: log q(z_k|x), (K, B).

    Returns:
        (B,), nats.
    """
    log_weights = (log_px_given_z + log_pz - log_qz).double()
    return (math.log(log_weights.shape[0]) - log_weights.logsumexp(0)).float()


def perplexity(nll: Tensor, num_units: Tensor) -> float:
    """exp(total nats / total units): over all texts together, not the mean of the texts' perplexities.

    Infinite above e^709, as of long texts without spaces a word.

    Args:
        nll: -log p(x) of each text, (N,), nats.
        num_units: Words (He et al. 2019) or tokens (Optimus) of each text, its end counted as one, (N,).
    """
    return float((nll.double().sum() / num_units.double().sum()).exp())


def finite_figures(figures: Mapping[str, Any]) -> dict[str, Any]:
    """A report without the figures that are NaN or infinite, at any depth but in lists: JSON has no such numbers."""
    return {
        name: finite_figures(value) if isinstance(value, Mapping) else value
        for name, value in figures.items()
        if not (isinstance(value, float) and not math.isfinite(value))
    }


def perplexity_name(unit: Literal["word", "token"], num_samples: int) -> str:
    """The figure's name, which includes the number of samples because fewer give a higher bound."""
    return f"ppl_{unit}_iw{num_samples}"


def mutual_information(
    mu: Tensor, logvar: Tensor, generator: torch.Generator, *, chunk: int = 256, limit: int = MI_TEXTS
) -> float:
    """I(x; z) = E_x KL(q(z|x) || p(z)) - KL(q(z) || p(z)) = E log q(z|x) - E log q(z) (Hoffman and Johnson 2016).

    log q(z) is the log-mean-exp over the posteriors, so the estimate cannot exceed ``mutual_information_ceiling``:
    report that beside it. Both terms use the same draws, so their noise cancels (He et al. 2019 compute the first
    in closed form).

    Args:
        mu: (N, Z).
        logvar: (N, Z).
        generator: Draws one z per text.
        chunk: Texts whose densities are in memory at once.
        limit: Use at most this many texts, drawn at random.

    Returns:
        Nats; never below 0.
    """
    if len(mu) > limit:
        chosen = torch.randperm(len(mu), generator=generator)[:limit]
        mu, logvar = mu[chosen], logvar[chosen]
    mu, logvar = mu.double(), logvar.double()
    N = len(mu)
    z = mu + (0.5 * logvar).exp() * torch.randn(mu.shape, generator=generator, dtype=mu.dtype)
    precision = (-logvar).exp()
    constant = -0.5 * (mu.shape[1] * math.log(2 * math.pi) + logvar.sum(-1) + (mu.square() * precision).sum(-1))  # (N,)
    total = 0.0
    for start in range(0, N, chunk):
        rows = z[start : start + chunk]
        log_density = constant - 0.5 * (rows.square() @ precision.T - 2 * rows @ (mu * precision).T)  # (chunk, N)
        log_qz_given_x = log_density.diagonal(start)
        total += float((log_qz_given_x - (log_density.logsumexp(-1) - math.log(N))).sum())
    return max(total / N, 0.0)  # in this order NaN stays NaN


def mutual_information_ceiling(num_texts: int, *, limit: int = MI_TEXTS) -> float:
    """The largest possible ``mutual_information``: ln of the number of texts used, nats."""
    return math.log(min(num_texts, limit))


def mutual_information_gaussian(mu: Tensor, logvar: Tensor) -> float:
    """E_x KL(q(z|x) || N(m, S)) with the mean and covariance of q(z): at least I(x; z), and equal for a Gaussian q(z).

    I(x; z) = E_x KL(q(z|x) || r(z)) - KL(q(z) || r(z)) for every r (Barber and Agakov 2003); of all Gaussians the one
    with q(z)'s moments comes closest. With S = Cov(mu) + E diag(exp(logvar)) it is 1/2 (ln det S - E sum logvar), which
    no number of texts bounds. Too low unless there are many more texts than dimensions.

    Args:
        mu: (N, Z).
        logvar: (N, Z).
    """
    mu, logvar = mu.double(), logvar.double()
    centred = mu - mu.mean(0)
    covariance = centred.T @ centred / len(mu) + logvar.exp().mean(0).diag()
    return max(float(0.5 * (torch.logdet(covariance) - logvar.sum(-1).mean())), 0.0)


def active_units(mu: Tensor, threshold: float = 0.01) -> int:
    """Dimensions whose mean varies over the texts: Var_x(mu_i) > threshold (Burda et al. 2016).

    Args:
        mu: (N, Z); with a single text nothing varies.
        threshold: The customary 0.01 treats dimensions that carry almost nothing as inactive.
    """
    return int((mu.double().var(0, correction=0) > threshold).sum())


def bleu4(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU-4 by sacrebleu, case-sensitive, tokenisation 13a, exponential smoothing: 0 to 100.

    If all texts are shorter than four tokens the score is 0, even if they are equal: there is no 4-gram to match.
    ``force`` only silences sacrebleu's warning about corpora that are already tokenised.
    """
    from sacrebleu import corpus_bleu

    score = corpus_bleu(list(hypotheses), [list(references)], tokenize="13a", force=True).score
    return min(100.0, float(score))  # identical texts give a rounding error above 100


def exact_match(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Share of texts that are reproduced exactly."""
    return accuracy(hypotheses, references)


def accuracy(predicted: Sequence[str], gold: Sequence[str]) -> float:
    """Share of equal pairs."""
    return sum(guess == label for guess, label in zip(predicted, gold, strict=True)) / len(gold)


def macro_f1(predicted: Sequence[str], gold: Sequence[str], labels: Sequence[str]) -> float:
    """Mean over the labels of F1 = 2 TP / (2 TP + FP + FN); a label that never occurs counts as 0."""
    scores = []
    for label in labels:
        is_both = sum(guess == truth == label for guess, truth in zip(predicted, gold, strict=True))
        occurrences = sum(guess == label for guess in predicted) + sum(truth == label for truth in gold)
        scores.append(2 * is_both / occurrences if occurrences else 0.0)
    return sum(scores) / len(scores)
