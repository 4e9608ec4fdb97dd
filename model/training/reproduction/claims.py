"""What the paper claims of its tables and of Figure 1, answered by the cells that were run, with the numbers."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import pairwise

from adavae.model.training.reproduction import figure1
from adavae.model.training.reproduction.grid import Cell
from adavae.model.training.reproduction.scale import ScaleName
from adavae.model.training.reproduction.table2 import ADAVAE_LAMBDAS, OPTIMUS_LAMBDAS


class Answer(StrEnum):
    HOLDS = "holds"
    IN_PART = "holds in part"
    DOES_NOT_HOLD = "does not hold here"
    NOT_RUN = "not run yet"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One claim on one data set.

    Attributes:
        dataset: The data set.
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


Figures = Mapping[str, Mapping[str, float]]
"""Figures of each row of one data set, means over the seeds."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the cells say: whether each part of the claim holds, and by which numbers."""

    parts: Sequence[bool]
    numbers: str

    @property
    def answer(self) -> Answer:
        return _together([Answer.HOLDS if part else Answer.DOES_NOT_HOLD for part in self.parts])


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Attributes:
        table: Where the paper makes it.
        text: In plain words.
        check: Gives its finding, or None where a cell that it needs is missing.
    """

    table: str
    text: str
    check: Callable[[Figures], Finding | None]


def verdicts(cells: Sequence[Cell]) -> Iterator[Verdict]:
    """Every claim of which all cells are there, for each data set, scale and backbone by itself."""
    groups: dict[tuple[str, str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.table, cell.dataset, cell.scale, cell.backbone), []).append(cell)
    for (table, dataset, _, _), group in groups.items():
        figures = _means(group)
        for claim in CLAIMS:
            if claim.table == table and (finding := claim.check(figures)) is not None:
                yield Verdict(dataset, claim.text, finding.answer, finding.numbers)


def answers(cells: Sequence[Cell]) -> list[tuple[Claim, Answer, list[Verdict]]]:
    """Every claim with its answer over all data sets; cells of scale smoke are no evidence, and left out."""
    found = list(verdicts([cell for cell in cells if cell.scale != ScaleName.SMOKE]))
    of_claim = [(claim, [each for each in found if each.claim == claim.text]) for claim in CLAIMS]
    return [(claim, _together([each.answer for each in own]), own) for claim, own in of_claim]


def _together(answers: Sequence[Answer]) -> Answer:
    if not answers:
        return Answer.NOT_RUN
    return answers[0] if len(set(answers)) == 1 else Answer.IN_PART


def _means(cells: Sequence[Cell]) -> Figures:
    by_row: dict[str, list[Cell]] = {}
    for cell in cells:
        by_row.setdefault(cell.row, []).append(cell)
    return {row: _mean(group) for row, group in by_row.items()}


def _mean(group: Sequence[Cell]) -> dict[str, float]:
    numbers = [name for name, value in group[0].figures.items() if isinstance(value, int | float)]
    return {name: statistics.fmean(cell.figures[name] for cell in group) for name in numbers}


def _order(figures: Figures, figure: str, low: str, high: str, decimals: int = 2) -> Finding | None:
    """``figure`` of ``low`` is below that of ``high``."""
    if low not in figures or high not in figures:
        return None
    ours, other = figures[low][figure], figures[high][figure]
    return Finding([ours < other], f"{low} {ours:.{decimals}f}, {high} {other:.{decimals}f}")


def _rises(figures: Figures, figure: str, system: str, lambdas: Sequence[float]) -> Finding | None:
    """``figure`` never falls as lambda rises; each step is a part."""
    names = [f"{system} {free_bits:.2f}" for free_bits in lambdas]
    if any(name not in figures for name in names):
        return None
    values = [figures[name][figure] for name in names]
    return Finding([low <= high for low, high in pairwise(values)], ", ".join(f"{value:.2f}" for value in values))


def _rebounds(figures: Figures) -> Finding | None:
    """The perplexity of AdaVAE is lowest at a lambda between the ends."""
    names = [f"AdaVAE {free_bits:.2f}" for free_bits in ADAVAE_LAMBDAS]
    if any(name not in figures for name in names):
        return None
    values = [figures[name]["ppl_word"] for name in names]
    is_between = 0 < values.index(min(values)) < len(values) - 1
    return Finding([is_between], ", ".join(f"{value:.2f}" for value in values))


def _all_lower(figures: Figures, figure: str, system: str, others: Sequence[str]) -> Finding | None:
    """``figure`` of ``system`` is below that of each of the others; each is a part."""
    if any(name not in figures for name in (system, *others)):
        return None
    values = [figures[name][figure] for name in (system, *others)]
    numbers = ", ".join(f"{name} {value:.2f}" for name, value in zip((system, *others), values, strict=True))
    return Finding([values[0] < other for other in values[1:]], numbers)


def _with_few(figures: Figures, better: str, worse: str, counts: Sequence[int]) -> Finding | None:
    """One system of Figure 1 is more accurate than another; each number of labels is a part."""
    names = [(figure1.row_name(better, count), figure1.row_name(worse, count)) for count in counts]
    if any(name not in figures for pair in names for name in pair):
        return None
    values = [(figures[one]["accuracy"], figures[other]["accuracy"]) for one, other in names]
    numbers = "; ".join(
        f"{one} {high:.3f}, {other} {low:.3f}" for (one, other), (high, low) in zip(names, values, strict=True)
    )
    return Finding([high > low for high, low in values], numbers)


def _near(figures: Figures, system: str, other: str, most: float) -> Finding | None:
    """The accuracy of ``system`` is below that of ``other`` by ``most`` at most."""
    if system not in figures or other not in figures:
        return None
    ours, theirs = figures[system]["accuracy"], figures[other]["accuracy"]
    return Finding([ours >= theirs - most], f"{system} {ours:.3f}, {other} {theirs:.3f}")


_LSTM_VAES = ("M. A.", "C. A.", "SA-VAE", "Aggressive", "AE-BP")
CLAIMS = (
    Claim("table1", "pooling (LG) loses mutual information", partial(_order, figure="mi", low="w/ LG", high="AdaVAE")),
    Claim(
        "table1",
        "PSA and latent attention beat LG and AtM",
        partial(_order, figure="ppl_word", low="AdaVAE", high="w/ LG; -PSA; +AtM"),
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
    Claim("table2", "the perplexity of AdaVAE is best at a lambda between 0.05 and 0.75", _rebounds),
    Claim(
        "table2",
        "AdaVAE has a lower perplexity than Optimus",
        partial(_order, figure="ppl_word", low="AdaVAE 0.50", high="Optimus 0.50"),
    ),
    Claim(
        "table2",
        "a latent lowers the perplexity of adapters",
        partial(_order, figure="ppl_word", low="AdaVAE 0.50", high="GPT-2, adapters"),
    ),
    Claim("table2", "AdaVAE beats the LSTM", partial(_order, figure="ppl_word", low="AdaVAE 0.50", high="LSTM-LM")),
    Claim(
        "table2",
        "AdaVAE beats every VAE of LSTMs",
        partial(_all_lower, figure="ppl_word", system="AdaVAE 0.50", others=_LSTM_VAES),
    ),
    Claim(
        "table3",
        "adapters are at least as accurate as fine-tuning AdaVAE, to two points",
        partial(_near, system="AdaVAE, sigma 128", other="AdaVAE, fine-tuning", most=0.02),
    ),
    Claim(
        "table3",
        "AdaVAE's adapters are within six points of BERT's",
        partial(_near, system="AdaVAE, sigma 128", other="BERT, sigma 128", most=0.06),
    ),
    Claim(
        "figure1",
        "with 10 and 100 labels adapters are better than fine-tuning AdaVAE",
        partial(_with_few, better="AdaVAE PE", worse="AdaVAE FT", counts=(10, 100)),
    ),
    Claim(
        "figure1",
        "with 1,000 and 10,000 labels adapters are better than fine-tuning AdaVAE",
        partial(_with_few, better="AdaVAE PE", worse="AdaVAE FT", counts=(1000, 10_000)),
    ),
    Claim(
        "figure1",
        "with 10 and 100 labels AdaVAE's adapters are better than BERT's",
        partial(_with_few, better="AdaVAE PE", worse="BERT PE", counts=(10, 100)),
    ),
)
