"""What z itself holds: labels that a line can part, units in use, and whether near texts lie near.

``Retrieval`` asks the last of three kinds of copies of a text: half of it, some of its words dropped, and the same text
in another form (spaces before punctuation, other case), which ought not to change what it means.
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

_ACTIVE_KL = 0.01  # nats of a unit below which it says nothing
_DROPPED = 0.2  # share of words a copy lacks
_MIN_HALVED = 6  # words of a text whose half still says something

_PUNCTUATION = re.compile(r"(n't\b|'\w+|[.,!?;:()\"])")
Change = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Units:
    """How the dimensions of z are used.

    Attributes:
        latent_size: Z.
        active: Dimensions with Var_x(mu_i) > 0.01.
        kl_mean: Mean KL of a unit over the texts, nats.
        kl_max: Of the unit that says most.
        kl_half: Units, from the most telling on, that hold half of the KL: low where few do the work.
        kl_silent: Units of less than 0.01 nats.
        mu_std: Root mean square over the units of the deviation of mu over the texts.
        posterior_std: Root mean square deviation of q(z|x): the noise that the decoder has learned to bear.
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
    """What a line through mu knows of the labels.

    Attributes:
        accuracy: Of logistic regression on the half of the texts it did not learn from.
        majority: The commonest label's share of them: the accuracy of knowing nothing.
        recall: Share of each label's texts that it finds.
    """

    accuracy: float
    majority: float
    recall: dict[str, float]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Whether a changed copy of a text lies nearest to that text, among all of them.

    Attributes:
        num_texts: Texts it is looked for among.
        nearest: Share of copies whose own text is the nearest.
        reciprocal_rank: Mean of 1 / rank of the own text.
        distance: Mean distance of a copy to its text, over the mean distance between two texts.
        distance_worst: The largest.
        cosine: Mean cosine between copy and text, both less the mean of all texts.
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
    """Of the posteriors of many texts, (N, Z)."""
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
        labels: One a text.
        seed: Of the halving.

    Returns:
        None where there is nothing to tell apart, or nothing to judge on.
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
    """Changes every text, encodes it and looks for the text it was.

    Args:
        operations: What is measured.
        texts: Different ones.
        mu: Theirs, (N, Z).
        change: Gives the copy; a text it leaves as it is, or of which it leaves nothing, is not looked for.

    Returns:
        None where it changes no text, or there is nothing to confuse one with: one text, or all at one place.
    """
    copies = {row: change(text) for row, text in enumerate(texts)}
    rows = [row for row, copy in copies.items() if copy.strip() and copy != texts[row]]
    if not rows or len(texts) < 2:
        return None
    changed = operations.encode([copies[row] for row in rows]).mu.double()
    whole = mu.double()
    distances = torch.cdist(changed, whole)  # (M, N)
    to_original = distances[torch.arange(len(rows)), torch.tensor(rows)]  # (M,)
    ranks = (distances <= to_original[:, None]).sum(1)  # of equally near texts the original counts as the last
    typical = float(torch.pdist(whole).mean())
    if typical == 0:
        return None
    centre = whole.mean(0)
    cosines = torch.cosine_similarity(changed - centre, whole[rows] - centre, dim=1)
    return Retrieval(
        num_texts=len(texts),
        nearest=float((ranks == 1).double().mean()),
        reciprocal_rank=float((1 / ranks.double()).mean()),
        distance=float(to_original.mean()) / typical,
        distance_worst=float(to_original.max()) / typical,
        cosine=float(cosines.mean()),
        cosine_worst=float(cosines.min()),
    )


def halved(text: str) -> str:
    """The first half of the words; a text of fewer than six stays whole, half of it might be anyone's."""
    words = text.split()
    return " ".join(words[: len(words) // 2]) if len(words) >= _MIN_HALVED else text


def thinned(text: str) -> str:
    """A fifth of the words dropped, at random, always the same ones of the same text."""
    draw, words = random.Random(text), text.split()
    return " ".join(word for word in words if draw.random() >= _DROPPED)


def spaced(text: str) -> str:
    """As treebanks and the paper print it: ``it 's nice , really .``"""
    return " ".join(_PUNCTUATION.sub(r" \1 ", text).split())


def capitalised(text: str) -> str:
    """With a capital first letter, and ``I`` as one writes it."""
    return re.sub(r"\bi\b", "I", text[:1].upper() + text[1:])


COPIES: dict[str, Change] = {"half": halved, "words_dropped": thinned}
FORMS: dict[str, Change] = {"spaced": spaced, "capitalised": capitalised, "upper_case": str.upper}
