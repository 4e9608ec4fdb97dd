"""Tables in Markdown, and how their figures are written."""

from collections.abc import Iterable, Sequence


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; a bar within a field is escaped."""
    lines = [_line(names), "|" + "---|" * len(names)]
    return [*lines, *(_line(row) for row in rows)]


def _line(fields: Sequence[str]) -> str:
    return "| " + " | ".join(field.replace("|", "\\|") for field in fields) + " |"


def pair(ours: float | None, paper: float | None, decimals: int, bound: str = "") -> str:
    """Ours, and the paper's in brackets, after ``bound`` where it has no exact one."""
    return f"{shown(ours, decimals)} ({'' if paper is None else bound}{shown(paper, decimals)})"


def shown(figure: float | None, decimals: int) -> str:
    """A dash where there is no figure."""
    return "-" if figure is None else f"{figure:,.{decimals}f}"
