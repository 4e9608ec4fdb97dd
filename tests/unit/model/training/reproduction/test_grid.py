"""The grid: cells once each, a kill in between, what stands in the file, and what is made of it."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from adavae.model.errors import CellFailed, ConfigError, DatasetError
from adavae.model.training.reproduction import bigram_row, table2, table3, untrained_row
from adavae.model.training.reproduction import grid as module
from adavae.model.training.reproduction.bound_table import markdown, records
from adavae.model.training.reproduction.checkpoint import Checkpoint
from adavae.model.training.reproduction.corpus import Splits
from adavae.model.training.reproduction.data_folder import digest_of
from adavae.model.training.reproduction.grid import Cell, Grid, append, begin, finished_cells, run_grid, unusable
from adavae.model.training.reproduction.paper_figures import TABLE_1, TABLE_2
from adavae.model.training.reproduction.rows import Given, OnStep, Outcome, Row, TableRow
from adavae.model.training.reproduction.scale import Scale, ScaleName
from tests.tiny_text import as_tsv, reviews, tiny_pretrained
from tests.unit.model.training.reproduction.tiny_reproduction import CPU, SCALE, write_folder

NAMES = ("LSTM-LM", "GPT-2, adapters", "C. A.")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.SCALES, ScaleName.SMOKE, SCALE)


def grid_of(directory: Path, names: Sequence[str] = NAMES) -> Grid:
    folder = directory / "data" / "yelp"
    if not folder.is_dir():
        folder.parent.mkdir()
        write_folder(folder.parent)
    by_name = {row.name: row for row in table2.rows()}
    rows = [by_name[name] for name in names]
    return Grid("table2", rows, [folder], ScaleName.SMOKE, (0,), directory / "output")


def run(grid: Grid) -> tuple[list[Cell], list[str]]:
    begun: list[str] = []

    def on_cell(name: str, number: int, total: int) -> Any:
        begun.append(f"{number}/{total} {name}")
        return lambda *_: None

    return list(run_grid(grid, tiny_pretrained(), CPU, on_cell)), begun


def test_every_cell_is_run_once(tmp_path: Path) -> None:
    cells, begun = run(grid_of(tmp_path))
    assert begun == ["1/3 yelp: LSTM-LM", "2/3 yelp: GPT-2, adapters", "3/3 yelp: C. A."]
    assert [cell.row for cell in cells] == list(NAMES)
    assert {cell.precision for cell in cells} <= {"bfloat16", "float32"}
    again, begun_again = run(grid_of(tmp_path))
    assert begun_again == [] and again == cells


def test_after_a_kill_it_goes_on_at_the_cell_it_was_in(tmp_path: Path) -> None:
    grid = grid_of(tmp_path)

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    broken = Grid(
        "table2", [grid.rows[0], Row(NAMES[1], killed), grid.rows[2]], grid.folders, grid.scale, (0,), grid.output
    )
    with pytest.raises(KeyboardInterrupt):
        run(broken)
    with grid.file.open("a", encoding="utf-8") as file:
        file.write('{"table": "table2", "row": "GPT')  # the line that the kill cut off
    cells, begun = run(grid)
    assert begun == ["2/3 yelp: GPT-2, adapters", "3/3 yelp: C. A."]
    assert [Cell.from_line(line) for line in grid.file.read_text().splitlines()] == cells


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    grid = grid_of(tmp_path)
    grid.output.mkdir()
    grid.file.write_text('{"loss": 1}\n{"loss": 2}\n')
    with pytest.raises(ConfigError, match="line 1 is no cell"):
        run(grid)


def test_a_folder_without_training_texts_is_named(tmp_path: Path) -> None:
    grid = grid_of(tmp_path)
    (tmp_path / "data" / "yelp" / "train.tsv").unlink()
    with pytest.raises(CellFailed, match=r"3 of 3 cells could not be run: yelp: .*yelp: has no train"):
        run(grid)


def test_the_paper_stands_beside_ours(tmp_path: Path) -> None:
    cells, _ = run(grid_of(tmp_path))
    by_row = {each["row"]: each for each in records(cells)}
    assert by_row["LSTM-LM"]["paper_ppl"] == 42.60 and by_row["LSTM-LM"]["mi"] is None
    assert by_row["C. A."]["paper_mi"] is None
    lines = markdown(cells).splitlines()
    assert lines[0] == "**yelp**"
    ours = by_row["LSTM-LM"]["ppl"]
    assert any(line.startswith(f"| LSTM-LM | {ours:,.1f} (42.6) |") for line in lines)
    json.dumps(records(cells))


def test_every_row_of_the_tables_has_its_line_in_the_paper() -> None:
    ours = {"GPT-2, adapters", "T5 VAE, adapters", untrained_row.NAME, bigram_row.NAME}
    names = {row.name for row in table2.rows() if row.name not in ours and "(" not in row.name}
    assert all(set(rows) == names for rows in TABLE_2.values())
    assert all(len(rows) == 8 for rows in TABLE_1.values())


def test_other_texts_of_one_name_and_other_procedures_are_other_cells(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, NAMES[:1])
    first, began = run(grid)
    assert (len(first), len(began)) == (1, 1)
    (grid.folders[0] / "test.tsv").write_text(as_tsv(reviews(12, 9)), encoding="utf-8")
    assert len(run(grid)[1]) == 1
    assert len(run(grid)[1]) == 0
    raised = replace(grid, rows=[replace(grid.rows[0], procedures=9)])
    assert len(run(raised)[1]) == 1
    assert len(grid.file.read_text(encoding="utf-8").splitlines()) == 3


def test_a_row_that_is_trained_in_another_way_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    """One number for all tables had every cell of them run again."""
    grid = grid_of(tmp_path, NAMES[:2])
    run(grid)
    raised = replace(grid, rows=[grid.rows[0], replace(grid.rows[1], procedures=grid.rows[1].procedures + 1)])
    assert run(raised)[1] == ["2/2 yelp: GPT-2, adapters"]


@dataclass(frozen=True)
class Told:
    """A row whose figure is given, or whose fault."""

    name: str
    figure: float = 1.0
    procedures: int = 2
    shared: str = ""
    checkpoint: Checkpoint | None = None

    def has_texts(self, _: Path) -> bool:
        return True

    def check(self, folder: Path, scale: Scale, seed: int) -> None:
        Splits.read(folder, scale, seed)

    def run(self, given: Given) -> Outcome:
        if self.name == "lacks":
            raise ConfigError("system", self.name, "needs a library")
        texts = given.data.corpus.test.texts
        if self.name == "edits":
            (given.data.folder / "test.tsv").write_text(as_tsv(reviews(12, 9)), encoding="utf-8")
        return Outcome(
            figures={"ppl_word": 3.0, "first": texts[0]},
            figures_cut={"ppl_word": self.figure},
            trained_parameters=1,
            share_percent=None,
            weights="none",
            texts="t",
        )


def test_a_row_of_another_checkpoint_is_another_cell_and_says_what_makes_it(tmp_path: Path) -> None:
    folder = tmp_path / "bert"
    rows = [Told("BERT"), *(Told("BERT", checkpoint=Checkpoint("--bert", name, folder)) for name in ("a@1", "a@2"))]
    grid = replace(grid_of(tmp_path), rows=rows)
    cells, begun = run(grid)
    assert len(begun) == 3 and [cell.checkpoint for cell in cells] == ["", "a@1", "a@2"]
    assert [cell.command.partition(" --bert ")[2] for cell in cells] == ["", "a@1", "a@2"]
    assert run(replace(grid, rows=rows[::-1])) == (cells[::-1], [])
    before = {name: value for name, value in asdict(cells[0]).items() if name != "checkpoint"}
    assert Cell.from_line(json.dumps(before)) == cells[0]  # lines from before cells said it


@pytest.mark.parametrize("figure", [float("nan"), float("inf")])
def test_a_figure_that_is_not_finite_is_no_finished_cell(figure: float, tmp_path: Path) -> None:
    grid = replace(grid_of(tmp_path), rows=[Told("bad", figure)])
    with pytest.raises(CellFailed, match="yelp: bad: ppl_word is"):
        run(grid)
    assert finished_cells(grid.output) == []


def test_a_file_that_is_edited_while_a_grid_runs_is_read_again(tmp_path: Path) -> None:
    """The texts that were read before it had the digest of those that nobody had read."""
    grid = replace(grid_of(tmp_path), rows=[Told("edits"), Told("later")])
    folder = grid.folders[0]
    before = digest_of(folder)
    cells, _ = run(grid)
    assert [cell.files for cell in cells] == [before, digest_of(folder)] and before != digest_of(folder)
    assert cells[0].figures["first"] in reviews(12, 2).texts and cells[1].figures["first"] in reviews(12, 9).texts


def test_files_that_change_while_they_are_read_are_refused(tmp_path: Path) -> None:
    grid = grid_of(tmp_path)
    data = grid.tasks()[0].data(tiny_pretrained(), None)
    (grid.folders[0] / "train.tsv").write_text(as_tsv(reviews(60, 9)), encoding="utf-8")
    with pytest.raises(DatasetError, match="its files were changed meanwhile"):
        _ = data.corpus


def test_a_line_that_was_cut_within_a_character_is_taken_away_and_nothing_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole file was emptied and written again, or, with half of a character at its end, could not be read."""
    grid = replace(grid_of(tmp_path), rows=[Told("first"), Told("second")])
    (first, second), _ = run(grid)
    content = grid.file.read_bytes()
    inode = grid.file.stat().st_ino
    grid.file.write_bytes(content + '{"table": "table2", "row": "é'.encode()[:-1])
    assert finished_cells(grid.output, ["table2"]) == [first, second]
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: pytest.fail("it is written again"))
    append(grid.file, second)
    assert grid.file.read_bytes() == content + content.splitlines(keepends=True)[1]
    assert grid.file.stat().st_ino == inode


def test_a_whole_line_that_is_no_cell_is_refused_before_anything_is_run(tmp_path: Path) -> None:
    """As the last line it was kept, and refused once another came after it."""
    grid = replace(grid_of(tmp_path), rows=[Told("first"), Told("second")])
    run(replace(grid, rows=grid.rows[:1]))
    with grid.file.open("a", encoding="utf-8") as file:
        file.write('{"table": "table2"}\n')
    with pytest.raises(ConfigError, match="line 2 is no cell"):
        run(grid)


def test_a_separator_of_lines_within_a_text_is_no_end_of_a_line(tmp_path: Path) -> None:
    grid = replace(grid_of(tmp_path), rows=[Told("one\u2028two")])
    assert run(grid)[0] == finished_cells(grid.output, ["table2"])


def test_a_row_that_cannot_be_run_leaves_the_others_to_be_run(tmp_path: Path) -> None:
    """It stopped all after it, whenever the command was repeated."""
    grid = replace(grid_of(tmp_path), rows=[Told("first"), Told("lacks"), Told("last")])
    cells: list[Cell] = []
    with pytest.raises(CellFailed, match=r"1 of 3 cells .* run: yelp: lacks: system is 'lacks': needs a library"):
        cells.extend(run_grid(grid, tiny_pretrained(), CPU, lambda *_: lambda *_: None))
    assert [cell.row for cell in cells] == ["first", "last"] == [cell.row for cell in finished_cells(grid.output)]


def two_folders(directory: Path, rows: Sequence[TableRow]) -> Grid:
    """The first has a file that holds nothing."""
    grid = replace(grid_of(directory), rows=rows)
    good = grid.folders[0]
    bad = good.with_name("ptb")
    shutil.copytree(good, bad)
    (bad / "test.tsv").write_text("text\tlabel\n", encoding="utf-8")
    return replace(grid, folders=[bad, good])


def failed(grid: Grid, faults: Mapping[Path, str]) -> tuple[list[Cell], list[str], str]:
    """The cells that were run all the same, those that were begun, and what was told of the others."""
    cells: list[Cell] = []
    begun: list[str] = []

    def on_cell(name: str, *_: int) -> OnStep:
        begun.append(name)
        return lambda *_: None

    with pytest.raises(CellFailed) as told:
        cells.extend(run_grid(grid, tiny_pretrained(), CPU, on_cell, faults))
    return cells, begun, str(told.value)


def test_a_data_set_that_cannot_be_read_leaves_the_others_to_be_run(tmp_path: Path) -> None:
    """It ended the grid when its turn came, and was told as if it were one row's."""
    grid = two_folders(tmp_path, [Told("first"), Told("second")])
    cells, begun, told = failed(grid, {})
    assert [(cell.dataset, cell.row) for cell in cells] == [("yelp", "first"), ("yelp", "second")]
    assert begun == ["ptb: first", "yelp: first", "yelp: second"]  # it is tried once
    assert told.startswith("2 of 4 cells could not be run: ptb: ")
    assert told.count("test.tsv: is empty") == 1 and "first" not in told


def test_a_data_set_that_cannot_be_read_is_known_before_the_first_cell(tmp_path: Path) -> None:
    grid = two_folders(tmp_path, [Told("first"), Told("second")])
    faults = unusable(grid, tiny_pretrained().digest)
    assert list(faults) == [grid.folders[0]] and "is empty" in faults[grid.folders[0]]
    cells, begun, told = failed(grid, faults)
    assert begun == ["yelp: first", "yelp: second"] and len(cells) == 2
    assert told == f"2 of 4 cells could not be run: {faults[grid.folders[0]]}"


def test_a_data_set_whose_cells_are_all_finished_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = replace(grid_of(tmp_path), rows=[Told("first")])
    run(grid)
    monkeypatch.setattr(Told, "check", lambda *_: pytest.fail("it is read"))
    assert unusable(grid, tiny_pretrained().digest) == {}


def test_texts_without_labels_are_of_use_to_the_tables_that_read_none(tmp_path: Path) -> None:
    grid = grid_of(tmp_path)
    for split in ("train", "valid", "test"):
        (grid.folders[0] / f"{split}.tsv").rename(grid.folders[0] / f"{split}.before")
        (grid.folders[0] / f"{split}.txt").write_text("\n".join(reviews(30, 0).texts), encoding="utf-8")
    assert unusable(grid, "b") == {}
    labelled = unusable(replace(grid, table="table3", rows=list(table3.rows())), "b")
    assert "labels are needed" in labelled[grid.folders[0]]


def test_an_output_that_cannot_be_written_is_told_before_anything_is_run(tmp_path: Path) -> None:
    grid = replace(grid_of(tmp_path), rows=[Told("first")])
    grid.file.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"table2.jsonl.*cannot be written"):
        begin(grid)
    other = replace(grid, output=tmp_path / "file")
    other.output.write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        begin(other)
