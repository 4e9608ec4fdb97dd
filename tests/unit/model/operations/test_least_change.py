"""Changes of label no longer than they have to be, over a decoder that writes the first coordinate down."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from adavae.model.decoding.decoding import Decoding
from adavae.model.latent import defaults
from adavae.model.latent.directions import change
from adavae.model.latent.steering import USUAL, Steering
from adavae.model.operations.least_change import _nearest_across
from adavae.model.operations.moves import analogy
from adavae.model.operations.steps import ROWS_AT_ONCE, Compute, Decode, Encode, EncodeWritten, Plan, Score
from adavae.model.results import DecodedText
from tests.unit.model.latent.test_label_analogy import NO, SPACE, YES

STUCK = -5.0
"""From here to the left the decoder still writes the old label, however far z goes."""


def decode(z: torch.Tensor, start: float) -> str:
    return f"{float(z[0]):.3f} {start:g}" if start > STUCK else f"{start:.3f} {start:g}"


def encode(text: str) -> list[float]:
    return [float(text.split()[0]), 0.0, 0.0, 0.0]


def carried_out(
    plan: Plan[list[DecodedText]], starts: Sequence[float], rows_of_one: int
) -> tuple[list[DecodedText], int]:
    """The rows, and how many were decoded; ``starts`` are the first coordinates of the texts to change."""
    answer: object = None
    num_decoded = 0
    while True:
        try:
            step = plan.send(answer)
        except StopIteration as end:
            rows: list[DecodedText] = end.value
            return rows, num_decoded
        match step:
            case Encode(texts, _):
                answer = torch.stack([NO, YES, *(torch.tensor([start, 0.0, 0.0, 0.0]) for start in starts)])
                assert len(texts) == 2 + len(starts)
            case Decode(z, decodings):
                assert len(z) == len(decodings) <= ROWS_AT_ONCE
                written = [
                    decode(vector, starts[row // rows_of_one]) for row, vector in enumerate(z, start=num_decoded)
                ]
                answer = [
                    DecodedText(text, 1, "stop", np.asarray(vector, np.float32))
                    for text, vector in zip(written, z, strict=True)
                ]
                num_decoded += len(z)
            case EncodeWritten(texts):
                assert len(texts) <= ROWS_AT_ONCE
                answer = torch.tensor([encode(text) for text in texts])
            case Score(texts):
                answer = torch.zeros(len(texts))
            case Compute(run):
                answer = run()


def changed(
    starts: Sequence[float], *, scale: float | None = None, steering: Steering = USUAL, num_decodings: int = 1
) -> tuple[list[DecodedText], int]:
    decodings = [Decoding(seed=seed) for seed in range(num_decodings)]
    plan = analogy(SPACE, "a", "b", ["c"] * len(starts), scale=scale, decodings=decodings, steering=steering)
    is_plain = scale is not None or steering != USUAL
    points = 1 if is_plain else len(defaults.LABEL_GAINS) * defaults.LABEL_ALTERNATIVES
    return carried_out(plan, starts, num_decodings * points)


def gain_of(row: DecodedText, start: float) -> float:
    """How far a row went, in gains."""
    return (float(row.z[0]) - start) / float(change(SPACE, NO, YES, 1.0).by(1.0)[0])


def test_each_text_goes_as_far_as_its_label_needs() -> None:
    starts = [-0.9, -4.0]
    rows, _ = changed(starts)
    near, far = (gain_of(row, start) for row, start in zip(rows, starts, strict=True))
    assert near == pytest.approx(defaults.LABEL_GAINS[0], abs=0.2)
    assert near + 0.3 < far
    assert all(float(row.text.split()[0]) > 0 for row in rows)


def test_of_what_is_across_the_nearest_beside_the_label_is_taken() -> None:
    side = torch.tensor([[0.1, 0.5, 0.4], [0.1, -0.5, 0.0]])
    distance = torch.tensor([[0.0, 2.0, 1.0], [9.0, 1.0, 2.0]])
    assert _nearest_across(side, distance) == [2, 0]


def test_a_text_that_never_crosses_gets_an_answer_all_the_same() -> None:
    rows, _ = changed([STUCK - 1.0])
    assert rows[0].text.startswith(f"{STUCK - 1.0:.3f}")


def test_texts_beside_each_other_are_changed_as_each_alone() -> None:
    together, _ = changed([-0.9, -4.0, -1.2])
    alone = [changed([start])[0][0].text for start in (-0.9, -4.0, -1.2)]
    assert [row.text for row in together] == alone


def test_many_texts_are_changed_a_few_at_a_time_as_each_alone() -> None:
    starts = [-0.9 - 0.02 * number for number in range(100)]
    assert [row.text for row in changed(starts)[0]] == [changed([start])[0][0].text for start in starts]


def test_every_decoding_gets_its_answer_in_order() -> None:
    rows, num_decoded = changed([-0.9, -4.0], num_decodings=3)
    assert [row.text for row in rows] == [row.text for row in changed([-0.9, -4.0])[0] for _ in range(3)]
    assert num_decoded == 2 * 3 * len(defaults.LABEL_GAINS) * defaults.LABEL_ALTERNATIVES


def test_one_text_with_many_decodings_is_changed_a_few_rows_at_a_time() -> None:
    """64 answers for one text put 512 rows into the queue at once, whatever it had promised."""
    rows, num_decoded = changed([-0.9, -4.0], num_decodings=64)
    assert [row.text for row in rows] == [row.text for row in changed([-0.9, -4.0])[0] for _ in range(64)]
    assert num_decoded == 2 * 64 * len(defaults.LABEL_GAINS) * defaults.LABEL_ALTERNATIVES


@pytest.mark.parametrize("asked", [{"scale": 1.01}, {"steering": Steering(candidates=1)}])
def test_who_says_how_far_gets_just_that(asked: dict[str, object]) -> None:
    rows, num_decoded = changed([-0.9], **asked)  # type: ignore[arg-type]
    assert num_decoded == 1
    assert gain_of(rows[0], -0.9) == pytest.approx(defaults.LABEL_GAIN, abs=0.03)


def test_a_plain_difference_is_added_as_it_is() -> None:
    rows, num_decoded = changed([-0.9], steering=Steering(focus=0.0))
    assert num_decoded == 1
    assert float(rows[0].z[0]) == pytest.approx(-0.9 + float(YES[0] - NO[0]), abs=1e-5)


def test_empty_texts_are_never_preferred() -> None:
    """Where everything decodes to nothing there is still one answer a text."""
    plan = analogy(SPACE, "a", "b", "c", scale=None, decodings=[Decoding()], steering=USUAL)
    next(plan)
    step = plan.send(torch.stack([NO, YES, NO]))
    while isinstance(step, Compute):
        step = plan.send(step.run())
    assert isinstance(step, Decode)
    with pytest.raises(StopIteration) as end:
        plan.send([DecodedText("", 0, "stop", np.asarray(z, np.float32)) for z in step.z])
    assert [row.text for row in end.value.value] == [""]
