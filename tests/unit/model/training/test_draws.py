"""Draws beside real texts: real texts drawn again are perfect, copies, repetition and nonsense each show."""

import tracemalloc

import pytest

from adavae.model.errors import DatasetError
from adavae.model.training.draws import Draws, distinct_2, measure_draws, told_apart
from adavae.model.training.fluency import FluencyJudge
from tests.scripted_operations import ScriptedOperations
from tests.tiny_text import reviews

LEARNED, REAL, OTHERS = (reviews(800, seed=seed).texts for seed in (1, 2, 3))


@pytest.fixture(scope="module")
def judge() -> FluencyJudge:
    return FluencyJudge.fit(LEARNED, REAL)


def measured(judge: FluencyJudge, drawn: tuple[str, ...]) -> Draws:
    return measure_draws(ScriptedOperations(drawn=drawn), LEARNED, REAL, judge, num_draws=600)


def test_real_texts_drawn_again_are_as_real_texts(judge: FluencyJudge) -> None:
    draws = measured(judge, OTHERS)
    assert draws.distinct == 1.0
    assert draws.fluency.ratio == pytest.approx(1.0, abs=0.05)
    assert draws.fluency.perplexity == pytest.approx(draws.real_perplexity, rel=0.05)
    assert draws.reverse_perplexity == pytest.approx(draws.real_reverse_perplexity, rel=0.05)
    assert draws.distinct_2 == pytest.approx(draws.real_distinct_2, rel=0.1)
    assert draws.copied == pytest.approx(draws.real_copied, abs=0.03)
    assert abs(draws.told_apart - 0.5) < 0.1


def test_one_sentence_over_and_over_is_fluent_and_covers_nothing(judge: FluencyJudge) -> None:
    draws = measured(judge, LEARNED[:1])
    assert draws.num_draws == 600
    assert draws.distinct == pytest.approx(1 / 600)
    assert draws.copied == 1.0
    assert draws.fluency.perplexity < draws.real_perplexity
    assert draws.reverse_perplexity > 2 * draws.real_reverse_perplexity
    assert draws.told_apart > 0.9


def test_a_copy_in_another_form_is_a_copy(judge: FluencyJudge) -> None:
    assert measured(judge, tuple(text.upper().replace(" .", ".") for text in LEARNED)).copied == 1.0


def test_nonsense_is_neither_fluent_nor_of_use(judge: FluencyJudge) -> None:
    draws = measured(judge, tuple(" ".join(reversed(text.split())) for text in OTHERS))
    assert draws.fluency.worse_by_slor > 0.5
    assert draws.fluency.perplexity > 2 * draws.real_perplexity
    assert draws.reverse_perplexity > draws.real_reverse_perplexity


def test_empty_draws_are_measured(judge: FluencyJudge) -> None:
    draws = measured(judge, ("", "the food was good ."))
    assert (draws.distinct, draws.examples[:2]) == (2 / 600, ("", "the food was good ."))


def test_texts_are_drawn_in_portions_that_differ(judge: FluencyJudge) -> None:
    operations, told = ScriptedOperations(drawn=REAL), list[tuple[int, int]]()
    measure_draws(
        operations, LEARNED, REAL, judge, num_draws=600, seed=7, on_done=lambda *done: told.append(done), num_examples=3
    )
    assert operations.seeds == [7, 257, 507]
    assert told == [(250, 600), (500, 600), (600, 600)]


def test_distinct_2_is_of_pairs_of_words() -> None:
    assert distinct_2(["a b a b", "a b"]) == pytest.approx(2 / 4)
    assert distinct_2(["a", ""]) == 0.0


@pytest.mark.parametrize(("drawn", "real"), [(["a"], ["b"]), (["", ""], ["", ""])])
def test_where_nothing_can_be_learned_nobody_tells_apart(drawn: list[str], real: list[str]) -> None:
    assert told_apart(drawn, real) == 0.5


def test_of_texts_as_long_as_books_the_beginning_is_told_apart() -> None:
    """Every triple of words of each text was held in memory, and nothing bounds how many there are."""
    drawn = [f"the food was good {number}" for number in range(10)]
    real = [" ".join(f"word{text}x{number}" for number in range(20_000)) for text in range(10)]
    tracemalloc.start()
    assert told_apart(drawn, real) > 0.9
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6


@pytest.mark.parametrize(("learned", "real", "num"), [((), REAL, 5), (LEARNED, (), 5), (LEARNED, REAL, 0)])
def test_nothing_to_draw_or_to_compare_is_refused(
    judge: FluencyJudge, learned: tuple[str, ...], real: tuple[str, ...], num: int
) -> None:
    with pytest.raises(DatasetError, match="at least one"):
        measure_draws(ScriptedOperations(), learned, real, judge, num_draws=num)
