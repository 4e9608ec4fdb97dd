"""Tables 1 to 3 and Figure 1 by name: their rows and their data sets."""

from collections.abc import Sequence

from adavae.model.training.reproduction import figure1, table1, table2, table3
from adavae.model.training.reproduction.checkpoint import Checkpoint
from adavae.model.training.reproduction.rows import TableRow
from adavae.model.training.reproduction.scale import Scale
from adavae.model.training.reproduction.systems import bert, t5_checkpoint

_MODULES = {"table1": table1, "table2": table2, "table3": table3, "figure1": figure1}

CHECKPOINT_OPTIONS = {"table2": "--t5", "table3": "--bert", "figure1": "--bert"}
"""What names a checkpoint for rows of a table."""
CHECKPOINT_KINDS = {"--bert": bert.KINDS, "--t5": t5_checkpoint.KINDS}
"""Models that such a checkpoint may be one of."""


def rows_of(table: str, scale: Scale | None = None, checkpoint: Checkpoint | None = None) -> list[TableRow]:
    """In the paper's order.

    Args:
        table: Such as ``table1``.
        scale: Whose numbers of labels Figure 1 has; None for all points.
        checkpoint: What rows begin from that can; it is for the table.
    """
    if table == "figure1":
        return list(figure1.rows(scale, checkpoint))
    if table == "table3":
        return list(table3.rows(checkpoint))
    return list(table2.rows(checkpoint) if table == "table2" else table1.rows())


def datasets_of(table: str) -> Sequence[str]:
    """Those that are run unless others are named."""
    datasets: Sequence[str] = _MODULES[table].DATASETS
    return datasets


def procedures_of(table: str) -> dict[str, int]:
    """The number of each row's procedures, by the row's name."""
    return {row.name: row.procedures for row in rows_of(table)}
