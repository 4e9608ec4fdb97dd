"""Tables 4 and 5, the paper's sentences beside a set's answers; and the page of all that was run."""

from dataclasses import replace

import pytest

from adavae.model.decoding.decoding import Decoding
from adavae.model.training.reproduction import examples
from adavae.model.training.reproduction.claims import CLAIMS
from adavae.model.training.reproduction.page import page
from tests import tiny_text
from tests.tiny_text import NAMED, tiny_text_model
from tests.unit.model.training.reproduction.tiny_reproduction import a_cell

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


def test_the_page_has_every_claim_and_what_was_run_with_its_command() -> None:
    cells = [
        a_cell(
            "table2",
            "AdaVAE 0.05",
            mi=1.0,
            ppl_word=9.0,
            ppl_token=5.0,
            neg_elbo=30.0,
            au=4,
            kl=2.0,
            num_texts=9,
            reconstruction=28.0,
            reconstruction_began=40.0,
        ),
        a_cell("table1", "LSTM-LM", scale="smoke", mi=1.0),
    ]
    cells[0] = replace(cells[0], figures_cut={"ppl_word": 8.0, "num_cut": 1})
    cells.append(replace(cells[0], row="C. A.", procedures=cells[0].procedures - 1))
    text = page(cells, {"table4": "Analogies of ours.\n"})
    assert all(f"| {claim.text} | **not run yet** |" in text for claim in CLAIMS)
    assert "adavae reproduce table2 --data DATA --scale cpu --dataset yelp --row 'AdaVAE 0.05'\n" in text
    assert "| AdaVAE 0.05 | 9.0 (31.2) | 8.0 | 30.0 (115.7) |" in text
    assert "| 40.0 → 28.0 |" in text and "Cells: 1, " in text  # one of former procedures is left out
    assert "yelp, `M. A.`, `C. A.`" in text and "ptb, all rows" in text
    assert (
        "| LSTM-LM" not in text and "Not run yet:\n\n```sh\nadavae reproduce table1 --data DATA --scale cpu\n" in text
    )
    assert "Analogies of ours." in text


def test_the_page_names_rows_and_seeds_that_are_missing() -> None:
    cells = [
        a_cell("figure1", f"AdaVAE PE, {labels} labels", seed, accuracy=0.5, commonest=0.5, num_labels=9, num_texts=9)
        for labels, seed in ((10, 0), (10, 1), (100, 0))
    ]
    text = page(cells, {})
    assert "and seed 1 of `AdaVAE PE, 100 labels`" in text
    assert "AdaVAE PE, 10 labels" not in text[text.index("Not run yet: yelp") :]
    assert "`BERT FT, 10 labels`, " in text
