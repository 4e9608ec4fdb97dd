"""Table 3 and Figure 1 as the paper prints them: mean and deviation over the seeds, the paper's accuracy beside."""

import statistics
from collections.abc import Sequence
from typing import Any

from adavae.model.training.reproduction.grid import Cell
from adavae.model.training.reproduction.markdown import pair, shown, table
from adavae.model.training.reproduction.paper_figures import TABLE_3, TABLE_3_SHARES

TABLES = ("table3", "figure1")


def records(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """One record a data set, row and checkpoint: ``accuracy`` is the mean over ``seeds``, ``deviation`` that of
    a sample.

    ``labels`` counts the labelled texts that training read, which may be fewer than there are.
    ``deviation`` is None with one seed; ``commonest`` is what always naming the commonest label would reach.
    """
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.dataset, cell.row, cell.checkpoint), []).append(cell)
    return [_record(group) for group in groups.values()]


def _record(group: Sequence[Cell]) -> dict[str, Any]:
    first, accuracies = group[0], [cell.figures["accuracy"] for cell in group]
    paper = TABLE_3[first.dataset].get(first.row) if first.table == "table3" and first.dataset in TABLE_3 else None
    return {
        "table": first.table,
        "dataset": first.dataset,
        "row": first.row,
        "accuracy": statistics.fmean(accuracies),
        "deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "paper_accuracy": None if paper is None else paper.accuracy,
        "paper_is_at_most": paper is not None and paper.is_at_most,
        "commonest": statistics.fmean(cell.figures["commonest"] for cell in group),
        "labels": round(statistics.fmean(cell.figures["num_labels"] for cell in group)),
        "trained_parameters": first.trained_parameters,
        "share_percent": first.share_percent,
        "paper_share_percent": TABLE_3_SHARES.get(first.row),
        "weights": first.weights,
        "scale": first.scale,
        "seeds": [cell.seed for cell in group],
        "texts": first.figures["num_texts"],
        "seconds": sum(cell.seconds for cell in group),
    }


def markdown(cells: Sequence[Cell]) -> str:
    """A table per data set."""
    parts = []
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        rows = [each for each in records(cells) if each["dataset"] == dataset]
        names = ("method", "accuracy", "deviation", "seeds", "labels", "trained, %", "initial weights")
        lines = table(names, [_fields(row) for row in rows])
        commonest = f"Always naming the commonest label: {rows[0]['commonest']:.3f} of {rows[0]['texts']:,} test texts."
        parts.append("\n".join([f"**{dataset}**", "", *lines, "", commonest]))
    return "\n\n".join(parts) + "\n"


def _fields(row: dict[str, Any]) -> tuple[str, ...]:
    bound = "≤ " if row["paper_is_at_most"] else ""
    return (
        row["row"],
        pair(row["accuracy"], row["paper_accuracy"], 3, bound),
        shown(row["deviation"], 3),
        str(len(row["seeds"])),
        f"{row['labels']:,}",
        pair(row["share_percent"], row["paper_share_percent"], 2),
        row["weights"],
    )
