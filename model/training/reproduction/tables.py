"""Tables 1 to 3 and Figure 1 by name: their rows and their data sets."""

from collections.abc import Sequence

from adavae.model.training.reproduction import figure1, table1, table2, table3
from adavae.model.training.reproduction.rows import TableRow
from adavae.model.training.reproduction.scale import Scale

_MODULES = {"table1": table1, "table2": table2, "table3": table3, "figure1": figure1}


def rows_of(table: str, scale: Scale | None = None) -> list[TableRow]:
    """In the paper's order.

    Args:
        table: Such as ``table1``.
        scale: Whose numbers of labels Figure 1 has; None for all points.
    """
    return list(figure1.rows(scale) if table == "figure1" else _MODULES[table].rows())


def datasets_of(table: str) -> Sequence[str]:
    """Those that are run unless others are named."""
    datasets: Sequence[str] = _MODULES[table].DATASETS
    return datasets


def procedures_of(table: str) -> dict[str, int]:
    """The number of each row's procedures, by the row's name."""
    return {row.name: row.procedures for row in rows_of(table)}
