"""Schedules at their edges, exactly."""

from typing import Literal

import pytest

from adavae.model.training.schedule import Stage, beta_at, learning_rate_at, stage_at

Kind = Literal["cosine", "linear", "constant"]


@pytest.mark.parametrize("cycle", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("step", "beta"), [(0, 0.0), (24, 0.0), (25, 0.0), (30, 0.2), (49, 0.96), (50, 1.0), (75, 1.0), (99, 1.0)]
)
def test_each_beta_cycle_is_zero_then_rises_then_stays(cycle: int, step: int, beta: float) -> None:
    assert beta_at(100 * cycle + step, 400) == pytest.approx(beta, abs=1e-12)


def test_beta_is_exact_at_the_edges_of_a_cycle() -> None:
    assert [beta_at(step, 400) for step in (0, 24, 50, 99, 100, 399, 400, 1000)] == [0, 0, 1, 1, 0, 1, 1, 1]


def test_beta_scales_with_its_maximum() -> None:
    assert beta_at(30, 400, maximum=0.05) == pytest.approx(0.01)
    assert beta_at(60, 400, maximum=0.05) == 0.05


def test_beta_of_a_run_whose_cycles_have_no_whole_steps_covers_every_cycle() -> None:
    betas = [beta_at(step, 10, cycles=4) for step in range(10)]
    assert betas == pytest.approx([0.0, 0.6, 1.0, 0.0, 1.0, 0.0, 0.6, 1.0, 0.0, 1.0])


def test_shares_of_zero_are_the_constant_schedule() -> None:
    assert {beta_at(step, 40, zero_share=0.0, rise_share=0.0, maximum=0.3) for step in range(41)} == {0.3}


def test_a_rise_of_no_length_is_a_step() -> None:
    assert [beta_at(step, 4, cycles=1, zero_share=0.5, rise_share=0.0) for step in range(4)] == [0, 0, 1, 1]


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_the_warm_up_begins_above_zero_and_ends_at_the_peak(kind: Kind) -> None:
    rates = [learning_rate_at(step, 100, peak=0.5, warmup=4, kind=kind) for step in range(5)]
    assert rates == [0.125, 0.25, 0.375, 0.5, 0.5]


@pytest.mark.parametrize(
    ("kind", "middle", "last"), [("cosine", 0.55, 0.1), ("linear", 0.775, 0.1), ("constant", 1.0, 1.0)]
)
def test_the_decay_is_exact_in_the_middle_and_at_the_last_step(kind: Kind, middle: float, last: float) -> None:
    rates = [
        learning_rate_at(step, 111, peak=1.0, warmup=10, kind=kind, final_share=0.1) for step in (10, 60, 110, 500)
    ]
    assert rates == pytest.approx([1.0, middle, last, last])


def test_linear_stays_at_the_peak_for_a_third_of_the_run() -> None:
    rates = [learning_rate_at(step, 91, peak=1.0, warmup=0, kind="linear", final_share=0.0) for step in (0, 30, 31, 60)]
    assert rates == pytest.approx([1.0, 1.0, 1.0 - 1 / 60, 0.5])


def test_a_warm_up_longer_than_the_run_only_rises() -> None:
    rates = [learning_rate_at(step, 2, peak=1.0, warmup=4, kind="linear") for step in range(4)]
    assert rates == [0.25, 0.5, 0.75, 1.0]


def test_the_first_sixth_trains_the_latent_parts_alone() -> None:
    stages = [stage_at(step, 66) for step in range(66)]
    assert stages == [Stage.LATENT_FIRST] * 11 + [Stage.ALL] * 55


def test_a_share_of_zero_has_no_first_stage() -> None:
    assert stage_at(0, 100, 0.0) is Stage.ALL
