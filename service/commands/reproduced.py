"""What ``adavae reproduce`` shows of finished cells: the table, in Markdown too, and what the paper claims of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adavae.model.storage.atomic import write_atomically
from adavae.service.commands.png import png_of
from adavae.service.commands.terminal import Column, Output, Record, column, number, say

if TYPE_CHECKING:
    from adavae.model.training.reproduction.addition_cells import AdditionCell
    from adavae.model.training.reproduction.additions_table import Measure
    from adavae.model.training.reproduction.grid import Cell


def write(cells: "Sequence[Cell]", markdown: Path | None, svg: Path | None, png: Path | None, *, as_json: bool) -> None:
    """Records on stdout, verdicts on stderr; the table in Markdown and its curves where files are named."""
    from adavae.model.training.reproduction import accuracy_table, bound_table, claims, curves

    is_accuracy = cells[0].table in accuracy_table.TABLES
    records = accuracy_table.records(cells) if is_accuracy else bound_table.records(cells)
    Output.of(as_json).write_records(records, _OF_ACCURACY if is_accuracy else _OF_BOUNDS)
    for verdict in claims.verdicts(cells):
        say(f"{verdict.dataset}: {verdict.claim}: {verdict.answer} ({verdict.numbers})")
    if markdown is not None:
        text = accuracy_table.markdown(cells) if is_accuracy else bound_table.markdown(cells)
        write_atomically(markdown, text.encode())
    if svg is not None:
        write_atomically(svg, curves.curves(cells).encode())
    if png is not None:
        write_atomically(png, png_of(curves.curves(cells)))


def write_examples(
    records: Sequence[Record], figures: Mapping[str, str], markdown: Path | None, *, as_json: bool
) -> None:
    """A set's answers beside the paper's, and what its card says of many."""
    from adavae.model.training.reproduction import examples

    is_walk = records[0]["table"] == "table5"
    first = number("tau", decimals=1) if is_walk else column("input", "input C")
    output = Output.of(as_json)
    measured: dict[str, object] = {"measured": dict(figures)} if output.is_json else {}
    shown = [record | measured for record in records]
    output.write_records(shown, [first, column("output", "here"), column("paper_output", "the paper")])
    for title, value in figures.items():
        say(f"{title}: {value}")
    if markdown is not None:
        write_atomically(markdown, examples.markdown(records, figures).encode())


def write_additions(cells: "Sequence[AdditionCell]", markdown: Path | None, *, as_json: bool) -> None:
    """A record a way; on a terminal a table each for draws, walks and analogies."""
    from adavae.model.training.reproduction import additions_table

    output = Output.of(as_json)
    for group in additions_table.groups(cells):
        columns = [_measured(each) for each in additions_table.MEASURES[group[0].group]]
        output.write_records(additions_table.records(group), [column("row", group[0].group), *columns])
    if markdown is not None:
        write_atomically(markdown, additions_table.markdown(cells).encode())


def _measured(measure: "Measure") -> Column:
    def show(record: Record) -> str:
        figures = record["figures"]
        assert isinstance(figures, dict)  # as additions_table.records has it
        return measure.shown(figures)

    return Column(measure.title, show, is_number=True)


def _figure(key: str, header: str, decimals: int) -> Column:
    """A number, or a dash where a system has no such figure."""

    def show(record: dict[str, object]) -> str:
        value = record[key]
        return f"{value:,.{decimals}f}" if isinstance(value, int | float) else "-"

    return Column(header, show, is_number=True)


_OF_BOUNDS = [
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
_OF_ACCURACY = [
    column("dataset", "data"),
    column("row", "method"),
    _figure("accuracy", "accuracy", 3),
    _figure("deviation", "deviation", 3),
    _figure("paper_accuracy", "paper", 3),
    _figure("commonest", "commonest", 3),
    _figure("labels", "labels", 0),
    _figure("share_percent", "trained %", 2),
    _figure("paper_share_percent", "paper", 2),
]
