"""The counting behind the question whether drafts would speed walks up, on walks whose cost is known."""

import pytest

from tests.bench.walk_drafts import drafted_ms, levels, pieces, plain_ms, time_of

STEP_MS = {1: 1.0, 2: 1.5, 4: 2.5, 8: 4.5}


def test_every_inner_point_comes_once_and_after_its_neighbours() -> None:
    known = {0, 10}
    for level in levels(0, 10):
        assert all({left, right} <= known for _, left, right in level)
        known |= {place for place, _, _ in level}
    assert known == set(range(11))
    assert levels(0, 1) == []


@pytest.mark.parametrize(
    ("text", "draft", "steps"),
    [
        ((1, 2, 3), (1, 2, 3), [3, 1]),
        ((1, 2, 3), (4, 5), [1, 1, 1, 1]),
        ((1, 9, 2, 3), (1, 2, 3), [1, 1, 2, 1]),
        ((), (1,), [1]),
    ],
)
def test_runs_that_the_draft_has_are_one_step(text: tuple[int, ...], draft: tuple[int, ...], steps: list[int]) -> None:
    assert pieces(text, draft) == steps


def test_steps_are_on_lines_between_and_past_what_was_measured() -> None:
    assert [time_of(rows, STEP_MS) for rows in (1, 3, 6, 10)] == [1.0, 2.0, 3.5, 5.5]


def test_a_batch_takes_a_step_a_token_and_loses_rows_that_have_ended() -> None:
    assert plain_ms([(1, 2), (1,)], STEP_MS) == 1.5 + 1.5 + 1.0


def test_equal_neighbours_cost_the_ends_and_a_check_a_level() -> None:
    walk = [(1, 2, 3)] * 3
    assert drafted_ms(walk, STEP_MS) == plain_ms(walk[:2], STEP_MS) + time_of(3, STEP_MS) + time_of(1, STEP_MS)
