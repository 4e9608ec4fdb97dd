"""``adavae runs``: the training runs of this machine, their curves in the terminal and as a drawing."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from adavae.model.cleaning import storable
from adavae.model.errors import AdaVAEError
from adavae.model.storage.atomic import write_atomically
from adavae.service.commands.options import JsonOption
from adavae.service.commands.png import png_library, png_of
from adavae.service.commands.run_figures import charts_of, metrics_file, read_figures
from adavae.service.commands.svg_chart import svg_of
from adavae.service.commands.terminal import Column, Output, Record, column, number, show_lines
from adavae.service.commands.terminal_chart import drawn
from adavae.service.settings import Settings, load_settings

_WIDEST = 120


def run_names(incomplete: str) -> list[str]:
    """What the Tab key offers."""
    try:
        return sorted(name for name in _runs(load_settings()) if name.startswith(incomplete))
    except (AdaVAEError, OSError):
        return []


RunArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run's name, a job's id, or the path of either.", autocompletion=run_names),
]


def create_app() -> typer.Typer:
    """The commands under ``adavae runs``."""
    app = typer.Typer(help="Training runs of this machine, and their curves.", no_args_is_help=True)
    app.command("list")(list_runs)
    app.command("show")(show)
    app.command("plot")(plot)
    return app


def list_runs(as_json: JsonOption = False) -> None:
    """Every run that has figures, the newest first."""
    records: list[Record] = []
    for name, path in _runs(load_settings()).items():
        try:
            records.append(_summary(name, metrics_file(path)))
        except (AdaVAEError, OSError):
            continue
    records.sort(key=lambda record: str(record["changed_at"]), reverse=True)
    shown = [
        column("run"),
        Column("steps", lambda record: f"{record['step']}/{record['total_steps']}", is_number=True),
        number("loss", decimals=3),
        Column("validation", _validation, is_number=True),
        Column("changed", lambda record: str(record["changed_at"])[:16].replace("T", " ")),
    ]
    Output.of(as_json).write_records(records, shown)


def show(run: RunArgument, as_json: JsonOption = False) -> None:
    """The curves of a run, drawn in the terminal; as JSON, each report of it."""
    path = metrics_file(_found(run))
    reports, output = read_figures(path), Output.of(as_json)
    if output.is_json:
        records: list[Record] = [dict(report) for report in reports]
        output.write_records(records, [])
        return
    width = min(_WIDEST, shutil.get_terminal_size().columns)
    lines = [line for chart in charts_of(reports) for line in ("", *drawn(chart, width))]
    show_lines([f"{run}: {_steps(reports[-1])}", *lines])


def plot(
    run: RunArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", dir_okay=False, help="The .svg or .png to write; RUN.svg if left out."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    r"""Draw the curves of a run as an SVG file, or as PNG (`pip install 'adavae\[plot]'`)."""
    destination = output or Path(f"{Path(run).name}.svg")
    ending = destination.suffix.lower()
    if ending not in (".svg", ".png"):
        raise typer.BadParameter(f"--output is {destination}: the ending must be .svg or .png")
    if not destination.parent.is_dir():
        raise typer.BadParameter(f"--output is {destination}: there is no folder {destination.parent}, make it first")
    if ending == ".png":
        png_library()  # or nothing is begun
    reports = read_figures(metrics_file(_found(run)))
    svg = svg_of(f"{storable(run)}: {_steps(reports[-1])}", charts_of(reports))
    write_atomically(destination.resolve(), png_of(svg) if ending == ".png" else svg.encode())
    Output.of(as_json).write_object({"run": run, "path": str(destination)})


def _runs(settings: Settings) -> dict[str, Path]:
    """Runs of ``adavae train`` and jobs, by what they are called."""
    settings.need_directory("`adavae runs`")
    folders = [path for root in (settings.runs, settings.jobs) if root.is_dir() for path in sorted(root.iterdir())]
    return {path.name: path for path in reversed(folders) if path.is_dir()}


def _found(run: str) -> Path:
    known = _runs(load_settings())
    return known.get(run, Path(run))


def _summary(name: str, path: Path) -> Record:
    last = read_figures(path)[-1]
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return {
        "run": name,
        "step": int(last["step"]),
        "total_steps": int(last.get("total_steps", last["step"])),
        "loss": last.get("loss", 0.0),
        "validation_loss": last.get("validation_loss"),
        "changed_at": changed.isoformat(timespec="seconds"),
        "path": str(path),
    }


def _validation(record: Record) -> str:
    value = record["validation_loss"]
    return f"{value:.3f}" if isinstance(value, float) else ""


def _steps(report: dict[str, float]) -> str:
    return f"step {report['step']:,.0f} of {report.get('total_steps', report['step']):,.0f}"
