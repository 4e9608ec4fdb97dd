"""The paper's claims are answered by numbers, and by no difference that chance could make."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from adavae.model.training.reproduction import figure1, table2
from adavae.model.training.reproduction.claims import Answer, Verdict, answers, verdicts
from adavae.model.training.reproduction.grid import Cell
from tests.unit.model.training.reproduction.tiny_reproduction import a_cell

HOLDS, IN_PART, NOT, CLOSE = Answer.HOLDS, Answer.IN_PART, Answer.DOES_NOT_HOLD, Answer.TOO_CLOSE


def verdict_on(claim: str, cells: Sequence[Cell]) -> Verdict:
    (verdict,) = [each for each in verdicts(cells) if each.claim == claim]
    return verdict


@pytest.mark.parametrize(
    ("mis", "answer"),
    [
        ((1, 2, 3, 4, 5), HOLDS),
        ((1, 2, 3, 4, 3), IN_PART),
        ((1, 2, 3, 4, 4), IN_PART),  # a lambda without effect is no rise
        ((3, 3, 3, 3, 3.05), CLOSE),
        ((3, 3, 3, 2, 1), NOT),
    ],
)
def test_what_rises_with_lambda(mis: tuple[float, ...], answer: Answer) -> None:
    cells = [
        a_cell("table2", f"AdaVAE {free_bits:.2f}", mi=mi, ppl_word=9.0, neg_elbo=30.0)
        for free_bits, mi in zip(table2.ADAVAE_LAMBDAS, mis, strict=True)
    ]
    verdict = verdict_on("MI of AdaVAE rises with lambda", cells)
    assert verdict.answer is answer
    assert verdict.numbers.startswith(f"{mis[0]:.2f}, {mis[1]:.2f}")
    assert verdict_on("-ELBO of AdaVAE rises with lambda", cells).answer is CLOSE


@pytest.mark.parametrize(
    ("ours", "other", "answer"), [(50.0, 60.0, HOLDS), (60.0, 50.0, NOT), (50.0, 51.0, CLOSE), (51.0, 50.0, CLOSE)]
)
def test_one_seed_is_compared_with_a_margin(ours: float, other: float, answer: Answer) -> None:
    cells = [a_cell("table2", row, ppl_word=ppl) for row, ppl in (("AdaVAE 0.50", ours), ("LSTM-LM", other))]
    assert verdict_on("AdaVAE beats the LSTM", cells).answer is answer


@pytest.mark.parametrize(
    ("ppls", "answer"), [((35, 30, 36), HOLDS), ((25, 30, 36), NOT), ((30.1, 30, 36), CLOSE), ((30, 30, 30), CLOSE)]
)
def test_a_rebound_needs_both_ends(ppls: tuple[float, ...], answer: Answer) -> None:
    cells = [
        a_cell("table2", f"AdaVAE {free_bits}", ppl_word=ppl, mi=1.0, neg_elbo=30.0)
        for free_bits, ppl in zip(("0.05", "0.50", "0.75"), ppls, strict=True)
    ]
    claim = "the perplexity of AdaVAE is lower at lambda 0.50 than at 0.05 and 0.75"
    assert verdict_on(claim, cells).answer is answer


def points(of_ten: float, of_hundred: float, spread: float) -> list[Cell]:
    accuracies = {"AdaVAE PE": (of_ten, of_hundred), "AdaVAE FT": (0.5, 0.5)}
    return [
        a_cell("figure1", figure1.row_name(system, labels), seed, accuracy=accuracy + shift)
        for system, pair in accuracies.items()
        for labels, accuracy in zip((10, 100), pair, strict=True)
        for seed, shift in enumerate((-spread, spread))
    ]


@pytest.mark.parametrize(
    ("of_ten", "of_hundred", "spread", "answer"),
    [
        (0.6, 0.7, 0.01, HOLDS),
        (0.6, 0.4, 0.01, IN_PART),
        (0.4, 0.4, 0.01, NOT),
        (0.6, 0.7, 0.2, CLOSE),
        (0.5, 0.4, 0.01, NOT),  # not better with either
    ],
)
def test_several_seeds_are_compared_by_their_spread(
    of_ten: float, of_hundred: float, spread: float, answer: Answer
) -> None:
    cells = points(of_ten, of_hundred, spread)
    (verdict,) = verdicts(cells)
    assert verdict.answer is answer
    by_claim = {claim.text: given for claim, given, _ in answers(cells)}
    assert by_claim[verdict.claim] is answer
    assert by_claim["adapters beat fine-tuning"] is Answer.NOT_RUN


def test_only_seeds_that_both_rows_have_are_compared() -> None:
    easier = [replace(cell, seed=7) for cell in points(0.99, 0.99, 0.0) if cell.row.startswith("AdaVAE PE")]
    (verdict,) = verdicts([*points(0.4, 0.4, 0.01), *easier])
    assert "0.400" in verdict.numbers and verdict.answer is NOT
    assert list(verdicts([replace(cell, seed=7) if "PE" in cell.row else cell for cell in points(0.4, 0.4, 0.0)])) == []


def test_a_claim_about_one_data_set_is_asked_of_no_other() -> None:
    rows = {"AdaVAE, sigma 128": 0.80, "BERT, sigma 128": 0.86, "AdaVAE, fine-tuning": 0.70}
    claims = {
        dataset: [
            (verdict.claim, verdict.answer)
            for verdict in verdicts([a_cell("table3", row, dataset=dataset, accuracy=of) for row, of in rows.items()])
        ]
        for dataset in ("wnli", "yelp", "sst2")
    }
    assert claims["wnli"] == []
    assert claims["yelp"] == [("on YELP adapters are more accurate than fine-tuning AdaVAE", HOLDS)]
    assert claims["sst2"] == [("on SST-2 AdaVAE's adapters are around six points below BERT's (three to nine)", HOLDS)]


def test_scales_and_backbones_are_not_mixed() -> None:
    def of(adapters: float, backbone: str, scale: str) -> list[Cell]:
        found = {"AdaVAE, sigma 128": adapters, "AdaVAE, fine-tuning": 0.5}
        return [
            replace(a_cell("table3", row, scale=scale, accuracy=accuracy), backbone=backbone)
            for row, accuracy in found.items()
        ]

    found = list(verdicts([*of(0.9, "a", "cpu"), *of(0.2, "b", "paper")]))
    assert [(verdict.dataset, verdict.answer) for verdict in found] == [("yelp", HOLDS), ("yelp at scale paper", NOT)]


def test_smoke_is_no_evidence() -> None:
    cells = [
        a_cell("table3", name, scale="smoke", accuracy=0.5) for name in ("AdaVAE, sigma 128", "AdaVAE, fine-tuning")
    ]
    assert len(list(verdicts(cells))) == 1
    assert all(answer is Answer.NOT_RUN for _, answer, _ in answers(cells))
