"""Tables 4 and 5: the paper's inputs through a set, and the paper's sentences beside the answers."""

import pytest

from adavae.model.decoding.decoding import Decoding
from adavae.model.training.reproduction import examples
from tests import tiny_text
from tests.tiny_text import NAMED, tiny_text_model

DECODING = Decoding(max_tokens=5)
MEASURED = {"latent_space": {"walks": {"distinct": 9.5}, "analogies": {"moved": 0.75, "moved_worst": 0.5}}}


@pytest.fixture(autouse=True)
def _room_for_the_papers_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny tokenizer makes many tokens of them."""
    monkeypatch.setattr(tiny_text, "N_POSITIONS", 160)


def test_every_input_of_table_4_has_the_answer_of_the_same_request() -> None:
    model = tiny_text_model({"plain": NAMED["plain"]})
    records = examples.analogies(model, "plain", DECODING)
    assert [each["input"] for each in records] == list(examples.ANALOGIES)
    asked = model.analogy(examples.SOURCE, examples.TARGET, records[2]["input"], "plain", DECODING)
    assert records[2]["output"] == asked[0].text and records[2]["paper_output"].startswith("the food was absolutely")
    page = examples.markdown(records, examples.measured("table4", MEASURED))
    assert f"B: {examples.TARGET}" in page
    assert page.endswith("On many texts: analogies: moved 0.75 (worst: 0.5).\n")


def test_table_5_walks_between_the_papers_ends() -> None:
    model = tiny_text_model({"plain": NAMED["plain"]})
    records = examples.walk(model, "plain", DECODING)
    assert [each["tau"] for each in records] == pytest.approx([number / 10 for number in range(11)])
    asked = model.interpolate(examples.WALK[0], examples.WALK[-1], 11, "plain", DECODING)
    assert [each["output"] for each in records] == [step.decoded.text for step in asked]
    assert records[-1]["paper_output"] == "very special place and highly recommended ."
    assert examples.measured("table5", MEASURED) == {"walks: different sentences": "9.5"}
    assert "On many texts" not in examples.markdown(records, examples.measured("table5", {}))
