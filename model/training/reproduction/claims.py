"""What the paper claims of its tables and of Figure 1, answered by the cells that were run, with the numbers.

``comparison`` tells which of two figures is above the other, or that they are too close to tell.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from adavae.model.training.reproduction import bigram_row, figure1
from adavae.model.training.reproduction.comparison import Answer, Figures, Pair, pairs
from adavae.model.training.reproduction.grid import Cell
from adavae.model.training.reproduction.pools import pool_of
from adavae.model.training.reproduction.scale import ScaleName
from adavae.model.training.reproduction.table2 import ADAVAE_LAMBDAS, OPTIMUS_LAMBDAS


@dataclass(frozen=True, slots=True)
class Verdict:
    """One claim on one data set.

    Attributes:
        dataset: The data set, with the scale where it is not ``cpu``.
        claim: In the paper's sense, in plain words.
        answer: Whether it holds here.
        numbers: By which figures.
    """

    dataset: str
    claim: str
    answer: Answer
    numbers: str

    @property
    def holds(self) -> bool:
        return self.answer is Answer.HOLDS


@dataclass(frozen=True, slots=True)
class Finding:
    """What the cells say: the answer to each part of the claim, and by which numbers."""

    parts: Sequence[Answer]
    numbers: str

    @property
    def answer(self) -> Answer:
        return _together(self.parts)


Check = Callable[[Figures], Finding | None]
"""Gives a claim's finding, or None where a cell that it needs is missing."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Attributes:
        table: Where the paper makes it.
        text: In plain words.
        check: By which cells.
        dataset: The only one that it is made of, or None.
        is_ours: Whether the paper does not make it, and we ask it of the same table.
    """

    table: str
    text: str
    check: Check
    dataset: str | None = None
    is_ours: bool = False


def verdicts(cells: Sequence[Cell]) -> Iterator[Verdict]:
    """Every claim of which all cells are there, for each data set, its files, scale and backbone by itself.

    A claim of rows that began from a checkpoint is one more, beside the other rows as they are.
    """
    groups: dict[tuple[str, str, str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.table, cell.dataset, cell.scale, cell.backbone, cell.files), []).append(cell)
    for (table, dataset, scale, _, _), group in groups.items():
        where = dataset if scale == ScaleName.CPU else f"{dataset} at scale {scale}"
        claims = [claim for claim in CLAIMS if claim.table == table and claim.dataset in (None, dataset)]
        plain = _by_seed([cell for cell in group if not cell.checkpoint])
        yield from _found(claims, where, {}, plain)
        for checkpoint in sorted({cell.checkpoint for cell in group} - {""}):
            own = _by_seed([cell for cell in group if cell.checkpoint == checkpoint])
            others = {row: figures for row, figures in plain.items() if row not in own}
            yield from _found(claims, f"{where} with {checkpoint}", others, own)


def _found(claims: Sequence[Claim], where: str, others: Figures, own: Figures) -> Iterator[Verdict]:
    """Of the claims that cannot be answered by ``others`` alone."""
    for claim in claims:
        finding = claim.check({**others, **own})
        if finding is not None and claim.check(others) is None:
            yield Verdict(where, claim.text, finding.answer, finding.numbers)


def answers(cells: Sequence[Cell]) -> list[tuple[Claim, Answer, list[Verdict]]]:
    """Every claim with its answer over all data sets; cells of scale smoke are no evidence, and left out."""
    found = list(verdicts([cell for cell in cells if cell.scale != ScaleName.SMOKE]))
    of_claim = [(claim, [each for each in found if each.claim == claim.text]) for claim in CLAIMS]
    return [(claim, _together([each.answer for each in own]), own) for claim, own in of_claim]


_REFUTED = {Answer.DOES_NOT_HOLD, Answer.REFUTED_IN_PART}


def _together(answers: Sequence[Answer]) -> Answer:
    if not answers:
        return Answer.NOT_RUN
    kinds = set(answers)
    if len(kinds) == 1:
        return answers[0]
    if kinds <= {Answer.DOES_NOT_HOLD, Answer.TOO_CLOSE, Answer.UNTRAINED}:
        return Answer.DOES_NOT_HOLD if Answer.DOES_NOT_HOLD in kinds else Answer.UNTRAINED
    return Answer.REFUTED_IN_PART if kinds & _REFUTED else Answer.OPEN_IN_PART


def _by_seed(cells: Sequence[Cell]) -> Figures:
    figures: dict[str, dict[int, dict[str, float]]] = {}
    for cell in cells:
        numbers = {name: value for name, value in cell.figures.items() if isinstance(value, int | float)}
        figures.setdefault(cell.row, {})[cell.seed] = numbers | pool_of(cell.files, cell.figures)
    return figures


def _noted(numbers: str, found: Sequence[Pair]) -> str:
    notes = dict.fromkeys(pair.note for pair in found if pair.note)
    return f"{numbers} ({'; '.join(notes)})" if notes else numbers


def _order(figures: Figures, figure: str, low: str, high: str, decimals: int = 2) -> Finding | None:
    """``figure`` of ``low`` is below that of ``high``."""
    pair = Pair.of(figures, figure, low, high)
    if pair is None:
        return None
    ours, other = pair.means
    return Finding([pair.rises], _noted(f"{low} {ours:.{decimals}f}, {high} {other:.{decimals}f}", [pair]))


def _beats(figures: Figures, figure: str, system: str, others: Sequence[str]) -> Finding | None:
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


def _rises(figures: Figures, figure: str, system: str, lambdas: Sequence[float]) -> Finding | None:
    """``figure`` rises with lambda; each step is a part."""
    names = [f"{system} {free_bits:.2f}" for free_bits in lambdas]
    found = pairs(figures, figure, pairwise(names))
    if found is None:
        return None
    values = [found[0].means[0], *(pair.means[1] for pair in found)]
    return Finding([pair.rises for pair in found], _noted(", ".join(f"{value:.2f}" for value in values), found))


def _rebounds(figures: Figures) -> Finding | None:
    """The perplexity of AdaVAE at lambda 0.5, where the paper has its best, is below that of both ends: one part."""
    ends = [f"AdaVAE {ADAVAE_LAMBDAS[place]:.2f}" for place in (0, -1)]
    return _lowest(figures, "ppl_word", "AdaVAE 0.50", ends)


def _lowest(figures: Figures, figure: str, system: str, others: Sequence[str]) -> Finding | None:
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


def _beats_every(figures: Figures, figure: str, system: str, others: Sequence[str]) -> Finding | None:
    """As ``_beats``, as one part."""
    return _as_one(_beats(figures, figure, system, others))


def _sometimes(figures: Figures, groups: Sequence[Sequence[tuple[str, str]]]) -> Finding | None:
    """There is a group in which the first of each two rows is more accurate than the second.

    One is enough; the claim is refuted where every group has two rows that are the other way round.
    """
    found = [_as_one(_more_accurate(figures, group)) for group in groups]
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


def _more_accurate(figures: Figures, rows: Sequence[tuple[str, str]], by: float = 0.0) -> Finding | None:
    """The first of each two rows is more accurate than the second, by more than ``by``; each two are a part."""
    found = pairs(figures, "accuracy", ((other, one) for one, other in rows))
    if found is None:
        return None
    numbers = "; ".join(
        f"{one} {pair.means[1]:.3f}, {other} {pair.means[0]:.3f}"
        for (one, other), pair in zip(rows, found, strict=True)
    )
    return Finding([pair.exceeds(by) for pair in found], numbers)


def _with_few(better: str, worse: Sequence[str], counts: Sequence[int], by: float = 0.0) -> Check:
    """One system of Figure 1 is more accurate than others, by more than ``by``; each number of labels is a part."""
    rows = [(figure1.row_name(better, count), figure1.row_name(other, count)) for count in counts for other in worse]
    return partial(_more_accurate, rows=rows, by=by)


def _with_few_sometimes(system: str, others: Sequence[Sequence[str]], counts: Sequence[int]) -> Check:
    """One system of Figure 1 is more accurate than all of one group of others, with one number of labels at least."""
    groups = [
        [(figure1.row_name(system, count), figure1.row_name(other, count)) for other in group]
        for count in counts
        for group in others
    ]
    return partial(_sometimes, groups=groups)


def _behind(figures: Figures, system: str, other: str, least: float, most: float) -> Finding | None:
    """The accuracy of ``system`` is below that of ``other`` by ``least`` to ``most``."""
    pair = Pair.of(figures, "accuracy", system, other)
    if pair is None:
        return None
    ours, theirs = pair.means
    return Finding([pair.lies_between(least, most)], f"{system} {ours:.3f}, {other} {theirs:.3f}")


_COMPETITIVE = -0.02  # more accurate than two points less
_LSTM_VAES = ("M. A.", "C. A.", "SA-VAE", "Aggressive", "AE-BP")
_FROM_RANDOM = (*_LSTM_VAES, "LSTM-LM", "T5 VAE")
_SPECIALISED = ("BERT, fine-tuning", "BERT, sigma 128", "Optimus (VAE), fine-tuning")
_OF_BERT = ("BERT, fine-tuning", "BERT, sigma 128", "BERT, sigma 512")
_OF_OPTIMUS = ("Optimus (VAE), fine-tuning",)
_VARIANTS = ("w/ LG", "w/ LG; -PSA; +AtM", "w/ LG; +AtM", "+Prefix", "w/ parallel_attn", "w/ sequential_attn")
CLAIMS = (
    Claim("table1", "pooling (LG) loses mutual information", partial(_order, figure="mi", low="w/ LG", high="AdaVAE")),
    Claim(
        "table1",
        "PSA carries more mutual information than AtM, both with LG (the paper's own Table 1: 3.32 and 4.65)",
        partial(_order, figure="mi", low="w/ LG; -PSA; +AtM", high="w/ LG"),
    ),
    Claim(
        "table1",
        "AdaVAE has the lowest perplexity of its variants (the paper: the best trade-off; its own Table 1 on YELP: "
        "15.49, +Prefix 14.96)",
        partial(_lowest, figure="ppl_word", system="AdaVAE", others=_VARIANTS),
    ),
    Claim(
        "table1",
        "adapters beat fine-tuning",
        partial(_order, figure="ppl_word", low="AdaVAE", high="w/ Fine-tuning"),
    ),
    Claim(
        "table2",
        "MI of AdaVAE rises with lambda",
        partial(_rises, figure="mi", system="AdaVAE", lambdas=ADAVAE_LAMBDAS),
    ),
    Claim(
        "table2",
        "MI of Optimus rises with lambda",
        partial(_rises, figure="mi", system="Optimus", lambdas=OPTIMUS_LAMBDAS),
    ),
    Claim(
        "table2",
        "-ELBO of AdaVAE rises with lambda",
        partial(_rises, figure="neg_elbo", system="AdaVAE", lambdas=ADAVAE_LAMBDAS),
    ),
    Claim(
        "table2",
        "-ELBO of Optimus rises with lambda",
        partial(_rises, figure="neg_elbo", system="Optimus", lambdas=OPTIMUS_LAMBDAS),
    ),
    Claim(
        "table2",
        "the perplexity of Optimus rises with lambda",
        partial(_rises, figure="ppl_word", system="Optimus", lambdas=OPTIMUS_LAMBDAS),
    ),
    Claim("table2", "the perplexity of AdaVAE is lower at lambda 0.50 than at 0.05 and 0.75", _rebounds),
    Claim(
        "table2",
        "AdaVAE has a lower perplexity than Optimus",
        partial(_order, figure="ppl_word", low="AdaVAE 0.50", high="Optimus 0.50"),
    ),
    Claim(
        "table2",
        "a latent lowers the perplexity of adapters",
        partial(_order, figure="ppl_word", low="AdaVAE 0.50", high="GPT-2, adapters"),
        is_ours=True,
    ),
    Claim(
        "table2",
        "AdaVAE has a lower perplexity than GPT-2 fine-tuned",
        partial(_order, figure="ppl_word", low="AdaVAE 0.50", high="GPT-2"),
    ),
    Claim(
        "table2",
        "AdaVAE has a lower -ELBO than the VAEs of LSTMs, T5 VAE and Optimus",
        partial(_beats, figure="neg_elbo", system="AdaVAE 0.50", others=(*_LSTM_VAES, "T5 VAE", "Optimus 0.50")),
    ),
    Claim(
        "table2",
        "MI of AdaVAE at lambda 0.50 is below that of Optimus (the paper: slightly)",
        partial(_order, figure="mi", low="AdaVAE 0.50", high="Optimus 0.50"),
    ),
    Claim(
        "table2",
        "AdaVAE beats the LSTM",
        partial(_beats, figure="ppl_word", system="AdaVAE 0.50", others=("LSTM-LM",)),
    ),
    Claim(
        "table2",
        "AdaVAE beats every VAE of LSTMs, and T5 VAE",
        partial(_beats_every, figure="ppl_word", system="AdaVAE 0.50", others=(*_LSTM_VAES, "T5 VAE")),
    ),
    Claim(
        "table3",
        "on YELP adapters are more accurate than fine-tuning AdaVAE (the paper's own Table 3: 0.966 and 0.961, "
        "fine-tuning 0.968)",
        partial(_order, figure="accuracy", low="AdaVAE, fine-tuning", high="AdaVAE, sigma 128", decimals=3),
        dataset="yelp",
    ),
    Claim(
        "table3",
        "on SST-2 AdaVAE's adapters are around six points below BERT's (three to nine)",
        partial(_behind, system="AdaVAE, sigma 128", other="BERT, sigma 128", least=0.03, most=0.09),
        dataset="sst2",
    ),
    Claim(
        "table3",
        "on SST-2 AdaVAE's adapters are around six points below Optimus (three to nine)",
        partial(_behind, system="AdaVAE, sigma 128", other="Optimus (VAE), fine-tuning", least=0.03, most=0.09),
        dataset="sst2",
    ),
    Claim(
        "table3",
        "on YELP AdaVAE's adapters are at most two points below BERT and Optimus",
        partial(_more_accurate, rows=[("AdaVAE, sigma 128", other) for other in _SPECIALISED], by=_COMPETITIVE),
        dataset="yelp",
    ),
    Claim(
        "table3",
        "on WNLI adapters are more accurate than fine-tuning AdaVAE (sigma 512; the paper's own Table 3: 128 is not)",
        partial(_more_accurate, rows=[("AdaVAE, sigma 512", "AdaVAE, fine-tuning")]),
        dataset="wnli",
    ),
    Claim(
        "table3",
        "on WNLI AdaVAE's adapters are sometimes more accurate than BERT, fine-tuned and with adapters, or Optimus "
        "(here: than all of the one, or the other)",
        partial(
            _sometimes,
            groups=[[("AdaVAE, sigma 512", other) for other in group] for group in (_OF_BERT, _OF_OPTIMUS)],
        ),
        dataset="wnli",
    ),
    Claim(
        "figure1",
        "with 10 and 100 labels adapters are better than fine-tuning AdaVAE",
        _with_few("AdaVAE PE", ["AdaVAE FT"], (10, 100)),
    ),
    Claim(
        "figure1",
        "with 1,000 and 10,000 labels adapters are better than fine-tuning AdaVAE (the paper: generally)",
        _with_few("AdaVAE PE", ["AdaVAE FT"], (1000, 10_000)),
    ),
    Claim(
        "figure1",
        "with 1,000 and 10,000 labels AdaVAE's adapters are at most two points below BERT and Optimus",
        _with_few("AdaVAE PE", ["BERT PE", "BERT FT", "Optimus FT"], (1000, 10_000), by=_COMPETITIVE),
    ),
    Claim(
        "figure1",
        "with 10 or 100 labels AdaVAE's adapters are sometimes better than BERT, fine-tuned and with adapters, or "
        "Optimus (here: than both of the one, or the other, with one of these numbers)",
        _with_few_sometimes("AdaVAE PE", [["BERT PE", "BERT FT"], ["Optimus FT"]], (10, 100)),
    ),
)
