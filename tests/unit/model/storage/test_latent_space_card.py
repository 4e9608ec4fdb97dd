"""A card's part on the latent space: figures beside what they are measured against, and samples as they are."""

import re
from typing import Any

import pytest

from adavae.model.storage.latent_space_card import figure_rows, sample_blocks
from adavae.model.training.corpus import Dataset
from adavae.model.training.latent_cases import LatentSpaceConfig
from adavae.model.training.latent_space import measure_latent_space
from adavae.model.training.paraphrases import Paraphrases
from tests.scripted_operations import ScriptedOperations
from tests.tiny_text import reviews
from tests.unit.model.storage.test_model_card import METRICS, card, rows_of

CONFIG = LatentSpaceConfig(num_walks=4, num_draws=30, num_pairs=4, num_sentences=3, num_texts=30, seed=7)


@pytest.fixture(scope="module")
def space() -> dict[str, Any]:
    place = lambda text: [float(len(text)), float(text.count("a")), float(sum(map(ord, text)) % 97)]  # noqa: E731
    operations = ScriptedOperations(place=place, drawn=reviews(40, seed=9).texts)
    spaced = reviews(120, seed=2)
    held_out = Dataset.of([text.replace(" .", ".") for text in spaced.texts], spaced.labels, "held-out")
    paraphrases = Paraphrases(["a bad meal", "so kind"], ["an awful meal", "so kind, so far"], [True, False])
    return measure_latent_space(operations, held_out, reviews(300, seed=1), CONFIG, paraphrases=paraphrases)


def test_every_row_finds_its_figure(space: dict[str, Any]) -> None:
    """A renamed figure would vanish from the card without a word."""
    from adavae.model.storage.latent_space_card import _ROWS

    rows = figure_rows(space)
    assert list(rows) == [title for title, _, _ in _ROWS]
    assert [text.endswith(")") for text in rows.values()] == [bool(path) for _, _, path in _ROWS]


def test_figures_stand_beside_the_worst_and_the_real(space: dict[str, Any]) -> None:
    rows = rows_of(card(metrics={**METRICS, "latent_space": space}))
    walks, draws = space["walks"], space["draws"]
    assert rows["walks: different sentences"] == f"{walks['distinct']:.4g} (worst: {walks['distinct_worst']:.4g})"
    real = draws["real_perplexity"]
    assert rows["draws: forward perplexity"] == f"{draws['fluency']['perplexity']:.4g} (real: {real:.4g})"
    assert rows["draws: told apart from real texts"].endswith("(real: 0.5)")


def test_samples_stand_there_as_they_were_drawn(space: dict[str, Any]) -> None:
    text = card(metrics={**METRICS, "latent_space": space})
    assert "with seed 7" in text
    blocks = re.findall(r"```text\n(.*?)\n```", text, re.DOTALL)
    assert blocks[0].splitlines() == space["samples"]["draws"][:20]
    assert blocks[1].splitlines() == space["samples"]["walks"][0]
    a, b, c, output = space["samples"]["analogies"]["no -> yes"][0]
    assert blocks[2].splitlines()[:4] == [f"a: {a}", f"b: {b}", f"c: {c}", f"d: {output}"]


def test_what_was_not_measured_has_no_section() -> None:
    text = card()
    assert "latent space writes" not in text
    assert "## Samples" not in text
    assert figure_rows({"walks": {"distinct": 5.0}}) == {"walks: different sentences": "5"}
    assert sample_blocks({}) == ""


@pytest.mark.parametrize("wild", ["```", "a\n```\n# x", "``` ```", "\r\n", ""])
def test_wild_texts_end_no_block(wild: str) -> None:
    blocks = sample_blocks({"samples": {"draws": [wild, "after"], "walks": [[wild, wild]]}})
    assert blocks.count("```") == 4
    assert len(re.findall(r"^```", blocks, re.MULTILINE)) == 4
    assert "after" in blocks
