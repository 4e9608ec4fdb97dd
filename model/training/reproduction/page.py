"""Everything that was run as one Markdown page: the paper's claims with their answers, then table by table."""

import shlex
from collections.abc import Iterator, Sequence

from adavae.model.training.reproduction import accuracy_table, bound_table, claims, figure1, table1, table2, table3
from adavae.model.training.reproduction.grid import Cell
from adavae.model.training.reproduction.markdown import table
from adavae.model.training.reproduction.scale import ScaleName

TITLES = {
    "table1": "Table 1: variants of AdaVAE",
    "table2": "Table 2: language models and VAEs",
    "table3": "Table 3: latent classification",
    "figure1": "Figure 1: few labels",
    "table4": "Table 4: analogies",
    "table5": "Table 5: a walk",
}
_MODULES = {"table1": table1, "table2": table2, "table3": table3, "figure1": figure1}


def page(cells: Sequence[Cell], examples: dict[str, str]) -> str:
    """The page, without a title; cells of scale smoke are no evidence, and left out.

    Args:
        cells: Of any table, scale and seed.
        examples: Tables 4 and 5 in Markdown, by name.
    """
    cells = [cell for cell in cells if cell.scale != ScaleName.SMOKE]
    sections = ["## What the paper claims", "", *_claims(cells)]
    for name, title in TITLES.items():
        sections += ["", f"## {title}", ""]
        sections += _example(name, examples) if name not in _MODULES else _table(name, cells)
    return "\n".join(sections) + "\n"


def _claims(cells: Sequence[Cell]) -> list[str]:
    rows = [
        (
            TITLES[claim.table].partition(":")[0],
            claim.text,
            f"**{answer}**",
            "; ".join(f"{verdict.dataset}: {verdict.numbers}" for verdict in found),
        )
        for claim, answer, found in claims.answers(cells)
    ]
    return table(("where", "claim", "here", "by"), rows)


def _table(name: str, cells: Sequence[Cell]) -> Iterator[str]:
    own = [cell for cell in cells if cell.table == name]
    if not own:
        yield from ("Not run yet:", "", "```sh", f"adavae reproduce {name} --data DATA --scale cpu", "```")
        return
    markdown = accuracy_table.markdown if name in accuracy_table.TABLES else bound_table.markdown
    for scale, backbone in dict.fromkeys((cell.scale, cell.backbone) for cell in own):
        alike = [cell for cell in own if (cell.scale, cell.backbone) == (scale, backbone)]
        yield from ("```sh", _command(name, scale, alike), "```", "", markdown(alike).rstrip("\n"))


def _command(name: str, scale: str, cells: Sequence[Cell]) -> str:
    """What makes these cells; rows are named where some are missing."""
    words = ["adavae", "reproduce", name, "--data", "DATA", "--scale", scale]
    datasets, rows = dict.fromkeys(cell.dataset for cell in cells), dict.fromkeys(cell.row for cell in cells)
    if list(datasets) != list(_MODULES[name].DATASETS):
        words += [word for dataset in datasets for word in ("--dataset", dataset)]
    if set(rows) != {row.name for row in _MODULES[name].rows()}:
        words += [word for row in rows for word in ("--row", row)]
    if name in accuracy_table.TABLES:
        words += ["--seeds", str(len({cell.seed for cell in cells}))]
    return shlex.join(words)


def _example(name: str, examples: dict[str, str]) -> list[str]:
    command = ["```sh", f"adavae reproduce {name}", "```", ""]
    return [*command, examples[name].rstrip("\n")] if name in examples else ["Not asked for."]
