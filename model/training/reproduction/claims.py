"""What the paper claims of Tables 1 and 2, answered by the cells that were run, with the numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from adavae.model.training.reproduction.grid import Cell
from adavae.model.training.reproduction.table2 import ADAVAE_LAMBDAS, OPTIMUS_LAMBDAS


@dataclass(frozen=True, slots=True)
class Verdict:
    """One claim on one data set.

    Attributes:
        dataset: The data set.
        claim: In the paper's sense, in plain words.
        holds: Whether it does here.
        numbers: By which figures.
    """

    dataset: str
    claim: str
    holds: bool
    numbers: str


def verdicts(cells: Sequence[Cell]) -> Iterator[Verdict]:
    """Every claim of which all cells are there."""
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        figures = {cell.row: cell.figures for cell in cells if cell.dataset == dataset}
        yield from _of_table_1(dataset, figures)
        yield from _of_table_2(dataset, figures)


_Figures = dict[str, dict[str, float]]


def _of_table_1(dataset: str, figures: _Figures) -> Iterator[Verdict]:
    yield from _less(dataset, figures, "mi", "w/ LG", "AdaVAE", "pooling (LG) loses mutual information")
    yield from _less(
        dataset, figures, "ppl_word", "AdaVAE", "w/ LG; -PSA; +AtM", "PSA and latent attention beat LG and AtM"
    )
    yield from _less(dataset, figures, "ppl_word", "AdaVAE", "w/ Fine-tuning", "adapters beat fine-tuning")


def _of_table_2(dataset: str, figures: _Figures) -> Iterator[Verdict]:
    for system, lambdas in (("AdaVAE", ADAVAE_LAMBDAS), ("Optimus", OPTIMUS_LAMBDAS)):
        names = [f"{system} {free_bits:.2f}" for free_bits in lambdas]
        if all(name in figures for name in names):
            values = [figures[name]["mi"] for name in names]
            numbers = ", ".join(f"{value:.2f}" for value in values)
            holds = all(low <= high for low, high in pairwise(values))
            yield Verdict(dataset, f"MI of {system} rises with lambda", holds, numbers)
    yield from _less(
        dataset, figures, "ppl_word", "AdaVAE 0.50", "Optimus 0.50", "AdaVAE has a lower perplexity than Optimus"
    )
    yield from _less(
        dataset, figures, "ppl_word", "AdaVAE 0.50", "GPT-2, adapters", "a latent lowers the perplexity of adapters"
    )
    yield from _less(dataset, figures, "ppl_word", "AdaVAE 0.50", "LSTM-LM", "AdaVAE beats the LSTM")


def _less(dataset: str, figures: _Figures, figure: str, low: str, high: str, claim: str) -> Iterator[Verdict]:
    if low in figures and high in figures:
        ours, other = figures[low][figure], figures[high][figure]
        yield Verdict(dataset, claim, ours < other, f"{low} {ours:.2f}, {high} {other:.2f}")
