"""Tables 1 and 2 as the paper prints them: the paper's figure and ours, beside each other, as records or Markdown."""

from collections.abc import Sequence
from typing import Any

from adavae.model.training.reproduction.grid import Cell
from adavae.model.training.reproduction.markdown import pair, shown, table
from adavae.model.training.reproduction.paper_figures import TABLE_1, TABLE_2, PaperFigures
from adavae.model.variants import paper_configs

_PAPER = {"table1": TABLE_1, "table2": TABLE_2}
_NOTHING = PaperFigures(None, None, None, None)
_SHARES = {name: percent for name, (_, percent) in paper_configs().items()} | {"w/ Fine-tuning": 100.0}
"""The #params of Table 1, per cent; Table 2 has none."""


def records(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """One record a cell: ours as ``ppl``, ``neg_elbo``, ``mi``, ``au``, the paper's with ``paper_`` in front.

    ``ppl`` is a word; ``ppl_cut`` that of texts cut as the authors' code cuts them.
    """
    return [_record(cell) for cell in cells]


def _record(cell: Cell) -> dict[str, Any]:
    paper = _PAPER[cell.table].get(cell.dataset, {}).get(cell.row, _NOTHING)
    return {
        "table": cell.table,
        "dataset": cell.dataset,
        "row": cell.row,
        "ppl": cell.figures["ppl_word"],
        "ppl_cut": cell.figures_cut["ppl_word"],
        "ppl_token": cell.figures["ppl_token"],
        "neg_elbo": cell.figures["neg_elbo"],
        "mi": cell.figures["mi"],
        "au": cell.figures["au"],
        "kl": cell.figures["kl"],
        "reconstruction_began": cell.figures["reconstruction_began"],
        "reconstruction": cell.figures["reconstruction"],
        "paper_ppl": paper.ppl,
        "paper_neg_elbo": paper.neg_elbo,
        "paper_mi": paper.mi,
        "paper_au": paper.au,
        "trained_parameters": cell.trained_parameters,
        "share_percent": cell.share_percent,
        "paper_share_percent": _SHARES.get(cell.row) if cell.table == "table1" else None,
        "weights": cell.weights,
        "scale": cell.scale,
        "seed": cell.seed,
        "texts": cell.figures["num_texts"],
        "cut": cell.figures_cut["num_cut"],
        "seconds": cell.seconds,
    }


def markdown(cells: Sequence[Cell]) -> str:
    """A table per data set; each figure is ours, with the paper's in brackets.

    The reconstruction is that of the untrained system and what training made of it, nats a text.
    """
    parts = []
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        rows = [each for each in records(cells) if each["dataset"] == dataset]
        parts.append("\n".join([f"**{dataset}**", "", *_lines(rows)]))
    return "\n\n".join(parts) + "\n"


def _lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    names = (
        "method",
        "PPL a word",
        "cut at 32 tokens",
        "-ELBO",
        "MI",
        "AU",
        "-log p(x given z)",
        "trained, %",
        "initial weights",
    )
    return table(names, [_fields(row) for row in rows])


def _fields(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["row"],
        pair(row["ppl"], row["paper_ppl"], 1),
        shown(row["ppl_cut"], 1),
        pair(row["neg_elbo"], row["paper_neg_elbo"], 1),
        pair(row["mi"], row["paper_mi"], 2),
        pair(row["au"], row["paper_au"], 0),
        f"{shown(row['reconstruction_began'], 1)} → {shown(row['reconstruction'], 1)}",
        pair(row["share_percent"], row["paper_share_percent"], 1),
        row["weights"],
    )
