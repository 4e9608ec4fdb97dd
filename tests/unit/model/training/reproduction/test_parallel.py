"""Cells in processes of their own: the same figures, a failure that keeps the others, and a process that dies."""

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch

from adavae.model.errors import CellFailed, ConfigError
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.reproduction import figure1, table1, table2, table3
from adavae.model.training.reproduction.corpus import Splits
from adavae.model.training.reproduction.grid import Cell, Grid, finished_cells, run_grid, unusable
from adavae.model.training.reproduction.parallel import grouped, run_grid_in_processes, serve
from adavae.model.training.reproduction.rows import Given, OnStep, Outcome
from adavae.model.training.reproduction.scale import Scale, ScaleName
from tests.tiny_text import as_tsv, reviews, tiny_pretrained
from tests.unit.model.training.reproduction.tiny_reproduction import CPU, write_folder


class _Process(torch.nn.Module):
    """A beginning that tells which process made it."""

    def __init__(self) -> None:
        super().__init__()
        self.number = os.getpid()


class Counted:
    """A row without training: its figures tell which process and data it had."""

    procedures, checkpoint = 2, None

    def __init__(self, name: str, fault: str = "", shared: str = "") -> None:
        self.name, self.fault, self.shared = name, fault, shared

    def has_texts(self, _: Path) -> bool:
        return True

    def check(self, folder: Path, scale: Scale, seed: int) -> None:
        Splits.read(folder, scale, seed)

    def run(self, given: Given) -> Outcome:
        given.on_step(1, 2, 0.5)
        if self.fault == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        num_texts = len(given.data.corpus.training.token_ids)
        if self.fault == "edits":
            (given.data.folder / "test.tsv").write_text(as_tsv(reviews(12, 9)), encoding="utf-8")
        if self.fault == "fails":
            raise ZeroDivisionError("by zero")
        if self.fault == "loses a server":
            raise BrokenPipeError("by peer")
        given.on_step(2, 2, 0.25)
        figures: dict[str, Any] = {"process": given.data.begun("process", _Process).number if self.shared else None}
        figures |= {"texts": num_texts, "seed": given.seed}
        return Outcome(
            figures=figures, figures_cut={}, trained_parameters=1, share_percent=None, weights="none", texts="t"
        )


def grid_of(directory: Path, rows: Sequence[Any], seeds: Sequence[int] = (0,)) -> Grid:
    folder = directory / "yelp"
    return Grid(
        "table2",
        rows,
        [folder if folder.is_dir() else write_folder(directory)],
        ScaleName.SMOKE,
        seeds,
        directory / "o",
    )


def run(grid: Grid) -> tuple[list[Cell], list[str]]:
    heard: list[str] = []

    def on_cell(name: str, number: int, total: int) -> Any:
        return lambda step, steps, loss: heard.append(f"{number}/{total} {name} {step}/{steps} {loss}")

    return list(run_grid_in_processes(grid, tiny_pretrained().digest, tiny_pretrained, 2, on_cell)), heard


def test_several_processes_give_what_one_gives_in_the_grids_order(tmp_path: Path) -> None:
    rows = [Counted("one"), Counted("two")]
    cells, heard = run(grid_of(tmp_path, rows, seeds=(0, 1)))
    assert [(cell.row, cell.seed) for cell in cells] == [("one", 0), ("two", 0), ("one", 1), ("two", 1)]
    assert "2/4 yelp: two, seed 0 1/2 0.5" in heard and len(heard) == 8
    alone = grid_of(tmp_path, rows, seeds=(0, 1))
    in_one = list(
        run_grid(replace(alone, output=tmp_path / "alone"), tiny_pretrained(), CPU, lambda *_: lambda *_: None)
    )
    assert [replace(cell, seconds=0.0) for cell in cells] == [replace(cell, seconds=0.0) for cell in in_one]
    again, heard_again = run(grid_of(tmp_path, rows, seeds=(0, 1)))
    assert again == cells and heard_again == []


def test_a_process_that_dies_keeps_the_cell_beside_it(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, [Counted("bad", "dies"), Counted("good"), Counted("later")])
    with pytest.raises(CellFailed, match="yelp: bad: its process ended with code -9"):
        run(grid)
    assert {cell.row for cell in finished_cells(grid.output)} == {"good", "later"}


def test_what_was_kept_for_a_process_that_dies_goes_to_another(tmp_path: Path) -> None:
    rows = [
        Counted("bad", "dies", "shared"),
        Counted("after", "", "shared"),
        Counted("good"),
        Counted("fails", "fails"),
    ]
    grid = grid_of(tmp_path, rows)
    with pytest.raises(CellFailed, match=r"2 of 4 cells could not be run.*by zero"):
        run(grid)
    assert {cell.row for cell in finished_cells(grid.output)} == {"good", "after"}


def test_without_a_process_left_it_is_told_what_was_not_run(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, [Counted("bad", "dies", "shared"), Counted("after", "", "shared")])
    with pytest.raises(CellFailed, match="yelp: after: no process was left for it"):
        run(grid)


def test_a_fault_that_nobody_foresaw_is_told_and_the_next_cell_is_run(tmp_path: Path) -> None:
    ours, theirs = Pipe()
    serving = Thread(target=serve, args=(theirs, tiny_pretrained, torch.get_num_threads()))
    serving.start()
    for task in grid_of(tmp_path, [Counted("bad", "fails"), Counted("good")]).tasks():
        ours.send(task)
    answers = [ours.recv() for _ in range(5)]
    ours.close()
    serving.join()
    (failure,) = [each for each in answers if isinstance(each, CellFailed)]
    assert str(failure) == "yelp: bad: ZeroDivisionError: by zero"
    assert isinstance(answers[-1], Cell) and answers[-1].row == "good"


def no_backbone() -> PretrainedBackbone:
    raise ConfigError("weights", "here", "has no backbone")


@pytest.mark.parametrize("load", [tiny_pretrained, no_backbone])
def test_a_parent_that_is_gone_ends_a_process_that_has_something_to_say(
    load: Callable[[], PretrainedBackbone], tmp_path: Path
) -> None:
    """A failure that nobody was left to hear of ended in a traceback."""
    ours, theirs = Pipe()
    ours.send(grid_of(tmp_path, [Counted("good")]).tasks()[0])
    ours.close()
    serve(theirs, load, torch.get_num_threads())


def test_a_parent_that_was_killed_with_an_answer_unread_ends_an_idle_process(tmp_path: Path) -> None:
    """The pipe does not end then but is reset, which ended in a traceback."""
    ours, theirs = Pipe()
    ours.send(grid_of(tmp_path, [Counted("good")]).tasks()[0])
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve, theirs, tiny_pretrained, torch.get_num_threads())
        steps = [ours.recv(), ours.recv()]
        assert not any(isinstance(step, Cell) for step in steps)
        assert ours.poll(60)  # the cell is there, and stays unread
        ours.close()
        serving.result(60)


def test_a_connection_that_a_row_loses_is_its_own_fault(tmp_path: Path) -> None:
    """It was taken for the parent's end, and the rest of the grid for a want of memory."""
    ours, theirs = Pipe()
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve, theirs, tiny_pretrained, torch.get_num_threads())
        ours.send(grid_of(tmp_path, [Counted("bad", "loses a server")]).tasks()[0])
        ours.recv()  # its step
        told = ours.recv() if ours.poll(60) else None
        ours.close()
        serving.result(60)
    assert str(told) == "yelp: bad: BrokenPipeError: by peer"


@pytest.mark.parametrize("is_known", [False, True])
def test_a_data_set_that_cannot_be_read_is_told_once_and_the_others_are_run(is_known: bool, tmp_path: Path) -> None:
    """Each of its rows was tried, and told by itself."""
    grid = grid_of(tmp_path, [Counted("one"), Counted("two"), Counted("three")])
    bad = tmp_path / "ptb"
    shutil.copytree(grid.folders[0], bad)
    (bad / "train.tsv").write_text("text\tlabel\n", encoding="utf-8")
    grid = replace(grid, folders=[bad, *grid.folders])
    digest = tiny_pretrained().digest
    faults = unusable(grid, digest) if is_known else {}
    begun: list[str] = []

    def on_cell(name: str, *_: int) -> OnStep:
        begun.append(name)
        return lambda *_: None

    with pytest.raises(CellFailed, match="3 of 6 cells could not be run: ptb: ") as told:
        list(run_grid_in_processes(grid, digest, tiny_pretrained, 2, on_cell, faults))
    assert str(told.value).count("is empty") == 1
    assert {cell.dataset for cell in finished_cells(grid.output)} == {"yelp"}
    assert len(finished_cells(grid.output)) == 3
    assert sum(name.startswith("ptb") for name in begun) <= (0 if is_known else 2)  # one for each process


def test_rows_of_every_table_can_be_sent_to_a_process() -> None:
    import pickle

    for table in (table1, table2, table3, figure1):
        for row in table.rows():
            assert pickle.loads(pickle.dumps(row)).name == row.name


def test_rows_of_one_beginning_go_to_one_process_and_the_others_do_not_wait(tmp_path: Path) -> None:
    """Each of two processes trained the Optimus that two rows begin with."""
    rows = [Counted("vae", shared="optimus"), Counted("tuned", shared="optimus"), Counted("other")]
    tasks = list(enumerate(grid_of(tmp_path, rows, seeds=(0, 1)).tasks(), 1))
    found = [[(task.row.name, task.seed) for _, task in group] for group in grouped(tasks)]
    assert found == [[("vae", 0), ("tuned", 0), ("vae", 1), ("tuned", 1)], [("other", 0)], [("other", 1)]]
    cells, _ = run(grid_of(tmp_path, rows, seeds=(0, 1)))
    made_by = {(cell.row, cell.seed): cell.figures["process"] for cell in cells}
    assert len({made_by[row, seed] for row in ("vae", "tuned") for seed in (0, 1)}) == 1


def test_the_rows_that_share_a_beginning_are_known() -> None:
    table3_rows, figure1_rows = ({row.name for row in table.rows() if row.shared} for table in (table3, figure1))
    features = {f"{system}, features" for system in ("Optimus (VAE)", "Optimus (AE)", "AdaVAE")}
    assert table3_rows == features | {"Optimus (VAE), fine-tuning"}
    assert figure1_rows == {figure1.row_name("Optimus FT", num) for num in figure1.LABELS}


def test_a_file_that_is_edited_meanwhile_does_not_lose_what_was_run(tmp_path: Path) -> None:
    """The cells that were asked for at the end were those of the edited file: a KeyError."""
    cells, _ = run(grid_of(tmp_path, [Counted("edits", "edits", "one process"), Counted("other", "", "one process")]))
    assert [cell.row for cell in cells] == ["edits", "other"]
