"""Tables 1 to 3 and Figure 1 by name: their rows and their data sets."""

from collections.abc import Sequence

from adavae.model.training.reproduction import figure1, table1, table2, table3
from adavae.model.training.reproduction.rows import TableRow

_MODULES = {"table1": table1, "table2": table2, "table3": table3, "figure1": figure1}


def rows_of(table: str, train_texts: int | None = None) -> list[TableRow]:
    """In the paper's order.

    Args:
        table: Such as ``table1``.
        train_texts: Training texts of the scale, by which Figure 1 leaves points out; None for all.
    """
    return list(figure1.rows(train_texts) if table == "figure1" else _MODULES[table].rows())


def datasets_of(table: str) -> Sequence[str]:
    """Those that are run unless others are named."""
    datasets: Sequence[str] = _MODULES[table].DATASETS
    return datasets


def procedures_of(table: str) -> dict[str, int]:
    """The number of each row's procedures, by the row's name."""
    return {row.name: row.procedures for row in rows_of(table)}
