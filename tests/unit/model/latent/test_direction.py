"""Directions as a request names them."""

from typing import Any

import pytest

from adavae.model.errors import ConfigError
from adavae.model.latent.direction import BetweenLabels, BetweenTexts, Dimension, direction_of


def test_the_three_forms_of_a_direction() -> None:
    assert direction_of({"dimension": 3}) == Dimension(3)
    assert direction_of({"from": "bad", "to": "good"}) == BetweenLabels("bad", "good")
    assert direction_of({"from": ["a"], "to": ("b", "c")}) == BetweenTexts(("a",), ("b", "c"))


@pytest.mark.parametrize("end", ["from", "to"])
def test_an_empty_list_of_texts_is_refused_by_its_name(end: str) -> None:
    """Its mean was NaN, and the error about z far from the prior."""
    with pytest.raises(ConfigError, match=rf"direction.{end} is \[\]: must have at least 1 text"):
        direction_of({"from": ["a"], "to": ["a"], end: []})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dimension": -1},
        {"dimension": "3"},
        {"dimension": 1, "from": "bad", "to": "good"},
        {"from": "bad"},
        {"from": "bad", "to": ["good"]},
        {"from": [1], "to": [2]},
        {"form": "bad", "to": "good"},
    ],
)
def test_what_is_none_of_them_is_refused(options: Any) -> None:
    with pytest.raises(ConfigError, match=r"direction is .*: must be"):
        direction_of(options)
