"""What is left of a grid costs what the same rows cost before."""

from dataclasses import replace
from pathlib import Path

from adavae.model.training.reproduction import table2
from adavae.model.training.reproduction.data_folder import digest_of
from adavae.model.training.reproduction.grid import Cell, Grid
from adavae.model.training.reproduction.plan import Plan
from adavae.model.training.reproduction.scale import ScaleName
from tests.unit.model.training.reproduction.tiny_reproduction import a_cell

NAMES = ("M. A.", "C. A.", "LSTM-LM")


def grid() -> Grid:
    by_name = {row.name: row for row in table2.rows()}
    return Grid("table2", [by_name[name] for name in NAMES], [Path("ptb"), Path("yelp")], ScaleName.CPU, (0,), Path())


def measured(number: int, seconds: float, scale: ScaleName = ScaleName.CPU) -> Cell:
    """The cell of that number, from 1."""
    task = grid().tasks()[number - 1]
    return replace(
        a_cell(task.table, task.row.name, dataset=task.folder.name, scale=scale),
        seconds=seconds,
        sizes=task.sizes,
        files=digest_of(task.folder),
    )


def test_before_anything_is_measured_all_cells_count_alike() -> None:
    plan = Plan.of(grid(), "b", [measured(1, 5.0, ScaleName.SMOKE)])
    assert not plan.is_measured
    assert plan.seconds == dict.fromkeys(range(1, 7), 1.0)


def test_a_row_costs_what_it_cost_on_other_data_and_an_unknown_one_what_all_cost() -> None:
    plan = Plan.of(grid(), "b", [measured(1, 100.0), measured(2, 300.0)])
    assert plan.is_measured
    assert plan.seconds == {3: 200.0, 4: 100.0, 5: 300.0, 6: 200.0}
    assert plan.total_s == 800.0


def test_over_another_backbone_everything_is_to_be_run() -> None:
    plan = Plan.of(grid(), "other", [measured(1, 100.0)])
    assert plan.seconds == dict.fromkeys(range(1, 7), 100.0)


def test_a_data_set_that_cannot_be_used_costs_nothing() -> None:
    """The time left was that of cells that never began."""
    plan = Plan.of(grid(), "b", [measured(4, 100.0)], unusable=[Path("ptb")])
    assert plan.seconds == {5: 100.0, 6: 100.0}
