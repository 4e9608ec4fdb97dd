"""The page: which cells it is made of, and what it says is missing."""

import json
from dataclasses import replace
from pathlib import Path

from adavae.model.training.reproduction.grid import Cell
from adavae.model.training.reproduction.page import page
from adavae.model.training.reproduction.tables import procedures_of
from tests.unit.model.training.reproduction.tiny_reproduction import a_cell

_FIGURES = {"ppl_word": 9.0, "ppl_token": 8.0, "neg_elbo": 30.0, "mi": 2.0, "au": 3, "kl": 2.0, "num_texts": 1000}
_FIGURES |= {"reconstruction": 20.0, "reconstruction_began": 40.0}


def of_table1(row: str, ppl: float = 9.0) -> Cell:
    cell = a_cell("table1", row, **_FIGURES | {"ppl_word": ppl})
    return replace(cell, figures_cut={"ppl_word": ppl, "num_cut": 0})


def test_cells_of_a_rows_former_procedures_are_left_out() -> None:
    now = procedures_of("table1")
    current, former = of_table1("AdaVAE", 1234.5), replace(of_table1("w/ LG", 4321.5), procedures=now["w/ LG"] - 1)
    text = page([current, former], {})
    assert "1,234.5" in text and "4,321.5" not in text
    assert "Not run yet: yelp, `w/ Fine-tuning`, `w/ LG`," in text


def test_a_cell_of_a_row_that_is_no_more_is_left_out() -> None:
    assert "1,234.5" not in page([of_table1("w/ Something", 1234.5)], {})


def test_rows_stand_as_in_the_paper_in_whatever_order_they_were_run() -> None:
    rows = list(procedures_of("table1"))
    text = page([of_table1(row) for row in reversed(rows)], {})
    assert [line.split("|")[1].strip() for line in text.splitlines() if "| 9.0" in line] == rows


def test_finished_cells_of_rows_that_are_as_they_were_stay() -> None:
    paper = Path(__file__).parents[4] / "bench" / "paper"
    for table in ("table1", "table2"):
        cells = [json.loads(line) for line in (paper / f"{table}.jsonl").read_text("utf-8").splitlines()]
        now = procedures_of(table)
        kept = {cell["row"] for cell in cells if cell["procedures"] == now[cell["row"]]}
        assert {"AdaVAE", "w/ LG"} <= kept if table == "table1" else {"AdaVAE 0.50", "M. A.", "C. A."} <= kept


def test_cells_of_other_files_of_one_name_are_not_averaged_but_left_out_and_told() -> None:
    """After a change of the data old and new cells were one row's mean."""
    old = replace(of_table1("AdaVAE", 4321.5), files="old")
    text = page([old, replace(of_table1("w/ LG", 1111.5), files="old"), of_table1("AdaVAE", 1234.5)], {})
    assert "1,234.5" in text and "4,321.5" not in text and "1,111.5" not in text
    assert "yelp had other files before: 2 cells of those are left out." in text
    assert "had other files" not in page([of_table1("AdaVAE")], {})


def test_the_numbers_that_cells_were_run_in_are_told_cell_by_cell() -> None:
    """The footer said "in float32" of all cells, where most did not say: they might have been run in bfloat16."""
    bfloat16, silent = replace(of_table1("AdaVAE"), precision="bfloat16"), of_table1("w/ LG")
    assert "PyTorch 2, precision bfloat16 (1 cells), not recorded (1 cells), backbone b." in page(
        [bfloat16, silent], {}
    )
    float32 = replace(silent, precision="float32")
    assert "PyTorch 2, precision bfloat16 (1 cells), float32 (1 cells), backbone b." in page([bfloat16, float32], {})
    assert "PyTorch 2, precision float32, backbone b." in page([float32], {})
    assert "PyTorch 2, precision not recorded, backbone b." in page([silent], {})


def test_what_the_paper_does_not_claim_stands_by_itself() -> None:
    """That a latent lowers the perplexity of adapters was counted among the paper's claims, which has no such row."""
    text = page([of_table1("AdaVAE")], {})
    of_paper, _, ours = text.partition("not claimed by the paper")
    assert "a latent lowers the perplexity of adapters" in ours
    assert "a latent lowers" not in of_paper and "26 claims: " in of_paper


def test_cells_of_different_checkpoints_are_neither_averaged_nor_mixed() -> None:
    accuracies = {"": 0.5, "someone/bert@1": 0.6, "tiny@sha256:2": 0.7}
    figures = {"commonest": 0.5, "num_labels": 60, "num_texts": 1000}
    cells = [
        replace(a_cell("table3", row, accuracy=accuracy, **figures), checkpoint=checkpoint)
        for checkpoint, accuracy in accuracies.items()
        for row in ("BERT, features", "BERT, sigma 128")
    ]
    cells.append(a_cell("table3", "AdaVAE, sigma 128", accuracy=0.4, **figures))
    text = page(cells, {})
    assert [line.split("|")[2].split()[0] for line in text.splitlines() if line.startswith("| BERT, sigma 128 |")] == [
        "0.500",
        "0.600",
        "0.700",
    ]
    rows = "--row 'BERT, features' --row 'BERT, sigma 128' --seeds 1"
    command = f"adavae reproduce table3 --data DATA --scale cpu --dataset yelp {rows}"
    assert f"\n{command} --bert someone/bert@1\n" in text and f"\n{command} --bert tiny\n" in text
    assert text.count("Not run yet: wnli") == 1
