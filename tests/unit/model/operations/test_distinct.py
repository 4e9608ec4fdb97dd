"""Walks whose sentences differ, over a decoder that is a rule: the rounded first coordinate."""

from contextlib import suppress

import numpy as np
import torch

from adavae.model.decoding.decoding import Decoding
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.latent.space import LatentSpace
from adavae.model.operations.distinct import told_apart
from adavae.model.operations.steps import ROWS_AT_ONCE, Decode, EncodeWritten, Plan
from adavae.model.results import DecodedText

SPACE = LatentSpace("set@1", (), FittedPrior((0.0, 0.0), (0.5, 0.5)))


def text_at(z: torch.Tensor, grain: float) -> str:
    return str(round(float(z[0]) / grain))


def row(z: torch.Tensor, grain: float) -> DecodedText:
    return DecodedText(text_at(z, grain), 1, "stop", np.asarray(z, np.float32))


def carried_out(plan: Plan[list[DecodedText]], grain: float) -> tuple[list[str], int]:
    """The texts, and how many were decoded on the way."""
    answer: object = None
    tried = 0
    while True:
        try:
            step = plan.send(answer)
        except StopIteration as end:
            return [each.text for each in end.value], tried
        if isinstance(step, Decode):
            answer = [row(z, grain) for z in step.z]
            tried += len(step.z)
        else:
            assert isinstance(step, EncodeWritten)
            answer = torch.tensor([[float(text) * grain, 0.0] for text in step.texts])


def walk(points: int, length: float) -> torch.Tensor:
    return torch.stack([torch.linspace(0.0, length, points), torch.zeros(points)], dim=1)


def told(z: torch.Tensor, grain: float, steps: int) -> tuple[list[str], int]:
    rows = [row(each, grain) for each in z]
    return carried_out(told_apart(SPACE, z, rows, Decoding(), steps), grain)


def test_points_that_repeat_get_another_text_and_ends_stay() -> None:
    z = walk(7, 2.0)
    before = [text_at(each, 0.6) for each in z]
    after, tried = told(z, 0.6, 7)
    assert len(set(before)) < len(set(after))
    assert (after[0], after[-1]) == (before[0], before[-1])
    assert tried > 0


def test_a_walk_without_repeats_costs_nothing() -> None:
    z = walk(5, 4.0)
    after, tried = told(z, 0.5, 5)
    assert after == [text_at(each, 0.5) for each in z]
    assert tried == 0


def test_a_decoder_that_says_one_thing_only_keeps_saying_it() -> None:
    after, _ = told(walk(5, 0.1), 1000.0, 5)
    assert after == ["0"] * 5


def test_walks_beside_each_other_are_told_apart_as_each_alone() -> None:
    one, other = walk(5, 1.0), walk(5, 1.0) + 3.0
    together, _ = told(torch.cat([one, other]), 0.6, 5)
    assert together == told(one, 0.6, 5)[0] + told(other, 0.6, 5)[0]


def test_however_many_walks_there_are_few_rows_are_asked_for_at_a_time() -> None:
    walks = [walk(5, 1.0) + number for number in range(60)]
    z = torch.cat(walks)
    plan = told_apart(SPACE, z, [row(each, 0.6) for each in z], Decoding(), 5)
    sizes: list[int] = []
    answer: object = None
    with suppress(StopIteration):
        while True:
            step = plan.send(answer)
            if isinstance(step, Decode):
                answer = [row(each, 0.6) for each in step.z]
                sizes.append(len(step.z))
            else:
                assert isinstance(step, EncodeWritten)
                answer = torch.tensor([[float(text) * 0.6, 0.0] for text in step.texts])
                sizes.append(len(step.texts))
    assert len(sizes) > 4
    assert max(sizes) == ROWS_AT_ONCE
    alone = [text for each in walks for text in told(each, 0.6, 5)[0]]
    assert told(z, 0.6, 5)[0] == alone


def test_two_points_have_no_inside() -> None:
    assert told(walk(2, 0.0), 1.0, 2) == (["0", "0"], 0)
