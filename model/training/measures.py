"""The measures of the paper's Tables 1 to 3, as pure functions over tensors and strings (nats throughout).

Definitions follow Optimus (Li et al. 2020) and He et al. (2019). Running the model is for ``evaluation``.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


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


def perplexity_per_word(nll: Tensor, num_words: Tensor) -> float:
    """exp(total nats / total words); words are whitespace words of the original text, plus one for its end.

    Args:
        nll: -log p(x) of each text, (N,), nats.
        num_words: (N,).
    """
    return float((nll.double().sum() / num_words.double().sum()).exp())


def mutual_information(
    mu: Tensor, logvar: Tensor, generator: torch.Generator, *, chunk: int = 256, limit: int = 10_000
) -> float:
    """I(x; z) = E_x KL(q(z|x) || p(z)) - KL(q(z) || p(z)) = E log q(z|x) - E log q(z) (Hoffman and Johnson 2016).

    log q(z) is the log-mean-exp over the given posteriors, so the estimate cannot exceed ln N: report N beside it.

    Args:
        mu: (N, Z).
        logvar: (N, Z).
        generator: Draws one z per text.
        chunk: Texts whose densities stand in memory at once.
        limit: Texts used at most, the first ones.

    Returns:
        Nats; never below 0.
    """
    mu, logvar = mu[:limit].double(), logvar[:limit].double()
    N = len(mu)
    z = mu + (0.5 * logvar).exp() * torch.randn(mu.shape, generator=generator, dtype=mu.dtype)
    precision = (-logvar).exp()
    constant = -0.5 * (mu.shape[1] * math.log(2 * math.pi) + logvar.sum(-1) + (mu.square() * precision).sum(-1))  # (N,)
    total = 0.0
    for start in range(0, N, chunk):
        own = z[start : start + chunk]
        log_density = constant - 0.5 * (own.square() @ precision.T - 2 * own @ (mu * precision).T)  # (chunk, N)
        log_qz_given_x = log_density.diagonal(start)
        total += float((log_qz_given_x - (log_density.logsumexp(-1) - math.log(N))).sum())
    return max(0.0, total / N)


def active_units(mu: Tensor, threshold: float = 0.01) -> int:
    """Dimensions whose mean varies over the texts: Var_x(mu_i) > threshold (Burda et al. 2016); mu is (N, Z)."""
    return int((mu.double().var(0) > threshold).sum())


def bleu4(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU-4 by sacrebleu (tokenisation 13a, exponential smoothing), 0 to 100."""
    from sacrebleu import corpus_bleu

    return float(corpus_bleu(list(hypotheses), [list(references)]).score)


def exact_match(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Share of texts that come back to the letter."""
    return accuracy(hypotheses, references)


def accuracy(predicted: Sequence[str], gold: Sequence[str]) -> float:
    """Share of equal pairs."""
    return sum(own == other for own, other in zip(predicted, gold, strict=True)) / len(gold)


def macro_f1(predicted: Sequence[str], gold: Sequence[str], labels: Sequence[str]) -> float:
    """Mean over the labels of F1 = 2 TP / (2 TP + FP + FN); a label that never occurs counts as 0."""
    scores = []
    for label in labels:
        is_both = sum(own == other == label for own, other in zip(predicted, gold, strict=True))
        occurrences = sum(own == label for own in predicted) + sum(other == label for other in gold)
        scores.append(2 * is_both / occurrences if occurrences else 0.0)
    return sum(scores) / len(scores)
