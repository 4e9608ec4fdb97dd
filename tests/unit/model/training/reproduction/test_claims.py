"""The paper's claims are answered by numbers, and by no difference that chance could make."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from adavae.model.training.reproduction import figure1, table2
from adavae.model.training.reproduction.claims import Verdict, answers, verdicts
from adavae.model.training.reproduction.comparison import Answer
from adavae.model.training.reproduction.grid import Cell
from adavae.model.training.reproduction.pools import pool_of
from tests.unit.model.training.reproduction.tiny_reproduction import a_cell

HOLDS, NOT, CLOSE = Answer.HOLDS, Answer.DOES_NOT_HOLD, Answer.TOO_CLOSE
REFUTED, OPEN, UNTRAINED = Answer.REFUTED_IN_PART, Answer.OPEN_IN_PART, Answer.UNTRAINED
VARIANTS = ("w/ LG", "+Prefix", "w/ LG; +AtM", "w/ LG; -PSA; +AtM", "w/ parallel_attn", "w/ sequential_attn")


def verdict_on(claim: str, cells: Sequence[Cell]) -> Verdict:
    (verdict,) = [each for each in verdicts(cells) if each.claim == claim]
    return verdict


@pytest.mark.parametrize(
    ("mis", "answer"),
    [
        ((1, 2, 3, 4, 5), HOLDS),
        ((1, 2, 3, 4, 3), REFUTED),
        ((1, 2, 3, 4, 4), OPEN),  # a lambda without effect is no rise
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
    ppls = {"AdaVAE 0.50": ours, "LSTM-LM": other, "Bigram": 90.0}
    cells = [a_cell("table2", row, ppl_word=ppl) for row, ppl in ppls.items()]
    assert verdict_on("AdaVAE beats the LSTM", cells).answer is answer


@pytest.mark.parametrize(
    ("ours", "lstm", "answer"),
    [(50.0, 200.0, UNTRAINED), (50.0, 101.0, UNTRAINED), (50.0, 80.0, HOLDS), (250.0, 200.0, NOT)],
)
def test_a_system_that_has_learned_less_than_a_bigram_is_not_beaten(ours: float, lstm: float, answer: Answer) -> None:
    ppls = {"AdaVAE 0.50": ours, "LSTM-LM": lstm}
    cells = [a_cell("table2", row, ppl_word=ppl) for row, ppl in ppls.items()]
    assert not [each for each in verdicts(cells) if each.claim == "AdaVAE beats the LSTM"]
    verdict = verdict_on("AdaVAE beats the LSTM", [*cells, a_cell("table2", "Bigram", ppl_word=100.0)])
    assert verdict.answer is answer
    assert verdict.numbers == f"AdaVAE 0.50 {ours:.2f}, LSTM-LM {lstm:.2f}; Bigram 100.00"


def test_systems_that_have_learned_too_little_leave_a_claim_about_many_in_part() -> None:
    rows = ("M. A.", "C. A.", "SA-VAE", "Aggressive", "AE-BP", "T5 VAE", "Optimus 0.50", "Bigram")
    cells = [a_cell("table2", row, neg_elbo=70.0 if row == "M. A." else 50.0, ppl_word=9.0, mi=1.0) for row in rows]
    cells += [a_cell("table2", "AdaVAE 0.50", neg_elbo=40.0, ppl_word=9.0, mi=1.0)]
    claim = "AdaVAE has a lower -ELBO than the VAEs of LSTMs, T5 VAE and Optimus"
    assert verdict_on(claim, cells).answer is OPEN


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


@pytest.mark.parametrize(
    ("others", "answer"),
    [((60, 70, 80), HOLDS), ((60, 40, 80), NOT), ((60, 50.1, 80), CLOSE), ((50.1, 40, 80), NOT), ((40, 40, 40), NOT)],
)
def test_one_lower_variant_is_enough_for_adavae_not_to_have_the_lowest_perplexity(
    others: tuple[float, ...], answer: Answer
) -> None:
    """The answer was "holds in part", though a superlative has no parts."""
    of_others = dict(zip(VARIANTS, (*others, 90, 90, 90), strict=True))
    cells = [a_cell("table1", row, ppl_word=ppl, mi=1.0) for row, ppl in ({"AdaVAE": 50} | of_others).items()]
    (verdict,) = [each for each in verdicts(cells) if "lowest perplexity" in each.claim]
    assert verdict.answer is answer


SOMETIMES = "with 10 or 100 labels AdaVAE's adapters are sometimes better than BERT"


@pytest.mark.parametrize(
    ("bert_pe", "bert_ft", "optimus", "answer"),
    [
        ((0.9, 0.5), (0.9, 0.5), (0.9, 0.9), HOLDS),  # than both of BERT's with one number of labels
        ((0.9, 0.9), (0.9, 0.9), (0.5, 0.9), HOLDS),  # than Optimus
        ((0.5, 0.9), (0.9, 0.5), (0.9, 0.9), NOT),  # never than both at once
        ((0.9, 0.9), (0.9, 0.9), (0.7, 0.9), CLOSE),
    ],
)
def test_what_is_sometimes_better_is_better_once(
    bert_pe: tuple[float, float], bert_ft: tuple[float, float], optimus: tuple[float, float], answer: Answer
) -> None:
    """The paper says sometimes, and the page asked whether it is always so, and of BERT's adapters alone."""
    accuracies = {"AdaVAE PE": (0.7, 0.7), "BERT PE": bert_pe, "BERT FT": bert_ft, "Optimus FT": optimus}
    cells = [
        a_cell("figure1", figure1.row_name(system, labels), seed, accuracy=accuracy)
        for system, pair in accuracies.items()
        for labels, accuracy in zip((10, 100), pair, strict=True)
        for seed in (0, 1)
    ]
    (verdict,) = [each for each in verdicts(cells) if each.claim.startswith(SOMETIMES)]
    assert verdict.answer is answer


def points(of_ten: float, of_hundred: float, spread: float) -> list[Cell]:
    accuracies = {"AdaVAE PE": (of_ten, of_hundred), "AdaVAE FT": (0.5, 0.5)}
    return [
        a_cell("figure1", figure1.row_name(system, labels), seed, accuracy=accuracy + shift)
        for system, pair in accuracies.items()
        for labels, accuracy in zip((10, 100), pair, strict=True)
        for seed, shift in enumerate((-spread, spread) if system == "AdaVAE PE" else (spread, -spread))
    ]


@pytest.mark.parametrize(
    ("of_ten", "of_hundred", "spread", "answer"),
    [
        (0.6, 0.7, 0.001, HOLDS),
        (0.6, 0.4, 0.001, REFUTED),
        (0.4, 0.4, 0.001, NOT),
        (0.6, 0.7, 0.02, CLOSE),  # two seeds: 12.7 standard errors
        (0.5, 0.4, 0.001, NOT),  # not better with either
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
    (verdict,) = verdicts([*points(0.4, 0.4, 0.001), *easier])
    assert "0.400" in verdict.numbers and verdict.answer is NOT
    assert list(verdicts([replace(cell, seed=7) if "PE" in cell.row else cell for cell in points(0.4, 0.4, 0.0)])) == []


def test_a_claim_about_one_data_set_is_asked_of_no_other() -> None:
    rows = {"AdaVAE, sigma 128": 0.80, "BERT, sigma 128": 0.86, "AdaVAE, fine-tuning": 0.70}
    claims = {
        dataset: [
            (verdict.claim, verdict.answer)
            for verdict in verdicts(
                [
                    a_cell("table3", row, seed, dataset=dataset, accuracy=of)
                    for row, of in rows.items()
                    for seed in (0, 1)
                ]
            )
        ]
        for dataset in ("wnli", "yelp", "sst2")
    }
    assert claims["wnli"] == []
    assert claims["yelp"] == [(ON_YELP, HOLDS)]
    assert claims["sst2"] == [("on SST-2 AdaVAE's adapters are around six points below BERT's (three to nine)", HOLDS)]


def test_scales_and_backbones_are_not_mixed() -> None:
    def of(adapters: float, backbone: str, scale: str) -> list[Cell]:
        found = {"AdaVAE, sigma 128": adapters, "AdaVAE, fine-tuning": 0.5}
        return [
            replace(a_cell("table3", row, seed, scale=scale, accuracy=accuracy), backbone=backbone)
            for row, accuracy in found.items()
            for seed in (0, 1)
        ]

    found = list(verdicts([*of(0.9, "a", "cpu"), *of(0.2, "b", "paper")]))
    assert [(verdict.dataset, verdict.answer) for verdict in found] == [("yelp", HOLDS), ("yelp at scale paper", NOT)]


def test_smoke_is_no_evidence() -> None:
    cells = [
        a_cell("table3", name, scale="smoke", accuracy=0.5) for name in ("AdaVAE, sigma 128", "AdaVAE, fine-tuning")
    ]
    assert len(list(verdicts(cells))) == 1
    assert all(answer is Answer.NOT_RUN for _, answer, _ in answers(cells))


def both(accuracies: Sequence[float], others: Sequence[float], **more: float) -> list[Cell]:
    rows = {"AdaVAE, sigma 128": accuracies, "AdaVAE, fine-tuning": others}
    return [a_cell("table3", row, seed, accuracy=a, **more) for row, of in rows.items() for seed, a in enumerate(of)]


ON_YELP = (
    "on YELP adapters are more accurate than fine-tuning AdaVAE (the paper's own Table 3: 0.966 and 0.961, "
    "fine-tuning 0.968)"
)


def test_seeds_that_move_both_rows_alike_are_no_doubt() -> None:
    """Rows of one seed share labels and draws; their spread was taken for that of their difference."""
    easy_and_hard = [0.5, 0.7, 0.9]
    cells = both([each + 0.02 for each in easy_and_hard], easy_and_hard)
    assert verdict_on(ON_YELP, cells).answer is HOLDS
    assert verdict_on(ON_YELP, both([0.53, 0.74, 0.88], easy_and_hard)).answer is CLOSE


def test_seeds_that_agree_still_leave_the_test_texts_in_doubt() -> None:
    """Where seeds share the test texts, 71 of them made a verdict where seeds agreed."""
    ours, others = [0.53, 0.63, 0.73], [0.5, 0.6, 0.7]  # the deviation of one accuracy is sqrt(0.24 / N)
    assert verdict_on(ON_YELP, both(ours, others, num_texts=1900)).answer is CLOSE
    assert verdict_on(ON_YELP, both(ours, others, num_texts=2200)).answer is HOLDS


def test_test_texts_that_each_seed_draws_for_itself_are_not_counted_twice() -> None:
    """Of a pool of 10,000 each seed drew 2,000, and what these do to the mean over seeds was added to their deviation,
    which holds it already: differences of five standard errors were too close to tell.
    """
    ours, others = [0.53, 0.63, 0.73], [0.5, 0.6, 0.7]
    assert verdict_on(ON_YELP, both(ours, others, num_texts=1900)).answer is CLOSE
    assert verdict_on(ON_YELP, both(ours, others, num_texts=1900, num_pool_texts=10_000)).answer is HOLDS
    assert verdict_on(ON_YELP, both(ours, others, num_texts=1900, num_pool_texts=1900)).answer is CLOSE


def test_the_pool_of_a_shipped_data_set_is_known_where_its_cells_do_not_say() -> None:
    paper = Path(__file__).parents[4] / "bench" / "paper"
    cells = [Cell.from_line(line) for line in (paper / "table3.jsonl").read_text("utf-8").splitlines()]
    pools = {(cell.dataset, *pool_of(cell.files, cell.figures).values()) for cell in cells}
    assert pools == {("yelp", 10_000), ("sst2", 1_821), ("wnli", 71)}
    assert pool_of("other files", {"accuracy": 0.5, "num_texts": 9}) == {}


def test_an_accuracy_of_one_seed_tells_nothing() -> None:
    assert verdict_on(ON_YELP, both([0.9], [0.6])).answer is CLOSE


@pytest.mark.parametrize(
    ("difference", "answer"),
    [(0.06, HOLDS), (0.04, CLOSE), (0.08, CLOSE), (0.02, CLOSE), (0.12, NOT), (0.0, NOT)],
)
def test_six_points_behind_have_margins_too(difference: float, answer: Answer) -> None:
    rows = {"AdaVAE, sigma 128": 0.85 - difference, "BERT, sigma 128": 0.85, "Optimus (VAE), fine-tuning": 0.85}
    cells = [
        a_cell("table3", row, seed, dataset="sst2", accuracy=accuracy, num_texts=2800)
        for row, accuracy in rows.items()
        for seed in (0, 1)
    ]
    for other in ("BERT's", "Optimus"):
        claim = f"on SST-2 AdaVAE's adapters are around six points below {other} (three to nine)"
        assert verdict_on(claim, cells).answer is answer


@pytest.mark.parametrize(
    ("mis", "gaussians", "answer"),
    [
        ((6.1, 6.8), None, CLOSE),
        ((6.1, 6.8), (9.0, 14.0), HOLDS),
        ((6.1, 6.8), (14.0, 9.0), NOT),
        ((3.0, 6.8), None, HOLDS),  # only one of them can be too low
        ((3.0, 4.0), None, HOLDS),
    ],
)
def test_estimates_near_their_ceiling_are_not_told_apart(
    mis: tuple[float, float], gaussians: tuple[float, float] | None, answer: Answer
) -> None:
    """ln 1,000 is 6.91: of more information an estimate by 1,000 texts shows no more."""
    cells = []
    for place, row in enumerate(("AdaVAE 0.50", "Optimus 0.50")):
        more = {} if gaussians is None else {"mi_gaussian": gaussians[place]}
        cells.append(a_cell("table2", row, mi=mis[place], ppl_word=9.0, neg_elbo=30.0, num_mi_texts=1000, **more))
    verdict = verdict_on("MI of AdaVAE at lambda 0.50 is below that of Optimus (the paper: slightly)", cells)
    assert verdict.answer is answer
    assert ("ceiling 6.91" in verdict.numbers) is (min(mis) > 6)


def test_estimates_by_different_numbers_of_texts_are_not_compared() -> None:
    cells = [
        a_cell("table2", row, mi=mi, ppl_word=9.0, neg_elbo=30.0, **{of: num})
        for row, mi, of, num in (("AdaVAE 0.50", 2.0, "num_texts", 1000), ("Optimus 0.50", 4.0, "num_mi_texts", 10_000))
    ]
    verdict = verdict_on("MI of AdaVAE at lambda 0.50 is below that of Optimus (the paper: slightly)", cells)
    assert verdict.answer is CLOSE and "of 1000 and 10000 texts" in verdict.numbers


def test_what_is_competitive_is_at_most_two_points_below() -> None:
    claim = "with 1,000 and 10,000 labels AdaVAE's adapters are at most two points below BERT and Optimus"
    for below, answer in ((0.01, HOLDS), (0.03, NOT)):
        cells = [
            a_cell("figure1", figure1.row_name(system, num), seed, accuracy=0.8 - below * (system == "AdaVAE PE"))
            for system in ("AdaVAE PE", "BERT PE", "BERT FT", "Optimus FT")
            for num in (1000, 10_000)
            for seed in (0, 1)
        ]
        assert verdict_on(claim, cells).answer is answer


def test_the_headline_claims_of_table_2_are_asked() -> None:
    rows = ("M. A.", "C. A.", "SA-VAE", "Aggressive", "AE-BP", "T5 VAE", "Optimus 0.50", "GPT-2", "Bigram")
    cells = [a_cell("table2", row, ppl_word=30.0, neg_elbo=40.0, mi=1.0) for row in rows]
    cells.append(a_cell("table2", "AdaVAE 0.50", ppl_word=20.0, neg_elbo=50.0, mi=0.5))
    assert verdict_on("AdaVAE has a lower perplexity than GPT-2 fine-tuned", cells).answer is HOLDS
    claim = "AdaVAE has a lower -ELBO than the VAEs of LSTMs, T5 VAE and Optimus"
    assert verdict_on(claim, cells).answer is NOT


def test_data_of_other_files_are_not_mixed() -> None:
    cells = both([0.7, 0.7], [0.6, 0.6])
    old = [replace(cell, files="old", figures={"accuracy": 0.9 if "fine" in cell.row else 0.1}) for cell in cells]
    assert [verdict.answer for verdict in verdicts([*old, *cells])] == [NOT, HOLDS]


def test_a_claim_of_a_checkpoint_is_one_beside_that_of_the_backbone_in_its_place() -> None:
    rows = ("AdaVAE, sigma 128", 0.7), ("BERT, sigma 128", 0.76), ("Optimus (VAE), fine-tuning", 0.7)
    cells = [
        a_cell("table3", row, seed, dataset="sst2", accuracy=accuracy) for row, accuracy in rows for seed in (0, 1)
    ]
    checkpoint = [replace(cell, checkpoint="someone/bert@1", figures={"accuracy": 0.9}) for cell in cells[2:4]]
    found = [each for each in verdicts([*cells, *checkpoint]) if "SST-2" in each.claim]
    assert [(each.dataset, each.answer) for each in found if "BERT" in each.claim] == [
        ("sst2", HOLDS),
        ("sst2 with someone/bert@1", NOT),
    ]
    assert [each.dataset for each in found if "Optimus" in each.claim] == ["sst2"]
    alone = [each.dataset for each in verdicts([*cells[:2], *checkpoint])]
    assert alone == ["sst2 with someone/bert@1"]
