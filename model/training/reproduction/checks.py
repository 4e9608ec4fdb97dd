"""How a claim is checked: which two figures are compared, and what the answers to its parts come to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from adavae.model.training.reproduction import bigram_row, figure1
from adavae.model.training.reproduction.comparison import Answer, Figures, Pair, pairs
from adavae.model.training.reproduction.table2 import ADAVAE_LAMBDAS

LSTM_VAES = ("M. A.", "C. A.", "SA-VAE", "Aggressive", "AE-BP")
_FROM_RANDOM = (*LSTM_VAES, "LSTM-LM", "T5 VAE")


@dataclass(frozen=True, slots=True)
class Finding:
    """What the cells say: the answer to each part of the claim, and by which numbers."""

    parts: Sequence[Answer]
    numbers: str

    @property
    def answer(self) -> Answer:
        return together(self.parts)


Check = Callable[[Figures], Finding | None]
"""Gives a claim's finding, or None where a cell that it needs is missing."""


_REFUTED = {Answer.DOES_NOT_HOLD, Answer.REFUTED_IN_PART}


def together(answers: Sequence[Answer]) -> Answer:
    """The answer to a claim of several parts, or on several data sets, by the answer to each."""
    if not answers:
        return Answer.NOT_RUN
    kinds = set(answers)
    if len(kinds) == 1:
        return answers[0]
    if kinds <= {Answer.DOES_NOT_HOLD, Answer.TOO_CLOSE, Answer.UNTRAINED}:
        return Answer.DOES_NOT_HOLD if Answer.DOES_NOT_HOLD in kinds else Answer.UNTRAINED
    return Answer.REFUTED_IN_PART if kinds & _REFUTED else Answer.OPEN_IN_PART


def _noted(numbers: str, found: Sequence[Pair]) -> str:
    notes = dict.fromkeys(pair.note for pair in found if pair.note)
    return f"{numbers} ({'; '.join(notes)})" if notes else numbers


def order(figures: Figures, figure: str, low: str, high: str, decimals: int = 2) -> Finding | None:
    """``figure`` of ``low`` is below that of ``high``."""
    pair = Pair.of(figures, figure, low, high)
    if pair is None:
        return None
    ours, other = pair.means
    return Finding([pair.rises], _noted(f"{low} {ours:.{decimals}f}, {high} {other:.{decimals}f}", [pair]))


def beats(figures: Figures, figure: str, system: str, others: Sequence[str]) -> Finding | None:
    """As ``_all_lower``, but a system from random weights is not beaten where a bigram of its texts is no worse."""
    found, bigram = _all_lower(figures, figure, system, others), _all_lower(figures, figure, bigram_row.NAME, others)
    if found is None or bigram is None:
        return None
    parts = [
        Answer.UNTRAINED
        if other in _FROM_RANDOM and of_bigram is not Answer.DOES_NOT_HOLD and part is Answer.HOLDS
        else part
        for other, part, of_bigram in zip(others, found.parts, bigram.parts, strict=True)
    ]
    return Finding(parts, f"{found.numbers}; {bigram.numbers.partition(', ')[0]}")


def rises(figures: Figures, figure: str, system: str, lambdas: Sequence[float]) -> Finding | None:
    """``figure`` rises with lambda; each step is a part."""
    names = [f"{system} {free_bits:.2f}" for free_bits in lambdas]
    found = pairs(figures, figure, pairwise(names))
    if found is None:
        return None
    values = [found[0].means[0], *(pair.means[1] for pair in found)]
    return Finding([pair.rises for pair in found], _noted(", ".join(f"{value:.2f}" for value in values), found))


def rebounds(figures: Figures) -> Finding | None:
    """The perplexity of AdaVAE at lambda 0.5, where the paper has its best, is below that of both ends: one part."""
    ends = [f"AdaVAE {ADAVAE_LAMBDAS[place]:.2f}" for place in (0, -1)]
    return lowest(figures, "ppl_word", "AdaVAE 0.50", ends)


def lowest(figures: Figures, figure: str, system: str, others: Sequence[str]) -> Finding | None:
    """As ``_all_lower``, as one part: nothing is the lowest of all in part."""
    return _as_one(_all_lower(figures, figure, system, others))


def _as_one(found: Finding | None) -> Finding | None:
    """A claim that one counterexample refutes, and that holds where every part of it does."""
    if found is None:
        return None
    for answer in (Answer.DOES_NOT_HOLD, Answer.UNTRAINED, Answer.TOO_CLOSE):
        if answer in found.parts:
            return Finding([answer], found.numbers)
    return Finding([Answer.HOLDS], found.numbers)


def beats_every(figures: Figures, figure: str, system: str, others: Sequence[str]) -> Finding | None:
    """As ``beats``, as one part."""
    return _as_one(beats(figures, figure, system, others))


def sometimes(figures: Figures, groups: Sequence[Sequence[tuple[str, str]]]) -> Finding | None:
    """There is a group in which the first of each two rows is more accurate than the second.

    One is enough; the claim is refuted where every group has two rows that are the other way round.
    """
    found = [_as_one(more_accurate(figures, group)) for group in groups]
    those = [each for each in found if each is not None]
    if len(those) < len(found):
        return None
    answers, numbers = [each.answer for each in those], "; ".join(each.numbers for each in those)
    if Answer.HOLDS in answers:
        return Finding([Answer.HOLDS], numbers)
    return Finding([Answer.TOO_CLOSE if Answer.TOO_CLOSE in answers else Answer.DOES_NOT_HOLD], numbers)


def _all_lower(figures: Figures, figure: str, system: str, others: Sequence[str]) -> Finding | None:
    """``figure`` of ``system`` is below that of each of the others; each is a part."""
    found = pairs(figures, figure, ((system, other) for other in others))
    if found is None:
        return None
    values = [found[0].means[0], *(pair.means[1] for pair in found)]
    numbers = ", ".join(f"{name} {value:.2f}" for name, value in zip((system, *others), values, strict=True))
    return Finding([pair.rises for pair in found], numbers)


def more_accurate(figures: Figures, rows: Sequence[tuple[str, str]], by: float = 0.0) -> Finding | None:
    """The first of each two rows is more accurate than the second, by more than ``by``; each two are a part."""
    found = pairs(figures, "accuracy", ((other, one) for one, other in rows))
    if found is None:
        return None
    numbers = "; ".join(
        f"{one} {pair.means[1]:.3f}, {other} {pair.means[0]:.3f}"
        for (one, other), pair in zip(rows, found, strict=True)
    )
    return Finding([pair.exceeds(by) for pair in found], numbers)


def with_few(better: str, worse: Sequence[str], counts: Sequence[int], by: float = 0.0) -> Check:
    """One system of Figure 1 is more accurate than others, by more than ``by``; each number of labels is a part."""
    rows = [(figure1.row_name(better, count), figure1.row_name(other, count)) for count in counts for other in worse]
    return partial(more_accurate, rows=rows, by=by)


def with_few_sometimes(system: str, others: Sequence[Sequence[str]], counts: Sequence[int]) -> Check:
    """One system of Figure 1 is more accurate than all of one group of others, with one number of labels at least."""
    groups = [
        [(figure1.row_name(system, count), figure1.row_name(other, count)) for other in group]
        for count in counts
        for group in others
    ]
    return partial(sometimes, groups=groups)


def behind(figures: Figures, system: str, other: str, least: float, most: float) -> Finding | None:
    """The accuracy of ``system`` is below that of ``other`` by ``least`` to ``most``."""
    pair = Pair.of(figures, "accuracy", system, other)
    if pair is None:
        return None
    ours, theirs = pair.means
    return Finding([pair.lies_between(least, most)], f"{system} {ours:.3f}, {other} {theirs:.3f}")
