"""What is drawn of finished cells: Figure 1, and the curves over lambda of Table 2."""

import statistics
from collections.abc import Callable, Sequence

from adavae.model.errors import ConfigError
from adavae.model.training.reproduction import figure1
from adavae.model.training.reproduction.grid import Cell
from adavae.model.training.reproduction.paper_figures import TABLE_2, PaperFigures
from adavae.model.training.reproduction.table2 import ADAVAE_LAMBDAS, OPTIMUS_LAMBDAS
from adavae.model.training.svg import Panel, Point, Series, drawing

_LAMBDAS = {"AdaVAE": ADAVAE_LAMBDAS, "Optimus": OPTIMUS_LAMBDAS}
_OF_PAPER: dict[str, Callable[[PaperFigures], float | None]] = {
    "ppl_word": lambda paper: paper.ppl,
    "mi": lambda paper: paper.mi,
}


def curves(cells: Sequence[Cell]) -> str:
    """An SVG document of the cells of one table, data sets from left to right.

    Raises:
        ConfigError: Of these cells nothing can be drawn.
    """
    panels = []
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        own = [cell for cell in cells if cell.dataset == dataset]
        panels += [_accuracy(dataset, own)] if cells[0].table == "figure1" else _over_lambda(dataset, own)
    panels = [panel for panel in panels if panel.series]
    if not panels:
        raise ConfigError("curves", cells[0].table, "has rows to draw if AdaVAE or Optimus is run at some lambda")
    return drawing(panels)


def _accuracy(dataset: str, cells: Sequence[Cell]) -> Panel:
    """Accuracy over the number of labels, with the deviation over the seeds."""
    series = []
    ticks: dict[float, str] = {}
    for system in figure1.SYSTEMS:
        points = []
        for num_labels in figure1.LABELS:
            name = figure1.row_name(system, num_labels)
            if group := [cell for cell in cells if cell.row == name]:
                x, accuracies = group[0].figures["num_labels"], [cell.figures["accuracy"] for cell in group]
                deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
                points.append(Point(x, statistics.fmean(accuracies), deviation))
                ticks[x] = f"{x:,}"
        if points:
            series.append(Series(system, points))
    return Panel(f"Figure 1: {dataset}", "labelled texts", "accuracy", sorted(ticks.items()), series, is_log=True)


def _over_lambda(dataset: str, cells: Sequence[Cell]) -> list[Panel]:
    """Perplexity and mutual information over lambda; the paper's dashed."""
    titles = {"ppl_word": "perplexity a word", "mi": "mutual information, nats"}
    return [
        Panel(
            f"Table 2: {dataset}",
            "lambda",
            title,
            [(value, f"{value:g}") for value in sorted({*ADAVAE_LAMBDAS, *OPTIMUS_LAMBDAS} - {0.1})],
            [series for system in _LAMBDAS for series in _system(dataset, cells, system, figure)],
        )
        for figure, title in titles.items()
    ]


def _system(dataset: str, cells: Sequence[Cell], system: str, figure: str) -> list[Series]:
    """Ours and the paper's; nothing where ours was not run."""
    figures = {cell.row: cell.figures[figure] for cell in cells}
    names = {free_bits: f"{system} {free_bits:.2f}" for free_bits in _LAMBDAS[system]}
    ours = [Point(free_bits, figures[name]) for free_bits, name in names.items() if name in figures]
    printed = TABLE_2.get(dataset, {})
    papers = {free_bits: _OF_PAPER[figure](printed[name]) for free_bits, name in names.items() if name in printed}
    theirs = [Point(free_bits, value) for free_bits, value in papers.items() if value is not None]
    if not ours:
        return []
    return [Series(system, ours), *([Series(f"{system}, the paper", theirs, is_dashed=True)] if theirs else [])]
