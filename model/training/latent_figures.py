"""What z itself holds: linearly separable labels, units in use, and whether similar texts lie close together.

``Retrieval`` measures the last on three kinds of changed copies of a text: half of it, some of its words dropped, and
the same text in another form (spaces before punctuation, other case), which should not change its meaning. For texts
that say the same in other words see ``paraphrases``.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adavae.model.parts.posterior import Posterior
from adavae.model.training import measures
from adavae.model.training.operations import Operations

_ACTIVE_KL = 0.01  # nats; a unit with less carries nothing
_DROPPED = 0.2  # share of words dropped from a copy
_MIN_HALVED = 6  # least words of a text whose half is still meaningful

_PUNCTUATION = re.compile(r"(n't\b|'\w+|[.,!?;:()\"])")
Change = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Units:
    """How the dimensions of z are used.

    Attributes:
        latent_size: Z.
        active: Dimensions with Var_x(mu_i) > 0.01.
        kl_mean: Mean KL of a unit over the texts, nats.
        kl_max: KL of the unit with the highest.
        kl_half: How many units, highest first, hold half of the KL: low if a few do all the work.
        kl_silent: Number of units with less than 0.01 nats.
        mu_std: Root mean square over the units of the deviation of mu over the texts.
        posterior_std: Root mean square deviation of q(z|x): the noise that the decoder has learned to tolerate.
    """

    latent_size: int
    active: int
    kl_mean: float
    kl_max: float
    kl_half: int
    kl_silent: int
    mu_std: float
    posterior_std: float


@dataclass(frozen=True, slots=True)
class Probe:
    """How well a linear classifier on mu predicts the labels.

    Attributes:
        accuracy: Of logistic regression, on the half of the texts it did not learn from.
        majority: Share of the commonest label among them, the accuracy of a constant guess.
        recall: For each label, the share of its texts that are found.
    """

    accuracy: float
    majority: float
    recall: dict[str, float]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Whether a changed copy of a text lies nearest to that text, among all texts.

    Attributes:
        num_texts: Number of texts searched.
        nearest: Share of copies whose nearest text is the original.
        reciprocal_rank: Mean of 1 / rank of the original.
        distance: Mean distance of a copy to its text, over the mean distance between two texts.
        distance_worst: The largest.
        cosine: Mean cosine between copy and text, both relative to the mean of all texts.
        cosine_worst: The least.
    """

    num_texts: int
    nearest: float
    reciprocal_rank: float
    distance: float
    distance_worst: float
    cosine: float
    cosine_worst: float


def measure_units(posterior: Posterior) -> Units:
    """Measures the posteriors of many texts, (N, Z)."""
    kl = posterior.kl_to_prior().mean(0)  # (Z,)
    falling = kl.sort(descending=True).values.cumsum(0)
    return Units(
        latent_size=kl.numel(),
        active=measures.active_units(posterior.mu),
        kl_mean=float(kl.mean()),
        kl_max=float(kl.max()),
        kl_half=int((falling < falling[-1] / 2).sum()) + 1,
        kl_silent=int((kl < _ACTIVE_KL).sum()),
        mu_std=float(posterior.mu.var(0, correction=0).mean().sqrt()),
        posterior_std=float(posterior.logvar.exp().mean().sqrt()),
    )


def measure_probe(mu: Tensor, labels: Sequence[str], *, seed: int = 0) -> Probe | None:
    """Logistic regression on mu: learned from one half of the texts, judged on the other.

    Args:
        mu: (N, Z).
        labels: One per text.
        seed: Seed of the split into halves.

    Returns:
        None if there is only one label, or nothing left to judge on.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    order = list(range(len(labels)))
    random.Random(seed).shuffle(order)
    learned, judged = order[::2], order[1::2]
    names = sorted({labels[row] for row in learned})
    if len(names) < 2 or not judged:
        return None
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, C=0.1))
    probe.fit(mu[learned].numpy(), [labels[row] for row in learned])
    predicted = [str(label) for label in probe.predict(mu[judged].numpy())]
    gold = [labels[row] for row in judged]
    found = Counter(guess for guess, truth in zip(predicted, gold, strict=True) if guess == truth)
    there = Counter(gold)
    return Probe(
        accuracy=measures.accuracy(predicted, gold),
        majority=max(there.values()) / len(gold),
        recall={name: found[name] / there[name] for name in sorted(there)},
    )


def measure_retrieval(operations: Operations, texts: Sequence[str], mu: Tensor, change: Change) -> Retrieval | None:
    """Changes every text, encodes the copy and looks for the original.

    Args:
        operations: The latent space to measure.
        texts: Distinct texts.
        mu: Their encodings, (N, Z).
        change: Makes the copy; texts that it leaves unchanged or empty are skipped.

    Returns:
        None if it changes no text, or if there is only one text or all encodings are equal.
    """
    copies = {row: change(text) for row, text in enumerate(texts)}
    rows = [row for row, copy in copies.items() if copy.strip() and copy != texts[row]]
    if not rows or len(texts) < 2:
        return None
    changed = operations.encode([copies[row] for row in rows]).mu
    return retrieval(changed, mu, torch.tensor(rows))


def retrieval(changed: Tensor, whole: Tensor, rows: Tensor) -> Retrieval | None:
    """Looks for each copy's original among all texts.

    Args:
        changed: Encodings of the copies, (M, Z).
        whole: Those of all texts, (N, Z).
        rows: Which text each copy was made from, (M,).

    Returns:
        None if there is only one text, or all encodings are equal.
    """
    changed, whole = changed.double(), whole.double()
    distances = torch.cdist(changed, whole)  # (M, N)
    to_original = distances[torch.arange(len(rows)), rows]  # (M,)
    ranks = (distances <= to_original[:, None]).sum(1)  # of equally near texts the original counts as the last
    typical = float(torch.pdist(whole).mean()) if len(whole) > 1 else 0.0
    if typical == 0:
        return None
    centre = whole.mean(0)
    cosines = torch.cosine_similarity(changed - centre, whole[rows] - centre, dim=1)
    return Retrieval(
        num_texts=len(whole),
        nearest=float((ranks == 1).double().mean()),
        reciprocal_rank=float((1 / ranks.double()).mean()),
        distance=float(to_original.mean()) / typical,
        distance_worst=float(to_original.max()) / typical,
        cosine=float(cosines.mean()),
        cosine_worst=float(cosines.min()),
    )


def halved(text: str) -> str:
    """The first half of the words; a text of fewer than six stays whole, as its half could belong to many texts."""
    words = text.split()
    return " ".join(words[: len(words) // 2]) if len(words) >= _MIN_HALVED else text


def thinned(text: str) -> str:
    """Drops a fifth of the words, chosen at random but always the same for the same text."""
    draw, words = random.Random(text), text.split()
    return " ".join(word for word in words if draw.random() >= _DROPPED)


def spaced(text: str) -> str:
    """As treebanks and the paper print text: ``it 's nice , really .``"""
    return " ".join(_PUNCTUATION.sub(r" \1 ", text).split())


def capitalised(text: str) -> str:
    """With a capital first letter, and a capital ``I``."""
    return re.sub(r"\bi\b", "I", text[:1].upper() + text[1:])


COPIES: dict[str, Change] = {"half": halved, "words_dropped": thinned}
FORMS: dict[str, Change] = {"spaced": spaced, "capitalised": capitalised, "upper_case": str.upper}
