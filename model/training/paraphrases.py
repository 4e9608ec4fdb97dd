"""Whether texts that say the same in other words lie close together.

The other copies of a text (``latent_figures``) are made by rule; these pairs were written by people, who may also have
judged pairs that look alike and say something else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adavae.model.errors import DatasetError
from adavae.model.pairs import halves
from adavae.model.training.corpus import Dataset
from adavae.model.training.latent_figures import Retrieval, retrieval
from adavae.model.training.operations import Operations

_SAME = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True, slots=True)
class Paraphrases:
    """Pairs of texts, and of each whether it says the same twice."""

    first: Sequence[str]
    second: Sequence[str]
    same: Sequence[bool]

    @classmethod
    def of(cls, dataset: Dataset) -> "Paraphrases":
        """Pairs as a data file has them; where it has labels, 1 or true is a paraphrase, 0 or false is none.

        Raises:
            DatasetError: The texts are no pairs, a label is another, or no pair is a paraphrase.
        """
        pairs = [halves(text) for text in dataset.texts]
        if None in pairs:
            raise DatasetError(
                f"{dataset.source}: paraphrases are pairs of texts: give the second one in a column text_pair"
            )
        labels = [label.lower() for label in dataset.labels or ["1"] * len(pairs)]
        for row, label in enumerate(labels):
            if label not in _SAME:
                raise DatasetError(
                    f"{dataset.source}:{dataset.line_of(row)}: a pair's label must be 1 (a paraphrase) or 0 (none), "
                    f"got {label[:40]!r}: change it, or leave the column out if all pairs are paraphrases"
                )
        same = [_SAME[label] for label in labels]
        if not any(same):
            raise DatasetError(f"{dataset.source}: no pair has the label 1: there is no paraphrase to find")
        whole = [pair for pair in pairs if pair is not None]
        return cls([first for first, _ in whole], [second for _, second in whole], same)


@dataclass(frozen=True, slots=True)
class ParaphraseFigures:
    """How near paraphrases are.

    Attributes:
        num_pairs: Paraphrases among the pairs.
        found: Whether the first text of each finds the second, among the different second texts of all pairs.
        told_apart: How often a paraphrase has a larger cosine than a pair that is none (the area under the ROC curve),
            encodings relative to their mean; None where every pair is a paraphrase.
    """

    num_pairs: int
    found: Retrieval
    told_apart: float | None


def measure_paraphrases(operations: Operations, pairs: Paraphrases) -> ParaphraseFigures | None:
    """Encodes both texts of every pair and compares.

    Args:
        operations: The latent space to measure.
        pairs: At most some thousands, as every one is compared with every other.

    Returns:
        None if all second texts are one, or all of their encodings are equal.
    """
    second = list(dict.fromkeys(pairs.second))
    place = {text: row for row, text in enumerate(second)}
    mu = operations.encode([*pairs.first, *second]).mu.double()
    first, whole = mu[: len(pairs.first)], mu[len(pairs.first) :]
    rows = torch.tensor([place[text] for text in pairs.second])
    same = torch.tensor(pairs.same)
    found = retrieval(first[same], whole, rows[same])
    if found is None:
        return None
    centre = mu.mean(0)
    cosines = torch.cosine_similarity(first - centre, whole[rows] - centre, dim=1)
    return ParaphraseFigures(int(same.sum()), found, _area(cosines[same], cosines[~same]))


def _area(higher: Tensor, lower: Tensor) -> float | None:
    """Share of pairs of figures, one of each, in which the first is larger; equal ones count as a half."""
    if not len(lower):
        return None
    ordered = lower.sort().values
    below, up_to = (torch.searchsorted(ordered, higher, right=right) for right in (False, True))
    return float((below + up_to).double().mean() / (2 * len(lower)))
