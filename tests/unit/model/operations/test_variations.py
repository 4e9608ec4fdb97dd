"""Variations over a decoder that is a rule: how many rows are asked for, and when."""

import numpy as np
import pytest
import torch

from adavae.model.decoding.decoding import Decoding
from adavae.model.latent import defaults
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.latent.space import LatentSpace
from adavae.model.latent.steering import USUAL
from adavae.model.operations.moves import variations
from adavae.model.operations.steps import ROWS_AT_ONCE, Compute, Decode, Encode
from adavae.model.results import DecodedText

SPACE = LatentSpace("set@1", (), FittedPrior((0.0, 0.0), (0.5, 0.5)))


def found(num_texts: int, num: int, grain: float) -> tuple[list[list[str]], list[int]]:
    """The variations of each text, and how many rows each step had decoded."""
    return found_of([f"text {number}" for number in range(num_texts)], num, grain)


def found_of(texts: list[str], num: int, grain: float, stem: str = "") -> tuple[list[list[str]], list[int]]:
    """The same of these texts, where what is written begins with ``stem``."""
    plan = variations(
        SPACE, texts, num=num, distance=None, decoding=Decoding(), steering=USUAL, params=["texts"] * len(texts)
    )
    answer: object = None
    sizes: list[int] = []
    while True:
        try:
            step = plan.send(answer)
        except StopIteration as end:
            return [[row.text for row in rows] for rows in end.value], sizes
        match step:
            case Encode(given, _):
                answer = torch.arange(len(given)).float().unsqueeze(1).expand(-1, 2)
            case Decode(z, decodings):
                assert len(z) == len(decodings)
                sizes.append(len(z))
                names = [f"{stem}{round(float(x[0]) / grain)}" for x in z]
                answer = [
                    DecodedText(name, 1, "stop", np.asarray(x, np.float32)) for name, x in zip(names, z, strict=True)
                ]
            case Compute(run):
                answer = run()


def test_each_variation_is_looked_for_at_as_many_points_as_the_limits_count() -> None:
    rows, sizes = found(3, 5, grain=1e-6)
    assert [len(near) for near in rows] == [5, 5, 5]
    assert sizes == [3 * 5 * defaults.VARIATION_TRIES]


@pytest.mark.parametrize("grain", [1e-6, 0.05])
def test_however_many_variations_there_are_few_rows_are_asked_for_at_a_time(grain: float) -> None:
    """32 texts with 64 variations each passed as 2,048 rows, and put 4,096 into the queue at once."""
    rows, sizes = found(32, 64, grain)
    assert max(sizes) == ROWS_AT_ONCE
    assert sum(sizes) >= 32 * 64 * defaults.VARIATION_TRIES
    assert rows[0] == found(1, 64, grain)[0][0]


def test_a_text_is_none_of_its_variations_however_its_letters_are_put_together() -> None:
    """As macOS writes names of files; the text that was written differed from it by its characters alone."""
    assert any("caf\u00e9 0" in rows for rows in found_of(["another"], 9, 0.5, "caf\u00e9 ")[0])
    assert "caf\u00e9 0" not in found_of(["Cafe\u0301 0"], 9, 0.5, "caf\u00e9 ")[0][0]
