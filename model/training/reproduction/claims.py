"""What the paper claims of its tables and of Figure 1, answered by the cells that were run, with the numbers.

``checks`` says what is compared for each, ``comparison`` which of two figures is above the other, or that they are too
close to tell.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from adavae.model.training.reproduction.checks import (
    LSTM_VAES,
    Check,
    beats,
    beats_every,
    behind,
    lowest,
    more_accurate,
    order,
    rebounds,
    rises,
    sometimes,
    together,
    with_few,
    with_few_sometimes,
)
from adavae.model.training.reproduction.comparison import Answer, Figures
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
    return [(claim, together([each.answer for each in own]), own) for claim, own in of_claim]


def _by_seed(cells: Sequence[Cell]) -> Figures:
    figures: dict[str, dict[int, dict[str, float]]] = {}
    for cell in cells:
        numbers = {name: value for name, value in cell.figures.items() if isinstance(value, int | float)}
        figures.setdefault(cell.row, {})[cell.seed] = numbers | pool_of(cell.files, cell.figures)
    return figures


_COMPETITIVE = -0.02  # more accurate than two points less
_SPECIALISED = ("BERT, fine-tuning", "BERT, sigma 128", "Optimus (VAE), fine-tuning")
_OF_BERT = ("BERT, fine-tuning", "BERT, sigma 128", "BERT, sigma 512")
_OF_OPTIMUS = ("Optimus (VAE), fine-tuning",)
_VARIANTS = ("w/ LG", "w/ LG; -PSA; +AtM", "w/ LG; +AtM", "+Prefix", "w/ parallel_attn", "w/ sequential_attn")
CLAIMS = (
    Claim("table1", "pooling (LG) loses mutual information", partial(order, figure="mi", low="w/ LG", high="AdaVAE")),
    Claim(
        "table1",
        "PSA carries more mutual information than AtM, both with LG (the paper's own Table 1: 3.32 and 4.65)",
        partial(order, figure="mi", low="w/ LG; -PSA; +AtM", high="w/ LG"),
    ),
    Claim(
        "table1",
        "AdaVAE has the lowest perplexity of its variants (the paper: the best trade-off; its own Table 1 on YELP: "
        "15.49, +Prefix 14.96)",
        partial(lowest, figure="ppl_word", system="AdaVAE", others=_VARIANTS),
    ),
    Claim(
        "table1",
        "adapters beat fine-tuning",
        partial(order, figure="ppl_word", low="AdaVAE", high="w/ Fine-tuning"),
    ),
    Claim(
        "table2",
        "MI of AdaVAE rises with lambda",
        partial(rises, figure="mi", system="AdaVAE", lambdas=ADAVAE_LAMBDAS),
    ),
    Claim(
        "table2",
        "MI of Optimus rises with lambda",
        partial(rises, figure="mi", system="Optimus", lambdas=OPTIMUS_LAMBDAS),
    ),
    Claim(
        "table2",
        "-ELBO of AdaVAE rises with lambda",
        partial(rises, figure="neg_elbo", system="AdaVAE", lambdas=ADAVAE_LAMBDAS),
    ),
    Claim(
        "table2",
        "-ELBO of Optimus rises with lambda",
        partial(rises, figure="neg_elbo", system="Optimus", lambdas=OPTIMUS_LAMBDAS),
    ),
    Claim(
        "table2",
        "the perplexity of Optimus rises with lambda",
        partial(rises, figure="ppl_word", system="Optimus", lambdas=OPTIMUS_LAMBDAS),
    ),
    Claim("table2", "the perplexity of AdaVAE is lower at lambda 0.50 than at 0.05 and 0.75", rebounds),
    Claim(
        "table2",
        "AdaVAE has a lower perplexity than Optimus",
        partial(order, figure="ppl_word", low="AdaVAE 0.50", high="Optimus 0.50"),
    ),
    Claim(
        "table2",
        "a latent lowers the perplexity of adapters",
        partial(order, figure="ppl_word", low="AdaVAE 0.50", high="GPT-2, adapters"),
        is_ours=True,
    ),
    Claim(
        "table2",
        "AdaVAE has a lower perplexity than GPT-2 fine-tuned",
        partial(order, figure="ppl_word", low="AdaVAE 0.50", high="GPT-2"),
    ),
    Claim(
        "table2",
        "AdaVAE has a lower -ELBO than the VAEs of LSTMs, T5 VAE and Optimus",
        partial(beats, figure="neg_elbo", system="AdaVAE 0.50", others=(*LSTM_VAES, "T5 VAE", "Optimus 0.50")),
    ),
    Claim(
        "table2",
        "MI of AdaVAE at lambda 0.50 is below that of Optimus (the paper: slightly)",
        partial(order, figure="mi", low="AdaVAE 0.50", high="Optimus 0.50"),
    ),
    Claim(
        "table2",
        "AdaVAE beats the LSTM",
        partial(beats, figure="ppl_word", system="AdaVAE 0.50", others=("LSTM-LM",)),
    ),
    Claim(
        "table2",
        "AdaVAE beats every VAE of LSTMs, and T5 VAE",
        partial(beats_every, figure="ppl_word", system="AdaVAE 0.50", others=(*LSTM_VAES, "T5 VAE")),
    ),
    Claim(
        "table3",
        "on YELP adapters are more accurate than fine-tuning AdaVAE (the paper's own Table 3: 0.966 and 0.961, "
        "fine-tuning 0.968)",
        partial(order, figure="accuracy", low="AdaVAE, fine-tuning", high="AdaVAE, sigma 128", decimals=3),
        dataset="yelp",
    ),
    Claim(
        "table3",
        "on SST-2 AdaVAE's adapters are around six points below BERT's (three to nine)",
        partial(behind, system="AdaVAE, sigma 128", other="BERT, sigma 128", least=0.03, most=0.09),
        dataset="sst2",
    ),
    Claim(
        "table3",
        "on SST-2 AdaVAE's adapters are around six points below Optimus (three to nine)",
        partial(behind, system="AdaVAE, sigma 128", other="Optimus (VAE), fine-tuning", least=0.03, most=0.09),
        dataset="sst2",
    ),
    Claim(
        "table3",
        "on YELP AdaVAE's adapters are at most two points below BERT and Optimus",
        partial(more_accurate, rows=[("AdaVAE, sigma 128", other) for other in _SPECIALISED], by=_COMPETITIVE),
        dataset="yelp",
    ),
    Claim(
        "table3",
        "on WNLI adapters are more accurate than fine-tuning AdaVAE (sigma 512; the paper's own Table 3: 128 is not)",
        partial(more_accurate, rows=[("AdaVAE, sigma 512", "AdaVAE, fine-tuning")]),
        dataset="wnli",
    ),
    Claim(
        "table3",
        "on WNLI AdaVAE's adapters are sometimes more accurate than BERT, fine-tuned and with adapters, or Optimus "
        "(here: than all of the one, or the other)",
        partial(
            sometimes,
            groups=[[("AdaVAE, sigma 512", other) for other in group] for group in (_OF_BERT, _OF_OPTIMUS)],
        ),
        dataset="wnli",
    ),
    Claim(
        "figure1",
        "with 10 and 100 labels adapters are better than fine-tuning AdaVAE",
        with_few("AdaVAE PE", ["AdaVAE FT"], (10, 100)),
    ),
    Claim(
        "figure1",
        "with 1,000 and 10,000 labels adapters are better than fine-tuning AdaVAE (the paper: generally)",
        with_few("AdaVAE PE", ["AdaVAE FT"], (1000, 10_000)),
    ),
    Claim(
        "figure1",
        "with 1,000 and 10,000 labels AdaVAE's adapters are at most two points below BERT and Optimus",
        with_few("AdaVAE PE", ["BERT PE", "BERT FT", "Optimus FT"], (1000, 10_000), by=_COMPETITIVE),
    ),
    Claim(
        "figure1",
        "with 10 or 100 labels AdaVAE's adapters are sometimes better than BERT, fine-tuned and with adapters, or "
        "Optimus (here: than both of the one, or the other, with one of these numbers)",
        with_few_sometimes("AdaVAE PE", [["BERT PE", "BERT FT"], ["Optimus FT"]], (10, 100)),
    ),
)
