"""``adavae reproduce``: the paper's tables run again, the paper's figures beside ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from adavae.model.decoding.decoding import NUM_SEEDS
from adavae.model.errors import CellFailed, DatasetError
from adavae.model.spelling import did_you_mean
from adavae.model.storage.atomic import write_atomically
from adavae.service import loading
from adavae.service.commands import reproduced
from adavae.service.commands.grid_progress import GridProgress, left_text
from adavae.service.commands.measured_additions import measured_additions
from adavae.service.commands.options import DeviceOption, JsonOption
from adavae.service.commands.output_lock import sole_writer
from adavae.service.commands.png import png_library
from adavae.service.commands.terminal import Record, progress_display, say
from adavae.service.settings import Settings, load_settings

if TYPE_CHECKING:
    from adavae.model.training.reproduction.checkpoint import Checkpoint
    from adavae.model.training.reproduction.grid import Cell, Grid
    from adavae.model.training.reproduction.rows import TableRow
    from adavae.model.training.reproduction.scale import ScaleName

Table = Literal["table1", "table2", "table3", "table4", "table5", "figure1", "additions", "page"]
_TRAINS_NOTHING = {"table4", "table5", "page"}
_DRAWN = {"table2", "figure1"}
_OF_SEVERAL_SEEDS = {"table3", "figure1"}
_FIVE_SEEDS = {"smoke": 1, "cpu": 5, "paper": 5}
_BEGINS_FROM = {"--bert": ("table3", "figure1"), "--t5": ("table2",)}

TableArgument = Annotated[
    Table,
    typer.Argument(
        help="Which of the paper's tables; additions is what this project adds to the paper, each on and off; page is "
        "all that is in --output.",
        show_default=False,
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="FOLDER|hub:OWNER/NAME[:PART]",
        help="Folder with a folder per data set, each with train, valid and test; or one data set of the Hugging Face "
        "hub (`pip install 'adavae\\[datasets]'`), which --dataset may call as the paper does.",
        show_default=False,
    ),
]
DirectoryOption = Annotated[
    Path, typer.Option("--output", "-o", help="Directory of what is finished; the same command goes on from there.")
]
ScaleOption = Annotated[
    Literal["smoke", "cpu", "paper"],
    typer.Option(help="Minutes; nights on two cores; the paper's sizes, on a GPU with ADAVAE_BACKBONE=gpt2."),
]
DatasetOption = Annotated[list[str] | None, typer.Option("--dataset", help="Only this data set; may be given again.")]
RowOption = Annotated[list[str] | None, typer.Option("--row", help="Only this row; may be given again.")]
MarkdownOption = Annotated[Path | None, typer.Option("--markdown", help="Write the table here too.")]
SvgOption = Annotated[
    Path | None, typer.Option("--svg", help="Draw figure1, or the curves over lambda of table2, here.")
]
PngOption = Annotated[Path | None, typer.Option("--png", help="As --svg, as PNG (`pip install 'adavae\\[plot]'`).")]
SeedOption = Annotated[
    int, typer.Option(help="Of every run; the first where there are several.", min=0, max=NUM_SEEDS - 1)
]
SeedsOption = Annotated[
    int | None,
    typer.Option(
        help="Runs of each row of table3 and figure1, whose mean and deviation are shown: 5, at scale smoke 1.",
        min=1,
        max=100,
        show_default=False,
    ),
]
ShownSetOption = Annotated[
    str | None,
    typer.Option(
        "--adapter",
        "-a",
        metavar="NAME[@VERSION]",
        help="Whose answers table4 and table5 show, and additions measures; the configured default if left out.",
    ),
]
BertOption = Annotated[
    str | None,
    typer.Option(
        metavar="ID[@REVISION]|FOLDER",
        help="What BERT's rows of table3 and figure1 begin from: a BERT, RoBERTa or DistilBERT of transformers, which "
        "reads by its own tokenizer, in safetensors (`pip install transformers`); else the backbone in its place.",
        show_default=False,
    ),
]
T5Option = Annotated[
    str | None,
    typer.Option(
        metavar="ID[@REVISION]|FOLDER",
        help="What T5 VAE's rows of table2 begin from, likewise: a T5 of transformers; random weights if left out.",
        show_default=False,
    ),
]
WorkersOption = Annotated[
    int, typer.Option(help="Rows that run at once, in processes that share the cores.", min=1, max=64)
]


def reproduce(
    table: TableArgument,
    data: DataOption = None,
    output: DirectoryOption = Path("reproduction"),
    scale: ScaleOption = "cpu",
    dataset: DatasetOption = None,
    row: RowOption = None,
    markdown: MarkdownOption = None,
    svg: SvgOption = None,
    png: PngOption = None,
    seed: SeedOption = 0,
    seeds: SeedsOption = None,
    adapter: ShownSetOption = None,
    bert: BertOption = None,
    t5: T5Option = None,
    workers: WorkersOption = 1,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train and measure every system of a table of the paper, row by row; table4 and table5 are a set's answers.

    additions measures what priors, denoised walks and led analogies are worth to a set, by judges who read --data.

    After Ctrl-C or a kill the same command goes on at the row it was in.
    """
    settings = load_settings()
    _refuse_missing_folders(markdown, svg, png)
    begins_from = _named_checkpoint(table, {"--bert": bert, "--t5": t5})
    if (svg or png) is not None and table not in _DRAWN:
        raise typer.BadParameter(f"{table} has no curves: leave out --svg and --png, which table2 and figure1 have")
    if png is not None:
        png_library()  # or hours of work would end without it
    if table in _TRAINS_NOTHING:
        if data is not None or dataset or row or seeds is not None:
            raise typer.BadParameter(f"{table} trains nothing: leave out --data, --dataset, --row and --seeds")
        name = adapter or settings.default_adapter
        if table == "page":
            _write_page(output, name, settings, device, markdown)
        else:
            records, figures = _examples(table, name, settings, device)
            reproduced.write_examples(records, figures, markdown, as_json=as_json)
        return
    if table == "additions":
        if data is None:
            raise typer.BadParameter("additions are judged by who has read texts: name their folder with --data")
        if row or seeds is not None or workers != 1:
            raise typer.BadParameter("additions are one set's, measured once: leave out --row, --seeds and --workers")
        with sole_writer(output):
            folder = _one_data_set(data, dataset, output)
            name = adapter or settings.default_adapter
            additions = measured_additions(folder, output, name, scale, seed, settings, device)
        reproduced.write_additions(additions, markdown, as_json=as_json)
        return
    if data is None:
        raise typer.BadParameter(f"{table} trains its rows: name the folder of the data sets with --data")
    if adapter is not None:
        raise typer.BadParameter(
            f"{table} trains its own sets: leave out --adapter, which is for table4, table5 and additions"
        )
    runs = range(seed, seed + _num_seeds(table, scale, seeds))
    if runs.stop > NUM_SEEDS:
        raise typer.BadParameter(f"--seed is {seed}: the last of {len(runs)} runs would have one above {NUM_SEEDS - 1}")
    checkpoint = None if begins_from is None else _checkpoint(*begins_from)
    with sole_writer(output):
        folder, names = _data(data, dataset, output)
        chosen = _Chosen(table, folder, output, scale, names, row, runs, checkpoint)
        cells, failure = _run(chosen.grid(), settings, device, workers)
    if cells:
        reproduced.write(cells, markdown, svg, png, as_json=as_json)
    if failure is not None:
        raise failure


def _data(data: str, names: list[str] | None, output: Path) -> tuple[Path, list[str] | None]:
    """The folder of the data sets and which of them; one of the hub is fetched into the output."""
    from adavae.model.training.reproduction.hub_data import PREFIX, HubData

    if not data.startswith(PREFIX):
        return Path(data), names
    fetched = HubData.of(data)
    name, *more = names or [fetched.folder_name]
    if more:
        raise typer.BadParameter(f"{data} is one data set: give --dataset once, which calls it as the paper does")
    fetched.write(output / "data" / name)
    return output / "data", [name]


def _named_checkpoint(table: Table, given: "dict[str, str | None]") -> tuple[str, str] | None:
    """The option that names a checkpoint, and what it names; None where none does."""
    named = [(option, name) for option, name in given.items() if name is not None]
    for option, _ in named:
        if table not in _BEGINS_FROM[option]:
            tables = " and ".join(_BEGINS_FROM[option])
            raise typer.BadParameter(f"{table} has no row that begins from {option}: leave it out; it is for {tables}")
    return named[0] if named else None


def _checkpoint(option: str, name: str) -> "Checkpoint":
    """Fetched where it is of the hub; raises ConfigError for what no row can begin from."""
    from adavae.model.training.reproduction.checkpoint import Checkpoint
    from adavae.model.training.reproduction.tables import CHECKPOINT_KINDS

    return Checkpoint.find(option, name, CHECKPOINT_KINDS[option])


def _one_data_set(data: str, names: list[str] | None, output: Path) -> Path:
    """The folder of the data set that additions are measured on."""
    from adavae.model.training.reproduction.addition_cells import DATASET

    name, *more = names or [DATASET]
    if more:
        raise typer.BadParameter("additions are measured on one data set: give --dataset once")
    folder, _ = _data(data, [name], output)
    return folder / name


def _refuse_missing_folders(*files: Path | None) -> None:
    """Before hours of work whose table could not be written."""
    for file in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise typer.BadParameter(f"{file} cannot be written: there is no folder {file.parent}; make it first")


def _write_page(output: Path, name: str, settings: Settings, device: str | None, markdown: Path | None) -> None:
    from adavae.model.training.reproduction import examples
    from adavae.model.training.reproduction.addition_cells import finished_additions, of_last_measured
    from adavae.model.training.reproduction.grid import finished_cells
    from adavae.model.training.reproduction.page import page

    if markdown is None:
        raise typer.BadParameter("a page goes into a file: name it with --markdown")
    cells = finished_cells(output)
    answers = {table: examples.markdown(*_examples(table, name, settings, device)) for table in ("table4", "table5")}
    reference = loading.open_store(settings).resolve(name).reference
    additions = of_last_measured([cell for cell in finished_additions(output) if cell.adapter == reference])
    write_atomically(markdown, (_introduction(markdown) + page(cells, answers, additions)).encode())


def _introduction(file: Path) -> str:
    """What an earlier page begins with, before the first heading of what is written here."""
    before, heading, _ = file.read_text("utf-8").partition("## ") if file.is_file() else ("", "", "")
    return before if heading else ""


def _examples(table: str, name: str, settings: Settings, device: str | None) -> tuple[list[Record], dict[str, str]]:
    """A set's answers to the inputs of table4 or table5, and what its card says of many."""
    from adavae.model.decoding.decoding import Decoding
    from adavae.model.training.reproduction import examples

    manifest = loading.open_store(settings).resolve(name).manifest
    text_model = loading.load_text_model(settings, [name], device)
    make = examples.analogies if table == "table4" else examples.walk
    figures = examples.measured(table, {} if manifest is None else manifest.metrics)
    return make(text_model, name, Decoding(max_tokens=min(Decoding().max_tokens, settings.max_tokens))), figures


def _num_seeds(table: Table, scale: str, seeds: int | None) -> int:
    if table in _OF_SEVERAL_SEEDS:
        return seeds or _FIVE_SEEDS[scale]
    if seeds not in (None, 1):
        raise typer.BadParameter(f"{table} has one run of each row: leave out --seeds, or choose one run by --seed")
    return 1


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Which cells the options ask for."""

    table: Table
    data: Path
    output: Path
    scale: str
    datasets: list[str] | None
    row_names: list[str] | None
    seeds: Sequence[int]
    checkpoint: "Checkpoint | None"

    def grid(self) -> "Grid":
        """Raises DatasetError for a folder that is none, BadParameter for a row that is none and an idle checkpoint."""
        from adavae.model.training.reproduction.grid import Grid
        from adavae.model.training.reproduction.scale import ScaleName

        scale = ScaleName(self.scale)
        of_table, datasets = _table(self.table, scale, self.checkpoint)
        rows = _named(of_table, self.row_names)
        if self.checkpoint is not None and not any(row.checkpoint for row in rows):
            raise typer.BadParameter(f"no row that --row names begins from {self.checkpoint.option}: leave it out")
        folders = [self.data / name for name in self.datasets or datasets]
        for folder in folders:
            if not folder.is_dir():
                raise DatasetError(
                    f"{folder}: is no folder: --data holds a folder per data set, and --dataset names some"
                )
        return Grid(self.table, rows, folders, scale, self.seeds, self.output)


def _table(
    table: Table, scale: "ScaleName", checkpoint: "Checkpoint | None"
) -> "tuple[Sequence[TableRow], Sequence[str]]":
    """The rows of a table and its data sets."""
    from adavae.model.training.reproduction.scale import SCALES
    from adavae.model.training.reproduction.tables import datasets_of, rows_of

    return rows_of(table, SCALES[scale], checkpoint), datasets_of(table)


def _named(rows: "Sequence[TableRow]", names: list[str] | None) -> "list[TableRow]":
    if not names:
        return list(rows)
    by_name = {row.name: row for row in rows}
    for name in names:
        if name not in by_name:
            hint = did_you_mean(name, list(by_name), "rows")
            raise typer.BadParameter(f"{name!r} is no row of this table: {hint}")
    return [by_name[name] for name in names]


def _run(grid: "Grid", settings: Settings, device: str | None, workers: int) -> "tuple[list[Cell], CellFailed | None]":
    """All cells that could be run, and what is to be told of the others."""
    from adavae.model.training.reproduction.grid import begin, finished_cells, run_grid, unusable
    from adavae.model.training.reproduction.parallel import run_grid_in_processes
    from adavae.model.training.reproduction.plan import Plan

    begin(grid)  # before anything is loaded
    pretrained = loading.load_pretrained(settings, device, weight_format="float16")
    faults = unusable(grid, pretrained.digest)
    for fault in faults.values():
        say(f"{fault}; its cells are left out")
    plan = Plan.of(grid, pretrained.digest, finished_cells(grid.output), faults)
    if plan.is_measured:
        say(f"{grid.table}: {len(plan.seconds)} cells to run, {left_text(plan.total_s)} of one core as others took")
    with progress_display() as display:
        on_cell = GridProgress(display, grid.table, plan.seconds).on_cell
        if workers == 1:
            running = run_grid(grid, pretrained, pretrained.backbone.wte.weight.device, on_cell, faults)
        else:
            load = partial(loading.load_pretrained, settings, device)
            running = run_grid_in_processes(grid, pretrained.digest, load, workers, on_cell, faults)
        cells: list[Cell] = []
        try:
            cells.extend(running)
        except CellFailed as exc:
            return cells, exc
        return cells, None
