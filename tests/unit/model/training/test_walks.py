"""Walks in closed form: an ideal one, a jump, a detour, one that stays."""

import pytest

from adavae.model.errors import DatasetError
from adavae.model.training.fluency import FluencyJudge
from adavae.model.training.walks import draw_pairs, edits, longest_step_of, measure_walks, own_share, smoothness_of
from tests.scripted_operations import ScriptedOperations
from tests.tiny_text import reviews

IDEAL = ["a b c d", "x b c d", "x y c d", "x y z d", "x y z w"]
JUMP = ["a b c d", "a b c d", "a b c d", "x y z w", "x y z w"]
DETOUR = ["a b c d", "p q r s", "a b c d", "p q r s", "x y z w"]
STILL = ["a b c d"] * 5


@pytest.mark.parametrize(
    ("source", "target", "distance"),
    [
        ("a b", "a b", 0),
        ("A b.", "a b .", 0),
        ("", "a b", 2),
        ("a b c", "a c", 1),
        ("a b c", "c b a", 2),
        ("ab", "ba", 1),
    ],
)
def test_distance_is_words_to_change(source: str, target: str, distance: int) -> None:
    assert edits(source, target) == edits(target, source) == distance


@pytest.mark.parametrize(
    ("walk", "smoothness", "longest"), [(IDEAL, 1.0, 0.25), (JUMP, 1.0, 1.0), (DETOUR, 0.25, 1.0), (STILL, 1.0, 0.0)]
)
def test_smoothness_tells_detours_and_the_longest_step_tells_jumps(
    walk: list[str], smoothness: float, longest: float
) -> None:
    assert smoothness_of(walk) == pytest.approx(smoothness)
    assert longest_step_of(walk) == pytest.approx(longest)


@pytest.mark.parametrize(
    ("walk", "share"), [(IDEAL, 1.0), (JUMP, 0.0), (DETOUR, 2 / 3), (STILL, 0.0), (["a", "b"], 0.0)]
)
def test_own_sentences_are_neither_end(walk: list[str], share: float) -> None:
    assert own_share(walk) == pytest.approx(share)


def test_figures_are_means_over_the_walks_and_the_worst_of_them() -> None:
    walks = iter([IDEAL, DETOUR])
    operations = ScriptedOperations(walk=lambda source, target, steps: next(walks))  # noqa: ARG005
    report = measure_walks(operations, ["one", "two", "three", "four"], None, steps=5)
    assert (report.num_walks, report.steps, report.fluency) == (2, 5, None)
    assert (report.distinct, report.distinct_worst) == (4.0, 3)
    assert (report.smoothness, report.smoothness_worst) == (0.625, 0.25)
    assert report.own_inner == pytest.approx((1 + 2 / 3) / 2)
    assert report.own_middle == 0.5
    assert report.middle_from_source == pytest.approx((0.5 + 1.0) / 2)
    assert report.middle_from_target == pytest.approx((0.5 + 0.0) / 2)
    assert report.examples == (tuple(IDEAL), tuple(DETOUR))


def test_only_what_stands_between_the_ends_is_judged() -> None:
    texts = reviews(300).texts
    judge = FluencyJudge.fit(texts, texts)
    broken_ends = lambda source, target, steps: ["zzz yyy", *[source] * (steps - 2), "xxx"]  # noqa: ARG005, E731
    report = measure_walks(ScriptedOperations(walk=broken_ends), texts, judge, num_walks=40)
    assert report.fluency is not None
    assert report.fluency.unknown == 0.0


def test_pairs_follow_the_seed_and_use_no_text_twice() -> None:
    texts = [f"text {number % 30}" for number in range(60)]
    pairs = draw_pairs(texts, 100, seed=3)
    assert pairs == draw_pairs(texts, 100, seed=3) != draw_pairs(texts, 100, seed=4)
    assert len({text for pair in pairs for text in pair}) == 30
    assert draw_pairs(texts, 4, seed=3) == pairs[:4]


def test_progress_is_told_up_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    texts = [f"text {number}" for number in range(90)]
    measure_walks(ScriptedOperations(), texts, None, num_walks=45, on_done=lambda *done: told.append(done))
    assert told == [(20, 45), (40, 45), (45, 45)]


@pytest.mark.parametrize("texts", [[], ["one"], ["one", "one"]])
def test_fewer_than_two_texts_are_refused(texts: list[str]) -> None:
    with pytest.raises(DatasetError, match="two different"):
        measure_walks(ScriptedOperations(), texts, None)
