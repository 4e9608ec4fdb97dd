"""The measures against cases that can be worked out by hand."""

import logging
import math
from collections.abc import Callable

import pytest
import torch

from adavae.model.training.measures import (
    accuracy,
    active_units,
    bleu4,
    exact_match,
    finite_figures,
    importance_weighted_nll,
    log_normal,
    macro_f1,
    mutual_information,
    mutual_information_ceiling,
    mutual_information_gaussian,
    perplexity,
    perplexity_name,
)

SENTENCES = ["the food was good and the staff was kind", "i will not come back to this place again"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_log_normal_sums_over_the_last_axis() -> None:
    z = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    mu = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    logvar = torch.tensor([[0.0, math.log(4.0)], [0.0, 0.0]])
    both = -math.log(2 * math.pi)
    torch.testing.assert_close(log_normal(z, mu, logvar), torch.tensor([both - 0.5 * (math.log(4.0) + 1.0), both]))


def test_importance_weighting_with_one_sample_is_the_elbo() -> None:
    log_px, log_pz, log_qz = torch.tensor([[-3.0, -5.0]]), torch.tensor([[-1.0, -2.0]]), torch.tensor([[0.5, -0.5]])
    torch.testing.assert_close(importance_weighted_nll(log_px, log_pz, log_qz), torch.tensor([4.5, 6.5]))


def test_importance_weighting_averages_weights_not_logarithms() -> None:
    log_px = torch.tensor([[math.log(0.1)], [math.log(0.3)]])
    zeros = torch.zeros(2, 1)
    torch.testing.assert_close(importance_weighted_nll(log_px, zeros, zeros), torch.tensor([-math.log(0.2)]))


def test_importance_weighting_survives_texts_of_thousands_of_nats() -> None:
    log_px = torch.tensor([[-5000.0], [-5000.0 + math.log(3.0)]])
    zeros = torch.zeros(2, 1)
    expected = torch.tensor([5000.0 - math.log(2.0)])
    torch.testing.assert_close(importance_weighted_nll(log_px, zeros, zeros), expected)


def test_perplexity_divides_all_nats_by_all_words() -> None:
    """Not the mean of each text's own perplexity, which short texts would rule."""
    nll = torch.tensor([10 * math.log(2.0), 2 * math.log(32.0)])
    assert perplexity(nll, torch.tensor([10, 2])) == pytest.approx(2 ** (20 / 12))


def test_a_perplexity_beyond_the_largest_float_is_infinite() -> None:
    assert perplexity(torch.tensor([3000.0]), torch.tensor([2])) == math.inf


def test_the_number_of_importance_samples_is_part_of_a_perplexitys_name() -> None:
    """20, 100 and 400 samples give 104, 94 and 88 on the same texts."""
    assert (perplexity_name("word", 20), perplexity_name("token", 400)) == ("ppl_word_iw20", "ppl_token_iw400")


def test_mutual_information_of_identical_posteriors_is_zero() -> None:
    mu, logvar = torch.full((50, 3), 0.7), torch.full((50, 3), -1.0)
    assert mutual_information(mu, logvar, seeded()) == pytest.approx(0.0, abs=1e-9)


def test_mutual_information_of_posteriors_far_apart_is_its_ceiling() -> None:
    mu = 1000.0 * torch.arange(50.0).unsqueeze(1).expand(50, 3)
    assert mutual_information(mu, torch.zeros(50, 3), seeded()) == pytest.approx(math.log(50), abs=1e-9)
    assert mutual_information_ceiling(50) == pytest.approx(math.log(50))


def test_mutual_information_of_two_groups_of_texts_is_one_bit() -> None:
    mu = torch.tensor([-500.0, 500.0]).repeat(20).unsqueeze(1)
    assert mutual_information(mu, torch.zeros(40, 1), seeded()) == pytest.approx(math.log(2.0), abs=1e-9)


def test_mutual_information_does_not_depend_on_the_chunk() -> None:
    mu, logvar = torch.randn(37, 4, generator=seeded(1)), torch.randn(37, 4, generator=seeded(2))
    whole = mutual_information(mu, logvar, seeded(), chunk=37)
    assert 0.1 < whole < math.log(37)
    for chunk in (1, 5, 36, 100):
        assert mutual_information(mu, logvar, seeded(), chunk=chunk) == pytest.approx(whole, abs=1e-9)


def test_mutual_information_of_a_sorted_dataset_uses_texts_from_all_of_it() -> None:
    """The first texts alone would all be of one group, and the estimate 0."""
    mu = torch.cat([torch.full((200, 1), -500.0), torch.full((200, 1), 500.0)])
    estimate = mutual_information(mu, torch.zeros(400, 1), seeded(), limit=100)
    assert estimate == pytest.approx(math.log(2.0), abs=0.05)
    assert mutual_information_ceiling(400, limit=100) == pytest.approx(math.log(100))


def test_active_units_are_the_dimensions_whose_mean_varies() -> None:
    spread = torch.tensor([-1.0, 1.0]).repeat(50)
    constant = torch.full((100,), 5.0)
    mu = torch.stack([spread, 0.11 * spread, 0.09 * spread, constant], dim=1)  # variances 1, 0.0121, 0.0081, 0
    assert active_units(mu) == 2
    assert active_units(mu, threshold=0.005) == 3
    assert active_units(mu, threshold=0.5) == 1


def test_no_unit_is_active_on_a_single_text() -> None:
    """The unbiased variance of one value is NaN, with a warning."""
    assert active_units(torch.ones(1, 4)) == 0


def test_bleu_of_identical_texts_is_100() -> None:
    assert bleu4(SENTENCES, SENTENCES) == 100.0


def test_bleu_of_texts_without_a_common_word_is_near_0() -> None:
    assert bleu4(["red cats sleep on warm grey stones all day", "nobody knows"], SENTENCES) < 2.0


def test_bleu_falls_with_each_word_that_changes() -> None:
    one = [SENTENCES[0].replace("kind", "rude"), SENTENCES[1]]
    two = [one[0].replace("food", "view"), SENTENCES[1]]
    assert 100.0 > bleu4(one, SENTENCES) > bleu4(two, SENTENCES) > 0.0


def test_bleu_is_taken_over_the_corpus_not_averaged_over_texts() -> None:
    """By hand: precisions 9/9, 7/7, 5/5, 3/3 with a brevity penalty of exp(1 - 12/9)."""
    hypotheses = ["a b c d e f", "g h i"]
    references = ["a b c d e f", "g h i j k l"]
    assert bleu4(hypotheses, references) == pytest.approx(100 * math.exp(1 - 12 / 9))


def test_bleu_minds_case_and_splits_off_punctuation() -> None:
    assert bleu4([SENTENCES[0].upper()], SENTENCES[:1]) < 2.0
    assert bleu4([SENTENCES[0] + " ."], [SENTENCES[0] + "."]) == 100.0


def test_bleu_of_a_tokenised_corpus_complains_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Sacrebleu writes a warning to standard error where 100 texts end in a tokenised full stop."""
    with caplog.at_level(logging.WARNING):
        assert bleu4([SENTENCES[0] + " ."] * 150, [SENTENCES[0] + " ."] * 150) == 100.0
    assert not caplog.records


def test_mutual_information_of_numbers_that_overflow_is_no_0() -> None:
    mu, logvar = torch.tensor([[1e30], [-1e30], [0.0]]), torch.full((3, 1), -200.0)
    found = (
        mutual_information(mu, logvar, torch.Generator().manual_seed(0)),
        mutual_information_gaussian(mu * 1e10, logvar),
    )
    assert not any(value == 0.0 for value in found)


def test_a_report_is_json_whatever_overflowed() -> None:
    report = {"a": 1, "b": math.inf, "c": {"d": math.nan, "e": 2.0, "f": {"g": -math.inf}}, "h": [1.5], "i": None}
    assert finite_figures(report) == {"a": 1, "c": {"e": 2.0, "f": {}}, "h": [1.5], "i": None}


def test_exact_match_is_to_the_letter() -> None:
    assert exact_match(["a b", "a b ", "A b", "a b"], ["a b"] * 4) == 0.5


def test_accuracy_is_the_share_of_equal_pairs() -> None:
    assert accuracy(["x", "y", "y", "x"], ["x", "y", "x", "x"]) == 0.75


@pytest.mark.parametrize("measure", [accuracy, exact_match])
def test_shares_refuse_lists_of_different_length(measure: Callable[[list[str], list[str]], float]) -> None:
    with pytest.raises(ValueError, match="zip"):
        measure(["x"], ["x", "y"])


def test_macro_f1_by_hand() -> None:
    """x: TP 2, FP 1, FN 1; y: TP 1, FP 1, FN 0; z: TP 0, FP 0, FN 1."""
    gold = ["x", "x", "x", "y", "z"]
    predicted = ["x", "x", "y", "y", "x"]
    assert macro_f1(predicted, gold, ["x", "y", "z"]) == pytest.approx((4 / 6 + 2 / 3 + 0.0) / 3)


def test_macro_f1_counts_a_label_that_never_occurs_as_0() -> None:
    assert macro_f1(["x", "y"], ["x", "y"], ["x", "y"]) == 1.0
    assert macro_f1(["x", "y"], ["x", "y"], ["x", "y", "z"]) == pytest.approx(2 / 3)
