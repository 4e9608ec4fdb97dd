"""Whether one row's figure is above another's, or whether chance, or the estimate's ceiling, leaves that open.

Rows of one seed read the same texts in the same order, training and test texts alike, and draw alike, so several seeds
are compared in pairs. One seed is compared with a margin that is fixed beforehand.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from adavae.model.training.measures import mutual_information_ceiling
from adavae.model.training.reproduction.pools import NUM_POOL_TEXTS

Figures = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Figures of each row of one data set, by seed."""

_RELATIVE = {"ppl_word": 0.03, "neg_elbo": 0.01}  # margins with one seed: the figure's own share,
_ABSOLUTE = {"mi": 0.1, "mi_gaussian": 0.1, "accuracy": math.inf}  # or nats; accuracies of one seed tell nothing
_LEAST_RELATIVE = 0.001  # of the figure: the margin with several seeds, at least
_NEAR_CEILING = 1.0  # nats: nearer than that an estimate of N texts is too low by an unknown amount
_NORMAL = 1.96  # 97.5 % quantile of the normal distribution
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09)
"""97.5 % quantiles of Student's t with 1, 2 ... degrees of freedom; with more of them 2.09 is a little too wide."""


class Answer(StrEnum):
    HOLDS = "holds"
    REFUTED_IN_PART = "holds in part, does not hold in part"
    OPEN_IN_PART = "holds in part, open in part"
    DOES_NOT_HOLD = "does not hold here"
    TOO_CLOSE = "too close to tell"
    UNTRAINED = "no answer: the other system has learned less than a bigram"
    NOT_RUN = "not run yet"


@dataclass(frozen=True, slots=True)
class Pair:
    """One figure of two rows, over the seeds that both have.

    Attributes:
        means: Of each.
        difference: The second's less the first's, of the estimate that is compared.
        margin: A difference up to this is none.
        note: What a reader of the means should know of the comparison, or empty.
    """

    means: tuple[float, float]
    difference: float
    margin: float
    note: str = ""

    @classmethod
    def of(cls, figures: Figures, figure: str, first: str, second: str) -> Self | None:
        """None where a row is missing, or the two have no seed in common."""
        seeds = sorted(figures.get(first, {}).keys() & figures.get(second, {}).keys())
        if not seeds:
            return None
        one, two = ([figures[row][seed] for seed in seeds] for row in (first, second))
        means = _mean(one, figure), _mean(two, figure)
        if figure == "mi" and len(numbers := _numbers_of_mi([*one, *two])) > 1:
            return cls(means, means[1] - means[0], math.inf, f"of {' and '.join(map(str, numbers))} texts")
        if figure != "mi" or (ceiling := _ceiling_near(means, one)) is None:
            return cls(means, *_compared(one, two, figure))
        if all("mi_gaussian" in each for each in (*one, *two)):
            return cls(means, *_compared(one, two, "mi_gaussian"), f"near the ceiling {ceiling:.2f}, so by Gaussians")
        return cls(means, means[1] - means[0], math.inf, f"near the ceiling {ceiling:.2f}")

    @property
    def rises(self) -> Answer:
        """Whether the first is below the second."""
        return self.exceeds(0.0)

    def exceeds(self, least: float) -> Answer:
        """Whether the second is above the first by more than ``least``."""
        above = self.difference - least
        if abs(above) <= self.margin:
            return Answer.TOO_CLOSE
        return Answer.HOLDS if above > 0 else Answer.DOES_NOT_HOLD

    def lies_between(self, least: float, most: float) -> Answer:
        """Whether the second is above the first by ``least`` to ``most``."""
        over_least, over_most = self.exceeds(least), self.exceeds(most)
        if Answer.DOES_NOT_HOLD is over_least or Answer.HOLDS is over_most:
            return Answer.DOES_NOT_HOLD
        is_inside = over_least is Answer.HOLDS and over_most is Answer.DOES_NOT_HOLD
        return Answer.HOLDS if is_inside else Answer.TOO_CLOSE


def pairs(figures: Figures, figure: str, rows: Iterable[tuple[str, str]]) -> list[Pair] | None:
    """None where one of them cannot be compared."""
    found = [Pair.of(figures, figure, first, second) for first, second in rows]
    those = [pair for pair in found if pair is not None]
    return those if len(those) == len(found) else None


def _mean(rows: Sequence[Mapping[str, float]], figure: str) -> float:
    return statistics.fmean(each[figure] for each in rows)


def _compared(
    one: Sequence[Mapping[str, float]], two: Sequence[Mapping[str, float]], figure: str
) -> tuple[float, float]:
    """The mean difference, and what chance makes of it."""
    differences = [second[figure] - first[figure] for first, second in zip(one, two, strict=True)]
    size = max(abs(_mean(one, figure)), abs(_mean(two, figure)))
    if len(differences) == 1:
        return differences[0], _RELATIVE.get(figure, 0.0) * size + _ABSOLUTE.get(figure, 0.0)
    of_seeds = _T[min(len(differences) - 1, len(_T)) - 1] * statistics.stdev(differences) / math.sqrt(len(differences))
    margin = math.hypot(of_seeds, _of_test_texts(one, two)) if figure == "accuracy" else of_seeds
    return statistics.fmean(differences), max(margin, _LEAST_RELATIVE * size)


def _of_test_texts(one: Sequence[Mapping[str, float]], two: Sequence[Mapping[str, float]]) -> float:
    """How far other test texts might move a difference of accuracies beyond what the deviation over seeds shows.

    Where each seed draws its own test texts that deviation holds the noise of the draw, and what it cannot show is the
    noise of the pool that all draw from; where every seed reads all there are, the pool is these texts. As if the two
    rows erred independently of each other, which is too wide where they err on the same texts. A pool of unknown size
    is taken for no more than the texts of one seed, which is too wide too.
    """
    numbers = [each.get(NUM_POOL_TEXTS, each["num_texts"]) for each in (*one, *two) if "num_texts" in each]
    if not numbers:
        return 0.0
    shares = _mean(one, "accuracy"), _mean(two, "accuracy")
    return _NORMAL * math.sqrt(sum(share * (1 - share) for share in shares) / min(numbers))


def _ceiling_near(means: tuple[float, float], rows: Sequence[Mapping[str, float]]) -> float | None:
    """The ceiling of the estimates of mutual information, where both are near it."""
    numbers = _numbers_of_mi(rows)
    if not numbers:
        return None
    ceiling = mutual_information_ceiling(numbers[0])
    return ceiling if min(means) > ceiling - _NEAR_CEILING else None


def _numbers_of_mi(rows: Sequence[Mapping[str, float]]) -> list[int]:
    """How many texts estimates of mutual information are of, which bounds them: all the cell's, if it says no other."""
    found = [each.get("num_mi_texts", each.get("num_texts")) for each in rows]
    return sorted({int(number) for number in found if number is not None})
