"""``adavae reproduce``: the paper's tables run again, the paper's figures beside ours."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from adavae.model.errors import DatasetError
from adavae.model.spelling import did_you_mean
from adavae.service import loading
from adavae.service.commands.options import DeviceOption, JsonOption
from adavae.service.commands.terminal import Column, Output, column, progress_display, say
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.model.training.reproduction.grid import Cell, Grid
    from adavae.model.training.reproduction.rows import Row

Table = Literal["table1", "table2"]


def reproduce(
    table: Annotated[Table, typer.Argument(help="Which of the paper's tables.", show_default=False)],
    data: Annotated[
        Path,
        typer.Option(
            "--data", help="Folder with a folder per data set, each with train, valid and test.", show_default=False
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Directory of what is finished; the same command goes on from there.")
    ] = Path("reproduction"),
    scale: Annotated[
        Literal["smoke", "cpu", "paper"],
        typer.Option(help="Minutes; a night on two cores; the paper's sizes, on a GPU with ADAVAE_BACKBONE=gpt2."),
    ] = "cpu",
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="Only this data set; may be given again.")
    ] = None,
    row: Annotated[list[str] | None, typer.Option("--row", help="Only this row; may be given again.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the table here too.")] = None,
    seed: Annotated[int, typer.Option(help="Of every run.", min=0)] = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train and measure every system of a table of the paper, row by row.

    After Ctrl-C or a kill the same command goes on at the row it was in.
    """
    settings = load_settings()
    grid = _grid(table, data, output, scale, dataset, row, seed)
    pretrained = loading.load_pretrained(settings, device)
    cells = _run(grid, pretrained)
    _write(cells, markdown, as_json=as_json)


def _grid(
    table: Table,
    data: Path,
    output: Path,
    scale: str,
    datasets: list[str] | None,
    row_names: list[str] | None,
    seed: int,
) -> "Grid":
    from adavae.model.training.reproduction import table1, table2
    from adavae.model.training.reproduction.grid import Grid
    from adavae.model.training.reproduction.scale import ScaleName

    module = {"table1": table1, "table2": table2}[table]
    rows = _chosen(list(module.rows()), row_names)
    folders = [data / name for name in datasets or module.DATASETS]
    for folder in folders:
        if not folder.is_dir():
            raise DatasetError(f"{folder}: is no folder: --data holds a folder per data set, and --dataset names some")
    return Grid(table, rows, folders, ScaleName(scale), seed, output)


def _chosen(rows: "Sequence[Row]", names: list[str] | None) -> "list[Row]":
    if not names:
        return list(rows)
    by_name = {row.name: row for row in rows}
    for name in names:
        if name not in by_name:
            hint = did_you_mean(name, list(by_name), "rows")
            raise typer.BadParameter(f"{name!r} is no row of this table: {hint}")
    return [by_name[name] for name in names]


def _run(grid: "Grid", pretrained: Any) -> "list[Cell]":
    from adavae.model.training.reproduction.grid import run_grid

    device = pretrained.backbone.wte.weight.device
    with progress_display() as display:

        def on_cell(name: str, number: int, total: int) -> Any:
            def on_step(step: int, steps: int, loss: float) -> None:
                if step == steps or step % 10 == 0:
                    display.update(f"{number}/{total} {name}", step, steps, f"loss {loss:.3f}")

            return on_step

        return list(run_grid(grid, pretrained, device, on_cell))


def _write(cells: "Sequence[Cell]", markdown: Path | None, *, as_json: bool) -> None:
    from adavae.model.training.reproduction import claims, rendering

    Output.of(as_json).write_records(rendering.records(cells), _COLUMNS)
    for verdict in claims.verdicts(cells):
        answer = "holds" if verdict.holds else "does not hold here"
        say(f"{verdict.dataset}: {verdict.claim}: {answer} ({verdict.numbers})")
    if markdown is not None:
        markdown.write_text(rendering.markdown(cells), encoding="utf-8")


def _figure(key: str, header: str, decimals: int) -> Column:
    """A number, or a dash where a system has no such figure."""

    def show(record: dict[str, object]) -> str:
        value = record[key]
        return f"{value:,.{decimals}f}" if isinstance(value, int | float) else "-"

    return Column(header, show, is_number=True)


_COLUMNS = [
    column("dataset", "data"),
    column("row", "method"),
    _figure("ppl", "PPL", 1),
    _figure("paper_ppl", "paper", 1),
    _figure("neg_elbo", "-ELBO", 1),
    _figure("paper_neg_elbo", "paper", 1),
    _figure("mi", "MI", 2),
    _figure("paper_mi", "paper", 2),
    _figure("au", "AU", 0),
    _figure("share_percent", "trained %", 1),
]
